"""Rewards for programs: the tests they pass, and the block they stand in."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from maskgrpo_cli.domains.code import PYTHON, blocks, parses, program_of
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.types import Executor, TestResult

Collect = Callable[[], "list[float | None]"]


class CodeTests:
    """The share of its problem's tests that a program passes, 0 to 1; the published weight is 2.

    Args:
        executor: where programs run; the run hands it over.
        all_or_nothing: 1 where every test is passed, else 0.
        timeout_penalty: taken off where a test ran out of time, so that the value may be below 0.

    Raises:
        UserError: a setting is not of its kind.
    """

    def __init__(self, executor: Executor, all_or_nothing: bool = False, timeout_penalty: float = 0.0):
        if not isinstance(all_or_nothing, bool):
            raise UserError(f"all_or_nothing = {all_or_nothing!r}: write true or false")
        number = isinstance(timeout_penalty, (int, float)) and not isinstance(timeout_penalty, bool)
        if not (number and math.isfinite(timeout_penalty) and timeout_penalty >= 0):
            raise UserError(f"timeout_penalty = {timeout_penalty!r}: write a number from 0 on, such as 0.5")
        self.executor, self.all_or_nothing, self.timeout_penalty = executor, all_or_nothing, float(timeout_penalty)

    def __call__(self, prompts: Sequence[str], completions: Sequence[str], **columns: Any) -> list[float | None]:
        """One value per completion; None where the problem has no tests."""
        return self.begin(prompts, completions, **columns)()

    def begin(
        self, prompts: Sequence[str], completions: Sequence[str], tests: Sequence[Sequence[str]],
        setup: Sequence[str] | None = None, entry_point: Sequence[str] | None = None,
        opening: Sequence[str] | None = None, **columns: Any,
    ) -> Collect:
        """Start on programs beside the caller's work; calling what is returned waits for their values."""
        nothing = [""] * len(completions)
        rows = zip(completions, tests, setup or nothing, entry_point or nothing, opening or nothing, strict=True)
        running = [
            self.executor.submit(program_of(text, tuple(own), *rest)) if own else None for text, own, *rest in rows
        ]
        return lambda: [None if future is None else self.value(future.result()) for future in running]

    def value(self, results: Sequence[TestResult]) -> float:
        """What one program's results are worth."""
        passed = sum(result.status == "passed" for result in results) / len(results)
        late = any(result.status == "timeout" for result in results)
        return (float(passed == 1) if self.all_or_nothing else passed) - late * self.timeout_penalty


def code_format(prompts: Sequence[str], completions: Sequence[str], **columns: Any) -> list[float | None]:
    """1 for exactly one fenced python block that parses, 0.5 if it does not parse, else 0.

    At the published weight of 0.5 these are its 0.5 and 0.25. A block without any code counts as one that does not
    parse; text around the block is allowed.
    """
    return [_format(completion) for completion in completions]


def _format(completion: str) -> float:
    found = blocks(completion)
    if len(found) != 1 or not found[0].closed or found[0].language not in PYTHON:
        return 0.0
    return 1.0 if parses(found[0].code) else 0.5
