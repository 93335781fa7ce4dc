"""Masking schedules k(t): the share of tokens still masked at time t, k(0) = 1, k(1) = 0."""

from __future__ import annotations

import math


def cosine(t: float) -> float:
    """cos(pi t / 2)."""
    return math.cos(math.pi * t / 2)


def linear(t: float) -> float:
    """1 - t."""
    return 1.0 - t


SCHEDULES = {"cosine": cosine, "linear": linear}


def reveal_counts(masked: int, steps: int) -> list[int]:
    """How many of `masked` tokens each of `steps` steps reveals: evenly, the remainder to the first steps."""
    share, rest = divmod(masked, steps)
    return [share + (step < rest) for step in range(steps)]


def steps_per_block(steps: int, blocks: int) -> int:
    """max(1, floor(steps / blocks))."""
    return max(1, steps // blocks)
