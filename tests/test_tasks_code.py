"""MBPP, HumanEval, AceCode and KodCode: their layouts, and their programs in the real sandbox."""

import json

import pytest

from maskgrpo_cli import registry
from maskgrpo_cli.config.sandbox import SandboxConfig
from maskgrpo_cli.engine.executors import LazyExecutor
from maskgrpo_cli.errors import RunFailed, UserError
from maskgrpo_cli.tasks.code import judge_all, text, texts

MBPP, HUMANEVAL, ACECODE, KODCODE = (registry.resolve("task", n) for n in ("mbpp", "humaneval", "acecode", "kodcode"))
TWICE = "def twice(x):\n    return 2 * x"
ROWS = {
    "mbpp": {"text": "Write twice.", "code": TWICE.replace("\n", "\r\n"), "task_id": 601, "test_setup_code": "",
             "test_list": ["assert twice(1) == 2", "assert twice('a') == 'aa'"], "challenge_test_list": []},
    "humaneval": {"task_id": "HumanEval/9", "prompt": "def one(x):\n    return 1\n\n\ndef twice(x):\n    '''2 x.'''\n",
                  "entry_point": "twice", "canonical_solution": "    return 2 * x\n",
                  "test": "\n\nMETADATA = {}\n\n\ndef check(candidate):\n    assert candidate(3) == 6 * one(3)\n"},
    "acecode": {"id": "a1", "source": "oss", "question": "Twice?",
                "test_cases": ["assert twice(1) == 2", "assert list(map(twice, [1])) == [2]"]},
    "kodcode": {"question_id": "k1", "question": "Twice?", "solution": TWICE,
                "test": "import pytest\nfrom solution import twice\n\ndef test_one():\n    assert twice(1) == 2\n\n"
                        "@pytest.mark.parametrize('x', [1, 2])\ndef test_all(x):\n    assert twice(x) == 2 * x\n\n"
                        "def test_raises():\n    with pytest.raises(TypeError):\n        twice(None)\n",
                "test_info": [{"function_name": "twice", "function_declaration": "def twice(x):"}]},
}  # fmt: skip


def load(task, rows, tmp_path, split="all", **options):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in (rows if isinstance(rows, list) else [rows])))
    return task.load(str(path), split, **options)


@pytest.fixture(scope="module")
def executor():
    """What a run has; skips where nothing isolates programs here."""
    with LazyExecutor(SandboxConfig(timeout=30.0)) as lazy:
        try:
            lazy()
        except UserError as error:
            pytest.skip(str(error))
        yield lazy()


# --- layouts ------------------------------------------------------------------------------------------------


def test_mbpp_asks_as_its_paper(tmp_path):
    (problem,) = load(MBPP, ROWS["mbpp"], tmp_path)
    assert problem.prompt.startswith(
        "You are an expert Python programmer, and here is your task: Write twice. "
        "Your code should pass these tests:\n\nassert twice(1) == 2\nassert twice('a') == 'aa'\n\n"
    )
    assert problem.columns == {"tests": tuple(ROWS["mbpp"]["test_list"]), "setup": "", "entry_point": "twice"}
    assert problem.id == "601" and problem.target == f"```python\n{TWICE}\n```"


def test_mbpp_of_the_sanitized_kind(tmp_path):
    row = {"prompt": "Write twice.", "code": "x", "task_id": 3, "test_imports": ["import math"], "test_list": ["a()"]}
    (problem,) = load(MBPP, row, tmp_path)
    assert problem.columns["setup"] == "import math" and "Write twice." in problem.prompt


@pytest.mark.parametrize("split, ids", [
    ("prompt", ["1", "10"]), ("test", ["11", "510"]), ("validation", ["511", "600"]), ("train", ["601", "974"]),
    ("all", ["1", "10", "11", "510", "511", "600", "601", "974"]),
])
def test_mbpp_s_splits_are_the_paper_s(split, ids, tmp_path):
    rows = [{**ROWS["mbpp"], "task_id": n} for n in (1, 10, 11, 510, 511, 600, 601, 974)]
    assert [problem.id for problem in load(MBPP, rows, tmp_path, split)] == ids
    assert [problem.id for problem in load(MBPP, rows, tmp_path, split, limit=1)] == ids[:1]
    own = [{**ROWS["mbpp"], "task_id": 975}, {k: v for k, v in ROWS["mbpp"].items() if k != "task_id"}]
    assert len(load(MBPP, own, tmp_path, split)) == 2


