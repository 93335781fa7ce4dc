"""Drawing tokens from logits with one uniform number each."""

from __future__ import annotations

import torch
from torch import Tensor

_BUCKET = 256


def categorical(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """The exact categorical draw at `uniform` by the inverse of the cumulative distribution.

    The sum is taken bucket by bucket, so that float32 stays exact to a few units at vocabularies of 10^5.

    Args:
        probabilities: [..., V], non-negative, not necessarily normalised.
        uniform: [...] in [0, 1).

    Returns:
        [...] int64 indices; an outcome of probability 0 is never returned.
    """
    vocabulary = probabilities.shape[-1]
    padded = torch.nn.functional.pad(probabilities, (0, -vocabulary % _BUCKET)).unflatten(-1, (-1, _BUCKET))
    masses = padded.sum(-1)  # [..., V / bucket]
    totals = masses.cumsum(-1)
    target = (uniform * totals[..., -1])[..., None]
    bucket = _first_above(totals, target, masses > 0)
    before = totals.gather(-1, (bucket - 1).clamp(min=0)) * (bucket > 0)
    inside = padded.gather(-2, bucket[..., None].expand(*bucket.shape, _BUCKET)).squeeze(-2)
    return (bucket * _BUCKET + _first_above(inside.cumsum(-1), target - before, inside > 0)).squeeze(-1)


def _first_above(cumulative: Tensor, target: Tensor, possible: Tensor) -> Tensor:
    """Index of the first possible entry above `target`; rounding may leave none: then the last possible one.

    A parallel sum may rise or fall by a rounding error where nothing is added: hence `possible`.
    """
    above = possible & (cumulative > target)
    last = possible.shape[-1] - 1 - possible.flip(-1).int().argmax(-1, keepdim=True)
    return torch.where(above.any(-1, keepdim=True), above.int().argmax(-1, keepdim=True), last)


def exclude(logits: Tensor, forbidden: Tensor | None) -> Tensor:
    """Logits in float32 with what may not be generated removed *before* any softmax."""
    logits = logits.float()
    return logits if forbidden is None else logits.masked_fill(forbidden.to(logits.device), -torch.inf)


def draw_tokens(logits: Tensor, temperature: float, uniform: Tensor) -> Tensor:
    """argmax at temperature 0, else an exact draw from softmax(logits / temperature); [..., V], [...] -> [...]."""
    if temperature == 0:
        return logits.argmax(-1)
    return categorical((logits / temperature).softmax(-1), uniform)


def log_prob(logits: Tensor, tokens: Tensor) -> Tensor:
    """log softmax(logits) at `tokens`; [..., V], [...] -> [...]."""
    return logits.gather(-1, tokens[..., None]).squeeze(-1) - logits.logsumexp(-1)


def gumbel(uniform: Tensor) -> Tensor:
    """Standard Gumbel noise -log(-log u) of uniforms in [0, 1), finite throughout."""
    return -(-uniform.clamp(min=1e-20).log()).clamp(min=1e-20).log()
