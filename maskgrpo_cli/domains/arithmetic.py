"""Chains of arithmetic with every number in 0..20, and the split that each of them belongs to.

A chain is what a word problem asks to work out: `3+4=7;7-2=5`. The splits are disjoint by construction, and
strictly so: every two consecutive steps of a chain (its windows) are hashed to a split, and a chain belongs
to a split only if all its windows do. So no two consecutive steps of a test problem ever occur in a training
problem, be it longer or shorter and whatever its story. Single steps (`3+4=7`) do occur everywhere: they are
the tables that a model has to know.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

LARGEST = 20
_OPERAND = 9  # the largest that is added or subtracted
SPLITS = ("train", "validation", "test")
_HELD_OUT = {"validation": 0.12, "test": 0.12}  # shares of the windows; train has the rest


@dataclass(frozen=True)
class Step:
    """One equation, `left op right = result`, all within 0..20."""

    left: int
    op: str  # one of + - * /
    right: int

    @property
    def result(self) -> int:
        """The value of the right-hand side."""
        if self.op == "/":
            return self.left // self.right
        signed = -self.right if self.op == "-" else self.right
        return self.left * self.right if self.op == "*" else self.left + signed

    def __str__(self) -> str:
        return f"{self.left}{self.op}{self.right}={self.result}"

    @property
    def canonical(self) -> str:
        """The step with the operands of + and * in order, so that 3+4 and 4+3 count as one."""
        left, right = sorted((self.left, self.right)) if self.op in "+*" else (self.left, self.right)
        return f"{left}{self.op}{right}={self.result}"


Chain = tuple[Step, ...]


class Draws(random.Random):
    """Random choices built on `random()` alone, whose values Python keeps from version to version."""

    @classmethod
    def of(cls, *key: object) -> Draws:
        """The draws that belong to a key, independent of those of any other key."""
        digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
        return cls(int.from_bytes(digest, "big"))

    def among(self, options):
        """One of a sequence, all equally likely."""
        return options[int(self.random() * len(options))]

    def between(self, low: int, high: int) -> int:
        """An integer from low to high, both included."""
        return low + int(self.random() * (high - low + 1))


def windows(chain: Chain) -> list[str]:
    """Every two consecutive steps of a chain, in canonical form."""
    return [f"{first.canonical};{second.canonical}" for first, second in pairwise(chain)]


@lru_cache(maxsize=100_000)
def split_of(window: str) -> str:
    """The split that a window belongs to, by a hash that never changes."""
    place = int.from_bytes(hashlib.blake2b(window.encode(), digest_size=8).digest(), "big") / 2**64
    for split, share in _HELD_OUT.items():
        if place < share:
            return split
        place -= share
    return "train"


def chain_for(split: str, draws: Draws) -> Chain:
    """A chain of two or three steps (equally often) of which every window belongs to `split`."""
    length = draws.between(2, 3)
    while True:
        chain = _random_chain(length, draws)
        if all(split_of(window) == split for window in windows(chain)):
            return chain


def _random_chain(length: int, draws: Draws) -> Chain:
    steps: list[Step] = []
    value = draws.between(2, 20)
    for _ in range(length):
        step = _random_step(value, draws)
        steps.append(step)
        value = step.result
        if value == 0:  # nothing to go on with: start again unless this was the last step
            break
    return tuple(steps) if len(steps) == length else _random_chain(length, draws)


def _random_step(value: int, draws: Draws) -> Step:
    """A step from `value` (at least 1) that stays within 0..20; mostly sums and differences."""
    options: list[tuple[str, int, int]] = []  # operation, least and largest operand
    if value < LARGEST:
        options += [("+", 1, min(_OPERAND, LARGEST - value))] * 3
    options += [("-", 1, min(_OPERAND, value))] * 3
    options += [("*", factor, factor) for factor in (2, 3, 4) if value * factor <= LARGEST]
    options += [("/", part, part) for part in (2, 3, 4) if value % part == 0]
    op, low, high = draws.among(options)
    return Step(value, op, draws.between(low, high))