def test_mbpp_s_examples_are_those_that_its_paper_keeps_for_that(tmp_path):
    from maskgrpo_cli import config
    from maskgrpo_cli.engine.shots import choose

    rows = [{**ROWS["mbpp"], "task_id": n, "text": f"Write {n}."} for n in (11, 1, 2, 3, 601)]
    asked = load(MBPP, rows, tmp_path, "test")
    given = {"evaluation.shots": 2, "evaluation.shots_data": str(tmp_path / "rows.jsonl")}
    shots = choose(config.load("math", {"task.name": "mbpp", "task.rewards": None, **given}), MBPP, asked)
    assert [example.id for example in shots.examples] == ["1", "2"]
    turns = shots.before(asked[0]).messages
    assert [turn["role"] for turn in turns] == ["user", "assistant"] * 2 + ["user"]
    assert turns[1]["content"] == f"```python\n{TWICE}\n```" and "Write 11." in turns[-1]["content"]


def test_a_split_without_rows_is_told(tmp_path):
    with pytest.raises(UserError, match="holds no problems for the task mbpp in the split 'test'"):
        load(MBPP, ROWS["mbpp"], tmp_path, "test")


def test_rows_are_counted_as_they_stand_in_the_file(tmp_path):
    with pytest.raises(UserError, match="row 2: .*'test_list' is no list of texts"):
        load(MBPP, [{**ROWS["mbpp"], "task_id": 11}, {**ROWS["mbpp"], "test_list": [3]}], tmp_path, "train")


def test_humaneval_goes_on_with_its_prompt(tmp_path):
    (problem,) = load(HUMANEVAL, ROWS["humaneval"], tmp_path)
    opening = ROWS["humaneval"]["prompt"]
    assert opening.strip() in problem.prompt and problem.id == "HumanEval/9"
    assert problem.columns["opening"] == opening and problem.columns["entry_point"] == "twice"
    assert problem.columns["tests"][0].endswith("\n\ncheck(twice)")
    assert problem.columns["setup"] == "def one(x):\n    return 1\n\n\n"
    assert problem.target == f"```python\n{opening}    return 2 * x\n```"


def test_acecode_and_kodcode(tmp_path):
    (ace,) = load(ACECODE, ROWS["acecode"], tmp_path)
    assert ace.id == "a1" and ace.target is None and ace.columns["entry_point"] == "twice"
    (kod,) = load(KODCODE, ROWS["kodcode"], tmp_path)
    assert kod.id == "k1" and kod.columns["entry_point"] == "twice" and len(kod.columns["tests"]) == 3
    assert "def twice(x):" in kod.prompt and kod.target == f"```python\n{TWICE}\n```"


@pytest.mark.parametrize("info", [None, "", "no json", [], [3], [{}], [{"function_declaration": None}]])
def test_kodcode_without_declarations(info, tmp_path):
    (problem,) = load(KODCODE, {**ROWS["kodcode"], "test_info": info}, tmp_path)
    assert problem.prompt.startswith("Twice?\n\nAnswer")


@pytest.mark.parametrize("task, change, told", [
    (MBPP, {"test_list": "x"}, "no JSON list of tests"), (MBPP, {"text": 3}, "'text' is no text"),
    (MBPP, {"test_list": None}, "the column 'test_list' is empty"), (HUMANEVAL, {"entry_point": "a b"}, "no name of a"),
    (ACECODE, {"test_cases": {"a": 1}}, "'test_cases' is no list of texts"),
    (KODCODE, {"test": 3}, "'test' is no text"),
])
def test_mistaken_rows(task, change, told, tmp_path):
    with pytest.raises(UserError, match=told):
        load(task, {**ROWS[task.name], **change}, tmp_path)


