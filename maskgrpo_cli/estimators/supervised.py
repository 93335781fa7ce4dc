"""The noisy copy of supervised training (LLaDA, arXiv 2502.09992, equations 3 and 5)."""

from __future__ import annotations

import torch

from maskgrpo_cli.noise import Noise, Purpose
from maskgrpo_cli.types import Canvas, NoisyCopy, Supervision

SMALLEST_TIME = 1e-3


def supervised_copy(canvas: Canvas, noise: Noise) -> NoisyCopy:
    """Answers with tokens hidden with probability t ~ U(1e-3, 1), weighted 1 / (t L); the prompt stays visible.

    Args:
        canvas: prompts and full answers, padded with the end token, which is learnt like any other.
        noise: one sample per example.
    """
    time = SMALLEST_TIME + (1 - SMALLEST_TIME) * noise.uniform(Purpose.SFT_TIME, 1)
    hidden = noise.uniform(Purpose.SFT_MASK, canvas.length) < time
    mask = torch.zeros(canvas.ids.shape, dtype=torch.bool)
    mask[:, canvas.start : canvas.start + canvas.length] = hidden
    return NoisyCopy(mask, hidden, hidden / (time * canvas.length))


def _one(noise: Noise, length: int) -> torch.Tensor:
    return torch.ones(len(noise.samples))


TEXT = Supervision(supervised_copy, _one)
