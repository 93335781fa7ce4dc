"""Masking schedules against golden tables and by hand, and what samplers read off them."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from image_traces import TABLE

from maskgrpo_cli.errors import UserError
from maskgrpo_cli.samplers import schedules

NAMES = st.sampled_from(["cosine", "linear", "sigmoid"]) | st.floats(0.05, 50).map(lambda p: f"pow{p:.3f}")


@pytest.mark.parametrize("name", TABLE["k_t"])
def test_golden_tables(name):
    """The released schedules stop at 1e-6; ours reach 0."""
    known, steps = name.rsplit("_", 1)
    k = schedules.schedule(known)
    ours = [k(step / int(steps)) for step in range(int(steps) + 1)]
    assert ours == pytest.approx(TABLE["k_t"][name], abs=1.1e-6)
    assert ours[:-1] == pytest.approx(TABLE["k_t"][name][:-1], abs=2e-7)


def test_powers_by_hand():
    assert schedules.schedule("pow2")(0.5) == 0.75
    assert schedules.schedule("pow0.5")(0.25) == 0.5
    assert schedules.schedule("pow3")(0.5) == 0.875
    assert schedules.schedule("pow1")(0.3) == schedules.schedule("linear")(0.3)


def test_sigmoid_by_hand():
    """Symmetric about its middle; (s(3) - s(-1.5)) / (s(3) - s(-3)) at a quarter."""
    k = schedules.schedule("sigmoid")
    assert k(0.5) == pytest.approx(0.5) and k(0.25) + k(0.75) == pytest.approx(1)
    assert k(0.25) == pytest.approx((0.9525741 - 0.1824255) / (0.9525741 - 0.0474259), abs=1e-6)


@given(NAMES, st.integers(1, 64))
def test_every_schedule_falls_from_1_to_0(name, steps):
    k = schedules.schedule(name)
    values = [k(step / steps) for step in range(steps + 1)]
    assert values[0] == pytest.approx(1) and values[-1] == pytest.approx(0, abs=1e-12)
    assert all(after <= before for before, after in zip(values, values[1:]))
    stay = schedules.stay_probabilities(k, steps)
    assert len(stay) == steps and stay[-1] == 0 and ((stay >= 0) & (stay <= 1)).all()
    assert stay[:-1].double().cumprod(0).tolist() == pytest.approx(values[1:-1], abs=1e-5)


@pytest.mark.parametrize(
    "name",
    ["", "cosin", "pow", "pow0", "pow0.0", "pow-1", "pownan", "powinf", "pow1e3", "pow 2", "pow2 ", "POW2", "pow2."],
)
def test_an_unknown_schedule_says_what_to_write(name):
    with pytest.raises(UserError, match=f"schedule '{name}' is unknown; write cosine, linear, sigmoid, or pow with"):
        schedules.schedule(name)


def test_a_share_that_rounds_to_nothing_divides_nothing():
    """t^P is 1 in floating point long before t is."""
    stay = schedules.stay_probabilities(schedules.schedule("pow0.000000000000000001"), 4)
    assert stay.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("case", TABLE["maskgit_quota"], ids=lambda case: f"{case['schedule']}_{case['T']}_{case['N']}")
def test_golden_quotas_but_for_the_last_step(case):
    """Published, the last step masks one more token; ours reveals all."""
    steps, length = case["T"], case["N"]
    counts = schedules.quota_counts(length, steps, length, schedules.schedule(case["schedule"]))
    stay = [length - sum(counts[: step + 1]) for step in range(steps)]
    assert stay == [*case["mask_len"][:-1], 0]
    assert [length, *stay[:-1]] == case["masked_before_step"]


@given(NAMES, st.integers(0, 40), st.integers(1, 40), st.integers(0, 40))
def test_quotas_of_a_partly_known_image(name, masked, steps, known):
    """max(1, min(unknown - 1, floor(N k))) literally, where something is left to mask."""
    k, length, left = schedules.schedule(name), masked + known, masked
    counts = schedules.quota_counts(masked, steps, length, k)
    assert len(counts) == steps and sum(counts) == masked and min(counts) >= 0
    for step, count in enumerate(counts[:-1]):
        expected = max(1, min(left - 1, schedules.masked_quota(k, length, (step + 1) / steps)))
        left -= count
        assert left == min(expected, left + count)
        assert left >= 1 or masked == 0, "the last step is never left without a token"


def test_quotas_by_hand():
    linear = schedules.schedule("linear")
    assert schedules.quota_counts(8, 4, 8, linear) == [2, 2, 2, 2]  # 6, 4, 2, 0 stay
    assert schedules.quota_counts(3, 4, 8, linear) == [1, 1, 0, 1]  # min(2, 6), min(1, 4), max(1, min(0, 2))
    assert schedules.quota_counts(4, 8, 4, linear) == [1, 1, 1, 0, 0, 0, 0, 1]  # min(3, 3), min(2, 3), min(1, 2), 1
    assert schedules.quota_counts(0, 3, 8, linear) == [0, 0, 0]
    assert schedules.quota_counts(5, 1, 8, linear) == [5]


def test_a_quota_is_rounded_as_published():
    """64 cos(pi / 3) is 32; in float32, as the released code computes it, it is a little less."""
    cosine = schedules.schedule("cosine")
    assert schedules.masked_quota(cosine, 64, 8 / 12) == 31
    assert schedules.masked_quota(schedules.schedule("linear"), 64, 0.25) == 48
    assert schedules.masked_quota(cosine, 64, 0.0) == 64 and schedules.masked_quota(cosine, 64, 1.0) == 0
    assert math.floor(64 * cosine(8 / 12)) == 32
    assert isinstance(schedules.stay_probabilities(cosine, 1), torch.Tensor)
