"""GSM8K, MATH, countdown and sudoku: prompts, columns, worked targets, verdicts, and the real data."""

import inspect
import json

import numpy as np
import pytest

from maskgrpo_cli import registry
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.types import Problem

SUDOKU = {"puzzle": "0000001334212004", "solution": "1342421334212134"}
ROWS = {
    "gsm8k": {"question": " 2 and 3? ", "answer": "They make 2+3=<<2+3=5>>5.\n#### 5"},
    "math500": {"problem": "Half of $x$?", "answer": "\\frac{x}{2}"},
    "countdown": {"nums": [1, 2, 3], "target": 7},
    "sudoku": {"Puzzle": SUDOKU["puzzle"], "Solution": SUDOKU["solution"]},
    "shapes": {"prompt": "a red circle"},
    "prompts": {"prompt": "a cat"},
    "geneval": {"tag": "single_object", "include": [{"class": "cat", "count": 1}], "prompt": "a cat"},
    "dpg": {"item_id": "one", "prompt": "a cat"},
    "hpsv2": {"tag": "anime", "prompt": "a cat"},
    "imagereward": {"id": "1-2", "prompt": "a cat"},
    "captions": {"image": "a.png", "caption": "a cat"},
    "picture-questions": {"image": "a.png", "question": "What?", "answer": "a cat"},
    "programs": {"question": "Give x.", "tests": ["assert f(1) == 1"]},
    "mbpp": {"text": "Give x.", "test_list": ["assert f(1) == 1"]},
    "humaneval": {"prompt": "def f(x):\n", "entry_point": "f", "test": "def check(candidate):\n    pass"},
    "acecode": {"question": "Give x.", "test_cases": ["assert f(1) == 1"]},
    "kodcode": {"question": "Give x.", "test": "def test_f():\n    pass"},
}
COMPLETIONS = {"shapes": np.zeros((32, 32, 3), np.uint8)}  # of tasks whose completions are no text


def load(name, row, tmp_path, **options):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row))
    return registry.resolve("task", name).load(str(path), "test", **options)[0]


@pytest.mark.parametrize("name, columns, asked", [
    ("gsm8k", {"answer": "5"}, ["2 and 3?", "<reasoning>", "</reasoning>", "\\boxed{}"]),
    ("math500", {"answer": "\\frac{x}{2}", "solution": "\\boxed{\\frac{x}{2}}"}, ["Half of $x$?",
    "\\boxed{}"]),
    ("countdown", {"numbers": [1, 2, 3], "target": 7}, ["1, 2, 3", "exactly 7", "<answer>"]),
    ("sudoku", SUDOKU, [SUDOKU["puzzle"], "16 digits", "<answer>"]),
])
def test_prompt_and_columns(name, columns, asked, tmp_path):
    problem = load(name, ROWS[name], tmp_path)
    assert problem.columns == columns and problem.id == f"{name}-test-0"
    assert len(problem.messages) == 1 and problem.messages[0]["role"] == "user"
    assert all(part in problem.prompt for part in [*asked, "<reasoning>"])


def test_worked_targets(tmp_path):
    problem = load("gsm8k", ROWS["gsm8k"], tmp_path)
    assert problem.target == "<reasoning>\nThey make 2+3=5.\n</reasoning>\n\\boxed{5}"
    worked = load("math500", {**ROWS["math500"], "solution": "so $x/2$"}, tmp_path)
    assert worked.target == "<reasoning>\nso $x/2$\n</reasoning>\n\\boxed{\\frac{x}{2}}"
    assert worked.columns["solution"] == "so $x/2$"
    assert load("math500", ROWS["math500"], tmp_path).target is None


@pytest.mark.parametrize("name, completion, score, answer", [
    ("gsm8k", "\\boxed{5}", 1.0, "5"), ("gsm8k", "\\boxed{5 apples}", 1.0, "5 apples"), ("gsm8k",
    "\\boxed{6}", 0.0, "6"),
    ("gsm8k", "<answer>\n5\n</answer>", 1.0, "5"), ("gsm8k", "\\boxed{} <answer>5</answer>", 1.0, "5"),
    ("gsm8k", "<answer>5</answer> \\boxed{6}", 0.0, "6"), ("gsm8k", "<answer>\\boxed{5}</answer>", 1.0, "5"),
    ("gsm8k", "<answer>\\boxed{5</answer>", 1.0, "5"), ("gsm8k", "<answer>boxed{5}</answer>", 1.0, "5"),
    ("gsm8k", "<answer>\\boxed{}5</answer>", 1.0, "5"), ("gsm8k", "<answer>\\boxed{</answer>", 0.0, ""),
    ("gsm8k", "5", 0.0, None), ("gsm8k", "\\boxed{5", 0.0, None),
    ("math500", "\\boxed{\\dfrac{x}2}", 1.0, "\\dfrac{x}2"), ("math500", "\\boxed{x}", 0.0, "x"),
    ("countdown", "<answer>1+2*3</answer>", 1.0, "1+2*3"), ("countdown", "<answer>1+2+3</answer>", 0.0,
    "1+2+3"),
    ("countdown", "1+2*3", 1.0, "1+2*3"), ("countdown", "<answer>9**9**9</answer>", 0.0, "9**9**9"),
    ("sudoku", f"<answer>{SUDOKU['solution']}</answer>", 1.0, SUDOKU["solution"]), ("sudoku", "", 0.0, None),
    ("sudoku", f"<answer>{SUDOKU['puzzle']}</answer>", 0.0, SUDOKU["puzzle"]),
])
def test_judge(name, completion, score, answer, tmp_path):
    task = registry.resolve("task", name)
    verdict = task.judge(completion, load(name, ROWS[name], tmp_path))
    assert (verdict.score, verdict.answer, verdict.correct) == (score, answer, score == 1.0)
    assert bool(verdict.reason) == (score < 1.0) and task.style(completion) is None


