"""Few-shot prompts: worked examples as earlier turns of the conversation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from maskgrpo_cli.config.schema import Config
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.noise import Purpose, generator
from maskgrpo_cli.types import Problem, Task

POOL = 1000  # examples are drawn from the first of the train split


@dataclass(frozen=True)
class Shots:
    """The examples that stand before every problem, and where they come from."""

    examples: tuple[Problem, ...] = ()
    source: str | None = None

    def before(self, problem: Problem) -> Problem:
        """The problem with the examples before its question, behind a system turn."""
        turns = []
        for example in self.examples:
            turns += [dict(example.messages[-1]), {"role": "assistant", "content": example.target}]
        *first, question = problem.messages
        return replace(problem, messages=(*first, *turns, question))

    def describe(self) -> dict:
        """What `results.json` says of them."""
        return {"count": len(self.examples), "ids": [example.id for example in self.examples], "source": self.source}


def choose(config: Config, task: Task, problems: Sequence[Problem]) -> Shots:
    """`evaluation.shots` worked examples, the same for all `problems` and none of them.

    Those of `shots_data` are its first, in its order; those of the train split are drawn by the seed.

    Raises:
        UserError: there is no such data, or it holds too few worked answers.
    """
    own = config.evaluation
    if not own.shots:
        return Shots()
    source = own.shots_data or f"the train split of {config.task.name}"
    asked = {problem.prompt for problem in problems}
    pool = _load(config, task)
    worked = [example for example in pool if example.target]
    free = [example for example in worked if example.prompt not in asked]
    if len(free) < own.shots:
        also = f", {len(worked) - len(free)} of them among the problems themselves" if len(free) < len(worked) else ""
        raise UserError(
            f"--shots {own.shots}: {source} holds {len(worked)} worked answers in {len(pool)} rows{also}\n"
            "  ask for fewer, or give a file of worked answers as --shots-data FILE"
        )
    if own.shots_data is None:
        order = generator(config.seed, Purpose.EVALUATION).permutation(len(free))
        free = [free[place] for place in order]
    return Shots(tuple(free[: own.shots]), source)


def _load(config: Config, task: Task) -> list[Problem]:
    data = config.evaluation.shots_data
    split = getattr(task, "shots_split", "train")  # MBPP keeps one for them
    # a file of test problems has no train split: taken whole, it would show the answers that are asked for
    try:
        return task.load(
            data, split, columns=config.task.columns if data else None, limit=POOL, offline=config.offline
        )
    except UserError as error:
        if data:
            raise
        raise UserError(
            f"--shots takes its examples from the train split: {error}\n"
            "  give a file of worked answers as --shots-data FILE"
        ) from error
