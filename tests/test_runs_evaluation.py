"""Evaluations: the numbers, the files, and that they can be had again."""

import json

import pytest
import torch

from maskgrpo_cli.config.evaluation import load_benchmark
from maskgrpo_cli.config.overrides import Override
from maskgrpo_cli.engine import evaluation, evaluation_files
from maskgrpo_cli.engine.reporting.statistics import pass_at_k, wilson
from maskgrpo_cli.errors import UserError


@pytest.fixture
def evaluate(tiny_model, tmp_path):
    """`evaluate(name, **overrides)`: results.json and the rows of generations.jsonl of a small evaluation."""

    def run(name="eval", **overrides):
        changed = {"device": "cpu", "output_dir": str(tmp_path / name), "task.limit": 7, "evaluation.length": 8,
                   "evaluation.block_length": 4, "evaluation.steps": 4, "evaluation.batch_size": 3,
                   "model.path": str(tiny_model), **{key.replace("__", "."): v for key, v in overrides.items()}}
        config = load_benchmark("math", "arithmetic", [Override(k, v, "test") for k, v in changed.items()])
        evaluation.run(config)
        rows = (tmp_path / name / "generations.jsonl").read_text().splitlines()
        return json.loads((tmp_path / name / "results.json").read_text()), [json.loads(row) for row in rows]

    return run


def completions(rows, *keys):
    """The completions of rows by some of their columns."""
    found = {tuple(row[key] for key in keys): row["completion"] for row in rows}
    assert len(found) == len(rows)
    return found


def test_results_say_what_was_measured_and_how(evaluate, tmp_path):
    results, rows = evaluate()
    assert results["benchmark"] == "arithmetic" and results["split"] == "test" and results["total"] == 7 == len(rows)
    assert results["protocol"] == "maskgrpo" and results["problems"]["count"] == 7
    assert results["correct"] == sum(row["correct"] for row in rows)
    assert results["accuracy"] == pytest.approx(results["correct"] / 7)
    assert results["interval"] == pytest.approx(list(wilson(results["correct"], 7)))
    settings = results["settings"]
    assert settings["sampler"]["length"] == 8 and settings["sampler"]["steps"] == 4 and settings["seed"] == 0
    assert settings["task"]["name"] == "arithmetic" and settings["model"]["path"]
    assert torch.__version__.startswith(results["environment"]["torch"]) and results["peak_memory_bytes"] > 0
    assert results["prompt"]["messages"] == [{"role": "user", "content": rows[0]["prompt"]}]
    assert rows[0]["prompt"] in results["prompt"]["text"] and results["shots"]["ids"] == []
    assert len({row["id"] for row in rows}) == 7
    assert all({"prompt", "completion", "answer", "correct", "reference", "reason"} <= row.keys() for row in rows)
    assert sorted(path.name for path in (tmp_path / "eval").iterdir()) == [
        "config.yaml", "generations.jsonl", "results.json"]


def test_hashes_tell_problems_prompts_and_weights_apart(evaluate, tiny_model, tmp_path):
    """Other problems, other turns or other weights: each changes its own hash, and no other."""
    from safetensors.torch import load_file, save_file

    results, _ = evaluate("first")
    again, _ = evaluate("again", evaluation__temperatures=[1.0], seed=3)
    fewer, _ = evaluate("fewer", task__limit=6)
    shown, _ = evaluate("shown", evaluation__shots=1)
    parts = ("problems", "prompt", "shots", "model")
    assert [again[part] == results[part] for part in parts] == [True] * 4
    assert [fewer[part] == results[part] for part in parts] == [False, False, True, True]
    assert [shown[part] == results[part] for part in parts] == [True, False, False, True]
    trained = tmp_path / "trained"
    trained.mkdir()
    for path in tiny_model.iterdir():
        (trained / path.name).write_bytes(path.read_bytes())
    weights = load_file(trained / "model.safetensors")
    save_file({name: value * 1.001 for name, value in weights.items()}, trained / "model.safetensors")
    other, _ = evaluate("other", model__path=str(trained))
    assert other["model"]["weights"] != results["model"]["weights"] and other["prompt"] == results["prompt"]


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
    original, calls = evaluation_files.append, []

    def breaking(path, batch):
        calls.append(len(batch))
        if len(calls) == 3:
            raise RuntimeError("a power cut")
        original(path, batch)

    monkeypatch.setattr(evaluation_files, "append", breaking)
    with pytest.raises(RuntimeError, match="power cut"):
        evaluate()
    assert calls == [3, 3, 1] and len((tmp_path / "eval" / "generations.jsonl").read_text().splitlines()) == 6
    assert not (tmp_path / "eval" / "results.json").exists()


