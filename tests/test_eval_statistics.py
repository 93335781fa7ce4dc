"""Intervals and tests: against enumeration, against published values, and for what they must never claim."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskgrpo_cli.engine.evaluation_results import pass_at
from maskgrpo_cli.engine.reporting.statistics import (
    difference_interval,
    mcnemar,
    pass_at_k,
    share_interval,
    sign_flip,
    wilson,
)

# --- pass@k -----------------------------------------------------------------------------------------------


@given(st.integers(1, 9), st.data())
def test_pass_at_k_is_the_share_of_draws_that_hold_a_right_one(n, data):
    correct, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    draws = list(itertools.combinations([True] * correct + [False] * (n - correct), k))
    assert pass_at_k(n, correct, k) == pytest.approx(sum(map(any, draws)) / len(draws), abs=1e-15)


def test_pass_at_k_by_hand_and_far_beyond_floats():
    assert pass_at_k(4, 1, 2) == 0.5 and pass_at_k(5, 0, 5) == 0.0 and pass_at_k(5, 1, 5) == 1.0
    assert pass_at_k(10_000, 1, 100) == pytest.approx(0.01, rel=1e-15)  # k / n; binomials of 10^241
    assert pass_at_k(10_000, 1, 1) == 1e-4


@pytest.mark.parametrize(("n", "correct", "k"), [(4, 1, 5), (4, 1, 0), (4, 5, 1), (4, -1, 1)])
def test_pass_at_k_refuses_what_makes_no_sense(n, correct, k):
    with pytest.raises(ValueError, match=f"pass@{k}"):
        pass_at_k(n, correct, k)


def test_pass_at_k_is_unbiased():
    """Over all outcomes of n independent samples its mean is 1 - (1 - p)^k."""
    n, p = 6, 0.3
    for k in range(1, n + 1):
        mean = sum(math.comb(n, c) * p**c * (1 - p) ** (n - c) * pass_at_k(n, c, k) for c in range(n + 1))
        assert mean == pytest.approx(1 - (1 - p) ** k, abs=1e-12)


def test_the_mean_over_problems():
    found = pass_at([0, 1, 2, 4], samples=4, k=2)
    assert found["value"] == pytest.approx((0 + 1 / 2 + 5 / 6 + 1) / 4)
    low, high = found["interval"]
    assert 0 < low < found["value"] < high < 1


# --- intervals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("correct", "total", "low", "high"), [  # Newcombe 1998 (Statistics in Medicine 17, 857)
    (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0000, 0.1611), (1, 29, 0.0061, 0.1718)])
def test_wilson_as_published(correct, total, low, high):
    assert wilson(correct, total) == pytest.approx((low, high), abs=5e-5)


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(1, 8))
def test_one_completion_makes_it_wilsons_and_the_same_one_again_says_nothing_more(right, copies):
    expected = wilson(sum(right), len(right))
    assert share_interval(right, [1] * len(right)) == pytest.approx(expected, abs=1e-12)
    repeated = share_interval([copies * one for one in right], [copies] * len(right))
    assert repeated == pytest.approx(expected, abs=1e-9)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=40))
def test_an_interval_holds_its_share_and_stays_in_range(pairs):
    right, of = [min(pair) for pair in pairs], [max(pair) for pair in pairs]
    low, high = share_interval(right, of)
    share = sum(right) / sum(of) if sum(of) else 0.5
    assert 0 <= low <= share + 1e-12 and share - 1e-12 <= high <= 1 and low < high
    wide, narrow = wilson(share * len(of), len(of)), wilson(sum(right), sum(of))
    assert high - low >= narrow[1] - narrow[0] - 1e-9  # never surer than independent counts
    if len(set(of)) == 1 and of[0]:
        assert high - low <= wide[1] - wide[0] + 1e-9  # never less sure than one count a problem


def test_nothing_was_counted():
    assert share_interval([], []) == (0.0, 1.0) and share_interval([0], [0]) == (0.0, 1.0)


@pytest.mark.parametrize(("alpha", "beta"), [(0.3, 0.3), (5, 1), (0.5, 8)])
def test_the_interval_covers(alpha, beta):
    """Problems of a known mean difficulty, 64 of them, four samples each: at least 92 % of 95 % intervals hold it."""
    draw, held = np.random.default_rng(0), 0
    for _ in range(400):
        right = draw.binomial(4, draw.beta(alpha, beta, 64))
        low, high = share_interval(right, [4] * 64)
        held += low <= alpha / (alpha + beta) <= high
    assert held >= 0.92 * 400


# --- pairs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("only_a", "only_b", "p"), [
    (0, 0, 1.0), (0, 5, 0.0625), (5, 0, 0.0625), (1, 9, 22 / 1024), (4, 4, 1.0), (0, 1, 1.0), (2, 12, 0.012939453125)])
def test_mcnemar_by_hand(only_a, only_b, p):
    assert mcnemar(only_a, only_b) == pytest.approx(p, abs=1e-15)


@given(st.integers(0, 30), st.integers(0, 30))
def test_sign_flips_of_ones_are_mcnemars_test(only_a, only_b):
    assert sign_flip([1] * only_b + [0] * 5 + [-1] * only_a) == pytest.approx(mcnemar(only_a, only_b), abs=1e-12)


@given(st.lists(st.integers(-6, 6), max_size=9))
def test_sign_flips_are_counted_out(differences):
    sums = [sum(s * d for s, d in zip(signs, differences, strict=True))
            for signs in itertools.product((1, -1), repeat=len(differences))]
    expected = sum(abs(one) >= abs(sum(differences)) for one in sums) / len(sums)
    assert sign_flip(differences) == pytest.approx(expected, abs=1e-12)


def test_sign_flips_that_are_drawn_are_near_those_that_are_counted_and_never_zero():
    halves = [0.5] * 9 + [-0.5]
    assert sign_flip(halves) == pytest.approx(sign_flip([2 * half for half in halves]), abs=0.01)
    assert 0 < sign_flip([0.5] * 100) <= 1e-3
    assert sign_flip(halves) == sign_flip(halves)


def test_newcombes_interval_as_published():
    """50 pairs: 20 both, 12 only the one, 2 only the other, 16 neither; method 10 gives 0.0562 to 0.3292."""
    one = [1] * 20 + [1] * 12 + [0] * 2 + [0] * 16
    other = [1] * 20 + [0] * 12 + [1] * 2 + [0] * 16
    assert difference_interval(other, one, [1] * 50) == pytest.approx((0.2, 0.05615, 0.32921), abs=1e-5)
    assert difference_interval(one, other, [1] * 50) == pytest.approx((-0.2, -0.32921, -0.05615), abs=1e-5)


def test_no_pairs_that_differ_is_no_certainty():
    difference, low, high = difference_interval([1] * 16, [1] * 16, [1] * 16)
    assert difference == 0 and low < -0.1 and high > 0.1
    assert difference_interval([], [], []) == (0.0, -1.0, 1.0)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_a_difference_lies_in_its_interval_and_turns_with_its_sides(pairs):
    a, b, of = [x for x, _ in pairs], [y for _, y in pairs], [3] * len(pairs)
    difference, low, high = difference_interval(a, b, of)
    assert -1 <= low <= difference + 1e-12 and difference - 1e-12 <= high <= 1
    turned = difference_interval(b, a, of)
    assert turned == pytest.approx((-difference, -high, -low), abs=1e-9)
