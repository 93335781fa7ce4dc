"""4x4 sudoku: grids are texts of 16 digits, row by row, with 0 for an empty cell."""

from __future__ import annotations

import re

from maskgrpo_cli.domains.text import last_boxed, tagged, turns

CELLS = 16
LONGEST = 10_000  # characters that are searched
_GRID = re.compile(r"(?<![0-9])(?:[0-9][\s|,;+\[\]_-]*){16}(?![0-9])")
_UNITS = (
    *(tuple(range(4 * row, 4 * row + 4)) for row in range(4)),
    *(tuple(range(column, CELLS, 4)) for column in range(4)),
    *((corner, corner + 1, corner + 4, corner + 5) for corner in (0, 2, 8, 10)),
)


def read_grid(completion: str) -> str | None:
    """The digits of the grid in a completion's last `<answer>` tag, else in its last box; None without both.

    It is the last run of exactly 16 digits, lines and bars between them allowed; where there is none, all the
    digits up to 16 of them.
    """
    answer = tagged(completion, "answer")
    answer = last_boxed(completion) if answer is None else answer
    if answer is None:
        return None
    grids = _GRID.findall(answer[:LONGEST])
    return re.sub(r"[^0-9]", "", grids[-1] if grids else answer)[:CELLS]


def read_any_grid(completion: str, puzzle: str) -> str | None:
    """What evaluation takes for the grid: that of `read_grid` or, where nothing is marked as the answer, the last
    16 digits of an `<answer>` that is never closed, else of the text, other than the puzzle, else what digits that
    `<answer>` holds; None without any.
    """
    places = turns(completion)
    for text in places:
        grid = read_grid(text)
        if grid:
            return grid
    rest = [text.rpartition("<answer>")[2] for text in places if "<answer>" in text]
    for text in [*rest, *places]:
        found = [re.sub(r"[^0-9]", "", run) for run in _GRID.findall(text[-LONGEST:])]
        found = [run for run in found if run != puzzle]
        if found:
            return found[-1]
    digits = re.sub(r"[^0-9]", "", rest[0][:LONGEST]) if rest else ""
    return digits[:CELLS] or None


def is_solved(grid: str, puzzle: str) -> bool:
    """Whether a grid keeps the puzzle's givens and has 1 to 4 once in every row, column and quarter.

    Any valid grid is right: many published puzzles have several solutions and list one.
    """
    if len(grid) != CELLS or any(given not in ("0", cell) for given, cell in zip(puzzle, grid, strict=True)):
        return False
    return all({grid[cell] for cell in unit} == set("1234") for unit in _UNITS)


def share_right(grid: str, puzzle: str, solution: str) -> float:
    """The share of the puzzle's empty cells that are right: 1 for a valid grid, else by the listed solution.

    Every given that the grid changes takes away a right cell, so that 1 means solved (as published, a given
    that the listed solution contradicts is not held against anybody). 0 for a puzzle without empty cells, as
    published: there was nothing to solve.
    """
    empty = [cell for cell in range(CELLS) if puzzle[cell] == "0"]
    if not empty:
        return 0.0
    if is_solved(grid, puzzle):
        return 1.0
    right = sum(grid[cell : cell + 1] == solution[cell] for cell in empty)
    changed = sum(grid[cell] != puzzle[cell] == solution[cell] for cell in range(len(grid)))
    return max(0, right - changed) / len(empty)


def cells_right(grid: str, puzzle: str, solution: str) -> tuple[int, int]:
    """(right, empty) for evaluation: how many of the puzzle's empty cells are right.

    All of them in a valid grid, else those of the listed solution; a grid that is not valid has at least one wrong
    cell, even where it fills all the empty ones as listed and overwrites a given.
    """
    empty = [cell for cell in range(CELLS) if puzzle[cell] == "0"]
    if is_solved(grid, puzzle):
        return len(empty), len(empty)
    right = sum(grid[cell : cell + 1] == solution[cell] for cell in empty)
    return min(right, len(empty) - 1), len(empty)


def checked_grid(value: object, what: str) -> str:
    """A puzzle or solution of a data set as 16 digits 0 to 4; raises ValueError naming `what` it is.

    Numbers that lost their leading zeros in a CSV or JSON file get them back.
    """
    text = str(value).strip()
    text = text.zfill(CELLS) if isinstance(value, int) else text
    if re.fullmatch(r"[0-4]{16}", text) is None:
        raise ValueError(f"the {what} '{text[:30]}' is not 16 digits from 0 to 4")
    return text
