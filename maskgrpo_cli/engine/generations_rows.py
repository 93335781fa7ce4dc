"""The rows of text made elsewhere, each with its question and ground truth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from maskgrpo_cli.errors import UserError
from maskgrpo_cli.tasks.files import read_placed_rows
from maskgrpo_cli.types import Problem, Task

COLUMNS = {  # the layout's columns, and the other names that they are found under
    "question": ("prompt", "problem", "input"),
    "generation": ("generations", "completion", "response", "output"),
    "ground_truth": ("reference", "answer", "target"),
}


@dataclass(frozen=True)
class Generation:
    """One row: where it stands, its problem, and the text."""

    where: str
    problem: Problem
    text: str
    sample: int = 0  # which completion of its problem


def read(file: str, task: Task, columns: Mapping[str, str], limit: int | None) -> list[Generation]:
    """The first `limit` rows of a file.

    Args:
        columns: names of the layout's columns in the file, where they are others.

    Raises:
        UserError: the task cannot be judged this way, a column is missing, or a row is no problem of the task.
    """
    if not hasattr(task, "restore"):
        raise UserError(
            f"the task {task.name} cannot judge text made elsewhere: it lacks the method "
            "restore(question, ground_truth, key)"
        )
    placed = list(islice(read_placed_rows(file), limit))
    names = names_in(file, list(placed[0][1]), columns, COLUMNS)
    return [_row(task, where, row, names, number) for number, (where, row) in enumerate(placed)]


def names_in(
    file: str, found: Sequence[str], columns: Mapping[str, str], layout: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """Column of a layout -> column of the file; `layout` maps the columns to the other names they are found under."""
    for column in columns:
        if column not in layout:
            known = ", ".join(layout)
            raise UserError(f"task.columns.{column}: generations have no such column; write one of: {known}")
    names = {}
    for column, others in layout.items():
        candidates = (columns[column],) if column in columns else (column, *others)
        name = next((name for name in candidates if name in found), None)
        if name is None:
            raise UserError(
                f"{file} has no column '{candidates[0]}'; it has: {', '.join(found)}\n"
                f"  name it: --set 'task.columns={{{column}: YOUR COLUMN}}'"
            )
        names[column] = name
    return names


def _row(task: Task, where: str, row: Mapping[str, Any], names: Mapping[str, str], number: int) -> Generation:
    missing = [name for name in names.values() if name not in row]
    if missing:
        raise UserError(f"{where}: has no column '{missing[0]}'; it has: {', '.join(row)}")
    question, text, truth = (row[names[column]] for column in COLUMNS)
    for column, value in (("question", question), ("generation", text)):
        if not isinstance(value, str):
            raise UserError(f"{where}: the column '{names[column]}' is {value!s:.40}, not a text")
    if truth == "" or (isinstance(truth, float) and not math.isfinite(truth)):  # as CSV and pandas write nothing
        truth = None
    key = row.get("id")
    try:
        problem = task.restore(question, truth, str(number))
    except (ValueError, TypeError, UserError) as error:
        column = names["ground_truth"]
        raise UserError(f"{where}: the column '{column}' is no ground truth of {task.name}: {error}") from error
    if isinstance(key, str) and key:
        problem = Problem(key, problem.messages, problem.columns)
    return Generation(where, problem, text)
