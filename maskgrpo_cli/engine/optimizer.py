"""AdamW, Muon and their learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from maskgrpo_cli.config.schema import OptimizerConfig

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # of the odd polynomial, and how often it is applied
_ITERATIONS = 5
_ADAM_RMS = 0.2  # of AdamW's updates, which Muon's are scaled to


def make_optimizer(
    parameters: Iterable[nn.Parameter], settings: OptimizerConfig, outer: Iterable[nn.Parameter] = ()
) -> torch.optim.AdamW:
    """AdamW or Muon, with weight decay on matrices only.

    Args:
        parameters: what is trained.
        outer: of these, embedding and head, for which Muon is not meant.
    """
    ends = set(map(id, outer))
    hidden, matrices, vectors = [], [], []
    for parameter in parameters:
        orthogonal = settings.name == "muon" and parameter.dim() == 2 and id(parameter) not in ends
        (hidden if orthogonal else matrices if parameter.dim() >= 2 else vectors).append(parameter)
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
        {"params": hidden, "weight_decay": settings.weight_decay, "orthogonal": True},
    ]
    kind = Muon if settings.name == "muon" else torch.optim.AdamW
    return kind([group for group in groups if group["params"]], lr=settings.lr, betas=settings.betas, eps=settings.eps)


class Muon(torch.optim.AdamW):
    """AdamW; groups with `orthogonal` go by the nearest orthogonal matrix to their averaged gradient.

    After Jordan et al. (https://kellerjordan.github.io/posts/muon), Nesterov's momentum being the first of `betas`, and
    scaled as in arXiv 2502.16982 (equation 4), so that one learning rate serves both.
    """

    @torch.no_grad()
    def step(self, closure=None):
        """Take a step; returns what `closure` gives."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        held = {}
        for group in self.param_groups:
            for parameter in group["params"] if group.get("orthogonal") else ():
                if parameter.grad is not None:
                    held[parameter] = parameter.grad, group
                    parameter.grad = None  # AdamW leaves alone what has no gradient
        super().step()
        for parameter, (gradient, group) in held.items():
            parameter.grad = gradient
            self._orthogonal_step(parameter, group)
        return loss

    def _orthogonal_step(self, parameter: nn.Parameter, group: dict) -> None:
        momentum, gradient, state = group["betas"][0], parameter.grad, self.state[parameter]
        if not state:
            state |= {"step": torch.zeros(()), "momentum": torch.zeros_like(gradient)}  # AdamW looks for a step in all
        state["step"] += 1
        state["momentum"].lerp_(gradient, 1 - momentum)
        update = orthogonalised(gradient.lerp(state["momentum"], momentum))
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(update, alpha=-group["lr"] * _ADAM_RMS * max(parameter.shape) ** 0.5)


def orthogonalised(matrix: Tensor) -> Tensor:
    """About U V^T [m, n] for a matrix U S V^T: five Newton-Schulz iterations.

    They bring singular values to about 0.7 to 1.2, very small ones not so far. In bfloat16 as published on GPUs, in
    float32 on CPUs, many of which are slow in bfloat16.
    """
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = wide.to(torch.bfloat16 if matrix.is_cuda else torch.float32)
    x = x / x.norm().clamp(min=1e-7)
    a, b, c = _NEWTON_SCHULZ
    for _ in range(_ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return (x if wide is matrix else x.T).to(matrix.dtype)


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
