"""What tasks share whose completions are programs: a problem's columns, and verdicts by its tests.

The columns that rewards see: `tests`, each Python source that passes when it runs to its end; `setup`, which runs
before them; `entry_point`, the name of what is asked for ("" where unknown); `opening`, the code that a completion
goes on with ("" where it is a whole program).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from maskgrpo_cli.domains.code import program_of
from maskgrpo_cli.errors import RunFailed
from maskgrpo_cli.tasks.base import TableTask
from maskgrpo_cli.types import DEFAULT_PROTOCOL, Executor, Parts, Problem, TestResult, Verdict

ANSWER = "Answer with one block of code between ```python and ```."
NO_TESTS = "the problem has no tests, so that nothing can be right or wrong"
SHOWN = 200  # characters of the reason why a test is not passed


def judge_all(completions: Sequence[str], problems: Sequence[Problem], executor: Executor) -> list[Verdict]:
    """The verdicts on programs by the tests of their problems; all of them run at once, as far as `executor` goes."""
    columns = [problem.columns for problem in problems]
    programs = [
        program_of(text, tuple(own["tests"]), own["setup"], own["entry_point"], own.get("opening", ""))
        for text, own in zip(completions, columns, strict=True)
    ]
    running = [executor.submit(program) if program.tests else None for program in programs]
    return [
        verdict(program.source, future.result() if future else ())
        for program, future in zip(programs, running, strict=True)
    ]


def verdict(source: str, results: Sequence[TestResult]) -> Verdict:
    """Right where every test is passed; the score is the share that is. Without tests nothing is counted."""
    if not results:
        return Verdict(0.0, source, NO_TESTS, Parts(0, 0, "completions"), "no tests")
    passed = sum(result.status == "passed" for result in results)
    if passed == len(results):
        return Verdict(1.0, source, status="passed")
    place, first = next((place, result) for place, result in enumerate(results, 1) if result.status != "passed")
    why = f": {_shortened(first.reason)}" if first.reason else ""
    reason = f"{passed} of {len(results)} tests passed; test {place}: {first.status}{why}"
    return Verdict(passed / len(results), source, reason, status=first.status)


def _shortened(reason: str) -> str:
    line = " ".join(reason.split())
    return line if len(line) <= SHOWN else line[: SHOWN - 3] + "..."


@dataclass(frozen=True)
class CodeTask(TableTask):
    """A task over rows whose completions are programs; judged by an executor alone, many at once."""

    def judge_all(
        self, completions: Sequence[str], problems: Sequence[Problem], executor: Executor,
        protocol: str = DEFAULT_PROTOCOL,
    ) -> list[Verdict]:
        """The verdicts on programs by the tests of their problems."""
        return judge_all(completions, problems, executor)


def unrun(completion: str, columns: Mapping[str, Any]) -> Verdict:
    """In the place of a verdict on one completion alone; raises RunFailed, for programs need an executor."""
    raise RunFailed("programs are judged by judge_all, which is handed what runs them")


def texts(value: Any, column: str) -> tuple[str, ...]:
    """A column that holds a list of texts, also as JSON in one text (CSV); raises ValueError for anything else."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise ValueError(f"'{column}' is text and no JSON list of tests: {error}") from error
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"'{column}' is no list of texts")
    return tuple(item.replace("\r\n", "\n").strip() for item in value)


def text(value: Any, column: str) -> str:
    """A column that holds text, None being none, with plain line ends; raises ValueError for anything else."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"'{column}' is no text")
    return value.replace("\r\n", "\n")
