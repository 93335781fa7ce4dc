"""A whole GRPO run: what it leaves behind, and that it can be had again."""

import json

import pytest
import torch
import yaml
from conftest import carry_on

from maskgrpo_cli.config import load
from maskgrpo_cli.errors import UserError

KEYS = {
    "step", "reward", "reward_std", "reward/own_rewards:letters", "zero_std", "loss", "kl", "clip_ratio",
    "mask_ratio", "completion_length", "entropy", "grad_norm", "lr", "time/rollout", "time/score", "time/update",
    "tokens_per_second", "rollout", "update", "reward_failed",
}
EVALUATED = {"evaluation.every": 2, "evaluation.limit": 3, "evaluation.final_limit": 4}


def same(a, b):
    """Whether two sets of tensors are equal to the bit."""
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_run_directory_holds_everything(train):
    run = train(**EVALUATED)
    assert {path.name for path in run.folder.iterdir()} >= {
        "config.yaml", "metrics.jsonl", "completions.jsonl", "log.txt", "summary.json", "checkpoints", "model"}
    rows = run.rows()
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert all(KEYS <= row.keys() for row in rows)
    assert [("eval/accuracy" in row, "eval/reward" in row) for row in rows] == [(False, False), (True, True)] * 2
    assert all(row["tokens"] == round(row["completion_length"] * 8) for row in rows)
    assert run.checkpoints() == [2, 4]  # the best one, of equals the earlier, and the last
    assert run.metrics() != [] and rows[0]["grad_norm"] > 0


def test_values_of_a_reused_rollout_repeat_with_its_index(train):
    rows = train().rows()
    assert [(row["rollout"], row["update"]) for row in rows] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for name in ("reward", "reward_std", "completion_length", "time/rollout", "time/score", "tokens_per_second"):
        assert rows[0][name] == rows[1][name] and rows[2][name] == rows[3][name]
    assert rows[1]["reward"] != rows[2]["reward"] and rows[0]["loss"] != rows[1]["loss"]


def test_completions_are_those_that_were_rewarded(train):
    run = train()
    rows = run.rows("completions.jsonl")
    assert [(row["rollout"], row["sample"]) for row in rows] == [(r, s) for r in (0, 1) for s in range(8)]
    for rollout in (0, 1):
        mine = [row for row in rows if row["rollout"] == rollout]
        assert sum(row["reward"] for row in mine) / 8 == pytest.approx(run.rows()[2 * rollout]["reward"], abs=1e-6)
        assert sum(row["advantage"] for row in mine) == pytest.approx(0, abs=1e-5)
        assert len({row["prompt"] for row in mine[:4]}) == 1 and mine[0]["prompt"] != mine[4]["prompt"]


def test_summary_compares_before_and_after(train):
    run = train(**EVALUATED)
    summary = json.loads((run.folder / "summary.json").read_text())
    assert [entry["name"] for entry in summary["evaluations"]] == ["greedy accuracy", "accuracy at T=1"]
    for entry in summary["evaluations"]:
        for side in ("before", "after"):
            assert entry[side]["total"] == 4 and len(entry[side]["interval"]) == 2
        assert entry["before"]["reward"] != entry["after"]["reward"]  # the second one saw other weights
    assert summary["steps"] == 4 and summary["processes"] == 1 and summary["peak_memory_bytes"] > 10_000_000
    environment = summary["environment"]
    assert torch.__version__.startswith(environment["torch"]) and environment["python"].startswith("3.")
    assert "commit" in environment


def test_resolved_config_gives_the_same_run_again(train, tmp_path):
    first = train("first", **EVALUATED)
    again = load(str(first.folder), {"output_dir": str(tmp_path / "again")}, "grpo")
    second = carry_on(again, resume=False)
    assert first.metrics() == second.metrics()
    assert first.completions() == second.completions()
    assert same(first.weights(), second.weights())
    written = [yaml.safe_load((run.folder / "config.yaml").read_text()) for run in (first, second)]
    assert {**written[0], "output_dir": ""} == {**written[1], "output_dir": ""}


def test_another_seed_gives_another_run(train):
    first, second = train("first"), train("second", seed=1)
    assert first.completions() != second.completions()
    assert not same(first.weights(), second.weights())


def test_a_folder_that_holds_a_run_is_refused(train):
    run = train()
    before = run.weights()
    with pytest.raises(UserError, match="already holds a run"):
        train()
    assert same(before, run.weights()) and len(run.rows()) == 4


def test_a_run_that_could_not_start_is_not_in_the_way(train, tiny_config):
    config = tiny_config(model__path="no-such-model")
    with pytest.raises(UserError, match="no-such-model"):
        carry_on(config, resume=False)
    assert train().checkpoints() == [4]


def test_files_of_others_stay_when_a_run_cannot_start(tiny_config, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(UserError):
        carry_on(tiny_config(model__path="no-such-model"), resume=False)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notes.txt"]


def test_unwritable_folder_is_one_message(tiny_config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        carry_on(tiny_config("file/run"), resume=False)


def test_rewards_rise(train):
    """Forty updates on the share of vowels: the loop learns, whatever else it does."""
    rows = train(grpo__steps=40, grpo__prompts=4, grpo__group_size=8, sampler__steps=8).rows()
    early, late = (sum(row["reward"] for row in part) / len(part) for part in (rows[:8], rows[-8:]))
    assert late > early + 0.1


def test_tensorboard_has_every_step(train):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = train(tracker="tensorboard")
    files = list(run.folder.rglob("events.out.tfevents.*"))
    assert files
    seen = {}
    for file in files:
        events = accumulator.EventAccumulator(str(file)).Reload()
        for name in events.Tags()["scalars"]:
            seen[name] = [(event.step, event.value) for event in events.Scalars(name)]
    assert [step for step, _ in seen["reward"]] == [1, 2, 3, 4]
    assert [value for _, value in seen["loss"]] == pytest.approx([row["loss"] for row in run.rows()], abs=1e-6)
