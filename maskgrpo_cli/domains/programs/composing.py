"""What functions are asked to do, and the split that each of these specifications belongs to.

The splits are disjoint by construction: every two consecutive steps of a specification (its windows) are hashed to
a split, and it belongs to a split only if all its windows do. So no two consecutive steps of a test task ever occur
in a training task, whatever the function is called. Single steps occur everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from maskgrpo_cli.domains.arithmetic import Draws, split_of
from maskgrpo_cli.domains.programs import choices, lists
from maskgrpo_cli.domains.programs.chains import NUMBERS, TEXTS
from maskgrpo_cli.domains.programs.stage import Family, Stages

FAMILIES: dict[str, Family] = {"lists": lists, "texts": TEXTS, "numbers": NUMBERS, "choices": choices}
_DRAWN = ("lists", "lists", "texts", "numbers", "choices")  # lists have the most to ask for


@dataclass(frozen=True)
class Spec:
    """What a function returns: steps of a family."""

    kind: str
    stages: Stages

    @property
    def family(self) -> Family:
        """The functions that draw, say, write and compute it."""
        return FAMILIES[self.kind]

    def value(self, arguments: tuple[Any, ...]) -> Any:
        """What the function returns; raises what its program would."""
        return self.family.value(self.stages, arguments)

    def forgetful(self) -> list[Spec]:
        """The specification with one step forgotten, in every way."""
        return [replace(self, stages=stages) for stages in self.family.without(self.stages)]

    def slipped(self) -> list[Spec]:
        """The specification with one step mistaken, in every way."""
        return [
            replace(self, stages=(*self.stages[:place], slip, *self.stages[place + 1 :]))
            for place, stage in enumerate(self.stages) for slip in stage.slips
        ]


def windows(spec: Spec) -> list[str]:
    """Every two consecutive steps, by their words; a step that does nothing is none."""
    words = [stage.words for stage in spec.stages if stage.words]
    return [f"{spec.kind}: {first} | {second}" for first, second in pairwise(words)]


def spec_for(split: str, draws: Draws) -> Spec:
    """A specification of which every window belongs to `split`."""
    kind = draws.among(_DRAWN)
    while True:
        spec = Spec(kind, FAMILIES[kind].draw(draws))
        if all(split_of(window) == split for window in windows(spec)):
            return spec
