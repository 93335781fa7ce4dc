"""Each reward at its boundary, for wrong and malformed completions, and the faults of the published code."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskgrpo_cli import registry
from maskgrpo_cli.rewards.countdown import countdown
from maskgrpo_cli.rewards.format import boxed_format, reasoning_box_format, reasoning_format
from maskgrpo_cli.rewards.math import correct, correct_published, integer_answer
from maskgrpo_cli.rewards.sudoku import sudoku

PUZZLE, SOLUTION = "1000041000200003", "1234341221434321"


def boxed(*answers):
    return [f"\\boxed{{{answer}}}" for answer in answers]


def test_correct():
    completions = ["\\boxed{18}", "so \\boxed{17} no \\boxed{18 apples}", "\\boxed{17}", "18", "",
    "\\boxed{18", "\\boxed{}"]
    assert correct([""] * 7, completions, answer=["18"] * 7) == [1, 1, 0, 0, 0, 0, 0]
    assert correct([], [], answer=[]) == []
    assert correct(["", ""], boxed("1", "2"), answer=[None, 2], id=["a", "b"]) == [None, 1]


def test_correct_published_prefers_the_solution_and_is_not_applicable_without_a_reference():
    assert correct_published([""], boxed("0.5"), answer=["1/2"], solution=["so \\boxed{\\frac12}"]) == [1]
    assert correct_published([""], boxed("0.5"), answer=["1/2"]) == [0]
    assert correct_published(["", ""], boxed("1", "1"), answer=[None, "1"]) == [None, 1]
    assert correct_published(["", ""], boxed("1", "1"), solution=[None, "\\boxed{1}"]) == [None, 1]
    assert correct_published([""], boxed("1")) == [None]


def test_integer_answer():
    completions = [*boxed("18", "18.0", "1,000", "-3", "$18", "0", "18.5", "1/2", "x", ""), "18",
    "\\boxed{18"]
    assert integer_answer([""] * 12, completions) == [1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0]


def test_formats():
    completions = [
        "<reasoning>a</reasoning>\\boxed{1}", "<reasoning>a</reasoning>", "\\boxed{1}", "",
        "</reasoning><reasoning>",
        "x<reasoning>a</reasoning>\\boxed{1}", "<reasoning>a</reasoning>\\boxed{1}\\boxed{2}",
        "<reasoning>a\\boxed{1}</reasoning>", "<reasoning>a</reasoning>\\boxed{1",
    ]
    nothing = [""] * len(completions)
    assert reasoning_format(nothing, completions) == [1, 1, 0, 0, 0, 1, 1, 1, 1]
    assert reasoning_box_format(nothing, completions) == [1, 0, 0, 0, 0, 0, 0, 0, 0]
    assert boxed_format(nothing, completions) == [1, 0.5, 1, 0.5, 0.5, 1, 1, 1, 1]


@pytest.mark.parametrize("answer, reward", [
    ("<answer>1+2*3</answer>", 1.0), ("<answer>\\boxed{1+2*3}</answer>", 1.0), ("\\boxed{1 + 2 \\times 3}",
    1.0),
    ("<answer>$2 \\cdot 3 + 1 = 7$</answer>", 1.0), ("<answer>1+2*3 = 8</answer>", 0.1),
    ("<answer>7</answer>", 0.1),
    ("<answer>1+2+3</answer>", 0.1), ("<answer>1*2*3+1</answer>", 0.1), ("<answer>3+4</answer>", 0.1),
    ("<answer>", 0.0), ("1+2*3", 0.0), ("", 0.0), ("\\boxed{", 0.0), ("<answer>(1+2*3</answer>", 0.1),
    ("<answer>1+2*3</answer> or <answer>1</answer>", 0.1),
])
def test_countdown(answer, reward):
    assert countdown([""], [answer], numbers=[[1, 2, 3]], target=[7]) == [reward]


def test_countdown_is_exact():
    third = "<answer>1/3+0</answer>"
    assert countdown([""], [third], numbers=[[1, 3, 0]], target=[0.333333333]) == [0.1]
    assert countdown([""], ["<answer>8/(3-8/3)</answer>"], numbers=[[8, 3, 8, 3]], target=[24]) == [1.0]


@pytest.mark.parametrize("answer, reward", [
    (f"<answer>{SOLUTION}</answer>", 1.0), ("<answer>1234\n3412\n2143\n4321</answer>", 1.0),
    ("<answer>| 1 2 | 3 4 |\n| 3 4 | 1 2 |\n| 2 1 | 4 3 |\n| 4 3 | 2 1 |</answer>", 1.0),
    (f"\\boxed{{{SOLUTION}}}", 1.0), (f"<answer>\\boxed{{{SOLUTION}}}</answer>", 1.0),
    ("<answer>1234341221434311</answer>", 11 / 12), ("<answer>12</answer>", 1 / 12),
    ("<answer>1000041000200000</answer>", 0.0), ("<answer></answer>", 0.0), (SOLUTION, 0.0), ("", 0.0),
])
def test_sudoku(answer, reward):
    """Twelve empty cells; of the malformed answers those that stand at their place count."""
    assert sudoku([""], [answer], puzzle=["1000041000200000"], solution=[SOLUTION]) == [reward]


def test_sudoku_any_valid_grid_that_keeps_the_givens_is_right():
    other = "1234341241232341"
    assert sudoku([""], [f"<answer>{other}</answer>"], puzzle=["1000000000000000"],
    solution=[SOLUTION]) == [1.0]
    broken = "2234341221434321"  # changes a given, and so two cells of the first row are the same
    for puzzle, share in (("1" + "0" * 15, 14 / 15), ("0" * 16, 15 / 16)):
        assert sudoku([""], [f"<answer>{broken}</answer>"], puzzle=[puzzle], solution=[SOLUTION]) == [share]


def test_fault_19_countdown_never_evaluates(tmp_path, monkeypatch):
    """The published reward calls `eval`: this power hangs it, and an import would run."""
    monkeypatch.chdir(tmp_path)
    hostile = ["9**9**9**9", "9^9^9^9", "__import__('os').mkdir('pwned')", "(" * 10**6, "9" * 10**6,
    "1+" * 10**5 + "1"]
    begun = time.perf_counter()
    completions = [f"<answer>{text}</answer>" for text in hostile]
    assert countdown([""] * 6, completions, numbers=[[9] * 4] * 6, target=[7] * 6) == [0.1] * 6
    assert time.perf_counter() - begun < 1.0
    assert not list(tmp_path.iterdir())


def test_fault_20_numbers_as_people_write_them():
    """The published reward reads `1,000` as 1 and finds `18.0`, `$18` and ` 18 ` wrong for 18."""
    assert correct([""] * 4, boxed("18.0", "$18", " 18 ", "18 apples"), answer=["18"] * 4) == [1] * 4
    assert correct([""] * 2, boxed("1,000", "1"), answer=["1000"] * 2) == [1, 0]
    assert correct([""] * 2, boxed("1000", "1"), answer=["1,000"] * 2) == [1, 0]


def test_fault_20_a_slash_b_stops_no_normalisation():
    """`a/b` made the published normal form raise, so that not even a space was forgiven."""
    assert correct_published([""], boxed("a/b "), solution=["\\boxed{a/b}"]) == [1]
    assert correct([""], boxed("\\frac{a}{b}"), answer=["a/b"]) == [1]


def test_fault_20_an_unclosed_box_in_the_data_stops_no_run():
    assert correct_published(["", ""], boxed("3", "3"), solution=["\\boxed{3", "\\boxed{3}"]) == [None, 1]
    assert correct(["", ""], ["\\boxed{3", "\\boxed{3}"], answer=["\\boxed{3", "3"]) == [0, 1]


texts = st.text(max_size=80) | st.lists(st.sampled_from([
    "\\boxed{", "}", "{", "<answer>", "</answer>", "<reasoning>", "</reasoning>", "1", "2", "34", "+", "*",
    "/", "(", ")",
    "=", "-", ",", ".", "$", "%", " ", "\n", "\\frac", "\\text{", "apples", "1234341221434321", "####",
    "\\boxed ",
]), max_size=30).map("".join)

COLUMNS = {
    "answer": "18", "solution": "\\boxed{18}", "numbers": [1, 2, 34], "target": 37, "puzzle": PUZZLE,
}


@given(st.lists(texts, max_size=3))
def test_any_text_has_a_reward_within_0_and_1(completions):
    columns = {name: [value] * len(completions) for name, value in COLUMNS.items()}
    prompts = [""] * len(completions)
    for reward in (correct_published, integer_answer, boxed_format, reasoning_format, reasoning_box_format,
    countdown):
        rewards = reward(prompts, completions, **columns)
        assert len(rewards) == len(completions) and all(0.0 <= value <= 1.0 for value in rewards)
    columns["solution"] = [SOLUTION] * len(completions)
    rewards = sudoku(prompts, completions, **columns)
    assert len(rewards) == len(completions) and all(0.0 <= value <= 1.0 for value in rewards)


@given(texts)
def test_any_box_is_right_or_wrong(text):
    """Without backslash and power, so that the worker, tested elsewhere, is not asked a hundred times."""
    plain = text.replace("\\", "").replace("^", "")
    assert correct([""], [f"\\boxed{{{plain}}}"], answer=["18"])[0] in (0.0, 1.0)


@pytest.mark.parametrize("name", [name for name in registry.names("reward") if not registry.settings(name)])
def test_every_registered_reward_takes_any_columns(name):
    columns = {column: [value] for column, value in {**COLUMNS, "solution": SOLUTION, "other": 1}.items()}
    assert len(registry.resolve("reward", name)(prompts=["q"], completions=["c"], **columns)) == 1
