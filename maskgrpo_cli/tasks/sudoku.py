"""4x4 sudoku, from a file: there is no data set of it on the hub."""

from __future__ import annotations

import re
from typing import Any

from maskgrpo_cli.domains.sudoku import checked_grid, is_solved
from maskgrpo_cli.tasks import d1, differences, prompts, verdicts
from maskgrpo_cli.tasks.base import Built, Row, TableTask
from maskgrpo_cli.types import Published


def _build(row: Row) -> Built:
    puzzle = checked_grid(row["puzzle"], "puzzle")
    solution = checked_grid(row["solution"], "solution")
    if not is_solved(solution, puzzle):
        raise ValueError(f"the solution {solution} does not solve the puzzle {puzzle}")
    return prompts.SUDOKU.format(puzzle=puzzle), {"puzzle": puzzle, "solution": solution}, None


def _unpack(question: str, ground_truth: Any) -> Row:
    """The solution of the puzzle whose 16 digits stand in the question, at its start or behind `puzzle:`."""
    found = re.match(r"[0-9]{16}", question) or re.search(r"(?<![0-9])[0-9]{16}(?![0-9])", question)
    if found is None:
        raise ValueError("the question holds no puzzle of 16 digits")
    if ground_truth is None:
        raise ValueError("there is no ground truth")
    return {"puzzle": found.group(), "solution": ground_truth}


SUDOKU = TableTask(
    name="sudoku",
    rewards={"sudoku": 1.0},
    needed={"puzzle": ("Puzzle",), "solution": ("Solution",)},
    build=_build,
    verdict=verdicts.sudoku,
    published={"d1": Published(d1.sudoku, differences.sudoku)},
    unpack=_unpack,
)
