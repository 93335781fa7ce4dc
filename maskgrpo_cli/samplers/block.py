"""LLaDA's semi-autoregressive block sampler: the most confident tokens of the current block first."""

from __future__ import annotations

import torch
from torch import Tensor

from maskgrpo_cli.noise import Noise, Purpose
from maskgrpo_cli.samplers.draw import draw_tokens, exclude
from maskgrpo_cli.samplers.ending import Ending
from maskgrpo_cli.samplers.schedules import reveal_counts, steps_per_block
from maskgrpo_cli.types import Canvas, Denoise, Observe, Vocabulary


def low_confidence(
    denoise: Denoise,
    canvas: Canvas,
    vocabulary: Vocabulary,
    noise: Noise,
    *,
    steps: int,
    block_length: int,
    temperature: float,
    stop_at_end: bool = False,
    observe: Observe | None = None,
) -> Tensor:
    """Reveal, at each step, the block's tokens in which the model is most confident.

    Args:
        denoise: logits at asked positions.
        canvas: prompts and a response of masks; known response tokens stay.
        vocabulary: what may be written.
        noise: the draws of these samples.
        steps: denoising steps over the whole response; each block gets max(1, floor(steps / blocks)).
        block_length: divides the response's length.
        temperature: 0 for argmax, else of the categorical that tokens are drawn from; confidence is the
            softmax probability of the token at temperature 1.
        stop_at_end: a row whose answer has ended is filled and leaves the batch.
        observe: called after each step.

    Returns:
        [B, L] the responses; the canvas is not changed.
    """
    device = canvas.ids.device
    blocks = canvas.length // block_length
    block_steps = steps_per_block(steps, blocks)
    ending = Ending(canvas, vocabulary, block_length, stop_at_end)
    forbidden = None if vocabulary.forbidden is None else vocabulary.forbidden.to(device)
    uniform = noise.uniform(Purpose.TOKEN, block_steps * blocks, canvas.length) if temperature else None
    for block in range(blocks):
        first = block * block_length
        current = ending.canvas
        span = current.ids[:, current.start + first : current.start + first + block_length]
        masked = span == vocabulary.mask_id
        left = masked.sum(-1).tolist()  # the only synchronisation of the block
        quotas = torch.tensor([reveal_counts(count, block_steps) for count in left]).view(-1, block_steps)
        for step in range(block_steps):
            quota, width = quotas[:, step], max(left, default=0)
            if width and int(quota.max()):
                columns = masked.int().argsort(dim=-1, descending=True, stable=True)[:, :width]
                logits = exclude(denoise(current, current.start + first + columns), forbidden)
                draws = None
                if uniform is not None:
                    at_step = uniform[ending.active, block * block_steps + step, first : first + block_length]
                    draws = at_step.to(device).gather(1, columns)
                tokens = draw_tokens(logits, temperature, draws)
                confidence = logits.gather(-1, tokens[..., None]).squeeze(-1) - logits.logsumexp(-1)
                confidence = confidence.masked_fill(~masked.gather(1, columns), -torch.inf)
                chosen = confidence.argsort(dim=-1, descending=True, stable=True)[:, : int(quota.max())]
                allowed = torch.arange(chosen.shape[1])[None] < quota[:, None]
                places, tokens = columns.gather(1, chosen), tokens.gather(1, chosen) + vocabulary.first
                allowed = allowed.to(device)
                span.scatter_(1, places, torch.where(allowed, tokens, span.gather(1, places)))
                masked.scatter_(1, places, masked.gather(1, places) & ~allowed)
                left = [count - int(used) for count, used in zip(left, quota, strict=True)]
            if observe:
                observe(block * block_steps + step, block_steps * blocks, ending.response())
        ending.close_block(block)
    return ending.response()
