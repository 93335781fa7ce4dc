"""Look-up-free quantisation (MAGVIT-v2, arXiv 2310.05737): a code is the signs of its channels.

Shapes: B pictures, C channels (bits of a code), h x w codes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LookupFreeQuantizer(nn.Module):
    """Channels to signs; channel 0 is the most significant bit. Its buffers are derived, and named as published."""

    def __init__(self, bits: int):
        super().__init__()
        powers = 2 ** torch.arange(bits - 1, -1, -1)
        signs = (torch.arange(2**bits)[:, None] & powers > 0).float() * 2 - 1
        self.register_buffer("power_vals", powers)
        self.register_buffer("embedding", signs)

    def codes(self, z: Tensor) -> Tensor:
        """z [B, C, h, w] -> codes [B, h w], row by row."""
        return ((z > 0).long() * self.power_vals[:, None, None]).sum(1).flatten(1)

    def entries(self, codes: Tensor, shape: tuple[int, int]) -> Tensor:
        """Codes [B, h w] -> signs [B, C, h, w]."""
        return self.embedding[codes].transpose(1, 2).unflatten(2, shape)

    def forward(self, z: Tensor) -> Tensor:
        """Signs [B, C, h, w], through which the gradient passes as if z itself had been returned."""
        return z + (torch.where(z > 0, 1.0, -1.0).to(z.dtype) - z).detach()


def quantizer_loss(z: Tensor, commitment: float = 0.25, weight: float = 0.1) -> Tensor:
    """weight (1 + commitment) mean((z_q - z)^2): channels are drawn to their signs, which have no gradient."""
    signs = torch.where(z > 0, 1.0, -1.0)
    return weight * (1 + commitment) * F.mse_loss(z, signs.to(z.dtype))


def entropy_loss(z: Tensor, weight: float = 0.1) -> Tensor:
    """weight (mean entropy of a bit - entropy of the mean bit): bits that are sure, and used alike.

    A bit is the two-point softmax with logits -(z - 1)^2 and -(z + 1)^2, whose difference is 4 z; its mean is taken
    over pictures and places.
    """
    logit = 4 * z.float()
    each = F.softplus(logit) - logit * logit.sigmoid()
    mean = logit.sigmoid().mean((0, 2, 3)).clamp(1e-6, 1 - 1e-6)  # a bit that never changes has a finite gradient
    together = -(mean * mean.log() + (1 - mean) * (1 - mean).log())
    return weight * (each.mean() - together.mean())
