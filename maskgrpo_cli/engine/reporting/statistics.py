"""Intervals and tests: of shares and means of one evaluation, and of two on the same problems.

Problems are drawn anew in thought, completions are not: whatever is counted several times within a problem (samples,
cells) is one cluster, so that more samples of the same problems never pass for more problems.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

FLIPS = 10_000  # sign flips drawn where they cannot all be counted
COUNTABLE = 100_000  # the largest sum whose flips are counted
RESAMPLES = 10_000  # draws of a bootstrap


def wilson(correct: float, total: float, z: float = 1.96) -> tuple[float, float]:
    """The Wilson score interval of a share: 95 % at z = 1.96, (0, 1) when nothing was counted.

    It stays inside [0, 1] and is wider than nothing at 0 and at `total`, where the normal interval collapses.
    """
    if total <= 0:
        return 0.0, 1.0
    share, weight = correct / total, z * z / total
    centre = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(share * (1 - share) / total + weight / (4 * total))
    return max(centre - half, 0.0), min(centre + half, 1.0)


def share_interval(right: Sequence[float], of: Sequence[float]) -> tuple[float, float]:
    """The 95 % Wilson interval of sum(right) / sum(of) over problems, at the effective sample size.

    The size is p (1 - p) / Var(p), with the linearised variance of a ratio over clusters (Korn and Graubard, Survey
    Methodology 24, 1998); at most sum(of), and the number of problems where all or nothing is right and the variance
    says nothing. One completion per problem makes it the plain Wilson interval.

    Args:
        right: what is right in each problem, in [0, of].
        of: what is counted in each problem.
    """
    right, of = np.asarray(right, dtype=float), np.asarray(of, dtype=float)
    total = of.sum()
    if total <= 0:
        return 0.0, 1.0
    share = min(max(right.sum() / total, 0.0), 1.0)
    variance = float(((right - share * of) ** 2).sum()) / total**2
    size = float((of > 0).sum())
    if 1e-12 < share < 1 - 1e-12:
        spread = share * (1 - share)
        size = min(spread / variance, total) if variance * total > spread else float(total)
    return wilson(share * size, size)


def pass_at_k(n: int, correct: int, k: int) -> float:
    """The unbiased estimate of pass@k, 1 - C(n-c, k) / C(n, k), from n samples of which c are right.

    Exact in integers before one rounding (Chen et al. 2021, arXiv 2107.03374, equation 1). Raises ValueError unless
    1 <= k <= n and 0 <= c <= n.
    """
    if not (1 <= k <= n and 0 <= correct <= n):
        raise ValueError(f"pass@{k} of {correct} right among {n}")
    ways = math.comb(n, k)
    return (ways - math.comb(n - correct, k)) / ways


# --- two evaluations of the same problems ---------------------------------------------------------------


def mcnemar(only_a: int, only_b: int) -> float:
    """The two-sided exact p-value of McNemar's test: the discordant pairs against a fair coin."""
    pairs, fewer = only_a + only_b, min(only_a, only_b)
    tail = sum(math.comb(pairs, i) for i in range(fewer + 1))
    return min(1.0, 2 * tail / 2**pairs)


def sign_flip(differences: Sequence[float]) -> float:
    """The two-sided p-value of a paired permutation test: the sum of differences under random signs.

    Whole numbers are counted out exactly, as McNemar's test does for +1 and -1; otherwise (and where they are large)
    10,000 draws, always the same ones, with the observed one among them.
    """
    values = np.asarray([value for value in differences if value], dtype=float)
    if not len(values):
        return 1.0
    observed, largest = abs(values.sum()), np.abs(values).sum()
    if (values == values.round()).all() and largest <= COUNTABLE:
        return _counted(np.abs(values).astype(int), int(observed))
    draw, reached = np.random.default_rng(0), 1
    for _ in range(FLIPS // 100):
        signs = draw.integers(0, 2, (100, len(values))) * 2 - 1
        reached += int((np.abs(signs @ values) >= observed - 1e-12 * largest).sum())
    return reached / (FLIPS + 1)


def _counted(sizes: np.ndarray, observed: int) -> float:
    """P(|sum of +-sizes| >= observed), by the distribution of the part of the sum that gets a plus."""
    whole = int(sizes.sum())
    chance = np.zeros(whole + 1)
    chance[0] = 1.0
    for size in sizes:
        chance[size:] = (chance[size:] + chance[:-size]) / 2
        chance[:size] /= 2
    sums = np.abs(2 * np.arange(whole + 1) - whole)
    return min(1.0, float(chance[sums >= observed].sum()))


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the mean over problems: quantiles of 10,000 bootstrap means, always of the same draws.

    Args:
        values: one number a problem, of any scale. A single one has no interval but itself.
    """
    values = np.asarray(values, dtype=float)
    draw, size = np.random.default_rng(0), len(values)
    means = np.concatenate(
        [values[draw.integers(0, size, (RESAMPLES // 100, size))].mean(1) for _ in range(100)]
    )
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def difference_interval(
    a: Sequence[float], b: Sequence[float], of: Sequence[float]
) -> tuple[float, float, float]:
    """The difference of two shares of the same problems, b - a, with its 95 % interval.

    Newcombe's square-and-add interval for paired shares: the `share_interval` of both sides, and the correlation of
    their problems. For one completion per problem it is his method 10, whose correlation has a continuity correction
    (Statistics in Medicine 17, 1998, 2635); otherwise the same with clusters (Zou and Donner, ibid. 27, 2008, 1693).

    Args:
        a, b: what is right in each problem, in [0, of].
        of: what is counted in each problem.

    Returns:
        (difference, low, high)
    """
    a, b, of = (np.asarray(values, dtype=float) for values in (a, b, of))
    total = of.sum()
    if total <= 0:
        return 0.0, -1.0, 1.0
    share_a, share_b = a.sum() / total, b.sum() / total
    (low_a, high_a), (low_b, high_b) = share_interval(a, of), share_interval(b, of)
    rest_a, rest_b = a - share_a * of, b - share_b * of
    scale = math.sqrt(float((rest_a**2).sum() * (rest_b**2).sum()))
    product = float((rest_a * rest_b).sum())
    if product > 0 and (of == 1).all() and np.isin([a, b], (0, 1)).all():
        product = max(product - 0.5, 0.0)
    together = product / scale if scale > 1e-12 else 0.0
    below = _hypotenuse(share_b - low_b, high_a - share_a, together)
    above = _hypotenuse(high_b - share_b, share_a - low_a, together)
    difference = share_b - share_a
    return float(difference), max(float(difference - below), -1.0), min(float(difference + above), 1.0)


def _hypotenuse(x: float, y: float, correlation: float) -> float:
    return math.sqrt(max(x * x - 2 * correlation * x * y + y * y, 0.0))
