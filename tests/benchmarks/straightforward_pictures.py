"""The picture step of MaskGRPO written down plainly, to compare with: the same model, the same results.

Every forward pass makes float32 logits [B, S, V] of the whole sequence over the whole vocabulary, text included; with
gradients on, they are kept for the backward pass. What is no image code is taken out in one of two ways, which say
the same of an image token:

- `sliced`, as the published scripts have it: the image tokens' positions and codes are cut out of the full logits,
  and log-softmax is over them;
- `full`: everything but the image codes is at minus infinity, and log-softmax is over the whole vocabulary at every
  position.
"""

from __future__ import annotations

import torch
from torch import Tensor

from maskgrpo_cli.noise import Noise, Purpose
from maskgrpo_cli.samplers.draw import draw_tokens
from maskgrpo_cli.types import Canvas, Vocabulary


@torch.no_grad()
def emerge(model, canvas: Canvas, words: Vocabulary, noise: Noise, k, steps: int, guidance: float) -> Tensor:
    """[B, N] image tokens; the draws are those of the engine's sampler, one a token and one a token and step."""
    ids, without, span = canvas.ids.clone(), canvas.unconditional, slice(canvas.start, canvas.start + canvas.length)
    mask = torch.cat([canvas.attention_mask, without.attention_mask])
    token_draws = noise.uniform(Purpose.TOKEN, canvas.length)
    leave_draws = noise.uniform(Purpose.REVEAL, steps, canvas.length)
    for step in range(steps):
        twins = without.ids.clone()
        twins[:, span] = ids[:, span]
        logits = model(torch.cat([ids, twins]), mask).logits
        conditional, unconditional = logits[:, span, words.first : words.last].chunk(2)
        guided = (1 + guidance) * conditional - guidance * unconditional
        tokens = draw_tokens(guided, 1.0, token_draws) + words.first
        now, after = k(step / steps), k((step + 1) / steps)
        stays = after / now if step + 1 < steps else 0.0
        leaves = (ids[:, span] == words.mask_id) & (leave_draws[:, step] >= stays)
        ids[:, span] = torch.where(leaves, tokens, ids[:, span])
    return ids[:, span]


def log_probs(model, canvas: Canvas, noisy: Tensor, words: Vocabulary, way: str) -> Tensor:
    """log p of the canvas's image tokens [B, N] on its noisy copy [B, S], among the image codes."""
    logits = model(noisy, canvas.attention_mask).logits
    span = slice(canvas.start, canvas.start + canvas.length)
    if way == "sliced":
        told = logits[:, span, words.first : words.last].log_softmax(-1)
        return told.gather(-1, canvas.response[..., None] - words.first).squeeze(-1)
    logits[..., : words.first] = -torch.inf
    logits[..., words.last :] = -torch.inf
    return logits.log_softmax(-1)[:, span].gather(-1, canvas.response[..., None]).squeeze(-1)
