"""Rewards that raise, return NaN, do not apply, or are all alike."""

import math

import pytest

from maskgrpo_cli.errors import RunFailed, UserError


def odd(row):
    """Whether the completion is one that the misbehaving rewards of own_rewards stumble over."""
    return len(row["completion"]) % 2 == 1


@pytest.mark.parametrize(("name", "why"), [
    ("raises_sometimes", "ZeroDivisionError: an odd text"), ("nan_sometimes", "it returned nan"),
    ("infinite_sometimes", "it returned inf")])
def test_a_failure_is_told_once_counted_and_left_out(train, name, why):
    run = train(**{"task.rewards": {f"own_rewards:{name}": 1.0}})
    told = [line for line in run.log().splitlines() if "failed for a sample" in line]
    assert len(told) == 1 and f"own_rewards:{name}" in told[0] and why in told[0]
    completions = run.rows("completions.jsonl")
    assert any(map(odd, completions)) and not all(map(odd, completions))
    for row in run.rows():
        group = [c for c in completions if c["rollout"] == row["rollout"]]
        failed = [c for c in group if odd(c)]
        assert row["reward_failed"] == pytest.approx(len(failed) / 8)
        assert all(c["reward"] is None and c["advantage"] == 0 for c in failed)
        good = [c["reward"] for c in group if not odd(c)]
        assert row["reward"] == pytest.approx(sum(good) / len(good))
        assert row[f"reward/own_rewards:{name}"] == pytest.approx(row["reward"])
        assert math.isfinite(row["loss"]) and math.isfinite(row["grad_norm"])
    for first in range(0, len(completions), 4):  # the others' statistics are those of the others alone
        kept = [c for c in completions[first : first + 4] if not odd(c)]
        mean = sum(c["reward"] for c in kept) / max(len(kept), 1)
        for c in kept:  # the recipe centres without the std
            assert c["advantage"] == pytest.approx(c["reward"] - mean, abs=1e-5)


def test_not_applicable_is_no_failure(train):
    rewards = {"own_rewards:none_sometimes": 1.0, "own_rewards:equal": 2.0}
    run = train(**{"task.rewards": rewards})
    assert "failed for a sample" not in run.log()
    for row in run.rows("completions.jsonl"):
        assert row["reward"] >= 1.4 - 1e-6 and (row["reward"] == pytest.approx(1.4)) >= odd(row)
    assert all(row["reward_failed"] == 0 and row["reward/own_rewards:equal"] == pytest.approx(0.7)
               for row in run.rows())


def test_the_total_is_the_weighted_sum(train):
    run = train(**{"task.rewards": {"own_rewards:letters": -2.0, "own_rewards:longest": 0.5}})
    for row in run.rows():
        parts = -2 * row["reward/own_rewards:letters"] + 0.5 * row["reward/own_rewards:longest"]
        assert row["reward"] == pytest.approx(parts, rel=1e-5)


@pytest.mark.parametrize("advantage", ["group", "pref", "center-only", "leave-one-out"])
def test_equal_rewards_teach_nothing(train, tiny_model, advantage):
    run = train(grpo__advantage=advantage, **{"task.rewards": {"own_rewards:equal": 1.0}})
    for row in run.rows():
        assert row["zero_std"] == 1 and row["reward_std"] == 0 and row["grad_norm"] == 0 and row["loss"] == 0
    from safetensors.torch import load_file

    before, after = load_file(tiny_model / "model.safetensors"), run.weights()
    assert all(value.equal(before[name.removeprefix("model/")]) for name, value in after.items())


def test_equal_rewards_still_feel_the_reference(train):
    rows = train(**{"task.rewards": {"own_rewards:equal": 1.0}, "grpo.objective.beta": 0.5}).rows()
    assert all(row["loss"] == 0 for row in rows)  # the policy never leaves it
    rows = train("mixed", **{"grpo.objective.beta": 5.0}).rows()
    assert rows[0]["kl"] == 0 and all(row["kl"] > 0 for row in rows[1:])


def test_a_wrong_number_of_values_ends_the_run(train):
    with pytest.raises(RunFailed, match=r"own_rewards:too_few' returned 7 values for 8 completions"):
        train(**{"task.rewards": {"own_rewards:too_few": 1.0}})


def test_the_run_ends_when_every_reward_fails(train):
    with pytest.raises(RunFailed, match="every reward failed in rollout 0"):
        train(**{"task.rewards": {"own_rewards:always_raises": 1.0}})


@pytest.mark.parametrize(("name", "message"), [
    ("own_rewards:no_such", "has no attribute 'no_such'"), ("no_such_module:f", "no module 'no_such_module'")])
def test_a_reward_that_is_not_there(train, name, message):
    with pytest.raises(UserError, match=message):
        train(**{"task.rewards": {name: 1.0}})


def test_an_answer_that_ends_at_once(train, tiny_config):
    """Every sample is empty: its only scored token is the end, and everything stays finite."""
    overrides = {"task.rewards": {"own_rewards:empty_only": 1.0, "own_rewards:letters": 1.0},
                 "sampler.name": "own_samplers:silent"}
    run = train(**overrides, **{"grpo.objective.beta": 0.1})
    assert {row["completion"] for row in run.rows("completions.jsonl")} == {""}
    for row in run.rows():
        assert row["completion_length"] == 1 and row["tokens"] == 8 and row["reward"] == 1
        assert math.isfinite(row["loss"]) and 0 <= row["mask_ratio"] <= 1


def test_some_answers_end_at_once(train):
    run = train(**{"task.rewards": {"own_rewards:empty_only": 1.0}, "sampler.name": "own_samplers:half_silent"})
    rows = run.rows("completions.jsonl")
    assert all((row["completion"] == "") is (row["sample"] % 2 == 0) for row in rows)
    assert all((row["advantage"] > 0) is (row["completion"] == "") for row in rows)
    assert all(row["grad_norm"] > 0 for row in run.rows())
