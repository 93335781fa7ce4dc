"""Verdicts of evaluation: what was answered, whether it is right, and if not, why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maskgrpo_cli.domains.countdown import expression_of, mistake, read_attempts
from maskgrpo_cli.domains.equality import same_answer, uncut
from maskgrpo_cli.domains.published import is_equivalent_as_published
from maskgrpo_cli.domains.statements import states_number
from maskgrpo_cli.domains.sudoku import cells_right, read_any_grid
from maskgrpo_cli.domains.text import final_answer, turns
from maskgrpo_cli.types import Parts, Verdict

LONGEST = 1000  # characters of an answer
NO_TRUTH = "the row gives no ground truth, so that nothing can be right or wrong"


def boxed(completion: str, columns: Mapping[str, Any]) -> Verdict:
    """Right when the last box holds the column `answer`, compared as numbers, words or LaTeX.

    More lenient than the reward, which teaches the box: without a usable one, an `<answer>` tag is read too, and a
    number may be the result of a calculation or stand in a sentence. Without an `answer` nothing is counted.
    """
    answer = final_answer(completion)
    if columns["answer"] is None:
        return Verdict(0.0, answer, NO_TRUTH, Parts(0, 0, "completions"))
    if answer is None:
        return Verdict(0.0, None, "no closed \\boxed{} and no <answer>")
    if same_answer(answer, columns["answer"]) or states_number(answer, columns["answer"]):
        return Verdict(1.0, answer)
    return Verdict(0.0, answer, f"the answer is {columns['answer']}")


def math(completion: str, columns: Mapping[str, Any]) -> Verdict:
    """Like `boxed`, and right too where the published normal form is the same, as it is for units of any kind.

    Where nothing is marked, the completion may also be the answer and nothing else.
    """
    verdict, reference = boxed(completion, columns), columns["answer"]
    if verdict.correct or reference is None:
        return verdict
    answer = turns(completion)[0].strip() if verdict.answer is None else verdict.answer
    same = is_equivalent_as_published(uncut(answer[:LONGEST]), uncut(reference))
    return Verdict(1.0, answer) if same else verdict


def countdown(completion: str, columns: Mapping[str, Any]) -> Verdict:
    """Right when the expression uses all `numbers` once and makes the `target`, whatever is claimed behind an `=`.

    Where nothing is marked as the answer, any equation of the text that does so is right.
    """
    attempts = read_attempts(completion)
    if not attempts:
        return Verdict(0.0, None, "no <answer> and no closed \\boxed{}")
    for answer in attempts:
        wrong = mistake(expression_of(answer, columns["target"]), columns["numbers"], columns["target"])
        if not wrong:
            return Verdict(1.0, answer)
    return Verdict(0.0, answer, wrong or "")


def sudoku(completion: str, columns: Mapping[str, Any]) -> Verdict:
    """The share of empty cells that are right; all of them in any valid grid that keeps the givens."""
    grid = read_any_grid(completion, columns["puzzle"])
    if grid is None:
        return Verdict(0.0, None, "no <answer> and no closed \\boxed{}")
    right, empty = cells_right(grid, columns["puzzle"], columns["solution"])
    if right == empty > 0:
        return Verdict(1.0, grid)
    return Verdict(right / empty if empty else 0.0, grid, f"{right} of {empty} empty cells are right")
