"""AdamW and its learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from maskgrpo_cli.config.schema import OptimizerConfig


def make_optimizer(parameters: Iterable[nn.Parameter], settings: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only."""
    parameters = list(parameters)
    matrices = [parameter for parameter in parameters if parameter.dim() >= 2]
    vectors = [parameter for parameter in parameters if parameter.dim() < 2]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=settings.lr, betas=settings.betas, eps=settings.eps
    )


def learning_rate(step: int, steps: int, settings: OptimizerConfig) -> float:
    """The learning rate of optimiser step `step` (from 0) of `steps`: warm-up, then the schedule.

    With restarts (SGDR, arXiv 1608.03983) the steps are cut into equal rounds, each with half the peak of the last.
    """
    length = -(-steps // (settings.restarts + 1))
    completed, step = divmod(step, length)
    peak = settings.lr * 0.5**completed
    if step < settings.warmup_steps:
        return peak * (step + 1) / settings.warmup_steps
    past = (step - settings.warmup_steps) / max(1, length - settings.warmup_steps - 1)
    share = {
        "constant": 1.0,
        "linear": 1.0 - (1.0 - settings.final_lr) * past,
        "cosine": settings.final_lr + (1.0 - settings.final_lr) * (1 + math.cos(math.pi * min(past, 1.0))) / 2,
    }[settings.schedule]
    return peak * share
