"""Supervised training of pictures, and of text beside them (MMaDA, arXiv 2505.15809).

Shapes: B rows, N image tokens, L tokens of a row.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from maskgrpo_cli.noise import Noise, Purpose
from maskgrpo_cli.types import Canvas, NoisyCopy, Supervision


def masked_counts(time: Tensor, count: int, min_mask_rate: float) -> Tensor:
    """[B] int64: how many of `count` image tokens are masked at time t [B], max(1, round(N max(cos(pi t / 2), r0)))."""
    rate = (time * (math.pi / 2)).cos().clamp(min=min_mask_rate)
    return (count * rate).round().clamp(min=1).long()


def image_mask(time: Tensor, uniform: Tensor, min_mask_rate: float) -> Tensor:
    """[B, N] bool with `masked_counts` True in each row, at places that `uniform` [B, N] draws."""
    counts = masked_counts(time, uniform.shape[1], min_mask_rate)
    return uniform.argsort(dim=-1) < counts[:, None]


def supervised_image_counts(noise: Noise, length: int, min_mask_rate: float) -> Tensor:
    """[B] int64: the tokens that `supervised_image_copy` masks of pictures of `length` tokens.

    Every process can ask for those of a whole optimiser step, whose sum the loss is divided by.
    """
    return masked_counts(noise.uniform(Purpose.SFT_TIME, 1)[:, 0], length, min_mask_rate)


def supervised_image_copy(canvas: Canvas, noise: Noise, min_mask_rate: float) -> NoisyCopy:
    """Pictures with tokens masked on the cosine schedule, t ~ U(0, 1); caption and frame stay visible.

    Every masked token weighs 1; the loss is the mean over those of the optimiser step (`supervised_image_counts`).

    Args:
        canvas: captions and full pictures.
        noise: one sample per picture.
        min_mask_rate: share of the picture that is masked at least.
    """
    time = noise.uniform(Purpose.SFT_TIME, 1)[:, 0]
    hidden = image_mask(time, noise.uniform(Purpose.SFT_MASK, canvas.length), min_mask_rate)
    mask = torch.zeros(canvas.ids.shape, dtype=torch.bool)
    mask[:, canvas.start : canvas.start + canvas.length] = hidden
    return NoisyCopy(mask, hidden, hidden.float())


def image_loss(cross_entropy: Tensor, masked: Tensor) -> Tensor:
    """The mean cross-entropy [B, N] over masked image tokens [B, N] of all rows; the frame of a picture is none."""
    return (cross_entropy * masked).sum() / masked.sum().clamp(min=1)


def answer_loss(cross_entropy: Tensor, masked: Tensor, probability: Tensor, lengths: Tensor) -> Tensor:
    """The text loss, of plain answers and of those about pictures: (1 / B) sum over masked of ce / (p length).

    Args:
        cross_entropy, masked: [B, L].
        probability: [B, L] with which a token was masked.
        lengths: [B, L] or [B, 1] tokens of the row's answer.
    """
    return (cross_entropy * masked / (probability * lengths)).sum() / len(masked)


IMAGE = Supervision(supervised_image_copy, supervised_image_counts)
