"""Keys and values remembered within a block (Fast-dLLM, arXiv 2505.22618): faster, and no longer exact."""

from __future__ import annotations

from torch import Tensor

from maskgrpo_cli.types import Canvas, Denoise, Memory

CACHES = ("none", "prefix", "dual")


class Recall:
    """Denoises the block being written, with what is remembered of the columns around it.

    none: nothing is remembered, every pass is over the whole canvas.
    prefix: from a block's second pass on, what stands before the block is remembered.
    dual: so is what follows the block; a pass computes the block's own columns only.

    Each block starts with a pass over everything.
    """

    def __init__(self, denoise: Denoise, cache: str):
        self._denoise, self._cache = denoise, cache
        self._memory: Memory | None = None
        self._window = slice(None)

    def begin(self, canvas: Canvas, first: int, length: int) -> None:
        """A block begins: `length` columns of the response from `first` on; what was remembered is forgotten."""
        start = canvas.start + first
        self._window = slice(start, canvas.ids.shape[1] if self._cache == "prefix" else start + length)
        self._memory = None if self._cache == "none" else Memory()

    def __call__(self, canvas: Canvas, rows: Tensor | None, positions: Tensor) -> Tensor:
        """Logits [R, M, V] at columns `positions` [R, M] of the block, for some rows of the canvas (None: all).

        A block's first pass with a cache is over all rows, whatever is asked, so that each is remembered.
        """
        memory = self._memory
        if memory is None:
            return self._denoise(canvas if rows is None else canvas.rows(rows), positions)
        if not memory.layers:
            everywhere = positions
            if rows is not None:
                everywhere = positions[:1].expand(len(canvas.ids), -1).clone()
                everywhere[rows] = positions
            logits = self._denoise(canvas, everywhere, memory)
            memory.window = self._window
            return logits if rows is None else logits[rows]
        memory.rows = rows
        return self._denoise(canvas if rows is None else canvas.rows(rows), positions, memory)
