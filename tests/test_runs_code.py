"""`maskgrpo grpo --recipe code` and its neighbours, in this process: every program runs in the sandbox."""

import json
import os

import pytest

from maskgrpo_cli.errors import UserError
from maskgrpo_cli.sandbox import make

SEEDS = [int(seed) for seed in os.environ.get("MASKGRPO_SEEDS", "0").split(",")]
SMALL = ["--set", "task.limit=64", "--set", "evaluation.final_limit=8", "--set", "evaluation.every=0"]


def have_sandbox() -> str:
    try:
        make(workers=1).close()
    except UserError as error:
        return str(error)
    return ""


WITHOUT = have_sandbox()
pytestmark = pytest.mark.skipif(bool(WITHOUT), reason=WITHOUT)


@pytest.fixture
def said(maskgrpo):
    """`said(*words)`: what a command says; raises when it fails."""

    def call(*words) -> str:
        code, out, errors = maskgrpo(*words)
        assert code == 0, errors
        return out

    return call


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_few_steps_of_the_code_recipe(said, tmp_path):
    run = tmp_path / "run"
    said("grpo", "--recipe", "code", "--max-steps", 2, "--set", "grpo.prompts=2", "--set", "grpo.group_size=4",
         "--set", "grpo.updates=2", *SMALL, "--output-dir", run)
    rows = lines(run / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2]
    assert 0 <= rows[0]["reward/code-tests"] <= 1 and 0.5 <= rows[0]["reward/code-format"] <= 1
    summary = json.loads((run / "summary.json").read_text())
    (evaluation,) = summary["evaluations"]
    assert evaluation["name"] == "accuracy at T=1" and evaluation["after"]["total"] == 8
    completions = lines(run / "completions.jsonl")
    assert completions and all("def " in row["completion"] for row in completions)


def test_the_task_can_be_evaluated_and_sampled_from(said, monkeypatch, tmp_path):
    run = tmp_path / "eval"
    said("eval", "programs", "--recipe", "code", "--limit", 16, "--temperature", 0, "--output-dir", run)
    (row,) = json.loads((run / "results.json").read_text())["results"]
    assert row["total"] == 16 and row["accuracy"] > 0
    monkeypatch.chdir(tmp_path)
    asked = "Write f(xs) that returns the sum of the even numbers in xs."
    assert "def f(xs):" in said("sample", "--recipe", "code", "--temperature", 0, "--prompt", asked)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_the_code_recipe_learns_to_pass_tests(said, tmp_path, seed):
    run = tmp_path / "run"
    said("grpo", "--recipe", "code", "--seed", seed, "--output-dir", run)
    (evaluation,) = json.loads((run / "summary.json").read_text())["evaluations"]
    before, after = evaluation["before"], evaluation["after"]
    assert before["total"] == after["total"] == 512
    assert after["accuracy"] - before["accuracy"] >= 0.15
    tests = [row["reward/code-tests"] for row in lines(run / "metrics.jsonl")]
    assert sum(tests[-8:]) / 8 > sum(tests[:8]) / 8 + 0.1
