"""Evaluations: the numbers, the files, and that they can be had again."""

import json

import pytest
import torch

from maskgrpo_cli.config.evaluation import load_benchmark
from maskgrpo_cli.config.overrides import Override
from maskgrpo_cli.engine import evaluation
from maskgrpo_cli.engine.reporting.statistics import wilson
from maskgrpo_cli.errors import UserError


@pytest.fixture
def evaluate(tiny_model, tmp_path):
    """`evaluate(name, **overrides)`: results.json and the rows of generations.jsonl of a small evaluation."""

    def run(name="eval", split="test", **overrides):
        changed = {"device": "cpu", "output_dir": str(tmp_path / name), "task.limit": 7, "evaluation.length": 8,
                   "evaluation.block_length": 4, "evaluation.steps": 4, "evaluation.batch_size": 3,
                   "model.path": str(tiny_model), **{key.replace("__", "."): v for key, v in overrides.items()}}
        config = load_benchmark("math", "arithmetic", [Override(k, v, "test") for k, v in changed.items()])
        evaluation.run(config, split)
        rows = (tmp_path / name / "generations.jsonl").read_text().splitlines()
        return json.loads((tmp_path / name / "results.json").read_text()), [json.loads(row) for row in rows]

    return run


def test_results_say_what_was_measured_and_how(evaluate):
    results, rows = evaluate()
    assert results["benchmark"] == "arithmetic" and results["split"] == "test" and results["total"] == 7 == len(rows)
    assert results["correct"] == sum(row["correct"] for row in rows)
    assert results["accuracy"] == pytest.approx(results["correct"] / 7)
    assert results["interval"] == pytest.approx(list(wilson(results["correct"], 7)))
    settings = results["settings"]
    assert settings["sampler"]["length"] == 8 and settings["sampler"]["steps"] == 4 and settings["seed"] == 0
    assert settings["task"]["name"] == "arithmetic" and settings["model"]["path"]
    assert torch.__version__.startswith(results["environment"]["torch"]) and results["peak_memory_bytes"] > 0
    assert len({row["id"] for row in rows}) == 7
    assert all({"prompt", "completion", "answer", "correct", "reference", "reason"} <= row.keys() for row in rows)


def test_right_answers_are_counted(evaluate, monkeypatch):
    """A model that is handed the first five answers gets five right."""
    from maskgrpo_cli.modalities.text import TextModality
    from maskgrpo_cli.tasks.arithmetic import ARITHMETIC

    answers = iter([problem.columns["answer"] for problem in ARITHMETIC.load(None, "test", limit=5)])
    written = TextModality.decode
    monkeypatch.setattr(TextModality, "decode", lambda self, response: [
        f"\\boxed{{{next(answers, 'none')}}}" for _ in written(self, response)])
    results, rows = evaluate()
    assert (results["correct"], results["total"]) == (5, 7)
    assert [row["correct"] for row in rows] == [True] * 5 + [False] * 2


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_same_again_and_with_other_batches(evaluate, temperature):
    first, rows = evaluate("first", evaluation__temperatures=[temperature])
    _, again = evaluate("again", evaluation__temperatures=[temperature])
    _, split = evaluate("split", evaluation__temperatures=[temperature], evaluation__batch_size=2)
    assert rows == again == split
    assert first["settings"]["sampler"]["temperature"] == temperature


def test_another_seed_draws_other_answers(evaluate):
    _, rows = evaluate("first", evaluation__temperatures=[1.0])
    _, other = evaluate("other", evaluation__temperatures=[1.0], seed=1)
    assert [row["completion"] for row in rows] != [row["completion"] for row in other]


def test_generations_are_written_as_they_come(evaluate, monkeypatch, tmp_path):
    """An evaluation that breaks in its last batch leaves the others on the disk."""
    original, calls = evaluation.append, []

    def breaking(path, batch):
        calls.append(len(batch))
        if len(calls) == 3:
            raise RuntimeError("a power cut")
        original(path, batch)

    monkeypatch.setattr(evaluation, "append", breaking)
    with pytest.raises(RuntimeError, match="power cut"):
        evaluate()
    assert calls == [3, 3, 1] and len((tmp_path / "eval" / "generations.jsonl").read_text().splitlines()) == 6
    assert not (tmp_path / "eval" / "results.json").exists()


def test_an_evaluation_that_could_not_start_is_not_in_the_way(evaluate):
    with pytest.raises(UserError, match="no-such-model"):
        evaluate(model__path="no-such-model")
    assert evaluate()[0]["total"] == 7


def test_the_curve_and_the_end_agree_with_an_evaluation(train):
    """The same problems, weights and noise give the same number wherever it is taken."""
    same = {"evaluation.every": 4, "evaluation.limit": 4, "evaluation.final_limit": 0}
    run = train(**same)
    assert [row.get("eval/accuracy") is not None for row in run.rows()] == [False, False, False, True]
    assert run.rows()[-1]["eval/accuracy@1"] >= 0 and run.rows()[-1]["eval/reward"] > 0
