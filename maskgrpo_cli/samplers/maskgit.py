"""MaskGIT (arXiv 2202.04200): at each step a quota stays masked, the tokens in which the model is least confident."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from maskgrpo_cli.noise import Noise, Purpose
from maskgrpo_cli.samplers import schedules
from maskgrpo_cli.samplers.block import Block
from maskgrpo_cli.samplers.draw import draw_tokens, exclude, gumbel, log_prob
from maskgrpo_cli.samplers.ending import on_device, working_copy
from maskgrpo_cli.types import Canvas, Denoise, Observe, Vocabulary


def maskgit(
    denoise: Denoise,
    canvas: Canvas,
    vocabulary: Vocabulary,
    noise: Noise,
    *,
    steps: int,
    temperature: float,
    schedule: str = "cosine",
    remask_temperature: float = 1.0,
    observe: Observe | None = None,
) -> Tensor:
    """Draw all; max(1, min(unknown - 1, floor(N k((s+1)/T)))) of the N tokens stay masked, none at the last step.

    They are those whose log p + tau_s Gumbel is lowest, p the softmax probability of the drawn token at temperature
    1. tau_s = tau (1 - (s+1)/T) falls linearly to 0. Known tokens of the response stay.

    Args:
        denoise: logits at asked positions.
        canvas: prompts and a response of masks, or partly of tokens.
        vocabulary: what may be written.
        noise: the draws of these samples.
        steps: T denoising steps.
        temperature: 0 for argmax, else of the categorical that tokens are drawn from.
        schedule: names k.
        remask_temperature: tau.
        observe: called after each step.

    Returns:
        [B, L] the responses; the canvas is not changed.

    Raises:
        UserError: the schedule is unknown.
    """
    k = schedules.schedule(schedule)
    current, vocabulary = working_copy(canvas), on_device(vocabulary, canvas.ids.device)
    counts = partial(schedules.quota_counts, length=canvas.length, k=k)
    block = Block(current, 0, canvas.length, steps, vocabulary, counts)
    token_noise = noise.uniform(Purpose.TOKEN, steps, canvas.length)
    order_noise = gumbel(noise.uniform(Purpose.CONFIDENCE, steps, canvas.length))
    for step in range(steps):
        rows = block.unfinished(step)
        if rows is None or len(rows):
            columns = block.masked_columns(rows)
            asked = current if rows is None else current.rows(rows)
            logits = exclude(denoise(asked, current.start + columns), vocabulary.forbidden)
            tokens = draw_tokens(logits, temperature, _at(token_noise[:, step], rows, columns))
            tau = remask_temperature * (1 - (step + 1) / steps)
            confidence = log_prob(logits, tokens) + tau * _at(order_noise[:, step], rows, columns)
            block.reveal(rows, columns, tokens + vocabulary.first, confidence, step)
        if observe:
            observe(step, steps, current.response.clone())
    return current.response.clone()


def _at(values: Tensor, rows: Tensor | None, columns: Tensor) -> Tensor:
    """Values [B, L] on the CPU, of some rows (None: all) at `columns` [R, M], on their device."""
    some = values if rows is None else values[rows.cpu()]
    return some.to(columns.device).gather(1, columns)