def test_an_evaluation_that_could_not_start_is_not_in_the_way(evaluate, tmp_path):
    with pytest.raises(UserError, match="no-such-model"):
        evaluate(model__path="no-such-model")
    assert not (tmp_path / "eval").exists()
    assert evaluate()[0]["total"] == 7


def test_the_curve_and_the_end_agree_with_an_evaluation(train):
    """The same problems, weights and noise give the same number wherever it is taken."""
    same = {"evaluation.every": 4, "evaluation.limit": 4, "evaluation.final_limit": 0}
    run = train(**same)
    assert [row.get("eval/accuracy") is not None for row in run.rows()] == [False, False, False, True]
    assert run.rows()[-1]["eval/accuracy@1"] >= 0 and run.rows()[-1]["eval/reward"] > 0


# --- several samples, several settings ------------------------------------------------------------------


def test_a_sample_does_not_depend_on_how_many_there_are(evaluate):
    """Nor on the number of problems, and the first sample is the only one of a run with one."""
    hot = {"evaluation__temperatures": [1.0]}
    one = completions(evaluate("one", **hot)[1], "id", "sample")
    results, rows = evaluate("three", evaluation__samples=3, **hot)
    three = completions(rows, "id", "sample")
    fewer = completions(evaluate("fewer", evaluation__samples=2, task__limit=4, **hot)[1], "id", "sample")
    assert len(one) == 7 and len(three) == 21 and len(fewer) == 8
    assert one.items() <= three.items() and fewer.items() <= three.items()
    assert len({three["arithmetic-test-512", sample] for sample in range(3)}) > 1
    assert [row["sample"] for row in rows] == [0] * 7 + [1] * 7 + [2] * 7
    assert (results["total"], results["samples"], list(results["pass_at"])) == (21, 3, ["1", "3"])


def test_pass_at_k_is_the_mean_over_problems(evaluate, monkeypatch):
    """Of four samples the first problem gets three right, the second one, the third none."""
    from maskgrpo_cli.modalities.text import TextModality
    from maskgrpo_cli.tasks.arithmetic import ARITHMETIC

    answers = [problem.columns["answer"] for problem in ARITHMETIC.load(None, "test", limit=3)]
    given = iter([answers[0], answers[1], "?", answers[0], "?", "?", answers[0], "?", "?"])
    monkeypatch.setattr(TextModality, "decode", lambda self, response: [
        f"\\boxed{{{next(given, '?')}}}" for _ in range(len(response))])
    results, _ = evaluate(task__limit=3, evaluation__samples=4, evaluation__temperatures=[1.0],
                          evaluation__pass_at=[4, 2, 1])
    assert (results["correct"], results["total"], results["accuracy"]) == (4, 12, 1 / 3)
    found = {k: entry["value"] for k, entry in results["pass_at"].items()}
    assert list(found) == ["1", "2", "4"] and found["1"] == pytest.approx(1 / 3)
    assert found["2"] == pytest.approx((pass_at_k(4, 3, 2) + pass_at_k(4, 1, 2)) / 3)
    assert found["4"] == pytest.approx(2 / 3)
    low, high = results["interval"]
    assert results["pass_at"]["1"]["interval"] == [low, high]
    assert low < wilson(4, 12)[0] and high > wilson(4, 12)[1]  # three problems are no twelve


def test_every_setting_is_a_row_as_it_is_alone(evaluate, capsys):
    several = {"evaluation__steps": None, "evaluation__temperatures": [0.0, 1.0], "evaluation__length": None,
               "sampler__steps": 12, "sampler__length": 24}
    results, rows = evaluate("several", **several, evaluation__lengths=[8, 16])
    settings = [(row["length"], row["temperature"], row["steps"]) for row in results["results"]]
    assert settings == [(8, 0.0, 4), (8, 1.0, 4), (16, 0.0, 8), (16, 1.0, 8)]  # 12 steps for 24 tokens
    assert "accuracy" not in results and all(row["total"] == 7 for row in results["results"])
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("arithmetic T=1 length 16: accuracy ") for line in lines) == 1
    alone, its_rows = evaluate("alone", **{**several, "evaluation__temperatures": [1.0]}, evaluation__lengths=[16])
    assert alone["results"] == results["results"][3:] and alone["accuracy"] == results["results"][3]["accuracy"]
    assert its_rows == rows[21:]


