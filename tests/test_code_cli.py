"""`maskgrpo data check`, `eval --generations` by ids and `--unsafe-local`, as commands."""

import gzip
import json
import os
import subprocess
import sys

import pytest
from test_tasks_code import ROWS, TWICE

from maskgrpo_cli import config
from maskgrpo_cli.config.evaluation import load_begun
from maskgrpo_cli.config.overrides import Override
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.sandbox import make

SLEEPS = "def twice(x):\n    while True: pass"


def have_sandbox():
    """Skips where a command of the default settings would find no sandbox."""
    try:
        make(workers=1).close()
    except UserError as error:
        pytest.skip(str(error))


def process(*words, cwd, **environment):
    """A finished command in a process and an environment of its own."""
    return subprocess.run([sys.executable, "-m", "maskgrpo_cli", *words], cwd=cwd, capture_output=True, text=True,
                          timeout=300, env={**os.environ, "COLUMNS": "200", **environment})  # fmt: skip


@pytest.fixture
def here(maskgrpo, tmp_path, monkeypatch):
    """`here(*words)`: (exit code, stdout, stderr) of a command in this process, in the test's folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return maskgrpo


@pytest.fixture
def sandboxed(here):
    """`here`, where a sandbox can be had."""
    have_sandbox()
    return here


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def mbpp(number, code=TWICE, **more):
    return {**ROWS["mbpp"], "task_id": number, "code": code, **more}


# --- data check ---------------------------------------------------------------------------------------------


def test_rows_whose_tests_cannot_pass_are_listed(tmp_path, sandboxed):
    write(tmp_path / "a.jsonl", [
        mbpp(1), mbpp(602, "def twice(x):\n    return x"), mbpp(3, SLEEPS), mbpp(4, None), mbpp(5, test_list=[]),
        mbpp(6, "def twice(:"),
    ])  # fmt: skip
    words = ("data", "check", "a.jsonl", "--task", "mbpp", "--set", "sandbox.timeout=1", "--output", "out.jsonl")
    code, out, errors = sandboxed(*words)
    assert code == 1 and errors == "error: 4 of 6 rows have tests that cannot pass\n", errors
    shown = out.splitlines()
    assert [line.split("\t")[:2] for line in shown[:-1]] == [
        ["602", "failed"], ["3", "timeout"], ["5", "no tests"], ["6", "error"],
    ]  # fmt: skip
    assert "0 of 2 tests passed; test 1: failed" in shown[0] and "SyntaxError" in shown[3]
    assert shown[-1].startswith("6 rows: ") and "1 no reference" in shown[-1] and "1 passed" in shown[-1]
    rows = lines(tmp_path / "out.jsonl")
    assert [row["id"] for row in rows] == ["1", "602", "3", "4", "5", "6"]
    assert [row["status"] for row in rows] == ["passed", "failed", "timeout", "no reference", "no tests", "error"]


def test_what_a_program_says_steers_no_terminal(tmp_path, sandboxed):
    write(tmp_path / "a.jsonl", [mbpp(1, "def twice(x): raise ValueError('\\ud800 \\x1b[2J [/red]')")])
    code, out, _ = sandboxed("data", "check", "a.jsonl", "--task", "mbpp")
    assert code == 1 and "ValueError: \\ud800 \\x1b[2J [/red]" in out, ascii(out)


def test_data_without_solutions_is_no_failure_but_said(tmp_path, sandboxed):
    write(tmp_path / "a.jsonl", [{**ROWS["acecode"], "id": n, "solution": s} for n, s in (("a", None), ("b", TWICE))])
    code, out, errors = sandboxed("data", "check", "a.jsonl", "--task", "acecode")
    assert code == 0 and out == "2 rows: 1 no reference, 1 passed\n", errors
    code, out, _ = sandboxed("data", "check", "a.jsonl", "--task", "acecode", "--limit", "1")
    assert code == 0 and "1 rows: 1 no reference\nno row has a reference solution" in out


def test_other_tasks_are_checked_too(tmp_path, here):
    write(tmp_path / "g.jsonl", [{"question": "q", "answer": "so #### 5"}, {"question": "q", "answer": "5"}])
    code, out, errors = here("data", "check", "g.jsonl", "--task", "gsm8k")
    assert code == 0 and out == "2 rows: 1 passed, 1 no reference\n", errors


@pytest.mark.parametrize("rows, words, told", [
    ([{"text": "t"}], [], "has no column 'test_list'"), ([mbpp(1, test_list=3)], [], "row 1: cannot be read as"),
    ([mbpp(1)], ["--split", "test"], "no problems for the task mbpp in the split 'test'"),
    ([mbpp(1)], ["--task", "mbp"], "did you mean 'mbpp'?"), ([mbpp(1)], ["--task", "prompts"], "nothing is right or"),
    ([mbpp(1)], ["--output", "none/a.jsonl"], "--output none/a.jsonl: there is no such folder"),
    ([mbpp(1)], ["--set", "sandbox.timout=3"], "did you mean 'timeout'?"),
    ([mbpp(1)], ["--set", "sandbox.unsafe_local=true"], "only the option --unsafe-local may say that"),
])
def test_mistakes_are_the_user_s(rows, words, told, tmp_path, here):
    write(tmp_path / "a.jsonl", rows)
    words = words if "--task" in words else ["--task", "mbpp", *words]
    code, out, err = here("data", "check", "a.jsonl", *words)
    assert code == 2 and told in err and out == "", err


# --- no sandbox --------------------------------------------------------------------------------------------------


def test_without_a_sandbox_nothing_runs_unless_asked_for(tmp_path):
    write(tmp_path / "a.jsonl", [mbpp(1)])
    (tmp_path / "bin").mkdir()
    words = ("data", "check", "a.jsonl", "--task", "mbpp", "--set", "sandbox.backend=bubblewrap")
    done = process(*words, cwd=tmp_path, PATH=str(tmp_path / "bin"))
    assert done.returncode == 2 and "install bubblewrap" in done.stderr and "--unsafe-local" in done.stderr
    done = process(*words, "--unsafe-local", cwd=tmp_path, PATH=str(tmp_path / "bin"))
    assert done.returncode == 0 and done.stdout == "1 rows: 1 passed\n"
    assert done.stderr.startswith("warning: --unsafe-local: programs that a model wrote run with your own rights")


@pytest.mark.parametrize("words", [
    ("grpo", "--recipe", "code-llada-8b"), ("eval", "mbpp", "--generations", "a.jsonl"),
])
def test_a_file_cannot_do_away_with_the_sandbox(words, tmp_path, here):
    write(tmp_path / "a.jsonl", [mbpp(1)])
    code, _, err = here(*words, "--set", "sandbox.unsafe_local=true")
    assert code == 2 and "only the option --unsafe-local may say that; add the option" in err


def test_what_a_run_wrote_down_needs_the_option_again(tmp_path):
    (tmp_path / "config.yaml").write_text("sandbox: {unsafe_local: true}\n")
    (tmp_path / "evaluation.json").write_text("{}")
    with pytest.raises(UserError, match="line 1.*only the option --unsafe-local"):
        load_begun(str(tmp_path))
    again = Override("sandbox.unsafe_local", True, "--unsafe-local")
    assert load_begun(str(tmp_path), [again]).sandbox.unsafe_local
    assert config.load(str(tmp_path / "config.yaml"), [again]).sandbox.unsafe_local
    with pytest.raises(UserError, match="--set"):
        config.load("math", ["sandbox.unsafe_local=true"])


# --- text made elsewhere, by ids --------------------------------------------------------------------------------


def judging(tmp_path, rows, task="mbpp", data=None, name="g.jsonl"):
    """The words of a command over generations of three problems of MBPP's test split."""
    write(tmp_path / "data.jsonl", data or [mbpp(11), mbpp(12), mbpp(13), mbpp(601)])
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return "eval", task, "--data", "data.jsonl", "--generations", name, "--output-dir", "run"


