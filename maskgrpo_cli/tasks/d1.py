"""The verdicts of d1's evaluation scripts, for every task that they judge; `answer` is what those scripts extract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maskgrpo_cli.domains import d1
from maskgrpo_cli.domains.numbers import parse_number
from maskgrpo_cli.domains.published import is_equivalent_as_published
from maskgrpo_cli.types import Parts, Verdict

CELLS = "cells"


def gsm8k(completion: str, columns: Mapping[str, Any]) -> Verdict:
    """Right when the number that d1 reads is the reference as a float; without a reference it is wrong."""
    number = d1.gsm8k_number(completion)
    answer = None if number is None else str(number)
    reference = columns["answer"]
    if reference is None:
        return Verdict(0.0, answer, "the row gives no ground truth, which d1 counts as wrong")
    wanted = _as_float(str(reference))
    if number is not None and number == wanted:
        return Verdict(1.0, answer)
    return Verdict(0.0, answer, "no number in a box or an <answer>" if answer is None else f"the answer is {reference}")


def _as_float(reference: str) -> float | None:
    try:
        return float(reference)
    except ValueError:
        value = parse_number(reference)
        return None if value is None else float(value)


def math(completion: str, columns: Mapping[str, Any]) -> Verdict:
    """Right when the last box, or the text without one, has the reference's string normal form."""
    answer, reference = d1.math_answer(completion), columns["answer"]
    if reference is None:
        return Verdict(0.0, answer, "the row gives no ground truth, which d1 counts as wrong")
    if answer is not None and is_equivalent_as_published(answer, str(reference)):
        return Verdict(1.0, answer)
    return Verdict(0.0, answer, "no box and no <answer>" if answer is None else f"the answer is {reference}")


def countdown(completion: str, columns: Mapping[str, Any]) -> Verdict:
    """Right when the digits of the equation are the numbers and Python's value of it is the target within 1e-5."""
    equation = d1.countdown_equation(completion)
    if not d1.uses_numbers(equation, columns["numbers"]):
        return Verdict(0.0, equation, f"its numbers are not {', '.join(map(str, columns['numbers']))}")
    value = d1.countdown_value(equation)
    if d1.countdown_right(value, columns["target"]):
        return Verdict(1.0, equation)
    made = "has no value" if value is None else f"makes {value!s:.40}"
    return Verdict(0.0, equation, f"it {made}, not {columns['target']}")


def sudoku(completion: str, columns: Mapping[str, Any]) -> Verdict:
    """The empty cells that hold the listed solution's digit; accuracy counts cells."""
    grid = d1.sudoku_grid(completion)
    right, empty = d1.sudoku_cells(grid, columns["puzzle"], columns["solution"])
    reason = "" if right == empty > 0 else f"{right} of {empty} empty cells are as in the listed solution"
    return Verdict(right / empty if empty else 0.0, grid, reason, Parts(right, empty, CELLS))
