"""Countdown: reach a target with three or four numbers."""

from __future__ import annotations

from fractions import Fraction

from maskgrpo_cli.domains.countdown import read_numbers
from maskgrpo_cli.tasks import prompts, verdicts
from maskgrpo_cli.tasks.base import Built, Row, TableTask
from maskgrpo_cli.tasks.hub import Hub


def _build(row: Row) -> Built:
    numbers = read_numbers(row["numbers"])
    target = row["target"]
    if isinstance(target, str):
        target = int(target)
    Fraction(str(target))  # raises ValueError for what is no number
    message = prompts.COUNTDOWN.format(numbers=", ".join(map(str, numbers)), target=target)
    return message, {"numbers": numbers, "target": target}, None


COUNTDOWN = TableTask(
    name="countdown",
    rewards={"countdown": 1.0},
    needed={"numbers": ("nums",), "target": ()},
    build=_build,
    verdict=verdicts.countdown,
    hub=Hub("Jiayi-Pan/Countdown-Tasks-3to4", None, ("train",)),
)