def test_programs_made_elsewhere(tmp_path, sandboxed):
    wrong = "def twice(x): return x"
    rows = [
        {"task_id": number, "generation": text}
        for number, *texts in [(11, TWICE, wrong, wrong, TWICE), (12, *[wrong] * 3), ("mbpp/13", *[TWICE] * 3)]
        for text in texts
    ]
    code, out, errors = sandboxed(*judging(tmp_path, rows, name="g.jsonl.gz"))
    assert code == 0, errors
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["problems"] == {"count": 3, "attempted": 3} and (results["correct"], results["total"]) == (5, 10)
    # unbiased: pass@1 = (2/4 + 0 + 1) / 3, pass@3 = (1 + 0 + 1) / 3
    assert results["pass_at"]["1"]["value"] == pytest.approx(0.5)
    assert results["pass_at"]["3"]["value"] == pytest.approx(2 / 3) and list(results["pass_at"]) == ["1", "3"]
    made = lines(tmp_path / "run" / "generations.jsonl")
    assert [(row["id"], row["sample"], row["correct"]) for row in made][:4] == [
        ("11", 0, True), ("11", 1, False), ("11", 2, False), ("11", 3, True),
    ]  # fmt: skip
    assert "pass@3 66.67%" in out and "warning" not in errors


def test_humaneval_s_own_layout_and_a_problem_left_out(tmp_path, sandboxed):
    rows = [{"task_id": "HumanEval/9", "completion": "    return 2 * x\n"}]
    data = [ROWS["humaneval"], {**ROWS["humaneval"], "task_id": "HumanEval/10"}]
    code, out, errors = sandboxed(*judging(tmp_path, rows, task="humaneval", data=data))
    assert code == 0 and "accuracy 100.00% (1/1)" in out, errors
    assert "warning: the file has text for 1 of the 2 problems" in errors


@pytest.mark.parametrize("rows, told", [
    ([{"task_id": 601, "generation": "x"}], "g.jsonl, line 1: there is no problem '601' in the split 'test' of mbpp"),
    ([{"task_id": 11, "text": "x"}], "g.jsonl has no column 'generation'; it has: task_id, text"),
    ([{"generation": "x"}], "has no column 'task_id'"),
    ([{"task_id": 11, "generation": 3}], "'generation' is 3, not"),
    ([{"task_id": 11, "generation": "x"}, {"task_id": 11}], "line 2: has no 'generation'"),
])
def test_mistaken_generations(rows, told, tmp_path, here):
    code, _, err = here(*judging(tmp_path, rows))
    assert code == 2 and told in err and not (tmp_path / "run").exists(), err


def test_other_benchmarks_hold_their_questions_in_the_file(tmp_path, here):
    row = {"question": "q", "generation": "\\boxed{5}", "ground_truth": "5", "task_id": 1}
    code, _, err = here(*judging(tmp_path, [row], task="gsm8k"))
    assert code == 2 and "--data: the rows of g.jsonl say what was asked" in err
