"""The model as a sampler sees it: logits at asked positions, with guidance."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from maskgrpo_cli.types import Canvas, Vocabulary


def unconditional_ids(canvas: Canvas) -> Tensor:
    """[B, S] the canvas without its condition: the unconditional prompt, the response as it stands."""
    ids = canvas.unconditional.ids.clone()
    ids[:, canvas.start : canvas.start + canvas.length] = canvas.response
    return ids


def joined_masks(canvas: Canvas) -> Tensor | None:
    """[2B, S] attention masks of the conditional rows, then the unconditional ones; None where nothing is padded."""
    masks = (canvas.attention_mask, canvas.unconditional.attention_mask)
    if masks[0] is None and masks[1] is None:
        return None
    return torch.cat([torch.ones_like(canvas.ids, dtype=torch.bool) if mask is None else mask for mask in masks])


class Denoiser:
    """Calls a model for logits over a vocabulary slice.

    With `guidance` w > 0 conditional and unconditional rows go through in one batch, and
    l = u + (w + 1)(c - u).
    """

    def __init__(self, model: nn.Module, vocabulary: Vocabulary, guidance: float = 0.0):
        self.model, self.guidance = model, guidance
        self.vocab = (vocabulary.first, vocabulary.last)

    @torch.no_grad()
    def __call__(self, canvas: Canvas, positions: Tensor) -> Tensor:
        """Logits [B, M, V] at `positions` [B, M]."""
        if not self.guidance:
            return self.model(
                input_ids=canvas.ids, attention_mask=canvas.attention_mask, positions=positions, vocab=self.vocab
            ).logits
        conditional, unconditional = self.model(
            input_ids=torch.cat([canvas.ids, unconditional_ids(canvas)]),
            attention_mask=joined_masks(canvas),
            positions=positions.repeat(2, 1),
            vocab=self.vocab,
        ).logits.chunk(2)
        return unconditional + (self.guidance + 1) * (conditional - unconditional)
