"""Samplers whose order does not depend on the model: which step reveals which token is drawn beforehand.

Then the head is asked for just the tokens of the step, and a step that reveals nothing costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from maskgrpo_cli.noise import Noise, Purpose
from maskgrpo_cli.samplers import schedules
from maskgrpo_cli.samplers.draw import draw_tokens, exclude
from maskgrpo_cli.samplers.ending import Ending, on_device
from maskgrpo_cli.samplers.recall import Recall
from maskgrpo_cli.samplers.schedules import reveal_counts, steps_per_block
from maskgrpo_cli.types import Canvas, Denoise, Observe, Vocabulary


def random_order(
    denoise: Denoise,
    canvas: Canvas,
    vocabulary: Vocabulary,
    noise: Noise,
    *,
    steps: int,
    block_length: int,
    temperature: float,
    cache: str = "none",
    stop_at_end: bool = False,
    observe: Observe | None = None,
) -> Tensor:
    """Block by block, left to right, the tokens of a block in random order; [B, L].

    Known tokens of the response stay. Arguments as in `samplers.block.low_confidence`.
    """
    block_steps = steps_per_block(steps, canvas.length // block_length)
    priority = noise.uniform(Purpose.ORDER, canvas.length)
    steps_of = torch.full((len(canvas.ids), canvas.length), -1)
    masked = (canvas.response == vocabulary.mask_id).cpu()
    for block, start in enumerate(range(0, canvas.length, block_length)):
        columns = slice(start, start + block_length)
        rank = priority[:, columns].masked_fill(~masked[:, columns], torch.inf).argsort(-1).argsort(-1)
        for row, count in enumerate(masked[:, columns].sum(-1).tolist()):
            step_of_rank = torch.full((block_length,), -1)  # known tokens rank last, and no step reveals them
            step_of_rank[:count] = block * block_steps + torch.repeat_interleave(
                torch.arange(block_steps), torch.tensor(reveal_counts(count, block_steps))
            )
            steps_of[row, columns] = step_of_rank[rank[row]]
    plan = Plan(steps_of, block_length, block_steps)
    return reveal(denoise, canvas, vocabulary, noise, plan, temperature, cache, stop_at_end, observe)


def emerge(
    denoise: Denoise,
    canvas: Canvas,
    vocabulary: Vocabulary,
    noise: Noise,
    *,
    steps: int,
    block_length: int,
    temperature: float,
    schedule: str = "linear",
    cache: str = "none",
    stop_at_end: bool = False,
    observe: Observe | None = None,
) -> Tensor:
    """The paper's emerge sampler, block by block; [B, L].

    At step s of a block's T every masked token, independently, stays masked with probability
    k((s+1)/T) / k(s/T) and otherwise takes a token drawn from its categorical; the last step fills what is
    left. So the number revealed per step is binomial, and a revealed token stays.
    Arguments as in `samplers.block.low_confidence`; `schedule` names k.
    """
    block_steps = steps_per_block(steps, canvas.length // block_length)
    masked = (canvas.response == vocabulary.mask_id).cpu()
    plan = emerge_plan(masked, noise, schedules.schedule(schedule), block_length, block_steps)
    return reveal(denoise, canvas, vocabulary, noise, plan, temperature, cache, stop_at_end, observe)


@dataclass(frozen=True)
class Plan:
    """When each token of a response is revealed."""

    step: Tensor  # [B, L] on the CPU, -1 for what is known; the first block's steps come first
    block_length: int
    block_steps: int
    first_step: int = 0  # earlier ones are left out


def emerge_plan(
    masked: Tensor, noise: Noise, k: schedules.Schedule, block_length: int, block_steps: int, first_step: int = 0
) -> Plan:
    """The step at which each masked token leaves the masks, from `first_step` of the first block on.

    Args:
        masked: [B, L] bool, on the CPU.
    """
    length = masked.shape[1]
    stay = schedules.stay_probabilities(k, block_steps)
    leaves = noise.uniform(Purpose.REVEAL, block_steps, length) >= stay[None, :, None]
    leaves[:, :first_step] = False
    step = leaves.int().argmax(1) + torch.arange(length) // block_length * block_steps
    return Plan(step.masked_fill(~masked, -1), block_length, block_steps, first_step)


def reveal(
    denoise: Denoise,
    canvas: Canvas,
    vocabulary: Vocabulary,
    noise: Noise,
    plan: Plan,
    temperature: float,
    cache: str = "none",
    stop_at_end: bool = False,
    observe: Observe | None = None,
) -> Tensor:
    """Carry out a plan; [B, L]. `observe` counts from the plan's first step."""
    vocabulary = on_device(vocabulary, canvas.ids.device)
    ending = Ending(canvas, vocabulary, plan.block_length, stop_at_end)
    uniform = noise.uniform(Purpose.TOKEN, canvas.length)  # each token is drawn once
    end = plan.block_steps * (canvas.length // plan.block_length)
    recall = Recall(denoise, cache)
    for step in range(plan.first_step, end):
        block, step_of_block = divmod(step, plan.block_steps)
        first = block * plan.block_length
        columns = slice(first, first + plan.block_length)
        if step_of_block == 0:
            recall.begin(ending.canvas, first, plan.block_length)
        due = plan.step[ending.active, columns] == step
        if bool(due.any()):
            _write(recall, ending.canvas, vocabulary, first, due, uniform[ending.active, columns], temperature)
        if observe:
            observe(step - plan.first_step, end - plan.first_step, ending.response())
        if step_of_block == plan.block_steps - 1:
            ending.close_block(block)
    return ending.response()


def _write(
    recall: Recall,
    canvas: Canvas,
    vocabulary: Vocabulary,
    first: int,
    due: Tensor,
    uniform: Tensor,
    temperature: float,
) -> None:
    """Draw the tokens that are due, and write them into the canvas.

    Args:
        first: the block's first column of the response.
        due: [B, block length] bool, on the CPU; uniform: likewise, the draws.
    """
    device, busy = canvas.ids.device, due.any(-1)
    rows = None if bool(busy.all()) else busy.nonzero().squeeze(-1).to(device)
    due, uniform = due[busy], uniform[busy]
    places = due.int().argsort(dim=-1, descending=True, stable=True)[:, : int(due.sum(-1).max())]
    wanted, draws = due.gather(1, places).to(device), uniform.gather(1, places).to(device)
    places = places.to(device)
    logits = exclude(recall(canvas, rows, canvas.start + first + places), vocabulary.forbidden)
    tokens = draw_tokens(logits, temperature, draws) + vocabulary.first
    block = canvas.response[:, first : first + due.shape[1]]
    written = block if rows is None else block[rows]
    written.scatter_(1, places, torch.where(wanted, tokens, written.gather(1, places)))
    if rows is not None:
        block[rows] = written
