"""KodCode: questions whose tests are a pytest file that imports from `solution` (KodCode/KodCode-Light-RL-10K)."""

from __future__ import annotations

import json
from typing import Any

from maskgrpo_cli.domains.code import fenced
from maskgrpo_cli.domains.pytest_files import cases, imported_from_solution
from maskgrpo_cli.tasks.base import Built, Row
from maskgrpo_cli.tasks.code import ANSWER, CodeTask, text, unrun
from maskgrpo_cli.tasks.hub import Hub


def _build(row: Row) -> Built:
    question, file = text(row["question"], "question").strip(), text(row["test"], "test")
    setup, tests = cases(file)
    asked = declarations(row.get("test_info"))
    named = f"\n\nThe tests import from your code:\n{chr(10).join(asked)}" if asked else ""
    names = imported_from_solution(file)
    columns = {"tests": tests, "setup": setup, "entry_point": names[0] if names else ""}
    solution = text(row.get("solution"), "solution").strip("\n")
    return f"{question}{named}\n\n{ANSWER}", columns, fenced(solution) if solution else None


def declarations(info: Any) -> list[str]:
    """What the tests expect the code to declare (`def f(a)`), as far as the column `test_info` says it."""
    if isinstance(info, str):
        try:
            info = json.loads(info)
        except ValueError:
            return []
    found = [item.get("function_declaration") for item in info or () if isinstance(item, dict)]
    return [item.strip() for item in found if isinstance(item, str) and item.strip()]


KODCODE = CodeTask(
    name="kodcode",
    rewards={"code-tests": 2.0, "code-format": 0.5},
    needed={"question": (), "test": ()},
    optional=("test_info", "solution", "question_id"),
    build=_build,
    verdict=unrun,
    hub=Hub("KodCode/KodCode-Light-RL-10K", None, ("train",)),
    key="question_id",
)
