"""Samplers whose order does not depend on the model: which step reveals which token is drawn beforehand.

Then the head is asked for just the tokens of the step, and a step that reveals nothing costs nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from maskgrpo_cli.noise import Noise, Purpose
from maskgrpo_cli.samplers.draw import draw_tokens, exclude
from maskgrpo_cli.samplers.ending import Ending
from maskgrpo_cli.samplers.recall import Recall
from maskgrpo_cli.samplers.schedules import SCHEDULES, reveal_counts, steps_per_block
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
    plan = torch.full((len(canvas.ids), canvas.length), -1)
    masked = (canvas.response == vocabulary.mask_id).cpu()
    for block, start in enumerate(range(0, canvas.length, block_length)):
        columns = slice(start, start + block_length)
        rank = priority[:, columns].masked_fill(~masked[:, columns], torch.inf).argsort(-1).argsort(-1)
        for row, count in enumerate(masked[:, columns].sum(-1).tolist()):
            step_of_rank = torch.full((block_length,), -1)  # known tokens rank last, and no step reveals them
            step_of_rank[:count] = block * block_steps + torch.repeat_interleave(
                torch.arange(block_steps), torch.tensor(reveal_counts(count, block_steps))
            )
            plan[row, columns] = step_of_rank[rank[row]]
    return reveal(
        denoise, canvas, vocabulary, noise, plan, block_length, block_steps, temperature, cache, stop_at_end, observe
    )


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
    k = SCHEDULES[schedule]
    block_steps = steps_per_block(steps, canvas.length // block_length)
    stay = torch.tensor([k((s + 1) / block_steps) / k(s / block_steps) for s in range(block_steps - 1)] + [0.0])
    leaves = noise.uniform(Purpose.REVEAL, block_steps, canvas.length) >= stay[None, :, None]
    plan = leaves.int().argmax(1) + torch.arange(canvas.length) // block_length * block_steps
    plan[(canvas.response != vocabulary.mask_id).cpu()] = -1
    return reveal(
        denoise, canvas, vocabulary, noise, plan, block_length, block_steps, temperature, cache, stop_at_end, observe
    )


def reveal(
    denoise: Denoise,
    canvas: Canvas,
    vocabulary: Vocabulary,
    noise: Noise,
    plan: Tensor,
    block_length: int,
    block_steps: int,
    temperature: float,
    cache: str,
    stop_at_end: bool,
    observe: Observe | None,
) -> Tensor:
    """Carry out a plan [B, L] (on the CPU): the step at which each token is revealed, -1 for known ones."""
    device = canvas.ids.device
    ending = Ending(canvas, vocabulary, block_length, stop_at_end)
    uniform = noise.uniform(Purpose.TOKEN, canvas.length)  # each token is drawn once
    forbidden = None if vocabulary.forbidden is None else vocabulary.forbidden.to(device)
    steps = block_steps * (canvas.length // block_length)
    recall = Recall(denoise, cache)
    for step in range(steps):
        current, first = ending.canvas, step // block_steps * block_length
        columns = slice(first, first + block_length)
        if step % block_steps == 0:
            recall.begin(current, first, block_length)
        due = plan[ending.active, columns] == step
        busy = due.any(-1)
        if bool(busy.any()):
            rows = None if bool(busy.all()) else busy.nonzero().squeeze(-1).to(device)
            due, samples = due[busy], ending.active[busy]
            places = due.int().argsort(dim=-1, descending=True, stable=True)[:, : int(due.sum(-1).max())]
            wanted = due.gather(1, places).to(device)
            draws = uniform[samples, columns].gather(1, places).to(device)
            places = places.to(device)
            logits = exclude(recall(current, rows, current.start + first + places), forbidden)
            tokens = draw_tokens(logits, temperature, draws) + vocabulary.first
            block = current.response[:, columns]
            written = block if rows is None else block[rows]
            written.scatter_(1, places, torch.where(wanted, tokens, written.gather(1, places)))
            if rows is not None:
                block[rows] = written
        if observe:
            observe(step, steps, ending.response())
        if (step + 1) % block_steps == 0:
            ending.close_block(step // block_steps)
    return ending.response()
