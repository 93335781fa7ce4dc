"""Verdicts of evaluation: what was answered, whether it is right, and if not, why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maskgrpo_cli.domains.countdown import mistake, read_answer
from maskgrpo_cli.domains.equality import same_answer
from maskgrpo_cli.domains.sudoku import read_grid, share_right
from maskgrpo_cli.domains.text import final_answer
from maskgrpo_cli.types import Verdict


def boxed(completion: str, columns: Mapping[str, Any]) -> Verdict:
    """Right when the last box holds the column `answer`, compared as numbers, words or LaTeX.

    More lenient than the reward, which teaches the box: without one, an `<answer>` tag is read too.
    """
    answer = final_answer(completion)
    if answer is None:
        return Verdict(0.0, None, "no closed \\boxed{} and no <answer>")
    if same_answer(answer, columns["answer"]):
        return Verdict(1.0, answer)
    return Verdict(0.0, answer, f"the answer is {columns['answer']}")


def countdown(completion: str, columns: Mapping[str, Any]) -> Verdict:
    """Right when the expression uses all `numbers` once and makes the `target`."""
    answer = read_answer(completion)
    if answer is None:
        return Verdict(0.0, None, "no <answer> and no closed \\boxed{}")
    wrong = mistake(answer, columns["numbers"], columns["target"])
    return Verdict(0.0, answer, wrong) if wrong else Verdict(1.0, answer)


def sudoku(completion: str, columns: Mapping[str, Any]) -> Verdict:
    """The share of empty cells that are right; all of them in any valid grid that keeps the givens."""
    grid = read_grid(completion)
    if grid is None:
        return Verdict(0.0, None, "no <answer> and no closed \\boxed{}")
    share = share_right(grid, columns["puzzle"], columns["solution"])
    return Verdict(share, grid, "" if share == 1.0 else f"{share:.0%} of the empty cells are right")
