"""`maskgrpo eval BENCHMARK --generations FILE --protocol NAME`, as it is typed."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from maskgrpo_cli.cli import main

GOLDEN = Path(__file__).parent / "golden" / "parsers_eval"
WITHOUT_TORCH = (
    "import sys; from maskgrpo_cli.cli import main\n"
    "try: main()\n"
    "finally: print('TORCH' if 'torch' in sys.modules else 'LIGHT', file=sys.stderr)"
)
ROW = {"question": "How many?", "generation": "\\boxed{1,000}", "ground_truth": 1000.0}


class Bare:
    """A user's task that can only be sampled."""

    name = "bare"


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def typed(monkeypatch, capsys):
    """`typed(*words)`: what a command line of these words does, in this process."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["maskgrpo", *words])
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        said = capsys.readouterr()
        return Done(code, said.out, said.err)

    return run


@pytest.fixture
def score(typed, tmp_path):
    """`score(task, file, *options)`: judge a file; the results lie in tmp_path / "run"."""
    return lambda task, file, *options: typed(
        "eval", task, "--generations", str(file), "--output-dir", str(tmp_path / "run"), *options
    )


@pytest.fixture
def file(tmp_path):
    """`file(row, ...)`: a file of JSON lines."""

    def write(*rows):
        path = tmp_path / "rows.jsonl"
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        return path

    return write


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_d1_s_sudoku_is_counted_in_cells_without_torch(tmp_path):
    command = ["eval", "sudoku", "--generations", str(GOLDEN / "sudoku_128.jsonl.gz"), "--protocol", "d1"]
    command = [sys.executable, "-c", WITHOUT_TORCH, *command, "--output-dir", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stderr == "LIGHT\n", done.stderr
    assert "sudoku by d1: accuracy 11.72% (240/2048 cells), 95 % " in done.stdout
    assert "sudoku by maskgrpo: accuracy 0.39% (1/256)" in done.stdout and "differences.jsonl" in done.stdout
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert (results["benchmark"], results["protocol"], results["unit"]) == ("sudoku", "d1", "cells")
    low, high = results["interval"]
    assert 0 < low < results["accuracy"] == 240 / 2048 < high < 1 and results["seconds"] > 0
    rows = lines(tmp_path / "run" / "generations.jsonl")
    assert len(rows) == 256 and sum(row["parts"][0] for row in rows) == 240
    (found,) = lines(tmp_path / "run" / "differences.jsonl")
    assert found["id"] == "sudoku-184" and found["question"].startswith("Solve") and found["reason"]
    assert {"answer", "correct", "score"} == set(found["maskgrpo"]) == set(found["d1"])


def test_our_protocol_is_the_default_and_a_limit_counts_rows(score, tmp_path):
    done = score("countdown", GOLDEN / "countdown_128.jsonl.gz", "--limit", "20")
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["protocol"] == "maskgrpo" and results["total"] == results["rows"] == 20
    config = (tmp_path / "run" / "config.yaml").read_text()
    assert "protocol: maskgrpo" in config


def test_rows_without_ground_truth_are_named_and_not_counted(score, file, tmp_path):
    done = score("gsm8k", file(ROW, "", {**ROW, "ground_truth": None}, {**ROW, "ground_truth": float("nan")}))
    assert done.returncode == 0
    assert "warning: 2 of 3 rows have no ground truth and are not counted" in done.stderr
    assert "rows.jsonl, line 3; " in done.stderr and "rows.jsonl, line 4" in done.stderr
    assert "gsm8k by maskgrpo: accuracy 100.00% (1/1)" in done.stdout
    assert "gsm8k by d1: accuracy 0.00% (0/3)" in done.stdout
    assert "'1,000' as a whole; d1 takes the first number in it, 1.0" in done.stdout


@pytest.mark.parametrize("row", [
    {"id": "a-7", "prompt": "q", "completion": "\\boxed{4}", "reference": {"answer": "4", "steps": ""}, "answer": "5"},
    {"problem": "q", "response": "\\boxed{4}", "answer": "4"}, {"input": "q", "output": "\\boxed{4}", "target": 4},
    {"question": "q", "generations": "\\boxed{4}", "ground_truth": "4"},
])
def test_other_layouts_and_our_own(score, file, tmp_path, row):
    done = score("arithmetic", file(row))
    assert done.returncode == 0, done.stderr
    (judged,) = lines(tmp_path / "run" / "generations.jsonl")
    assert judged["correct"] and judged["id"] == row.get("id", "arithmetic-0") and judged["reference"]["answer"] == "4"
    assert "differences" not in done.stdout


def test_an_empty_field_of_a_table_is_no_ground_truth(score, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("question,generation,ground_truth\nq,\\boxed{4},4\nq,\\boxed{4},\n")
    done = score("gsm8k", path)
    assert done.returncode == 0 and "(1/1)" in done.stdout and "1 of 2 rows have no ground truth" in done.stderr


def test_columns_may_be_named(score, file):
    path = file({"frage": "q", "text": "\\boxed{4}", "truth": 4})
    done = score("gsm8k", path, "--set", "task.columns={question: frage, generation: text, ground_truth: truth}")
    assert done.returncode == 0 and "(1/1)" in done.stdout, done.stderr
    done = score("gsm8k", path, "--set", "task.columns={questions: frage}")
    assert done.returncode == 2 and "task.columns.questions" in done.stderr and "ground_truth" in done.stderr


@pytest.mark.parametrize("task, rows, options, said", [
    ("gsm8k", [ROW], ["--protocol", "d2"], ["evaluation.protocol", "'d2'", "maskgrpo, d1"]),
    ("arithmetic", [ROW], ["--protocol", "d1"], ["arithmetic", "'d1'", "write one of: maskgrpo"]),
    ("gsm8k", [ROW], ["--model", "x", "--temperature", "1"], ["--generations", "leave out --model, --temperature"]),
    ("gsm8k", [{"question": "q", "text": "", "ground_truth": 1}], [], ["no column 'generation'", "question, text"]),
    ("gsm8k", [ROW, {"question": "q", "generation": "a"}], [], ["rows.jsonl, line 2", "no column 'ground_truth'"]),
    ("gsm8k", [ROW, {**ROW, "generation": ["a"]}], [], ["rows.jsonl, line 2", "'generation'", "not a text"]),
    ("gsm8k", [ROW, "{"], [], ["rows.jsonl, line 2", "not valid JSON"]),
    ("countdown", [{**ROW, "ground_truth": [1, 2, 3]}], [], ["rows.jsonl, line 1", "[[numbers], target]"]),
    ("countdown", [{**ROW, "ground_truth": [[1.5, 2], 3]}], [], ["rows.jsonl, line 1", "whole numbers"]),
    ("sudoku", [{**ROW, "ground_truth": "1" * 16}], [], ["rows.jsonl, line 1", "no puzzle of 16 digits"]),
    ("sudoku", [{**ROW, "question": "puzzle: " + "0" * 16, "ground_truth": "123"}], [], ["line 1", "not 16 digits"]),
    ("gsm8k", [{**ROW, "ground_truth": {"value": 4}}], [], ["rows.jsonl, line 1", "no column 'answer'"]),
    ("test_eval_protocols_cli:Bare", [ROW], [], ["text made elsewhere", "restore(question, ground_truth, key)"]),
])
def test_mistakes_are_named(score, file, tmp_path, task, rows, options, said):
    done = score(task, file(*rows), *options)
    assert done.returncode == 2 and done.stderr.startswith("error: "), done.stderr
    assert all(part in done.stderr for part in said), done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "run").exists()


def test_a_missing_file_and_a_directory_that_holds_a_run(score, file):
    done = score("gsm8k", "nowhere.jsonl.gz")
    assert done.returncode == 2 and "nowhere.jsonl.gz: there is no such file" in done.stderr
    assert score("gsm8k", file(ROW)).returncode == 0
    done = score("gsm8k", file(ROW))
    assert done.returncode == 2 and "already holds a run" in done.stderr


def test_judged_text_has_nothing_to_be_continued(score, typed, file, tmp_path):
    assert score("gsm8k", file(ROW)).returncode == 0
    done = typed("eval", "--resume", str(tmp_path / "run"))
    assert done.returncode == 2 and "judged text made elsewhere, in one go" in done.stderr


def test_an_unknown_protocol_is_said_before_a_model_is_looked_for(typed, tmp_path):
    done = typed("eval", "arithmetic", "--protocol", "d1", "--model", "nowhere", "--output-dir", str(tmp_path / "run"))
    assert done.returncode == 2 and "not judged by 'd1'" in done.stderr


@pytest.mark.parametrize("words", [["eval", "arithmetic"], ["sample", "--prompt", "What is 3 + 4?"]])
def test_a_threshold_that_the_sampler_would_not_read(typed, words):
    done = typed(*words, "--threshold", "0.9", "--model", "nowhere")
    assert done.returncode == 2 and "--threshold 0.9: the sampler '" in done.stderr
    assert "has none; add --sampler confidence-threshold" in done.stderr
    done = typed(*words, "--threshold", "0.9", "--sampler", "confidence-threshold", "--model", "nowhere")
    assert done.returncode == 2 and "model 'nowhere'" in done.stderr
