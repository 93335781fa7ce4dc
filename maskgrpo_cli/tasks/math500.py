"""MATH: competition problems; tests are MATH-500, training is on the problems that it leaves."""

from __future__ import annotations

from maskgrpo_cli.tasks import d1, differences, prompts, verdicts
from maskgrpo_cli.tasks.base import Built, Row, TableTask
from maskgrpo_cli.tasks.hub import Hub
from maskgrpo_cli.types import Published


def _build(row: Row) -> Built:
    answer = str(row["answer"]).strip()
    if not answer:
        raise ValueError("the answer is empty")
    solution = row.get("solution")
    target = f"<reasoning>\n{solution}\n</reasoning>\n\\boxed{{{answer}}}" if solution else None
    columns = {"answer": answer, "solution": solution or f"\\boxed{{{answer}}}"}
    return prompts.BOXED.format(question=str(row["problem"]).strip()), columns, target


MATH500 = TableTask(
    name="math500",
    rewards={"math-correct": 2.0, "boxed-format": 0.5},
    needed={"problem": ("question",), "answer": ("ground_truth",)},
    optional=("solution",),
    build=_build,
    verdict=verdicts.math,
    published={"d1": Published(d1.math, differences.math)},
    hub=Hub("HuggingFaceH4/MATH-500", None, ("train", "test"), train="ankner/math-500"),
)
