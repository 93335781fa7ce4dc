"""The reward for short answers in words, as to questions about pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maskgrpo_cli.domains.short_answers import is_one_of, read_answer


def short_answer(
    prompts: Sequence[str], completions: Sequence[str], answer: Sequence[str | Sequence[str] | None], **columns: Any
) -> list[float | None]:
    """1 where the completion says `answer`, or one of them where it is a list, 0 where it does not; None without one.

    What it says is the last box or `<answer>` tag or, without either, all that was written.
    """
    return [
        None if not accepted else float(is_one_of(read_answer(completion), accepted))
        for completion, accepted in zip(completions, answer, strict=True)
    ]
