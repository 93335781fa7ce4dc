"""The embedded task: GSM8K-like word problems, small enough for a model of a million parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from maskgrpo_cli.domains import stories
from maskgrpo_cli.domains.arithmetic import SPLITS, Draws, chain_for
from maskgrpo_cli.domains.text import reasoning_of
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.tasks import verdicts
from maskgrpo_cli.tasks.base import TableTask
from maskgrpo_cli.types import DEFAULT_PROTOCOL, Judge, Problem, Verdict

SIZES = {"train": 20_000, "validation": 512, "test": 512}
FIRST = {"train": 0, "validation": 0, "test": 512}  # the earlier test problems were looked at while choosing settings


@dataclass(frozen=True)
class ArithmeticTask:
    """Generated problems; the splits share no two consecutive steps of arithmetic (see `domains.arithmetic`).

    `worked_share` of the targets show their work (`3+4=7;7-2=5`), the others only state the answer.
    """

    name: str
    rewards: Mapping[str, float]
    worked_share: float = 0.4

    def load(
        self, data: str | None, split: str, *, columns: Mapping[str, str] | None = None,
        limit: int | None = None, offline: bool = False, seed: int = 0,
    ) -> list[Problem]:
        """The first `limit` problems of a split (default: `SIZES`), the same for every seed; or a file's.

        A file needs the columns question and answer. Raises UserError for an unknown split.
        """
        if data is not None:
            return self._table().load(data, split, columns=columns, limit=limit, offline=offline, seed=seed)
        if split not in SPLITS:
            raise UserError(f"the task {self.name} has no split '{split}'; it has: {', '.join(SPLITS)}")
        count = SIZES[split] if limit is None else limit
        return [self.problem(split, FIRST[split] + index) for index in range(count)]

    def problem(self, split: str, index: int) -> Problem:
        """Problem number `index` of a split: a pure function of both, without end."""
        draws = Draws.of("arithmetic", split, index)
        chain = chain_for(split, draws)
        question = stories.question(chain, draws)
        target = stories.worked(chain) if draws.random() < self.worked_share else stories.terse(chain)
        columns = {"answer": str(chain[-1].result), "steps": ";".join(map(str, chain))}
        turn = {"role": "user", "content": question}
        return Problem(f"{self.name}-{split}-{index}", (turn,), columns, target)

    @property
    def protocols(self) -> dict[str, Judge]:
        """Its own way of judging alone: right when the number in the last box is the answer."""
        return {DEFAULT_PROTOCOL: verdicts.boxed}

    def judge(self, completion: str, problem: Problem, protocol: str = DEFAULT_PROTOCOL) -> Verdict:
        """The evaluation verdict on one completion, by one of `protocols`."""
        return self.protocols[protocol](completion, problem.columns)

    def restore(self, question: str, ground_truth: Any, key: str) -> Problem:
        """The problem of a row of text made elsewhere."""
        return self._table().restore(question, ground_truth, key)

    def style(self, completion: str) -> str | None:
        """`worked` when the reasoning holds an equation, `terse` when it holds none, None when malformed."""
        reasoning = reasoning_of(completion)
        if reasoning is None:
            return None
        return "worked" if "=" in reasoning else "terse"

    def vocabulary(self) -> list[str]:
        """The words and numbers that questions and answers are made of; a tokenizer is built from them."""
        return stories.vocabulary()

    def _table(self) -> TableTask:
        return TableTask(self.name, self.rewards, {"question": (), "answer": ()}, _from_row, verdicts.boxed)


def _from_row(row: Mapping[str, str]) -> tuple[str, dict[str, str], None]:
    return str(row["question"]), {"answer": str(row["answer"])}, None


make = partial(ArithmeticTask, "arithmetic", {"math-correct": 1.0, "reasoning-box-format": 0.25})

ARITHMETIC = make()
