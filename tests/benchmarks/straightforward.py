"""MaskGRPO written down plainly, as the published scripts have it, to compare with: the same model, the same results.

Logits of the whole sequence at every denoising step, a loop over the rows to choose tokens, full-width
log-softmax of whole sequences while scoring.
"""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def rollout(
    model,
    ids: Tensor,
    start: int,
    mask_id: int,
    forbidden: Tensor,
    steps: int,
    block_length: int,
    stop: int | None = None,
) -> Tensor:
    """Greedy low-confidence decoding of ids [B, S] from `start` on; `stop` ends it after so many steps."""
    ids = ids.clone()
    blocks = (ids.shape[1] - start) // block_length
    block_steps = max(1, steps // blocks)
    share, rest = divmod(block_length, block_steps)
    done = 0
    for block in range(blocks):
        end = start + (block + 1) * block_length
        for step in range(block_steps):
            logits = model(ids).logits
            logits[..., forbidden] = -torch.inf
            tokens = logits.argmax(-1)
            confidence = torch.softmax(logits, dim=-1).gather(-1, tokens[..., None]).squeeze(-1)
            masked = ids == mask_id
            masked[:, end:] = False
            confidence = torch.where(masked, confidence, -torch.inf)
            for row in range(len(ids)):
                chosen = confidence[row].topk(share + (step < rest)).indices
                ids[row, chosen] = tokens[row, chosen]
            done += 1
            if done == stop:
                return ids
    return ids


def log_probs(model, noisy: Tensor, targets: Tensor, start: int) -> Tensor:
    """log softmax(logits(noisy)) at the targets [B, L], through the logits of the whole sequence."""
    logits = model(noisy).logits[:, start:]
    return logits.log_softmax(-1).gather(-1, targets[..., None]).squeeze(-1)


def loss(
    new: Tensor, old: Tensor, reference: Tensor, advantages: Tensor, mask: Tensor, clip: float, beta: float
) -> Tensor:
    """The clipped loss with the k3 KL, averaged over the update's own mask; all [B, L], advantages [B]."""
    ratio, advantage = (new - old).exp(), advantages[:, None]
    gain = torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)
    away = reference - new
    return ((beta * (away.exp() - away - 1) - gain) * mask).sum() / mask.sum()


def old_and_reference(model, reference, noisy: list[Tensor], targets: Tensor, start: int) -> tuple[Tensor, Tensor]:
    """Log-probabilities [mu, B, L] of both policies on the noisy copies [B, S], one copy at a time."""
    with torch.no_grad():
        old = torch.stack([log_probs(model, copy, targets, start) for copy in noisy])
        return old, torch.stack([log_probs(reference, copy, targets, start) for copy in noisy])


def logit_bytes(batch: int, sequence: int, vocabulary: int, copies: int = 1) -> int:
    """float32 bytes of the logits of whole sequences, `copies` masks in one batch."""
    return 4 * batch * sequence * vocabulary * copies
