"""Rewards for answers in `\\boxed{}`: GSM8K, MATH and the embedded arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maskgrpo_cli.domains.equality import same_answer
from maskgrpo_cli.domains.numbers import parse_number
from maskgrpo_cli.domains.published import boxed_content, is_equivalent
from maskgrpo_cli.domains.text import last_boxed


def correct(
    prompts: Sequence[str], completions: Sequence[str], answer: Sequence[str | None], **columns: Any
) -> list[float | None]:
    """1 where the last box holds the reference `answer`, 0 where it does not; None without a reference.

    Numbers as people write them are compared by value, other LaTeX by its meaning; no text evaluates anything
    or takes longer than a second. A completion without a closed box is wrong.
    """
    return [
        None if reference is None else _is_correct(completion, str(reference))
        for completion, reference in zip(completions, answer, strict=True)
    ]


def correct_published(
    prompts: Sequence[str], completions: Sequence[str], answer: Sequence[str | None] | None = None,
    solution: Sequence[str | None] | None = None, **columns: Any,
) -> list[float | None]:
    """The correctness of the published runs, by strings: 1 or 0; their weight is 2.

    With a `solution` (MATH) the box of the completion and that of the solution have one normal form; with
    an `answer` alone (GSM8K) the box is that string exactly. As published, a completion without a box is
    compared whole. None without a reference, also where the solution's box is never closed, which stopped
    the published run.
    """
    if solution is not None:
        return [_has_normal_form(text, worked) for text, worked in zip(completions, solution, strict=True)]
    if answer is None:
        return [None] * len(completions)
    return [
        None if reference is None else float(boxed_content(completion) == str(reference))
        for completion, reference in zip(completions, answer, strict=True)
    ]


def integer_answer(
    prompts: Sequence[str], completions: Sequence[str], **columns: Any
) -> list[float | None]:
    """1 where the last box holds a whole number, however written (`1,000`, `-3`, `$18`, `18.0`), else 0."""
    return [float(_is_integer(completion)) for completion in completions]


def _is_correct(completion: str, reference: str) -> float:
    boxed = last_boxed(completion)
    return float(boxed is not None and same_answer(boxed, reference))


def _has_normal_form(completion: str, solution: str | None) -> float | None:
    wanted = None if solution is None else boxed_content(str(solution))
    if wanted is None:
        return None
    found = boxed_content(completion)
    return float(is_equivalent(completion if found is None else found, wanted))


def _is_integer(completion: str) -> bool:
    boxed = last_boxed(completion)
    value = None if boxed is None else parse_number(boxed)
    return value is not None and value.denominator == 1
