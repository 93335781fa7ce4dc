"""Why the verdict of d1's scripts is another than ours, in words that a person can check against the text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from maskgrpo_cli.domains import d1 as reading
from maskgrpo_cli.domains.countdown import expression_of, mistake
from maskgrpo_cli.domains.numbers import parse_number
from maskgrpo_cli.domains.published import last_boxed_string
from maskgrpo_cli.domains.statements import states_number
from maskgrpo_cli.domains.sudoku import is_solved
from maskgrpo_cli.domains.text import last_boxed
from maskgrpo_cli.types import Verdict

SHOWN = 40  # characters of an answer


def gsm8k(completion: str, columns: Mapping[str, Any], ours: Verdict, theirs: Verdict) -> str:
    """Why a number is read or compared otherwise."""
    if columns["answer"] is None:
        return "there is no ground truth: d1 counts the row as wrong, we leave it out"
    whole = _quoted(ours.answer)
    if theirs.answer is None and _over_lines(completion):
        return f"we read {whole} from a box that goes over lines; d1 reads only those that are closed on their line"
    if theirs.answer is None:
        return f"we read {whole}; d1 finds no number in a box that is closed on its line, nor in a closed <answer>"
    boxes = reading.usable_boxes(completion)
    if not boxes:
        return f"we read {whole}; without a box d1 takes the last number of the <answer> tag, {theirs.answer}"
    if ours.answer is None:
        return f"no answer is marked that can be read; d1 takes the first number of its first box, {theirs.answer}"
    if _squeezed(boxes[0]) in _squeezed(ours.answer):
        return f"we read {whole} as a whole; d1 takes the first number in it, {theirs.answer}"
    if last_boxed(completion) is not None:
        return f"we read the last box, {whole}; d1 the first one with a number, {theirs.answer}"
    return f"we read {whole}; d1 the first box with a number, {theirs.answer}"


def math(completion: str, columns: Mapping[str, Any], ours: Verdict, theirs: Verdict) -> str:
    """Why a text is read or compared otherwise."""
    if columns["answer"] is None:
        return "there is no ground truth: d1 counts the row as wrong, we leave it out"
    whole, reference = _quoted(ours.answer), _quoted(columns["answer"])
    if ours.answer is None:
        return f"no answer is marked; d1 compares {_quoted(theirs.answer)}"
    if theirs.answer is not None and _squeezed(ours.answer) == _squeezed(theirs.answer):
        if ours.correct:
            return f"{whole} {_sameness(ours.answer, columns['answer'])} {reference}; d1 compares texts"
        return f"{whole} and {reference} are one text once normalised; they do not mean the same"
    if last_boxed_string(completion) == completion:
        return f"we read the <answer> tag, {whole}; without a box d1 compares the whole text"
    return f"we read {whole}, d1 {_quoted(theirs.answer)}"


def _over_lines(completion: str) -> bool:
    """Whether a box is opened in a line and closed in a later one."""
    *lines, _ = completion.split("\n")
    return any("\\boxed{" in line and "}" not in line.rpartition("\\boxed{")[2] for line in lines)


def _sameness(answer: str, reference: str) -> str:
    numbers = parse_number(answer), parse_number(reference)
    if None not in numbers:
        return "is the same number as"
    if states_number(answer, reference):
        return "ends in"
    base = re.fullmatch(r"(.+)_\{?[0-9]+\}?", reference)
    return "leaves out the base of" if base and base[1].strip() == answer.strip() else "means the same as"


def countdown(completion: str, columns: Mapping[str, Any], ours: Verdict, theirs: Verdict) -> str:
    """Why an expression is read or computed otherwise."""
    expression = expression_of(ours.answer or "", columns["target"])
    if not ours.correct:
        return f"d1 accepts {_quoted(theirs.answer)}; for us {ours.reason or 'it is no answer'}"
    if mistake(theirs.answer or "", columns["numbers"], columns["target"]) is None:
        return f"{_quoted(theirs.answer)} is right; d1 does not compute how it is written"
    made = f"{_quoted(expression)} makes {columns['target']} with all the numbers"
    if len(theirs.answer or "") > 3 * len(expression) + SHOWN:
        return f"{made}; without a box d1 reads the whole text"
    return f"{made}; d1 reads {_quoted(theirs.answer)}"


def sudoku(completion: str, columns: Mapping[str, Any], ours: Verdict, theirs: Verdict) -> str:
    """Why a grid is read or counted otherwise."""
    grid = ours.answer or ""
    if ours.correct and grid == theirs.answer and is_solved(grid, columns["puzzle"]):
        return "the grid is valid and keeps the givens; d1 accepts the listed solution only"
    if grid == (theirs.answer or ""):
        return "a given of the puzzle is overwritten; d1 looks at the empty cells only"
    if not grid:
        return f"no answer is marked; d1 takes {_quoted(theirs.answer)}"
    return f"we read {_quoted(grid)}, d1 {_quoted(theirs.answer)}"


def _quoted(text: str | None) -> str:
    if text is None:
        return "nothing"
    line = " ".join(text.split())
    return f"'{line}'" if len(line) <= SHOWN else f"'{line[: SHOWN - 3]}...'"


def _squeezed(text: str) -> str:
    return "".join(text.split())
