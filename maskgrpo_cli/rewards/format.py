"""Rewards for the shape of a completion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maskgrpo_cli.domains.text import reasoning_of


def boxed_format(prompts: Sequence[str], completions: Sequence[str], **columns: Any) -> list[float | None]:
    """1 with a `\\boxed`, 0.5 without; at the published weight of 0.5 these are its 0.5 and 0.25.

    As published, the box need not be closed: whether it can be read is for the correctness to say.
    """
    return [1.0 if "\\boxed" in completion else 0.5 for completion in completions]


def reasoning_format(
    prompts: Sequence[str], completions: Sequence[str], **columns: Any
) -> list[float | None]:
    """1 where `<reasoning>` is somewhere followed by `</reasoning>`, else 0; the published weight is 0.5."""
    return [float("</reasoning>" in completion.partition("<reasoning>")[2]) for completion in completions]


def reasoning_box_format(
    prompts: Sequence[str], completions: Sequence[str], **columns: Any
) -> list[float | None]:
    """1 for exactly `<reasoning>...</reasoning>` and then one closed `\\boxed{}`, else 0.

    Each tag stands once, nothing before the first, and no box inside the reasoning.
    """
    return [float(reasoning_of(completion) is not None) for completion in completions]