def test_columns():
    assert texts('["a\\r\\nb "]', "x") == ("a\nb",) and texts([], "x") == () and text(None, "x") == ""


# --- in the sandbox --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task, completion, score, reason", [
    (MBPP, f"```python\n{TWICE}\n```", 1.0, ""), (MBPP, TWICE, 1.0, ""),
    (MBPP, "```python\ndef twice(x):\n    return x + x if x == 1 else 0\n```", 0.5,
     "1 of 2 tests passed; test 2: failed"),
    (MBPP, "I cannot.", 0.0, "0 of 2 tests passed; test 1: error: SyntaxError"),
    (MBPP, "import sys\nsys.exit(0)", 0.0, "0 of 2"), (MBPP, "", 0.0, "0 of 2"),
    (MBPP, "class A:\n    def __eq__(self, other): return True\n\ndef twice(x):\n    return A()", 0.0, "0 of 2"),
    (HUMANEVAL, "    return 2 * x * one(x)\n", 1.0, ""),
    (HUMANEVAL, "```python\ndef twice(x):\n    return 2 * x * one(x)\n```", 1.0, ""),
    (HUMANEVAL, "    return x\n", 0.0, "0 of 1 tests passed; test 1: failed"),
    # a helper of the prompt is the test's own: a program cannot put another in its place
    (HUMANEVAL, "```python\ndef one(x):\n    return 0\n\ndef twice(x):\n    return 0\n```", 0.0, "failed"),
    (ACECODE, TWICE, 1.0, ""), (KODCODE, TWICE, 1.0, ""),
    (KODCODE, "def twice(x):\n    return x * 2 if x else 0", 2 / 3, "2 of 3 tests passed; test 3: failed"),
    (KODCODE, "def double(x):\n    return 2 * x", 0.0, "0 of 3"),
])
def test_verdicts(task, completion, score, reason, tmp_path, executor):
    (problem,) = load(task, ROWS[task.name], tmp_path)
    (verdict,) = task.judge_all([completion], [problem], executor)
    assert verdict.score == pytest.approx(score) and verdict.correct is (score == 1.0), verdict
    assert reason in verdict.reason and bool(verdict.reason) is (score < 1.0)
    assert (verdict.status == "passed") is verdict.correct


def test_many_at_once_come_back_in_order(tmp_path, executor):
    (problem,) = load(MBPP, ROWS["mbpp"], tmp_path)
    given = [TWICE, "x", TWICE, "def twice(x): return 2"]
    assert [verdict.score for verdict in judge_all(given, [problem] * 4, executor)] == [1.0, 0.0, 1.0, 0.5]


def test_without_tests_nothing_is_counted(tmp_path, executor):
    (problem,) = load(ACECODE, {**ROWS["acecode"], "test_cases": []}, tmp_path)
    (verdict,) = ACECODE.judge_all([TWICE], [problem], executor)
    assert not verdict.counts and not verdict.correct and "no tests" in verdict.reason


def test_alone_a_program_is_not_judged(tmp_path):
    (problem,) = load(MBPP, ROWS["mbpp"], tmp_path)
    with pytest.raises(RunFailed, match="judge_all"):
        MBPP.judge(TWICE, problem)


# --- the real data ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, split, count, every", [("humaneval", "test", 164, 41), ("mbpp", "test", 500, 125)])
def test_some_canonical_solutions(name, split, count, every, benchmark_data, executor):
    """A few of them; `-m slow tests/test_code_canonical.py` takes all."""
    task = registry.resolve("task", name)
    problems = task.load(benchmark_data(f"{name}.jsonl.gz"), split)
    assert len(problems) == count and len({problem.id for problem in problems}) == count
    assert all(problem.columns["entry_point"] for problem in problems)
    some = problems[::every]
    verdicts = task.judge_all([problem.target for problem in some], some, executor)
    assert [verdict.reason for verdict in verdicts] == [""] * len(some)
    assert all(verdict.correct for verdict in verdicts)
