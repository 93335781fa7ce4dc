"""4x4 sudoku, from a file: there is no data set of it on the hub."""

from __future__ import annotations

from maskgrpo_cli.domains.sudoku import checked_grid, is_solved
from maskgrpo_cli.tasks import prompts, verdicts
from maskgrpo_cli.tasks.base import Built, Row, TableTask


def _build(row: Row) -> Built:
    puzzle = checked_grid(row["puzzle"], "puzzle")
    solution = checked_grid(row["solution"], "solution")
    if not is_solved(solution, puzzle):
        raise ValueError(f"the solution {solution} does not solve the puzzle {puzzle}")
    return prompts.SUDOKU.format(puzzle=puzzle), {"puzzle": puzzle, "solution": solution}, None


SUDOKU = TableTask(
    name="sudoku",
    rewards={"sudoku": 1.0},
    needed={"puzzle": ("Puzzle",), "solution": ("Solution",)},
    build=_build,
    verdict=verdicts.sudoku,
)
