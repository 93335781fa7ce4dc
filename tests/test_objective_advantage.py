"""Rewards to advantages: golden values, ties, failures, and groups where nothing can be learnt."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from parity import table, tensors

from maskgrpo_cli.objective import (
    centered_advantage,
    group_advantage,
    group_mean_std,
    leave_one_out_advantage,
    pref_advantage,
    total_reward,
)

CASES = {case["key"]: case for case in table("advantages/cases")["cases"]}
GOLDEN = tensors("advantages/advantages")
NAN = math.nan
EVERY = [group_advantage, pref_advantage, centered_advantage, leave_one_out_advantage]
close = torch.testing.assert_close


def values(key: str) -> dict[str, torch.Tensor]:
    return {name.split(".")[-1]: value for name, value in GOLDEN.items() if name.startswith(f"{key}.")}


@pytest.mark.parametrize("key", CASES)
def test_golden_advantages(key):
    case, expected = CASES[key], values(key)
    size = case["group_size"]
    rewards = total_reward(expected["rewards_per_func"], expected["weights"])
    if case["pref"]:
        distinct = torch.tensor([len(set(group)) == size for group in rewards.view(-1, size).tolist()])
        untied = distinct.repeat_interleave(size)
        assert untied.any()
        close(pref_advantage(rewards, size)[untied], expected["advantages"][untied], atol=2e-5, rtol=0)
        rewards = expected["pref_score"]
    close(rewards, expected["rewards"])  # golden files hold the rank there
    mean, std = group_mean_std(rewards, size)
    close(mean, expected["group_mean"], atol=1e-6, rtol=0)
    close(std, expected["group_std"], atol=1e-6, rtol=0)
    # of equal rewards the golden values hold rounding errors divided by 1e-5; nothing is meant
    wanted = torch.where(std < 1e-6, 0.0, expected["advantages"])
    close(group_advantage(rewards, size), wanted, atol=2e-5, rtol=0)
    assert (std < 1e-6).float().mean().item() == pytest.approx(case["zero_std_ratio"])


def test_advantages_of_the_golden_rollout():
    rollout = tensors("logps/rollout_t2t_mu3_beta0")
    weights = torch.tensor(table("logps/rollout_t2t")["reward_weights"])
    rewards = total_reward(rollout["rewards_per_func"], weights)
    close(group_advantage(rewards, 4), rollout["advantages"], atol=2e-5, rtol=0)


def test_group_advantage_by_hand():
    # mean 2, unbiased std sqrt(((1)^2 + 0 + 1^2) / 2) = 1
    close(group_advantage(torch.tensor([1.0, 2.0, 3.0]), 3), torch.tensor([-1.0, 0.0, 1.0]) / (1 + 1e-5))


@pytest.mark.parametrize(
    ("scores", "ranks"),
    [
        ([1.0, 1.0, 1.0], [0.5, 0.5, 0.5]),
        ([0.0, 1.0, 1.0, 0.0], [1 / 6, 5 / 6, 5 / 6, 1 / 6]),  # places 0 and 1 share 0.5, of 3
        ([3.0, 2.0, 1.0], [1.0, 0.5, 0.0]),
        ([0.5, 0.5], [0.5, 0.5]),
        ([5.0, NAN, 7.0, 7.0], [0.0, NAN, 0.75, 0.75]),  # of the three that did not fail
    ],
)
def test_fault_6_pref_ties_share_the_mean_rank(scores, ranks):
    advantages = pref_advantage(torch.tensor(scores), len(scores))
    close(advantages, group_advantage(torch.tensor(ranks), len(scores)))
    if len(set(scores)) == 1:
        assert (advantages == 0).all()


def test_pref_forgets_how_far_apart_rewards_are():
    first = pref_advantage(torch.tensor([0.0, 1.0, 2.0]), 3)
    assert torch.equal(first, pref_advantage(torch.tensor([-900.0, 0.001, 0.002]), 3))


def test_center_only_and_leave_one_out_by_hand():
    rewards = torch.tensor([1.0, 2.0, 6.0, 0.0, 0.0, 3.0])
    close(centered_advantage(rewards, 3), torch.tensor([-2.0, -1.0, 3.0, -1.0, -1.0, 2.0]))
    # r_i less the mean of the other two
    close(leave_one_out_advantage(rewards, 3), torch.tensor([-3.0, -1.5, 4.5, -1.5, -1.5, 3.0]))


def test_a_failed_sample_leaves_the_statistics_and_gets_nothing():
    rewards = torch.tensor([1.0, NAN, 3.0, NAN, NAN, 5.0])
    root = math.sqrt(2)  # std of 1 and 3
    close(group_advantage(rewards, 3), torch.tensor([-1, 0, 1, 0, 0, 0]) / (root + 1e-5))
    close(centered_advantage(rewards, 3), torch.tensor([-1.0, 0, 1, 0, 0, 0]))
    close(leave_one_out_advantage(rewards, 3), torch.tensor([-2.0, 0, 2, 0, 0, 0]))


def test_a_group_in_which_all_failed_gets_nothing():
    for advantage in EVERY:
        assert advantage(torch.tensor([NAN, NAN, 1.0, 2.0]), 2)[:2].tolist() == [0, 0]


def test_what_does_not_apply_is_left_out_and_what_failed_takes_the_sample_with_it():
    values = torch.tensor([[1.0, NAN], [2.0, 3.0], [NAN, NAN], [NAN, 1.0]])
    failed = torch.tensor([[False, False], [False, False], [False, False], [True, False]])
    total = total_reward(values, torch.tensor([2.0, 0.5]), failed)
    close(total, torch.tensor([2.0, 5.5, 0.0, NAN]), equal_nan=True)


@st.composite
def rewards_in_groups(draw, elements):
    size, groups = draw(st.integers(2, 9)), draw(st.integers(1, 3))
    return torch.tensor(draw(st.lists(elements, min_size=size * groups, max_size=size * groups))), size


tenths = st.integers(-30, 30).map(lambda n: n / 10)


@given(rewards_in_groups(tenths | st.just(NAN)))
def test_advantages_of_a_group_add_up_to_nothing(case):
    rewards, size = case
    for advantage in EVERY:
        result = advantage(rewards, size)
        assert result.isfinite().all()
        assert result.view(-1, size).sum(-1).abs().max() < 1e-3
        assert (result[rewards.isnan()] == 0).all()


@given(st.integers(2, 16), st.floats(-10, 10, width=32))
def test_equal_rewards_give_exactly_nothing(size, reward):
    """Rounding must not leave a mean beside the rewards: divided by 1e-5 it would be a gradient."""
    for advantage in EVERY:
        assert (advantage(torch.full((size,), reward), size) == 0).all()


@given(rewards_in_groups(tenths))
def test_a_better_reward_never_has_a_smaller_advantage(case):
    rewards, size = case
    for advantage in EVERY:
        result = advantage(rewards, size).view(-1, size)
        better = rewards.view(-1, size)[:, :, None] > rewards.view(-1, size)[:, None, :]
        assert (result[:, :, None] > result[:, None, :])[better].all()
