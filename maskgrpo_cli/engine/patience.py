"""What a run does while the service that makes one of its rewards is away: wait, go on without it, or stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from maskgrpo_cli.errors import Away, Stopped

Scores = list["float | None"]
Together = Callable[[Callable[[], Any]], list]
"""`together(work)`: what `work` gives in every process; where it ends early in one, it does so in all."""


def alone(work: Callable[[], Any]) -> list:
    """The `Together` of a process that waits for no other."""
    return [work()]


def patiently(
    name: str, when_away: str, score: Callable[[], Scores], together: Together, warn: Callable[[str], None]
) -> Scores | None:
    """The scores of one reward; None where it is left out, which all processes do together or none.

    Args:
        name: of the reward.
        when_away: `wait`, `leave-out` or `stop`.
        score: raises Away while the service is; called again, it goes on where it was.
        together: the processes meet after every attempt, so that none waits long for another and all can be
            interrupted.
        warn: called with a sentence whenever an attempt was in vain.

    Raises:
        Stopped: the service is away, and the recipe says to stop then.
    """
    done: list[Scores] = []

    def attempt() -> str | None:
        try:
            if not done:
                done.append(score())
        except Away as error:
            return str(error)
        return None

    while True:
        why = next((why for why in together(attempt) if why is not None), None)
        if why is None:
            return done[0]
        if when_away == "stop":
            raise Stopped(f"reward '{name}' is away, and its when_away is stop: {why}")
        if when_away == "leave-out":
            warn(f"reward '{name}' is away and LEFT OUT of this batch (when_away: leave-out): {why}")
            return None
        warn(f"reward '{name}' is away; the run WAITS for it (when_away: wait): {why}")
