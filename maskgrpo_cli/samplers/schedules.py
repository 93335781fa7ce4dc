"""Masking schedules k(t): the share of tokens still masked at time t, k(0) = 1, k(1) = 0."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch

from maskgrpo_cli.errors import UserError

Schedule = Callable[[float], float]
_POWER = re.compile(r"pow(\d+(?:\.\d+)?)")


def cosine(t: float) -> float:
    """cos(pi t / 2)."""
    return math.cos(math.pi * t / 2)


def linear(t: float) -> float:
    """1 - t."""
    return 1.0 - t


def power(t: float, exponent: float) -> float:
    """1 - t^P."""
    return 1.0 - t**exponent


def sigmoid(t: float, start: float = -3.0, end: float = 3.0, tau: float = 1.0) -> float:
    """(s(end) - s(start + t (end - start))) / (s(end) - s(start)), s(x) = 1 / (1 + exp(-x / tau))."""
    low, now, high = (1 / (1 + math.exp(-x / tau)) for x in (start, start + t * (end - start), end))
    return (high - now) / (high - low)


SCHEDULES: dict[str, Schedule] = {"cosine": cosine, "linear": linear, "sigmoid": sigmoid}


def schedule(name: str) -> Schedule:
    """k by its name: cosine, linear, sigmoid, or powP with an exponent P > 0 (pow2, pow0.5).

    Raises:
        UserError: there is no such schedule.
    """
    if name in SCHEDULES:
        return SCHEDULES[name]
    written = _POWER.fullmatch(name)
    if written and float(written[1]) > 0:
        return partial(power, exponent=float(written[1]))
    raise UserError(
        f"schedule '{name}' is unknown; write {', '.join(SCHEDULES)}, or pow with an exponent above 0 (pow2, pow0.5)"
    )


def stay_probabilities(k: Schedule, steps: int) -> torch.Tensor:
    """[steps] with what probability a masked token is still masked after step s: k((s+1)/T) / k(s/T), at last 0."""
    shares = [k(step / steps) for step in range(steps)]  # a small exponent rounds to 0 before t = 1
    return torch.tensor([now and after / now for now, after in pairwise(shares)] + [0.0])


def masked_quota(k: Schedule, length: int, t: float) -> int:
    """floor(N k(t)) of N tokens.

    In float32, as quotas were published: where N k(t) is a whole number (N cos(pi/3)), one less may come out.
    """
    share = torch.tensor(k(torch.tensor(t).item()), dtype=torch.float32)
    return int((length * share).floor())


def quota_counts(masked: int, steps: int, length: int, k: Schedule) -> list[int]:
    """How many of `masked` tokens each step reveals where max(1, min(unknown - 1, floor(N k((s+1)/T)))) stay masked.

    The last step reveals what is left. A single token is left for it.
    """
    counts = []
    for step in range(1, steps):
        stay = max(1, min(masked - 1, masked_quota(k, length, step / steps)))
        counts.append(max(0, masked - stay))
        masked -= counts[-1]
    return [*counts, masked]


def reveal_counts(masked: int, steps: int) -> list[int]:
    """How many of `masked` tokens each of `steps` steps reveals: evenly, the remainder to the first steps."""
    share, rest = divmod(masked, steps)
    return [share + (step < rest) for step in range(steps)]


def steps_per_block(steps: int, blocks: int) -> int:
    """max(1, floor(steps / blocks))."""
    return max(1, steps // blocks)
