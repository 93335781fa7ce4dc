"""Log-probabilities of given tokens without holding the logits of a whole sequence."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers.utils import ModelOutput


@dataclass
class DenoiserOutput(ModelOutput):
    """What a denoiser answers; which fields are set depends on what was asked."""

    logits: Tensor | None = None  # [B, M, V]
    log_probs: Tensor | None = None  # [B, M] float32
    entropy: Tensor | None = None  # [B, M] float32, nats
    hidden_states: tuple[Tensor, ...] | None = None


def _chunk_log_probs(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """hidden [n, d], weight [V, d], targets [n] -> log-probabilities [n] and entropies [n], in float32."""
    logits = F.linear(hidden, weight).float()
    normaliser = logits.logsumexp(dim=-1)
    log_probs = logits.gather(-1, targets[:, None]).squeeze(-1) - normaliser
    with torch.no_grad():  # H = log Z - E[logit]
        probabilities = (logits - normaliser[:, None]).exp()
        entropy = normaliser - (probabilities * logits).sum(dim=-1)
    return log_probs, entropy


def token_log_probs(hidden: Tensor, weight: Tensor, targets: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """log softmax(hidden W^T) at `targets`, `chunk` positions at a time.

    The logits of a chunk are made again in the backward pass, so that peak memory is one chunk's.

    Args:
        hidden: [B, M, d]; weight: [V, d]; targets: [B, M] in [0, V).

    Returns:
        log-probabilities and entropies, both [B, M] float32; no gradient flows through the entropies.
    """
    flat, wanted = hidden.flatten(0, 1), targets.flatten()
    pieces = []
    for start in range(0, max(len(flat), 1), chunk):
        part = (flat[start : start + chunk], weight, wanted[start : start + chunk])
        if torch.is_grad_enabled() and len(flat) > chunk:
            pieces.append(checkpoint(_chunk_log_probs, *part, use_reentrant=False))
        else:
            pieces.append(_chunk_log_probs(*part))
    log_probs, entropy = (torch.cat(column) for column in zip(*pieces, strict=True))
    return log_probs.view(targets.shape), entropy.view(targets.shape)
