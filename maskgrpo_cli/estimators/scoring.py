"""log p(completion) on noisy copies: the importance estimator's log-probabilities.

New, old and reference policies are scored on the same copies (MaskGRPO section 3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from maskgrpo_cli.types import Canvas, NoisyCopy

LogProbs = Callable[[Canvas, Tensor, Tensor, int], "tuple[Tensor, Tensor]"]
"""`log_probs(canvas, positions [B, M], targets [B, M], chunk) -> (log-probabilities, entropies) [B, M]`."""


@dataclass
class Scores:
    """What the estimator says of a batch of completions."""

    log_probs: Tensor  # [B, L] float32, 0 where not scored
    entropy: Tensor  # [B, L] float32, mean over the copies that score the token


def hide(canvas: Canvas, mask: Tensor, mask_id: int) -> Canvas:
    """The canvas with `mask` [B, S] hidden; the caller's is not changed."""
    hidden = torch.where(mask.to(canvas.ids.device), mask_id, canvas.ids)
    return Canvas(hidden, canvas.attention_mask, canvas.start, canvas.length, canvas.unconditional)


def score(log_probs: LogProbs, canvas: Canvas, copies: Sequence[NoisyCopy], mask_id: int, chunk: int) -> Scores:
    """Sum over the copies of weight * log softmax(logits(copy))_o at the tokens that the copy scores.

    Args:
        log_probs: the policy.
        canvas: prompts and full completions.
        copies: noisy copies of these samples (on the CPU).
        mask_id: what hidden tokens become.
        chunk: positions whose logits are held at once.
    """
    device, shape = canvas.ids.device, canvas.response.shape
    total = torch.zeros(shape, device=device)
    entropies, seen = torch.zeros(shape, device=device), torch.zeros(shape, device=device)
    for copy in copies:
        width = max(1, int(copy.scored.sum(-1).max()))
        columns = copy.scored.int().argsort(dim=-1, descending=True, stable=True)[:, :width]
        weight, counted = copy.weight.gather(1, columns).to(device), copy.scored.gather(1, columns).to(device)
        columns = columns.to(device)
        positions, targets = canvas.start + columns, canvas.response.gather(1, columns)
        values, entropy = log_probs(hide(canvas, copy.mask, mask_id), positions, targets, chunk)
        total = total.scatter_add(1, columns, torch.where(counted, weight * values, 0.0))
        entropies = entropies.scatter_add(1, columns, torch.where(counted, entropy, 0.0))
        seen = seen.scatter_add(1, columns, counted.float())
    return Scores(total, entropies / seen.clamp(min=1))


def scored_tokens(copies: Sequence[NoisyCopy]) -> Tensor:
    """[B, L] bool: tokens that at least one copy scores; the loss averages over these."""
    return torch.stack([copy.scored for copy in copies]).any(0)