def test_a_partly_solved_grid_is_not_correct(tmp_path):
    problem = load("sudoku", ROWS["sudoku"], tmp_path)
    verdict = registry.resolve("task", "sudoku").judge("<answer>1342421334212131</answer>", problem)
    assert 0.0 < verdict.score < 1.0 and not verdict.correct


@pytest.mark.parametrize("name, row, message", [
    ("countdown", {"numbers": [], "target": 7}, "is no list of whole numbers"),
    ("countdown", {"numbers": [1.5], "target": 7}, "is no list of whole numbers"),
    ("countdown", {"numbers": "1, x", "target": 7}, "row 1: cannot be read as a problem of countdown"),
    ("countdown", {"numbers": [1, 2], "target": "seven"}, "cannot be read"),
    ("countdown", {"numbers": 12, "target": 7}, "cannot be read"),
    ("sudoku", {"puzzle": "123", "solution": SUDOKU["solution"]},
    "the puzzle '123' is not 16 digits from 0 to 4"),
    ("sudoku", {**SUDOKU, "solution": "1" * 16}, "does not solve the puzzle"),
    ("math500", {"problem": "x", "answer": ""}, "the answer is empty"),
])
def test_rows_that_are_no_problem(name, row, message, tmp_path):
    with pytest.raises(UserError, match=message):
        load(name, row, tmp_path)


def test_csv_layouts(tmp_path):
    (tmp_path / "a.csv").write_text('numbers,target\n"[1, 18, 51]",33\n')
    (problem,) = registry.resolve("task", "countdown").load(str(tmp_path / "a.csv"), "test")
    assert problem.columns == {"numbers": [1, 18, 51], "target": 33}
    (tmp_path / "b.csv").write_text(f"Puzzle,Solution\n{SUDOKU['puzzle']},{SUDOKU['solution']}\n")
    (problem,) = registry.resolve("task", "sudoku").load(str(tmp_path / "b.csv"), "test")
    assert problem.columns == SUDOKU
    assert load("sudoku", {**SUDOKU, "puzzle": int(SUDOKU["puzzle"])}, tmp_path).columns == SUDOKU


@pytest.mark.parametrize("name", registry.names("task"))
def test_default_rewards_are_registered_and_take_the_task_s_columns(name, tmp_path):
    task = registry.resolve("task", name)
    (tmp_path / "a.png").write_bytes(b"")
    row = ROWS.get(name, {"question": "q", "answer": "1"})
    problem: Problem = load(name, row, tmp_path)
    columns = {column: [value] for column, value in problem.columns.items()}
    assert task.name == name and (task.rewards or name in registry.UNJUDGED)
    completion = COMPLETIONS.get(name, "\\boxed{1}")
    for name, weight in task.rewards.items():
        reward = registry.resolve("reward", name)
        assert weight > 0
        if not inspect.isclass(reward):  # those need weights
            (value,) = reward([problem.prompt], [completion], **columns)
            assert 0.0 <= value <= 1.0


@pytest.mark.parametrize("name, file, rows", [
    ("gsm8k", "gsm8k_test.jsonl.gz", 1319), ("gsm8k", "gsm8k_train.jsonl.gz", 7473), ("math500",
    "math500.jsonl.gz", 500),
    ("countdown", "countdown3.jsonl.gz", 256), ("sudoku", "sudoku4x4.jsonl.gz", 256),
])
def test_real_data(name, file, rows, benchmark_data):
    task = registry.resolve("task", name)
    problems = task.load(benchmark_data(file), "test")
    assert len(problems) == rows
    for problem in problems:
        answer = problem.columns.get("answer") or problem.columns.get("solution")
        if name != "countdown":
            tagged = f"<answer>{answer}</answer>" if name == "sudoku" else f"\\boxed{{{answer}}}"
            assert task.judge(tagged, problem).correct
