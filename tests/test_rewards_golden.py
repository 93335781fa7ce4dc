"""The rewards against tables of the published code; every difference on purpose is written out."""

import json
from pathlib import Path

import pytest

from maskgrpo_cli.domains.published import is_equivalent, last_boxed_string, normal_form, without_box
from maskgrpo_cli.domains.text import hash_answer, last_boxed
from maskgrpo_cli.rewards.countdown import countdown
from maskgrpo_cli.rewards.format import boxed_format, reasoning_format
from maskgrpo_cli.rewards.math import correct, correct_published, integer_answer
from maskgrpo_cli.rewards.sudoku import sudoku


def table(name):
    return json.loads((Path(__file__).parent / "golden" / "rewards" / f"{name}.json").read_text())


@pytest.mark.parametrize("row", table("boxed")["extraction"], ids=lambda row: row["input"])
def test_published_boxes(row):
    boxed = last_boxed_string(row["input"])
    assert boxed == row["last_boxed_only_string"]
    assert (without_box(boxed) if boxed is not None else None) == row["remove_boxed_of_it"]
    assert boxed_format([""], [row["input"]]) == [row["boxed_in_answer"]]
    if "reference_quirk" not in row and not row["input"].startswith("\\fbox"):
        assert last_boxed(row["input"]) == row["remove_boxed_of_it"]


@pytest.mark.parametrize("row", table("boxed")["remove_boxed_direct"], ids=lambda row: row["input"])
def test_published_box_removal(row):
    assert without_box(row["input"]) == row["result"]


@pytest.mark.parametrize("row", table("is_equiv"), ids=lambda row: f"{row['a']} ~ {row['b']}")
def test_published_normal_forms(row):
    assert is_equivalent(row["a"], row["b"]) == row["equivalent"]
    for side in "ab":
        published = row[f"normalised_{side}"]
        if published is None or "raises" in published:  # the original stops with an exception, ours goes on
            normal_form(row[side] or "")
        else:
            assert normal_form(row[side]) == published["result"]


@pytest.mark.parametrize("row", table("gsm8k"), ids=lambda row: row["completion"])
def test_published_gsm8k_correctness(row):
    assert correct_published([""], [row["completion"]], answer=[row["answer"]]) == [row["correctness"] / 2]


OURS_GSM8K = {  # (completion, answer) -> correct, whole number; fault 20 unless noted
    ("18", "18"): (0, 0),  # an answer stands in a box
    ("12345", "12345"): (0, 0),
    ("\\boxed{18.0}", "18"): (1, 1),
    ("\\boxed{1,000}", "1000"): (1, 1),
    ("\\boxed{1,000}", "1,000"): (1, 1),
    ("\\boxed{$18}", "18"): (1, 1),
    ("\\boxed{ 5 }", "5"): (1, 1),
    ("\\boxed{-5}", "-5"): (1, 1),  # minus five is a whole number
    ("\\boxed{٣}", "٣"): (1, 0),  # only ASCII digits are read as numbers
    ("\\boxed{²}", "²"): (1, 0),
    ("\\boxed{5\\text{ apples}}", "5"): (1, 1),
}


@pytest.mark.parametrize("row", table("gsm8k"), ids=lambda row: row["completion"])
def test_our_gsm8k_differs_where_said_and_nowhere_else(row):
    published = (row["correctness"] / 2, row["int_reward"] / 0.5)
    expected = OURS_GSM8K.get((row["completion"], row["answer"]), published)
    found = correct([""], [row["completion"]], [row["answer"]]) + integer_answer([""], [row["completion"]])
    assert tuple(found) == expected
    assert expected != published or (row["completion"], row["answer"]) not in OURS_GSM8K


@pytest.mark.parametrize("row", table("math"), ids=lambda row: row["completion"])
def test_published_math_correctness_and_format(row):
    wanted = None if row["correctness"] is None else row["correctness"] / 2
    assert correct_published([""], [row["completion"]], solution=[row["solution"]]) == [wanted]
    if "format" in row:
        assert boxed_format([""], [row["completion"]]) == [row["format"] / 0.5]


@pytest.mark.parametrize("row", table("format"), ids=lambda row: row["completion"])
def test_published_reasoning_tags(row):
    assert reasoning_format([""], [row["completion"]]) == [row["soft_format"] / 0.5]


OURS_COUNTDOWN = {
    "<answer>1+2*3 = 7</answer>": 1.0,  # the value may be stated
    "<answer>2×3+1</answer>": 1.0,  # signs as people write them
    "<answer>2**3-1</answer>": 0.1,  # fault 19: a power is none of the four operations
}


@pytest.mark.parametrize("row", table("countdown"), ids=lambda row: row["completion"])
def test_countdown(row):
    wanted = OURS_COUNTDOWN.get(row["completion"], row["score"])
    assert countdown([""], [row["completion"]], [row["numbers"]], [row["target"]]) == [wanted]


OURS_SUDOKU = {"<answer>grid 1: 1234341221434321</answer>": 1.0}  # the grid is the run of 16 digits


@pytest.mark.parametrize("row", table("sudoku"), ids=lambda row: row["completion"])
def test_sudoku(row):
    wanted = OURS_SUDOKU.get(row["completion"], row["score"])
    assert sudoku([""], [row["completion"]], [row["puzzle"]], [row["solution"]]) == [wanted]


@pytest.mark.parametrize("row", table("extract_hash_answer"), ids=lambda row: row["input"])
def test_hash_answer(row):
    assert hash_answer(row["input"]) == row["result"]
