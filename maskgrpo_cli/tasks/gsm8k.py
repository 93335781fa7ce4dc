"""GSM8K: grade-school word problems (openai/gsm8k)."""

from __future__ import annotations

import re

from maskgrpo_cli.domains.text import hash_answer
from maskgrpo_cli.tasks import d1, differences, prompts, verdicts
from maskgrpo_cli.tasks.base import Built, Row, TableTask
from maskgrpo_cli.tasks.hub import Hub
from maskgrpo_cli.types import Published


def _build(row: Row) -> Built:
    """The reference is what follows `####`; the text before it, less its calculator marks, shows the work."""
    question, worked = str(row["question"]).strip(), str(row["answer"])
    answer = hash_answer(worked)
    target = None
    if answer is not None:
        steps = re.sub(r"<<[^<>]*>>", "", worked.partition("####")[0]).strip()
        target = f"<reasoning>\n{steps}\n</reasoning>\n\\boxed{{{answer}}}"
    answer = worked.strip() if answer is None else answer
    if not answer:
        raise ValueError("the answer is empty")
    return prompts.BOXED.format(question=question), {"answer": answer}, target


GSM8K = TableTask(
    name="gsm8k",
    rewards={"math-correct": 2.0, "integer-answer": 0.5, "reasoning-format": 0.5},
    needed={"question": ("problem",), "answer": ("ground_truth",)},
    build=_build,
    verdict=verdicts.boxed,
    published={"d1": Published(d1.gsm8k, differences.gsm8k)},
    hub=Hub("openai/gsm8k", "main", ("train", "test")),
)
