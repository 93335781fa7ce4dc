"""Counter-based randomness: every draw is a pure function of what it is for.

A draw is keyed by (run seed, purpose, rollout, update, global sample index, ...), so neither rank, world size,
micro-batch split nor call order matters, and the global generators are never touched.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch


class Purpose(enum.IntEnum):
    """What a draw is for; part of its key."""

    ORDER = 1
    TOKEN = 2
    CONFIDENCE = 3
    MASK = 4
    PROMPT_MASK = 5
    RATIO = 6
    DROPOUT = 7
    SFT_TIME = 8
    SFT_MASK = 9
    INIT = 10
    REVEAL = 11
    DATA = 12
    EVALUATION = 13
    GLOBAL = 14
    REMASK = 15
    CONDITION = 16
    MIXTURE = 17


def generator(*key: int) -> np.random.Generator:
    """A Philox generator whose stream depends on `key` alone (non-negative integers)."""
    words = [len(key), *map(int, key)]  # a seed sequence pads with zeros: the length keeps (1,) and (1, 0) apart
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))


@dataclass(frozen=True)
class Noise:
    """The draws of a batch of samples: `key` is shared, `samples` are their global indices."""

    key: tuple[int, ...]
    samples: tuple[int, ...]

    def uniform(self, purpose: Purpose, *shape: int) -> torch.Tensor:
        """float32 in [0, 1), shape [B, *shape], on the CPU; row b depends on `samples[b]` only.

        A longer last dimension of a one-dimensional draw extends a shorter one.
        """
        rows = [generator(*self.key, purpose, sample).random(shape, dtype=np.float32) for sample in self.samples]
        return torch.from_numpy(np.stack(rows)) if rows else torch.zeros(0, *shape)

    def rows(self, index: Sequence[int]) -> Noise:
        """The noise of some of the samples."""
        return Noise(self.key, tuple(self.samples[i] for i in index))

    def seed(self, purpose: Purpose) -> int:
        """A 63-bit seed for a torch generator, for draws that a library makes itself (dropout)."""
        return int(generator(*self.key, purpose, *self.samples[:1]).integers(2**63 - 1))
