"""The embedded code task: small Python functions with tests, for a model of a million parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from maskgrpo_cli.domains.arithmetic import SPLITS, Draws
from maskgrpo_cli.domains.programs import writing
from maskgrpo_cli.domains.programs.testing import Checked, checked_for, result
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.tasks.code import CodeTask, text, texts, unrun
from maskgrpo_cli.types import DEFAULT_PROTOCOL, Executor, Judge, Problem, Verdict

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
        """The first `limit` problems of a split (default: `SIZES`), the same for every seed; or a file's.

        A file needs the columns question and tests, a list of `assert` lines; setup, entry_point and solution may be
        there. Raises UserError for an unknown split.
        """
        if data is not None:
            return self._table().load(data, split, columns=columns, limit=limit, offline=offline, seed=seed)
        if split not in SPLITS:
            raise UserError(f"the task {self.name} has no split '{split}'; it has: {', '.join(SPLITS)}")
        count = SIZES[split] if limit is None else limit
        return [self.problem(split, index) for index in range(count)]

    def problem(self, split: str, index: int) -> Problem:
        """Problem number `index` of a split: a pure function of both, without end."""
        draws = Draws.of("programs", split, index)
        checked = checked_for(split, draws)
        names = writing.Names.drawn(checked.spec, draws)
        turn = {"role": "user", "content": writing.request(checked.spec, names, draws)}
        columns = {
            "tests": tuple(
                writing.assertion(names, arguments, result(checked.spec, arguments)) for arguments in checked.arguments
            ),
            "setup": "",
            "entry_point": names.function,
            "solution": writing.program(checked.spec, names),
        }
        return Problem(f"{self.name}-{split}-{index}", (turn,), columns, self._target(checked, names, draws))

    @property
    def protocols(self) -> dict[str, Judge]:
        """Its own way of judging alone: right when every test is passed."""
        return self._table().protocols

    def judge(self, completion: str, problem: Problem, protocol: str = DEFAULT_PROTOCOL) -> Verdict:
        """Raises RunFailed: programs are judged by `judge_all`."""
        return self._table().judge(completion, problem, protocol)

    def judge_all(
        self, completions: Sequence[str], problems: Sequence[Problem], executor: Executor,
        protocol: str = DEFAULT_PROTOCOL,
    ) -> list[Verdict]:
        """The verdicts on programs by the tests of their problems."""
        return self._table().judge_all(completions, problems, executor, protocol)

    def reference(self, problem: Problem) -> str | None:
        """A completion that is right, where it is known."""
        solution = problem.columns["solution"]
        return writing.fenced(solution) if solution else None

    def restore(self, question: str, ground_truth: Any, key: str) -> Problem:
        """The problem of a row of text made elsewhere."""
        return self._table().restore(question, ground_truth, key)

    def vocabulary(self) -> list[str]:
        """The words, numbers and signs that requests and programs are made of; a tokenizer is built from them."""
        return writing.vocabulary()

    def style(self, completion: str) -> str | None:
        """`returns` or `prints`, by what the first line of the function does; None for anything else."""
        found = _BODY.match(completion.strip())
        return None if found is None else f"{found[1]}s"

    def _target(self, checked: Checked, names: writing.Names, draws: Draws) -> str:
        """A completion: right, or with one mistake that the tests notice."""
        spec, slip = checked.spec, draws.among(checked.slipped) if checked.slipped else None
        right, forgets, slips = draws.random() < self.right_share, draws.random() < FORGETFUL, draws.random() < 0.5
        if right:
            return writing.fenced(writing.program(spec, names))
        if forgets:
            return writing.fenced(writing.program(checked.forgetful[-1], names))
        if slips and slip is not None:
            return writing.fenced(writing.program(slip, names))
        return writing.fenced(writing.program(spec, names, prints=True))

    def _table(self) -> CodeTask:
        needed, optional = {"question": (), "tests": ()}, ("setup", "entry_point", "solution")
        return CodeTask(self.name, self.rewards, needed, _from_row, unrun, optional=optional)


def _from_row(row: Mapping[str, Any]) -> tuple[str, dict[str, Any], None]:
    others = {name: text(row.get(name), name) for name in ("setup", "entry_point", "solution")}
    return str(row["question"]), {"tests": texts(row["tests"], "tests"), **others}, None


PROGRAMS = ProgramsTask("programs", {"code-tests": 2.0, "code-format": 0.5})
