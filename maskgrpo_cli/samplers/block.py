"""LLaDA's semi-autoregressive block sampler: the most confident tokens of the current block first."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from maskgrpo_cli.noise import Noise, Purpose
from maskgrpo_cli.samplers.draw import draw_tokens, exclude, log_prob
from maskgrpo_cli.samplers.ending import Ending, on_device
from maskgrpo_cli.samplers.recall import Recall
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
    cache: str = "none",
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
        cache: none, prefix or dual: see `samplers.recall`.
        stop_at_end: a row whose answer has ended is filled and leaves the batch.
        observe: called after each step.

    Returns:
        [B, L] the responses; the canvas is not changed.
    """
    return confidence_threshold(
        denoise, canvas, vocabulary, noise, steps=steps, block_length=block_length, temperature=temperature,
        threshold=math.inf, cache=cache, stop_at_end=stop_at_end, observe=observe,
    )  # fmt: skip


def confidence_threshold(
    denoise: Denoise,
    canvas: Canvas,
    vocabulary: Vocabulary,
    noise: Noise,
    *,
    steps: int,
    block_length: int,
    temperature: float,
    threshold: float,
    cache: str = "none",
    stop_at_end: bool = False,
    observe: Observe | None = None,
) -> Tensor:
    """As `low_confidence`, but a step reveals every token with a confidence above `threshold` too; [B, L].

    So a block takes fewer passes where the model is sure (Fast-dLLM, arXiv 2505.22618, section 3.3): a row is
    computed only while its block has masks left. A step reveals at least as many tokens as the schedule says.
    """
    blocks = canvas.length // block_length
    block_steps = steps_per_block(steps, blocks)
    ending = Ending(canvas, vocabulary, block_length, stop_at_end)
    device = canvas.ids.device
    vocabulary = on_device(vocabulary, device)
    uniform = noise.uniform(Purpose.TOKEN, block_steps * blocks, canvas.length) if temperature else None
    recall = Recall(denoise, cache)
    for number in range(blocks):
        current = ending.canvas
        block = Block(current, number * block_length, block_length, block_steps, vocabulary)
        recall.begin(current, block.first, block_length)
        for step in range(block_steps):
            rows = block.unfinished(step)
            if rows is None or len(rows):
                columns = block.masked_columns(rows)
                there = None if rows is None else rows.to(device)  # once: a cache indexes with it in every layer
                logits = exclude(recall(current, there, current.start + block.first + columns), vocabulary.forbidden)
                draws = None
                if uniform is not None:
                    samples = _of(ending.active, rows)
                    at_step = uniform[samples, number * block_steps + step, block.first : block.first + block_length]
                    draws = at_step.to(device).gather(1, columns)
                tokens = draw_tokens(logits, temperature, draws)
                confidence = log_prob(logits, tokens)
                block.reveal(rows, columns, tokens + vocabulary.first, confidence, step, threshold)
            if observe:
                observe(number * block_steps + step, block_steps * blocks, ending.response())
        ending.close_block(number)
    return ending.response()


class Block:
    """The block that is being written: what is masked in it, and how many tokens each step is to reveal."""

    def __init__(
        self,
        canvas: Canvas,
        first: int,
        length: int,
        steps: int,
        vocabulary: Vocabulary,
        counts: Callable[[int, int], list[int]] = reveal_counts,
    ):
        self.first, self.length = first, length
        start = canvas.start + first
        self._tokens = canvas.ids[:, start : start + length]  # a view: what is revealed stands in the canvas
        self._masked = self._tokens == vocabulary.mask_id
        self._left = self._masked.sum(-1).cpu()  # the only synchronisation of the block, unless there is a threshold
        self._quota = torch.tensor([counts(count, steps) for count in self._left.tolist()]).view(-1, steps)

    def unfinished(self, step: int) -> Tensor | None:
        """The rows of which the step is to reveal something, on the CPU; None for all of them."""
        busy = (self._left > 0) & (self._quota[:, step] > 0)
        return None if len(busy) and bool(busy.all()) else busy.nonzero().squeeze(-1)

    def masked_columns(self, rows: Tensor | None) -> Tensor:
        """[R, M] the masked places of the block, in order; where a row has fewer than M, others follow."""
        width = int(self._left.max())
        return _of(self._masked, rows).int().argsort(dim=-1, descending=True, stable=True)[:, :width]

    def reveal(
        self,
        rows: Tensor | None,
        columns: Tensor,
        tokens: Tensor,
        confidence: Tensor,
        step: int,
        threshold: float = math.inf,
    ) -> None:
        """Write the step's quota of tokens, the most confident ones, and every token above the threshold.

        Args:
            columns, tokens, confidence: [R, M]; log-probabilities where there is a threshold.
        """
        exact = threshold >= 1  # no probability is above it
        masked, written = _of(self._masked, rows), _of(self._tokens, rows)
        quota = _of(self._quota, rows)[:, step]
        most = int(quota.max()) if exact else columns.shape[1]
        confidence, order = confidence.masked_fill(~masked.gather(1, columns), -torch.inf).sort(
            dim=-1, descending=True, stable=True
        )
        confidence, order = confidence[:, :most], order[:, :most]
        chosen = (torch.arange(most)[None] < quota[:, None]).to(columns.device)
        if not exact:
            chosen = (chosen & confidence.isfinite()) | (confidence > math.log(threshold))
        places, tokens = columns.gather(1, order), tokens.gather(1, order)
        written.scatter_(1, places, torch.where(chosen, tokens, written.gather(1, places)))
        masked.scatter_(1, places, masked.gather(1, places) & ~chosen)
        if rows is not None:
            self._tokens[rows], self._masked[rows] = written, masked
        self._left = self._left - self._quota[:, step] if exact else self._masked.sum(-1).cpu()


def _of(values: Tensor, rows: Tensor | None) -> Tensor:
    return values if rows is None else values[rows]
