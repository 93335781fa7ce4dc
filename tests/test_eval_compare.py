"""Comparing two evaluations: the numbers by hand, and what cannot be compared with the reason why."""

import json
import shutil
import sys

import pytest

from maskgrpo_cli.config.evaluation import load_benchmark
from maskgrpo_cli.config.overrides import Override
from maskgrpo_cli.engine import evaluation
from maskgrpo_cli.engine.reporting.statistics import mcnemar, sign_flip

ANSWERS = {  # of eight problems: which are right
    "a": "11110000",
    "b": "11101100",
}


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path):
    """Every test works in a folder of its own."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def evaluate(tiny_model, tmp_path, monkeypatch):
    """`evaluate(name, right, **overrides)`: an evaluation of which `right` says what the model gets right, in order."""
    from maskgrpo_cli.modalities.text import TextModality
    from maskgrpo_cli.tasks.arithmetic import ARITHMETIC

    def run(name, right, **overrides):
        changed = {"device": "cpu", "output_dir": str(tmp_path / name), "task.limit": 8, "evaluation.length": 8,
                   "evaluation.block_length": 4, "evaluation.steps": 2, "evaluation.batch_size": 8,
                   "model.path": str(tiny_model), **{key.replace("__", "."): v for key, v in overrides.items()}}
        config = load_benchmark("math", "arithmetic", [Override(key, value) for key, value in changed.items()])
        count = config.task.limit
        answers = [problem.columns["answer"] for problem in ARITHMETIC.load(None, "test", limit=count)]
        given = iter([answers[place % count] if bit == "1" else "none" for place, bit in enumerate(right)])
        with monkeypatch.context() as patched:
            patched.setattr(TextModality, "decode", lambda self, rows: [f"\\boxed{{{next(given)}}}" for _ in rows])
            evaluation.run(config)
        return tmp_path / name

    return run


@pytest.fixture
def two(evaluate):
    """The folders of the evaluations `a` and `b`."""
    return [evaluate(name, right) for name, right in ANSWERS.items()]


def comparison(folder):
    return json.loads((folder / "comparison.json").read_text())


def test_the_numbers_by_hand(two, maskgrpo, tmp_path):
    """Three right in both, one in A alone, two in B alone, two in neither."""
    code, out, errors = maskgrpo("eval", "--compare", "a", "b/results.json", "--output-dir", "out")
    assert code == 0, errors
    found = comparison(tmp_path / "out")
    row = found["results"][0]
    assert row["counts"] == {"both": 3, "only_a": 1, "only_b": 2, "neither": 2}
    assert (row["a"]["accuracy"], row["b"]["accuracy"], row["difference"]) == (0.5, 0.625, 0.125)
    assert row["p_value"] == mcnemar(1, 2) == 1.0 and row["test"] == "McNemar, exact"
    assert row["interval"][0] < 0.125 < row["interval"][1]
    assert [change["id"] for change in row["changed"]["only_b"]] == ["arithmetic-test-516", "arithmetic-test-517"]
    assert row["changed"]["only_a"][0]["b"] == "none" and row["changed"]["only_a"][0]["id"] == "arithmetic-test-515"
    assert found["differs"] == {} and found["problems"] == 8
    lines = out.splitlines()
    assert lines[:2] == ["A: a", "B: b/results.json"]
    assert lines[2].startswith("arithmetic T=0 length 8: accuracy A 50.0% (4/8), B 62.5% (5/8), B - A +12.5 points (")
    assert lines[2].endswith("p = 1 (McNemar, exact)")
    assert lines[3].endswith("problems: both right 3, only A 1, only B 2, neither 2")
    assert len([line for line in lines if line.startswith("only B is right: arithmetic-test-51")]) == 2


def test_nothing_is_written_unasked(two, maskgrpo, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    assert maskgrpo("eval", "--compare", "a", "b")[0] == 0
    assert sorted(tmp_path.rglob("*")) == before


def test_the_other_way_round_is_the_negative(two, maskgrpo, tmp_path):
    maskgrpo("eval", "--compare", "a", "b", "--output-dir", "ab")
    maskgrpo("eval", "--compare", "b", "a", "--output-dir", "ba")
    one, other = comparison(tmp_path / "ab")["results"][0], comparison(tmp_path / "ba")["results"][0]
    assert one["difference"] == -other["difference"] and one["p_value"] == other["p_value"]
    assert one["interval"] == pytest.approx([-other["interval"][1], -other["interval"][0]])


def test_several_samples_are_paired_by_problem(evaluate, maskgrpo, tmp_path):
    """A gets 2 of 2 in the first problem and 0 in the others; B 2, 2, 1, 0: differences 0, 2, 1, 0."""
    both = {"task__limit": 4, "evaluation__samples": 2, "evaluation__temperatures": [1.0]}
    evaluate("a", "1000" "1000", **both)
    evaluate("b", "1110" "1100", **both)
    code, out, errors = maskgrpo("eval", "--compare", "a", "b", "--output-dir", "out")
    assert code == 0, errors
    row = comparison(tmp_path / "out")["results"][0]
    assert (row["a"]["correct"], row["b"]["correct"], row["difference"]) == (2, 5, 3 / 8)
    assert row["test"] == "paired permutation" and row["p_value"] == sign_flip([2, 1]) == 0.5
    assert row["counts"] == {"both": 2, "only_a": 0, "only_b": 3, "neither": 3}
    assert row["pass_at"].keys() == {"2"}
    assert (row["pass_at"]["2"]["a"], row["pass_at"]["2"]["b"], row["pass_at"]["2"]["difference"]) == (0.25, 0.75, 0.5)
    assert "completions (2 a problem): both right 2, only A 0, only B 3, neither 3" in out
    assert "pass@2 A 25.0%, B 75.0%, B - A +50.0 points" in out


def test_what_differs_is_named(evaluate, maskgrpo, tmp_path):
    evaluate("a", "11110000")
    evaluate("b", "11110000", evaluation__temperatures=[1.0], seed=5, evaluation__sampler="random", evaluation__steps=4)
    code, out, errors = maskgrpo("eval", "--compare", "a", "b", "--output-dir", "out")
    assert code == 0, errors
    assert comparison(tmp_path / "out")["differs"] == {
        "sampler.name": ["low-confidence", "random"], "temperature": ["0", "1"], "steps": ["2", "4"], "seed": [0, 5]}
    assert "differs: seed: A 0, B 5" in out.splitlines() and "arithmetic T=0 and 1 length 8: accuracy" in out


def test_settings_are_paired_and_those_of_one_side_are_left_out(evaluate, maskgrpo, tmp_path):
    evaluate("a", "11110000" "10000000", evaluation__temperatures=[0.5, 1.0])
    evaluate("b", "11000000" "11110000", evaluation__temperatures=[1.0, 2.0])
    evaluate("c", "11000000" "11110000", evaluation__temperatures=[0.1, 0.2])
    code, out, errors = maskgrpo("eval", "--compare", "a", "b", "--output-dir", "out")
    assert code == 0, errors
    found = comparison(tmp_path / "out")
    assert [row["temperature"] for row in found["results"]] == [1.0] and found["results"][0]["difference"] == 0.125
    assert found["left_out"] == ["temperature 0.5, length 8 only in a", "temperature 2, length 8 only in b"]
    code, _, errors = maskgrpo("eval", "--compare", "a", "c")
    assert code == 2 and "no setting in common" in errors and "temperature 0.1, length 8" in errors


# --- what cannot be compared ----------------------------------------------------------------------------


@pytest.mark.parametrize(("overrides", "told"), [
    ({"task__limit": 4}, "problems: 8 and 4; evaluate both with the same --limit"),
    ({"task__split": "validation"}, "problems: of test and of validation; evaluate both with the same --split"),
    ({"evaluation__shots": 1}, "shots: none and ['arithmetic-train-"),
    ({"evaluation__samples": 2, "evaluation__temperatures": [1.0]}, "samples: 1 and 2 of each problem"),
])
def test_what_was_asked_must_be_the_same(evaluate, maskgrpo, overrides, told):
    evaluate("a", "1" * 8)
    evaluate("b", "1" * 16, **overrides)
    code, out, errors = maskgrpo("eval", "--compare", "a", "b")
    assert code == 2 and not out and "error: a and b cannot be compared:\n  " + told in errors


@pytest.mark.parametrize(("change", "told"), [
    (lambda r: r.update(benchmark="gsm8k"), "benchmark: arithmetic and gsm8k"),
    (lambda r: r.update(protocol="d1"), "protocol: maskgrpo and d1; evaluate both with the same --protocol"),
    (lambda r: r["prompt"].update(sha256="0"), "prompts: the same questions in other words"),
    (lambda r: r["problems"].update(sha256="0"), "problems: 8 each, but other questions or references"),
    (lambda r: r["problems"].update(sha256="0", ids_sha256="0"), "problems: 8 each, but other problems"),
    (lambda r: r["results"][0].update(correct=5), "does not add up to results.json: 4/8 and not 5/8"),
    (lambda r: r.pop("problems"), "no 'problems'"),
    (lambda r: r.pop("results"), "no 'results'"),
])
def test_every_difference_is_said(evaluate, maskgrpo, tmp_path, change, told):
    evaluate("a", ANSWERS["a"])
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    results = json.loads((tmp_path / "b" / "results.json").read_text())
    change(results)
    (tmp_path / "b" / "results.json").write_text(json.dumps(results))
    code, _, errors = maskgrpo("eval", "--compare", "a", "b")
    assert code == 2 and told in errors and "Traceback" not in errors


@pytest.mark.parametrize("cut", [b"", b"{", b'{"id": 1}\n', b"\xff\n"])
def test_damaged_generations(two, maskgrpo, cut):
    (two[1] / "generations.jsonl").write_bytes(cut)
    code, _, errors = maskgrpo("eval", "--compare", "a", "b")
    assert code == 2 and "b/generations.jsonl" in errors and "Traceback" not in errors


@pytest.mark.parametrize(("files", "told"), [
    ({}, "there is no evaluation (no results.json)"),
    ({"config.yaml": ""}, "b is a training run; evaluate it first: maskgrpo eval BENCHMARK --model b"),
    ({"config.yaml": "", "evaluation.json": "{}"}, "b is not finished; finish it: maskgrpo eval --resume b"),
    ({"results.json": "[1]"}, "results.json is damaged"),
    ({"results.json": "{"}, "results.json is damaged"),
    ({"results.json": '{"accuracy": 0.5}'}, "written by an earlier version"),
    ({"results.json": '{"generations": "x.jsonl"}'}, "judged text made elsewhere"),
])
def test_what_is_no_finished_evaluation(evaluate, maskgrpo, tmp_path, files, told):
    evaluate("a", ANSWERS["a"])
    (tmp_path / "b").mkdir()
    for name, text in files.items():
        (tmp_path / "b" / name).write_text(text)
    code, _, errors = maskgrpo("eval", "--compare", "a", "b")
    assert code == 2 and told in errors and "Traceback" not in errors


def test_options_that_mean_nothing_here(maskgrpo):
    code, _, errors = maskgrpo("eval", "arithmetic", "--compare", "a", "b", "-n", "2")
    assert code == 2 and "--compare reads finished evaluations; leave out --samples, BENCHMARK" in errors


def test_comparing_needs_no_torch(two, tmp_path):
    import subprocess

    script = ("import sys; from maskgrpo_cli.cli import main\ntry: main()\n"
              "finally: print('HEAVY', sorted(set(sys.modules) & {'torch', 'transformers', 'accelerate'}))")
    done = subprocess.run([sys.executable, "-c", script, "eval", "--compare", "a", "b"], cwd=tmp_path,
                          capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "HEAVY []", done.stderr


def test_in_a_terminal_it_is_a_table(two, tmp_path):
    """Read back from a pseudo-terminal of 100 columns."""
    pty = pytest.importorskip("pty")
    import os
    import subprocess

    main, end = pty.openpty()
    env = {**os.environ, "COLUMNS": "100", "TERM": "xterm", "NO_COLOR": "1"}
    done = subprocess.Popen([sys.executable, "-c", "from maskgrpo_cli.cli import main; main()", "eval", "--compare",
                             "a", "b"], cwd=tmp_path, stdout=end, env=env)
    os.close(end)
    out = b""
    while True:
        try:
            more = os.read(main, 4096)
        except OSError:
            break
        if not more:
            break
        out += more
    assert done.wait(timeout=60) == 0
    lines = [line.strip() for line in out.decode().replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()]
    lines = [" ".join(line.split()) for line in lines]
    assert any(line.startswith("accuracy, T=0 length 8 50.0% (4/8) 62.5% (5/8) +12.5 points") for line in lines), lines
    assert any(line.endswith("length 8 3 1 2 2") for line in lines)
