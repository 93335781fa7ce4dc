"""Intervals for shares."""

from __future__ import annotations

import math


def wilson(correct: float, total: int, z: float = 1.96) -> tuple[float, float]:
    """The Wilson score interval of a share: 95 % at z = 1.96, (0, 1) when nothing was counted.

    It stays inside [0, 1] and is wider than nothing at 0 and at `total`, where the normal interval collapses.
    """
    if total <= 0:
        return 0.0, 1.0
    share, weight = correct / total, z * z / total
    centre = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(share * (1 - share) / total + weight / (4 * total))
    return max(centre - half, 0.0), min(centre + half, 1.0)
