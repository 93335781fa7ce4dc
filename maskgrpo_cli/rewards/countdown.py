"""The reward of countdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maskgrpo_cli.domains.countdown import mistake, read_answer

ANSWERED = 0.1


def countdown(
    prompts: Sequence[str], completions: Sequence[str], numbers: Sequence[Sequence[int]],
    target: Sequence[int | float], **columns: Any,
) -> list[float | None]:
    """1 for an expression of all the numbers that makes the target, 0.1 for any other answer, 0 without one.

    The answer stands in `<answer>` or a box; it is parsed and computed exactly, never run as code.
    """
    return [_score(*row) for row in zip(completions, numbers, target, strict=True)]


def _score(completion: str, numbers: Sequence[int], target: int | float) -> float:
    answer = read_answer(completion)
    if answer is None:
        return 0.0
    return ANSWERED if mistake(answer, numbers, target) else 1.0
