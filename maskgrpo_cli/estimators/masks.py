"""The masks on which a completion is scored (MaskGRPO, arXiv 2510.02880; d1, 2504.12216; DiffuCoder, 2506.20639).

Shapes: B samples, S canvas, P prompt columns (left-padded), L completion. Every function is pure: its noise
is given. Positions after the end of an answer are always masked and never scored.
"""

from __future__ import annotations

import torch
from torch import Tensor

from maskgrpo_cli.noise import Noise, Purpose
from maskgrpo_cli.types import Canvas, NoisyCopy

MAX_RATIO = 0.999


def scheduled_ratio(update: int, updates: int, min_ratio: float) -> float:
    """ratio_i = min(r0 + (1 - r0)(i + 1) / mu, 0.999) for update i = 0 .. mu - 1."""
    return min(min_ratio + (1 - min_ratio) * (update + 1) / updates, MAX_RATIO)


def random_ratio(noise: Noise, min_ratio: float) -> Tensor:
    """[B] one ratio a sample, uniform in [r0, 1)."""
    return min_ratio + (1 - min_ratio) * noise.uniform(Purpose.RATIO, 1)[:, 0]


def fading_keep(ratio: Tensor, places: Tensor, length: int) -> Tensor:
    """P(kept) = min(1, s (1 - j / (n - 1))) at places j of a curve of n tokens, whose mean mask rate is `ratio`.

    For ratio >= 0.5 the slope is s = 2 (1 - ratio) in closed form; below, the clamp at 1 would mask more than
    `ratio`, and s is found by bisection. The last token is always masked; n = 1 is fully masked.

    Args:
        ratio: [B]; places: [L] integers in [0, n); length: n.

    Returns:
        [B, L] float64.
    """
    if length == 1:
        return torch.zeros(len(ratio), len(places), dtype=torch.float64)
    ratio = ratio.double()[:, None]
    falling = 1 - torch.arange(length, dtype=torch.float64) / (length - 1)  # c_j, from 1 to 0
    low, high = 2 * (1 - ratio), torch.full_like(ratio, 2.0 * length)
    for _ in range(60):
        middle = (low + high) / 2
        too_few = (middle * falling).clamp(max=1).mean(-1, keepdim=True) < 1 - ratio
        low, high = torch.where(too_few, middle, low), torch.where(too_few, high, middle)
    slope = torch.where(ratio >= 0.5, 2 * (1 - ratio), high)
    return (slope * falling[places]).clamp(max=1)


def _copy(canvas: Canvas, hidden: Tensor, valid: Tensor, weight: Tensor | None = None, prompt: Tensor | None = None):
    """A noisy copy that hides completion tokens `hidden` [B, L] (and `prompt` [B, P]), and all after the end."""
    hidden = hidden | ~valid
    if prompt is None:
        prompt = torch.zeros(len(hidden), canvas.start, dtype=torch.bool)
    rest = canvas.ids.shape[1] - canvas.start - canvas.length
    after = torch.zeros(len(hidden), rest, dtype=torch.bool)
    scored = hidden & valid
    weight = torch.ones(scored.shape) if weight is None else weight
    return NoisyCopy(torch.cat([prompt, hidden, after], dim=1), scored, weight * scored)


def fading_out(
    canvas: Canvas, valid: Tensor, ratio: Tensor, noise: Noise, *, span: str = "completion"
) -> list[NoisyCopy]:
    """Later tokens are masked more (the paper's AR-like reversing).

    With `span` = `completion` the curve spans the completion; with `sequence` it runs from the second token of
    the prompt to the end of the completion, as the released code does, and masks more than `ratio`.
    """
    uniform = noise.uniform(Purpose.MASK, canvas.length).double()
    places = torch.arange(canvas.length)
    if span == "completion":
        return [_copy(canvas, uniform >= fading_keep(ratio, places, canvas.length), valid)]
    prompts = _prompt_lengths(canvas)
    keep = torch.stack(
        [
            _released_keep(share, places, int(prompt), canvas.length)
            for share, prompt in zip(ratio.double(), prompts, strict=True)
        ]
    )
    return [_copy(canvas, uniform >= keep, valid)]


def _released_keep(ratio: Tensor, places: Tensor, prompt: int, length: int) -> Tensor:
    """min(1, 2 (1 - r)(1 - (P + l - 1) / (P + L - 2))): the released curve, prompt length taken as 1 (0 if empty)."""
    first, last = max(prompt - 1, 0), max(prompt - 1, 0) + length - 1
    if last == 0:
        return torch.zeros(length, dtype=torch.float64)
    return (2 * (1 - ratio) * (1 - (first + places) / last)).clamp(max=1)


def uniform(canvas: Canvas, valid: Tensor, ratio: Tensor, noise: Noise) -> list[NoisyCopy]:
    """Every completion token masked with probability `ratio` (images; UniGRPO for text)."""
    return [_copy(canvas, noise.uniform(Purpose.MASK, canvas.length) < ratio[:, None], valid)]


def d1(
    canvas: Canvas, valid: Tensor, ratio: Tensor, noise: Noise, *, prompt_mask_rate: float = 0.15
) -> list[NoisyCopy]:
    """The completion fully masked, prompt tokens with probability `prompt_mask_rate` (diffu-GRPO)."""
    del ratio  # one-step estimation has none
    drawn = noise.uniform(Purpose.PROMPT_MASK, canvas.start) < prompt_mask_rate
    prompt = drawn.flip(-1)  # counted from the end, so that left padding changes nothing
    if canvas.attention_mask is not None:
        prompt &= canvas.attention_mask[:, : canvas.start].cpu()
    return [_copy(canvas, torch.ones_like(valid), valid, prompt=prompt)]


def coupled(canvas: Canvas, valid: Tensor, ratio: Tensor, noise: Noise, *, full_copy: bool = True) -> list[NoisyCopy]:
    """A mask with p ~ U(0.2, 0.8) and its complement, weighted 1/p and 1/(1-p): each token scored once in the pair.

    With `full_copy` a fully masked copy of weight 1 joins and the two estimates are averaged (as released). The
    weights make a token's expected value twice its log-probability (1.5 times with the full copy), as published.
    """
    del ratio  # p is drawn
    p = 0.2 + 0.6 * noise.uniform(Purpose.RATIO, 1)
    hidden = noise.uniform(Purpose.MASK, canvas.length) < p
    share = 0.5 if full_copy else 1.0
    pair = [
        _copy(canvas, hidden, valid, share / p.expand(hidden.shape)),
        _copy(canvas, ~hidden, valid, share / (1 - p).expand(hidden.shape)),
    ]
    if not full_copy:
        return pair
    return [*pair, _copy(canvas, torch.ones_like(valid), valid, torch.full(valid.shape, share))]


def _prompt_lengths(canvas: Canvas) -> Tensor:
    """[B] prompt tokens, padding left out."""
    if canvas.attention_mask is None:
        return torch.full((len(canvas.ids),), canvas.start)
    return canvas.attention_mask[:, : canvas.start].sum(-1).cpu()
