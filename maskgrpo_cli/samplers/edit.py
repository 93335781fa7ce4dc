"""Editing: part of a given response is hidden, and emerges again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from maskgrpo_cli.errors import UserError
from maskgrpo_cli.noise import Noise, Purpose
from maskgrpo_cli.samplers import schedules
from maskgrpo_cli.samplers.draw import exclude, log_prob
from maskgrpo_cli.samplers.ending import working_copy
from maskgrpo_cli.samplers.planned import emerge_plan, reveal
from maskgrpo_cli.types import Canvas, Denoise, Observe, Vocabulary


def edit(
    denoise: Denoise,
    canvas: Canvas,
    vocabulary: Vocabulary,
    noise: Noise,
    *,
    steps: int,
    temperature: float,
    mode: str = "simple",
    repair_from: int = 0,
    schedule: str = "cosine",
    keep: Tensor | None = None,
    observe: Observe | None = None,
) -> Tensor:
    """Hide part of the response, then run the emerge steps r..T over what is hidden; [B, L].

    simple: nothing more is hidden than what is masked already.
    prob-remask: each token, independently, is hidden with probability k(r/T).
    flow-remask: the floor(N k(r/T)) tokens are hidden that the model, shown the whole response, holds least
    probable: 1 - p(token) is largest. What is masked already counts among them.

    All other tokens stay as they were given, in every mode.

    Args:
        canvas: prompts and a response of tokens of the vocabulary and masks.
        steps: T; a run takes T - r of them.
        mode: simple, prob-remask or flow-remask.
        repair_from: r, from 0 (much changes) to T - 1.
        schedule: names k.
        keep: [B, L] bool, True where a token must stay whatever the mode; none of them may be masked.
        observe: called after each of the T - r steps.
        denoise, vocabulary, noise, temperature: as in `samplers.block.low_confidence`.

    Returns:
        [B, L] the responses; the canvas is not changed.

    Raises:
        UserError: mode, schedule or repair_from is none; the response holds other tokens than the vocabulary's; a
            masked place is to be kept.
    """
    k = schedules.schedule(schedule)
    if mode not in MODES:
        raise UserError(f"mode '{mode}' is unknown; write {', '.join(MODES)}")
    if not 0 <= repair_from < steps:
        raise UserError(f"repair_from = {repair_from}: write a step from 0 to {steps - 1} (steps = {steps})")
    given = Given(working_copy(canvas), vocabulary, keep, k, repair_from / steps)
    hidden = MODES[mode](given, denoise, noise)
    given.canvas.response.masked_fill_(hidden, vocabulary.mask_id)
    plan = emerge_plan(hidden.cpu(), noise, k, canvas.length, steps, repair_from)
    return reveal(denoise, given.canvas, vocabulary, noise, plan, temperature, observe=observe)


@dataclass(frozen=True)
class Given:
    """The response to be edited; checked."""

    canvas: Canvas
    vocabulary: Vocabulary
    keep: Tensor | None
    k: schedules.Schedule
    time: float  # r / T

    def __post_init__(self):
        tokens, words = self.canvas.response, self.vocabulary
        foreign = ~self.masked & ((tokens < words.first) | (tokens >= words.last))
        if bool(foreign.any()):
            raise UserError(
                f"the response to edit holds id {int(tokens[foreign][0])}; write ids from {words.first} to "
                f"{words.last - 1}, or {words.mask_id} for what is to be drawn"
            )
        if self.keep is not None and self.keep.shape != tokens.shape:
            raise UserError(f"keep has shape {list(self.keep.shape)}; write {list(tokens.shape)}, as the response's")
        if bool((self.kept & self.masked).any()):
            raise UserError("keep names places that are masked: there is nothing to keep; leave them out")

    @property
    def masked(self) -> Tensor:
        """[B, L] bool: masked as it was given."""
        return self.canvas.response == self.vocabulary.mask_id

    @property
    def kept(self) -> Tensor:
        """[B, L] bool: stays whatever the mode."""
        tokens = self.canvas.response
        return torch.zeros_like(tokens, dtype=torch.bool) if self.keep is None else self.keep.to(tokens.device)


def flow(denoise: Denoise, canvas: Canvas, vocabulary: Vocabulary) -> Tensor:
    """[B, L] the posterior mass that lies elsewhere, 1 - p(token), given the whole response; 1 at masks."""
    positions = torch.arange(canvas.start, canvas.start + canvas.length, device=canvas.ids.device)
    logits = exclude(denoise(canvas, positions.expand(len(canvas.ids), -1)), vocabulary.forbidden)
    codes = (canvas.response - vocabulary.first).clamp(0, vocabulary.last - vocabulary.first - 1)
    log_probs = log_prob(logits, codes).masked_fill(canvas.response == vocabulary.mask_id, -torch.inf)
    return -log_probs.expm1()


def _simple(given: Given, denoise: Denoise, noise: Noise) -> Tensor:
    return given.masked


def _at_random(given: Given, denoise: Denoise, noise: Noise) -> Tensor:
    uniform = noise.uniform(Purpose.REMASK, given.canvas.length)
    chosen = (uniform < given.k(given.time)).to(given.masked.device)
    return given.masked | (chosen & ~given.kept)


def _by_flow(given: Given, denoise: Denoise, noise: Noise) -> Tensor:
    masked, kept = given.masked, given.kept
    out = flow(denoise, given.canvas, given.vocabulary).masked_fill(masked, torch.inf).masked_fill(kept, -torch.inf)
    rank = out.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
    return masked | ((rank < schedules.masked_quota(given.k, given.canvas.length, given.time)) & ~kept)


MODES: dict[str, Callable[[Given, Denoise, Noise], Tensor]] = {
    "simple": _simple,
    "prob-remask": _at_random,
    "flow-remask": _by_flow,
}
"""How an edit chooses what to hide: [B, L] bool of what is masked when the emerge steps begin."""
