"""Running reward functions: weights, what does not apply, and what fails."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from maskgrpo_cli import registry
from maskgrpo_cli.errors import RunFailed, UserError
from maskgrpo_cli.objective import total_reward
from maskgrpo_cli.types import Problem


class Rewarded(NamedTuple):
    """Rewards of N completions by F functions."""

    values: Tensor  # [N, F] float32, NaN where a function does not apply or failed
    failed: Tensor  # [N, F] bool
    total: Tensor  # [N] weighted sum, NaN where any function failed


class Rewards:
    """The reward functions of a run and their weights.

    A function that raises or returns NaN or an infinity for a sample has failed there: said once a function,
    counted always, and the sample leaves its group's statistics.
    """

    def __init__(self, weights: Mapping[str, float], warn: Callable[[str], None]):
        if not weights:
            raise UserError("task.rewards is empty: name at least one reward and its weight")
        self.names = list(weights)
        self.weights = torch.tensor(list(weights.values()), dtype=torch.float32)
        self._functions = [registry.resolve("reward", name) for name in weights]
        self._warn, self._told = warn, set()

    def __call__(self, problems: Sequence[Problem], completions: Sequence[str]) -> Rewarded:
        """Score one completion per problem."""
        columns = [
            self._run(name, function, problems, completions)
            for name, function in zip(self.names, self._functions, strict=True)
        ]
        values = torch.tensor([[math.nan if v is None else v for v in column] for column in columns]).T
        absent = torch.tensor([[v is None for v in column] for column in columns], dtype=torch.bool).T
        values = values.reshape(len(completions), len(self.names)).float()
        failed = ~values.isfinite() & ~absent
        values = values.masked_fill(failed, math.nan)
        return Rewarded(values, failed, total_reward(values, self.weights, failed))

    def _run(self, name: str, function, problems: Sequence[Problem], completions: Sequence[str]) -> list:
        try:
            scores = self._call(name, function, problems, completions)
        except RunFailed:
            raise
        except Exception as error:
            self._tell(name, f"{type(error).__name__}: {error}")
            if len(completions) <= 1:
                return [math.nan] * len(completions)
            # one bad sample must not take its neighbours with it
            return [
                self._run(name, function, [problem], [completion])[0]
                for problem, completion in zip(problems, completions, strict=True)
            ]
        odd = next((score for score in scores if score is not None and not math.isfinite(score)), None)
        if odd is not None:
            self._tell(name, f"it returned {odd}")
        return scores

    def _call(self, name: str, function, problems: Sequence[Problem], completions: Sequence[str]) -> list:
        keys = problems[0].columns if problems else ()
        columns = {key: [problem.columns[key] for problem in problems] for key in keys}
        prompts = [problem.prompt for problem in problems]
        scores = list(function(prompts=prompts, completions=list(completions), **columns))
        if len(scores) != len(completions):
            raise RunFailed(f"reward '{name}' returned {len(scores)} values for {len(completions)} completions")
        return [None if score is None else float(score) for score in scores]

    def _tell(self, name: str, why: str) -> None:
        if name not in self._told:
            self._told.add(name)
            self._warn(f"reward '{name}' failed for a sample: {why}; such samples are left out and counted")
