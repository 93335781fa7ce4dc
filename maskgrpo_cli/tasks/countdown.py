"""Countdown: reach a target with three or four numbers."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from maskgrpo_cli.domains.countdown import read_numbers
from maskgrpo_cli.tasks import d1, differences, prompts, verdicts
from maskgrpo_cli.tasks.base import Built, Row, TableTask
from maskgrpo_cli.tasks.hub import Hub
from maskgrpo_cli.types import Published


def _build(row: Row) -> Built:
    numbers = read_numbers(row["numbers"])
    target = row["target"]
    if isinstance(target, str):
        target = int(target)
    Fraction(str(target))  # raises ValueError for what is no number
    message = prompts.COUNTDOWN.format(numbers=", ".join(map(str, numbers)), target=target)
    return message, {"numbers": numbers, "target": target}, None


def _unpack(question: str, ground_truth: Any) -> Row:
    """`[[49, 55, 53], 51]` or, as d1 does without it, `Numbers: [49, 55, 53]` and `Target: 51` of the question."""
    if isinstance(ground_truth, list) and len(ground_truth) == 2:
        return {"numbers": ground_truth[0], "target": ground_truth[1]}
    numbers = re.search(r"Numbers: \[([0-9, ]+)\]", question, re.IGNORECASE)
    target = re.search(r"Target: ([0-9]+)", question, re.IGNORECASE)
    if not numbers or not target:
        raise ValueError(f"{ground_truth!s:.60} is not [[numbers], target], and the question names neither")
    return {"numbers": numbers[1], "target": target[1]}


COUNTDOWN = TableTask(
    name="countdown",
    rewards={"countdown": 1.0},
    needed={"numbers": ("nums",), "target": ()},
    build=_build,
    verdict=verdicts.countdown,
    published={"d1": Published(d1.countdown, differences.countdown)},
    unpack=_unpack,
    hub=Hub("Jiayi-Pan/Countdown-Tasks-3to4", None, ("train",)),
)
