"""The reward of 4x4 sudoku."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maskgrpo_cli.domains.sudoku import read_grid, share_right


def sudoku(
    prompts: Sequence[str], completions: Sequence[str], puzzle: Sequence[str], solution: Sequence[str],
    **columns: Any,
) -> list[float | None]:
    """The share of the empty cells that are right; 1 for every valid grid that keeps the givens."""
    return [_score(*row) for row in zip(completions, puzzle, solution, strict=True)]


def _score(completion: str, puzzle: str, solution: str) -> float:
    grid = read_grid(completion)
    return 0.0 if grid is None else share_right(grid, puzzle, solution)
