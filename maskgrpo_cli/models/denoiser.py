"""The model as a sampler and an estimator see it: canvases in, logits at asked positions out."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from maskgrpo_cli.types import Canvas, Memory, Vocabulary


def model_inputs(canvas: Canvas, positions: Tensor, guidance: float) -> dict:
    """Keyword arguments of a denoiser for a canvas; with guidance, its unconditional rows follow the others."""
    if not guidance:
        return {"input_ids": canvas.ids, "attention_mask": canvas.attention_mask, "positions": positions}
    without = canvas.unconditional
    ids = without.ids.clone()
    ids[:, canvas.start : canvas.start + canvas.length] = canvas.response
    masks = None
    if canvas.attention_mask is not None or without.attention_mask is not None:
        full = torch.ones_like(canvas.ids, dtype=torch.bool)
        masks = torch.cat([full if mask is None else mask for mask in (canvas.attention_mask, without.attention_mask)])
    return {
        "input_ids": torch.cat([canvas.ids, ids]),
        "attention_mask": masks,
        "positions": positions.repeat(2, 1),
        "guidance": guidance,
    }


class Denoiser:
    """Calls a model for logits over a vocabulary slice, with guidance in one batched forward pass."""

    def __init__(self, model: nn.Module, vocabulary: Vocabulary, guidance: float = 0.0):
        self.model, self.guidance = model, guidance
        self.vocab = (vocabulary.first, vocabulary.last)

    @torch.no_grad()
    def __call__(self, canvas: Canvas, positions: Tensor, memory: Memory | None = None) -> Tensor:
        """Logits [B, M, V] at `positions` [B, M]; see `maskgrpo_cli.types.Memory`."""
        inputs = model_inputs(canvas, positions, self.guidance)
        if memory is not None:
            inputs["memory"] = self._doubled(memory) if self.guidance else memory
        return self.model(**inputs, vocab=self.vocab).logits

    def _doubled(self, memory: Memory) -> Memory:
        """The memory as the model sees it: each row's unconditional twin follows, half the batch further on."""
        if memory.rows is None:
            return memory
        twins = memory.rows + len(memory.layers[0][0]) // 2
        return replace(memory, rows=torch.cat([memory.rows, twins]))

    def log_probs(self, canvas: Canvas, positions: Tensor, targets: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
        """Log-probabilities and entropies [B, M] of `targets` [B, M]; gradients flow if they are enabled."""
        inputs = model_inputs(canvas, positions, self.guidance)
        output = self.model(**inputs, targets=targets, vocab=self.vocab, logit_chunk=chunk)
        return output.log_probs, output.entropy
