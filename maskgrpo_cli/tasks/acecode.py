"""AceCode: questions with the assertions that a model wrote for them (TIGER-Lab/AceCode-87K)."""

from __future__ import annotations

from collections import Counter

from maskgrpo_cli.domains.code import called_in, fenced, imports_of
from maskgrpo_cli.tasks.base import Built, Row
from maskgrpo_cli.tasks.code import ANSWER, CodeTask, text, texts, unrun
from maskgrpo_cli.tasks.hub import Hub


def _build(row: Row) -> Built:
    question, tests = text(row["question"], "question").strip(), texts(row["test_cases"], "test_cases")
    called = Counter(name for test in tests if (name := called_in(test)))
    columns = {"tests": tests, "setup": imports_of(tests), "entry_point": called.most_common(1)[0][0] if called else ""}
    solution = text(row.get("solution"), "solution").strip("\n")
    return f"{question}\n\n{ANSWER}", columns, fenced(solution) if solution else None


ACECODE = CodeTask(
    name="acecode",
    rewards={"code-tests": 2.0, "code-format": 0.5},
    needed={"question": (), "test_cases": ()},
    optional=("solution", "id"),
    build=_build,
    verdict=unrun,
    hub=Hub("TIGER-Lab/AceCode-87K", None, ("train",)),
    key="id",
)
