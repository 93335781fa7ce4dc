"""The embedded code task: small Python functions with tests, for a model of a million parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from maskgrpo_cli.domains.arithmetic import SPLITS, Draws
from maskgrpo_cli.domains.programs import writing
from maskgrpo_cli.domains.programs.testing import Tested, result, tested_for
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.types import Problem

SIZES = {"train": 20_000, "validation": 512, "test": 512}
_BODY = re.compile(r"```python\s*\ndef [^\n]*:\s*\n\s+(return|print)\b")
FORGETFUL = 0.64  # of the targets with a mistake


@dataclass(frozen=True)
class ProgramsTask:
    """Generated tasks; the splits share no two consecutive steps of what is asked (see `domains.programs`).

    `right_share` of the targets are right. Of the others `FORGETFUL` leave out the last thing that is asked, half of
    the rest mistake one step for another, and half print the result where they should return it.
    """

    name: str
    rewards: Mapping[str, float]
    right_share: float = 0.45

    def load(
        self, data: str | None, split: str, *, columns: Mapping[str, str] | None = None,
        limit: int | None = None, offline: bool = False, seed: int = 0,
    ) -> list[Problem]:
        """The first `limit` problems of a split (default: `SIZES`), the same for every seed.

        Raises UserError for an unknown split.
        """
        if split not in SPLITS:
            raise UserError(f"the task {self.name} has no split '{split}'; it has: {', '.join(SPLITS)}")
        count = SIZES[split] if limit is None else limit
        return [self.problem(split, index) for index in range(count)]

    def problem(self, split: str, index: int) -> Problem:
        """Problem number `index` of a split: a pure function of both, without end."""
        draws = Draws.of("programs", split, index)
        tested = tested_for(split, draws)
        names = writing.Names.drawn(tested.spec, draws)
        turn = {"role": "user", "content": writing.request(tested.spec, names, draws)}
        columns = {
            "tests": tuple(
                writing.assertion(names, arguments, result(tested.spec, arguments)) for arguments in tested.arguments
            ),
            "setup": "",
            "entry_point": names.function,
            "solution": writing.program(tested.spec, names),
        }
        return Problem(f"{self.name}-{split}-{index}", (turn,), columns, self._target(tested, names, draws))

    def vocabulary(self) -> list[str]:
        """The words, numbers and signs that requests and programs are made of; a tokenizer is built from them."""
        return writing.vocabulary()

    def style(self, completion: str) -> str | None:
        """`returns` or `prints`, by what the first line of the function does; None for anything else."""
        found = _BODY.match(completion.strip())
        return None if found is None else f"{found[1]}s"

    def _target(self, tested: Tested, names: writing.Names, draws: Draws) -> str:
        """A completion: right, or with one mistake that the tests notice."""
        spec, slip = tested.spec, draws.among(tested.slipped) if tested.slipped else None
        right, forgets, slips = draws.random() < self.right_share, draws.random() < FORGETFUL, draws.random() < 0.5
        if right:
            return writing.fenced(writing.program(spec, names))
        if forgets:
            return writing.fenced(writing.program(tested.forgetful[-1], names))
        if slips and slip is not None:
            return writing.fenced(writing.program(slip, names))
        return writing.fenced(writing.program(spec, names, prints=True))


PROGRAMS = ProgramsTask("programs", {"code-tests": 2.0, "code-format": 0.5})
