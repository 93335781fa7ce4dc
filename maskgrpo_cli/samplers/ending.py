"""Which rows of a batch are still being written, block by block."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from maskgrpo_cli.types import Canvas, Vocabulary


def working_copy(canvas: Canvas) -> Canvas:
    """A canvas to write in: the caller's ids are never written to."""
    return replace(canvas, ids=canvas.ids.clone())


def on_device(vocabulary: Vocabulary, device: torch.device) -> Vocabulary:
    """The vocabulary with what it forbids on the device: moved once, not at every step."""
    forbidden = vocabulary.forbidden
    return vocabulary if forbidden is None else replace(vocabulary, forbidden=forbidden.to(device))


class Ending:
    """A working copy of a canvas from which rows leave once their answer has ended.

    A row whose block holds an end token is finished: later blocks cannot change its answer, so its rest is
    filled (never masked) and the batch goes on without it. Without `stop_at_end` every row stays to the end.
    """

    def __init__(self, canvas: Canvas, vocabulary: Vocabulary, block_length: int, stop_at_end: bool):
        self.canvas = working_copy(canvas)
        self.active = torch.arange(len(canvas.ids))  # rows of the caller's batch, on the CPU
        self._vocabulary, self._block_length = vocabulary, block_length
        self._stops = stop_at_end and vocabulary.fill_id is not None and bool(vocabulary.end_ids)
        self._finished = canvas.ids.clone() if self._stops else None

    def response(self) -> Tensor:
        """[B, L] of the whole batch, finished rows included (a copy)."""
        if self._finished is None:
            return self.canvas.response.clone()
        whole = self._finished.clone()
        whole[self.active.to(whole.device)] = self.canvas.ids
        return whole[:, self.canvas.start : self.canvas.start + self.canvas.length]

    def close_block(self, block: int) -> None:
        """After the last step of `block`: let finished rows leave the batch."""
        if not self._stops or not len(self.active):
            return
        end = self.canvas.start + (block + 1) * self._block_length
        written = self.canvas.ids[:, end - self._block_length : end]
        ended = torch.isin(written, torch.tensor(self._vocabulary.end_ids, device=written.device)).any(-1)
        gone = ended.cpu()  # one synchronisation per block
        if not gone.any():
            return
        final = self.canvas.ids[ended]
        rest = final[:, end : self.canvas.start + self.canvas.length]
        rest[rest == self._vocabulary.mask_id] = self._vocabulary.fill_id
        self._finished[self.active[gone].to(final.device)] = final
        self.canvas, self.active = self.canvas.rows(~ended), self.active[~gone]
