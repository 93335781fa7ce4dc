"""Log-probabilities of given tokens without holding the logits of a whole sequence."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from transformers.utils import ModelOutput


@dataclass
class DenoiserOutput(ModelOutput):
    """What a denoiser answers; which fields are set depends on what was asked."""

    logits: Tensor | None = None  # [B, M, V]
    log_probs: Tensor | None = None  # [B, M] float32
    entropy: Tensor | None = None  # [B, M] float32, nats
    hidden_states: tuple[Tensor, ...] | None = None


def token_log_probs(hidden: Tensor, weight: Tensor, targets: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """log softmax(hidden W^T) at `targets`, `chunk` positions at a time, forwards and backwards.

    Args:
        hidden: [B, M, d]; weight: [V, d]; targets: [B, M] in [0, V).

    Returns:
        log-probabilities and entropies, both [B, M] float32; no gradient flows through the entropies.
    """
    device = hidden.device.type
    if torch.is_autocast_enabled(device):  # as a linear layer would; all that follows the logits is float32
        hidden, weight = (x.to(torch.get_autocast_dtype(device)) for x in (hidden, weight))
    with torch.autocast(device, enabled=False):
        log_probs, entropy = _TokenLogProbs.apply(hidden.flatten(0, 1), weight, targets.flatten(), chunk)
    return log_probs.view(targets.shape), entropy.view(targets.shape)


class _TokenLogProbs(torch.autograd.Function):
    """hidden [n, d], weight [V, d], targets [n] -> log-probabilities [n] and entropies [n].

    The logits of a chunk are made again in the backward pass, and turned into their gradient in place: two
    buffers of one chunk's logits are all that ever exists.
    """

    @staticmethod
    def forward(ctx, hidden: Tensor, weight: Tensor, targets: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
        log_probs, entropy, normaliser = torch.empty(3, len(hidden), device=hidden.device).unbind()
        for start in range(0, len(hidden), chunk):
            rows = slice(start, start + chunk)
            logits = F.linear(hidden[rows], weight).float()
            highest = logits.amax(dim=-1, keepdim=True)
            weights = (logits - highest).exp_()
            total = weights.sum(dim=-1)
            normaliser[rows] = highest.squeeze(-1) + total.log()
            log_probs[rows] = logits.gather(-1, targets[rows, None]).squeeze(-1) - normaliser[rows]
            mean_logit = torch.bmm(weights[:, None], logits[:, :, None]).flatten() / total
            entropy[rows] = normaliser[rows] - mean_logit  # H = log Z - E[logit]
        ctx.save_for_backward(hidden, weight, targets, normaliser)
        ctx.chunk = chunk
        ctx.mark_non_differentiable(entropy)
        return log_probs, entropy

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor, _entropy: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        hidden, weight, targets, normaliser = ctx.saved_tensors
        for_hidden, for_weight = ctx.needs_input_grad[:2]
        d_hidden = torch.empty_like(hidden) if for_hidden else None
        d_weight = torch.zeros_like(weight, dtype=torch.float32) if for_weight else None
        for start in range(0, len(hidden), ctx.chunk):
            rows = slice(start, start + ctx.chunk)
            # d log p(t) / d logit(v) = [v = t] - p(v)
            d_logits = F.linear(hidden[rows], weight).float().sub_(normaliser[rows, None]).exp_()
            d_logits.mul_(-gradient[rows, None]).scatter_add_(1, targets[rows, None], gradient[rows, None])
            d_logits = d_logits.to(weight.dtype)
            if for_hidden:
                d_hidden[rows] = d_logits @ weight
            if for_weight and weight.dtype == torch.float32:
                d_weight.addmm_(d_logits.T, hidden[rows])
            elif for_weight:
                d_weight += d_logits.T @ hidden[rows]
        return d_hidden, None if d_weight is None else d_weight.to(weight.dtype), None, None
