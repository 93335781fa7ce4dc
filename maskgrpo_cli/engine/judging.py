"""Verdicts on completions, and what they add up to; needs no model and no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from maskgrpo_cli.engine.reporting.statistics import share_interval
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.types import DEFAULT_PROTOCOL, Parts, Problem, Task, Verdict

if TYPE_CHECKING:
    from maskgrpo_cli.engine.executors import Executing
    from maskgrpo_cli.engine.scoring import Rewards


@dataclass
class Judged:
    """One completion of an evaluation."""

    id: str
    prompt: str
    completion: str
    reference: object
    answer: str | None
    score: float
    correct: bool
    reason: str
    reward: float | None
    style: str | None
    parts: Parts | None = None
    sample: int = 0  # which completion of its problem
    temperature: float | None = None
    length: int | None = None
    rewards: dict[str, float | None] | None = None  # of each function; None where it does not apply or failed

    def counted(self) -> tuple[int, int, str]:
        """What is right, of how many, and of what: a completion or, where the protocol does so, its parts."""
        return self.parts or (int(self.correct), 1, "completions")


def judges(task: Task) -> bool:
    """Whether a task can tell right from wrong; one that cannot says so, and only rewards measure its completions."""
    return getattr(task, "judges", True)


def protocols(task: Task) -> list[str]:
    """The names of the ways of judging that a task knows; a user's task need not name its only one."""
    return list(getattr(task, "protocols", (DEFAULT_PROTOCOL,)))


def check_protocol(task: Task, protocol: str) -> None:
    """Raises UserError where a task does not know a way of judging."""
    if protocol not in protocols(task):
        raise UserError(
            f"evaluation.protocol: the task {task.name} is not judged by '{protocol}'; "
            f"write one of: {', '.join(protocols(task))}"
        )


def runs_programs(task: Task) -> bool:
    """Whether a task's verdicts need an executor."""
    return hasattr(task, "judge_all")


def verdicts(
    task: Task,
    problems: Sequence[Problem],
    completions: Sequence[Any],
    protocol: str = DEFAULT_PROTOCOL,
    executor: Executing | None = None,
) -> list[Verdict]:
    """A task's verdicts by one of its protocols; `executor` is asked for what runs programs where there are some."""
    if runs_programs(task):
        return task.judge_all(completions, problems, executor(), protocol)
    named = () if protocol == DEFAULT_PROTOCOL else (protocol,)
    return [
        task.judge(completion, problem, *named) for completion, problem in zip(completions, problems, strict=True)
    ]


def judge(
    task: Task,
    problems: Sequence[Problem],
    completions: Sequence[str],
    rewards: Rewards | None = None,
    protocol: str = DEFAULT_PROTOCOL,
    executor: Executing | None = None,
) -> list[Judged]:
    """The verdicts on completions, with their rewards where asked for."""
    given = verdicts(task, problems, completions, protocol, executor)
    judged = [record(task, *row) for row in zip(problems, completions, given, strict=True)]
    if rewards:
        scored = rewards(problems, completions)
        for item, total, values in zip(judged, scored.total.tolist(), scored.values.tolist(), strict=True):
            item.reward = total
            item.rewards = {
                name: value if value == value else None for name, value in zip(rewards.names, values, strict=True)
            }
    return judged


def record(task: Task, problem: Problem, completion: str, verdict: Verdict) -> Judged:
    """A completion of a problem with the verdict on it."""
    return Judged(
        id=problem.id,
        prompt=problem.prompt,
        completion=completion,
        reference=dict(problem.columns),
        answer=verdict.answer,
        score=verdict.score,
        correct=verdict.correct,
        reason=verdict.reason,
        reward=None,
        style=task.style(completion),
        parts=verdict.parts,
    )


def tally(judged: Sequence[Judged]) -> dict:
    """Accuracy with its 95 % interval, mean score, mean rewards, and the share and accuracy of each style.

    `correct` of `total` counts `unit`: completions or, where the protocol does so, parts of them such as cells. The
    interval is one over problems, however much is counted of each. Where nothing is counted, as there is nothing to
    compare completions with, accuracy, interval and score are None.
    """
    correct_of, count_of = by_problem(judged)
    correct, total = sum(correct_of.values()), sum(count_of.values())
    scores = [item.score for item in judged if item.counted()[1]]
    scored = [item for item in judged if item.rewards]
    return {
        "accuracy": correct / total if total else None,
        "correct": correct,
        "total": total,
        "unit": judged[0].counted()[2] if judged else "completions",
        "interval": list(share_interval([*correct_of.values()], [*count_of.values()])) if total else None,
        "score": sum(scores) / len(scores) if scores else None,
        "reward": mean([item.reward for item in judged]),
        "rewards": {name: mean([item.rewards.get(name) for item in scored]) for name in rewarded_by(judged)},
        "styles": styles([(item.style, item.correct) for item in judged]),
    }


def rewarded_by(judged: Sequence[Judged]) -> list[str]:
    """The names of the reward functions, in their order."""
    return list(dict.fromkeys(name for item in judged for name in item.rewards or ()))


def mean(values: Sequence[float | None]) -> float | None:
    """The mean of what is there and finite."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    return sum(known) / len(known) if known else None


def by_problem(judged: Sequence[Judged]) -> tuple[dict[str, int], dict[str, int]]:
    """What is right, and what is counted, of each problem by its id, in their order; all samples together."""
    right: dict[str, int] = {}
    of: dict[str, int] = {}
    for item in judged:
        good, count, _ = item.counted()
        right[item.id] = right.get(item.id, 0) + good
        of[item.id] = of.get(item.id, 0) + count
    return right, of


def styles(seen: Sequence[tuple[str | None, bool]]) -> dict[str, dict[str, float]]:
    """Style -> {share, accuracy} of completions given as (style, correct)."""
    found = {}
    for name in sorted({style for style, _ in seen if style}):
        hits = [correct for style, correct in seen if style == name]
        found[name] = {"share": len(hits) / len(seen), "accuracy": sum(hits) / len(hits)}
    return found
