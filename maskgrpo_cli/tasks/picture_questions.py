"""Questions about pictures, with short answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maskgrpo_cli.domains.short_answers import is_one_of, read_answer
from maskgrpo_cli.tasks.base import Built, Row
from maskgrpo_cli.tasks.pictures.task import PictureTask
from maskgrpo_cli.tasks.verdicts import NO_TRUTH
from maskgrpo_cli.types import Parts, Verdict


def judged(completion: str, columns: Mapping[str, Any]) -> Verdict:
    """Right when the completion says the column `answer`, or one of them; see `domains.short_answers`."""
    answer, wanted = read_answer(completion), columns["answer"]
    if wanted is None:
        return Verdict(0.0, answer, NO_TRUTH, Parts(0, 0, "completions"))
    if not answer:
        return Verdict(0.0, None, "nothing is answered")
    if is_one_of(answer, wanted):
        return Verdict(1.0, answer)
    return Verdict(0.0, answer, f"the answer is {wanted if isinstance(wanted, str) else ' or '.join(wanted)}")


def _build(row: Row) -> Built:
    """Of several answers each counts, and the first is the one to learn."""
    given = row["answer"] if isinstance(row["answer"], list) else [row["answer"]]
    if not all(isinstance(answer, (str, int, float)) for answer in given) or not isinstance(row["question"], str):
        raise ValueError("question and answer are text, or the answer is a list of texts")
    answers = [str(answer).strip() for answer in given]
    if not answers or not all(answers):
        raise ValueError("the answer is empty")
    return row["question"].strip(), {"answer": answers if len(answers) > 1 else answers[0]}, answers[0]


PICTURE_QUESTIONS = PictureTask(
    name="picture-questions",
    rewards={"short-answer": 1.0},
    needed={"question": ("query", "prompt"), "answer": ("answers", "label", "target")},
    build=_build,
    verdict=judged,
    modality="understanding",
    said="question with an answer",
    asked=True,
    others=True,
    unpack=lambda question, ground_truth: {"question": question, "answer": ground_truth},
)