def test_the_table_fits_a_terminal_of_80_columns():
    import io

    from rich.console import Console

    from maskgrpo_cli.config.schema import SamplerConfig
    from maskgrpo_cli.engine import evaluation_results
    from maskgrpo_cli.engine.judging import Judged

    judged = [Judged(f"t-{place % 512}", "", "", {}, None, 1.0, place % 3 > 0, "", None, None, sample=place // 512)
              for place in range(512 * 4)]
    rows = [evaluation_results.row(SamplerConfig(temperature=t, length=512), judged, 4, [1, 2, 4]) for t in (0.25, 1.0)]
    console = Console(file=io.StringIO(), width=80)
    console.print(evaluation_results.table({"benchmark": "countdown"}, rows))
    lines = [" ".join(line.split()) for line in console.file.getvalue().splitlines()]
    assert lines[0] == "benchmark T length steps 95 % correct" and len(lines) == 7
    assert lines[1].startswith("countdown 0.25 512 128 accuracy 66.7% ") and lines[1].endswith(" 1365/2048")
    assert lines[2].startswith("pass@2 ") and lines[6].startswith("pass@4 ") and "…" not in "".join(lines)


def test_steps_that_are_given_hold_for_every_length(evaluate):
    results, _ = evaluate(evaluation__lengths=[8, 16], evaluation__steps=5)
    assert [row["steps"] for row in results["results"]] == [5, 5]


# --- few-shot prompts -----------------------------------------------------------------------------------


def test_worked_examples_are_earlier_turns_and_the_same_for_all(evaluate):
    from maskgrpo_cli.tasks.arithmetic import ARITHMETIC

    results, rows = evaluate("two", evaluation__shots=2)
    ids, turns = results["shots"]["ids"], results["prompt"]["messages"]
    train = {problem.id: problem for problem in ARITHMETIC.load(None, "train", limit=1000)}
    assert [turn["role"] for turn in turns] == ["user", "assistant"] * 2 + ["user"]
    assert [turn["content"] for turn in turns] == [
        train[ids[0]].prompt, train[ids[0]].target, train[ids[1]].prompt, train[ids[1]].target, rows[0]["prompt"]]
    assert turns[1]["content"] in results["prompt"]["text"]
    assert evaluate("again", evaluation__shots=2, task__limit=3)[0]["shots"] == results["shots"]
    assert evaluate("more", evaluation__shots=3)[0]["shots"]["ids"][:2] == ids
    assert evaluate("other", evaluation__shots=2, seed=1)[0]["shots"]["ids"] != ids


def test_examples_of_a_file_are_its_first_and_never_the_problem_itself(evaluate, tmp_path):
    from maskgrpo_cli.tasks.arithmetic import ARITHMETIC

    asked, rows = ARITHMETIC.load(None, "test", limit=1)[0].prompt, []
    for question, number in ((asked, 1), ("What is 2 + 2?", 4), ("What is 2 + 3?", 5)):
        rows.append({"question": question, "answer": f"Count.\n#### {number}"})
    (tmp_path / "worked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "asked.jsonl").write_text(json.dumps(rows[0]) + "\n")
    common = {"task__name": "gsm8k", "evaluation__data": str(tmp_path / "asked.jsonl"),
              "evaluation__shots_data": str(tmp_path / "worked.jsonl"), "evaluation__length": 4,
              "evaluation__block_length": 4}
    results, _ = evaluate("two", **common, evaluation__shots=2)
    assert results["shots"] == {"count": 2, "ids": ["gsm8k-train-1", "gsm8k-train-2"],
                                "source": str(tmp_path / "worked.jsonl")}
    assert "What is 2 + 2?" in results["prompt"]["messages"][0]["content"]
    assert "\\boxed{4}" in results["prompt"]["messages"][1]["content"]
    with pytest.raises(UserError, match=r"--shots 3: .*3 worked answers in 3 rows, 1 of them among the problems"):
        evaluate("three", **common, evaluation__shots=3)
    assert not (tmp_path / "three").exists()


def test_examples_without_answers(evaluate, tmp_path):
    (tmp_path / "bare.jsonl").write_text('{"question": "a", "answer": "1"}\n')
    with pytest.raises(UserError, match=r"--shots 1: .*0 worked answers in 1 rows\n  .*--shots-data"):
        evaluate(evaluation__shots=1, evaluation__shots_data=str(tmp_path / "bare.jsonl"))


def test_a_train_split_that_cannot_be_had(evaluate, tmp_path):
    """A file of test problems is not taken for a train split: it would show the answers that are asked for."""
    (tmp_path / "asked.jsonl").write_text('{"puzzle": "1234341221434320", "solution": "1234341221434321"}\n')
    with pytest.raises(UserError, match=r"(?s)train split: .*--shots-data FILE"):
        evaluate(task__name="sudoku", evaluation__data=str(tmp_path / "asked.jsonl"), evaluation__shots=1)


def test_prompts_that_are_too_long_are_told_before_anything_is_made(evaluate, tmp_path):
    told = r"prompts are too long: that of arithmetic-test-\d+ has \d+ tokens, with --length 8 that makes \d+; " \
           r"the model takes max_sequence_length = \d+\n.*fewer than 300"
    with pytest.raises(UserError, match=told):
        evaluate(evaluation__shots=300)
    assert not (tmp_path / "eval").exists()


def test_ids_must_differ(evaluate, monkeypatch):
    from maskgrpo_cli.tasks.arithmetic import ArithmeticTask

    original = ArithmeticTask.load
    monkeypatch.setattr(ArithmeticTask, "load", lambda self, *given, **options: original(self, *given, **options) * 2)
    with pytest.raises(UserError, match="several problems the id 'arithmetic-test-512'"):
        evaluate()


# --- the config -----------------------------------------------------------------------------------------


def test_what_an_evaluation_wrote_down_runs_it_again(evaluate, tmp_path):
    from maskgrpo_cli.config import load

    wanted = {"evaluation__temperatures": [0.5, 1.0], "evaluation__samples": 2, "evaluation__lengths": [8, 16],
              "evaluation__shots": 1, "evaluation__steps": None}
    results, rows = evaluate("first", **wanted)
    config = load_benchmark(str(tmp_path / "first"), "arithmetic", [Override("output_dir", str(tmp_path / "again"))])
    assert config.task.limit == 7
    evaluation.run(config)
    again = json.loads((tmp_path / "again" / "results.json").read_text())
    assert again["results"] == results["results"] and again["prompt"] == results["prompt"]
    written = [(tmp_path / name / "generations.jsonl").read_text() for name in ("first", "again")]
    assert written[0] == written[1]
    first = load(str(tmp_path / "first"), (), "eval")
    assert first.evaluation_samplers() == config.evaluation_samplers()


@pytest.mark.parametrize(("overrides", "told"), [
    ({"evaluation.pass_at": [1, 4]}, r"evaluation.pass_at\[1\] = 4 \(test\): pass@4 needs 4 completions .*-n 4"),
    ({"evaluation.samples": 2}, "evaluation.samples = 2 .*low-confidence at temperature 0 writes the same"),
    ({"evaluation.temperatures": [1.0, 0.5, 1.0]}, r"evaluation.temperatures\[2\] = 1.0 .*twice"),
    ({"evaluation.lengths": [24, 24]}, r"evaluation.lengths\[1\] = 24 .*twice"),
    ({"evaluation.lengths": [24, 30]}, r"sampler.block_length = 4 .*must divide evaluation.lengths\[1\] = 30"),
    ({"evaluation.lengths": [24, 96], "evaluation.steps": 8}, r"evaluation.steps = 8 .*at least 24.*lengths\[1\] = 96"),
    ({"evaluation.shots_data": "x.jsonl"}, "evaluation.shots_data .*--shots 4"),
])
def test_settings_that_make_no_sense(overrides, told):
    with pytest.raises(UserError, match=told):
        load_benchmark("math", "arithmetic", [Override(key, value, "test") for key, value in overrides.items()])


def test_samples_in_a_drawn_order_differ_without_a_temperature():
    given = {"evaluation.samples": 2, "evaluation.sampler": "random"}
    config = load_benchmark("math", "arithmetic", [Override(key, value) for key, value in given.items()])
    assert config.evaluation.passes() == [1, 2] and config.sampler.temperature == 0
