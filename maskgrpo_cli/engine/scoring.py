"""Making and running reward functions: settings, weights, what does not apply, and what fails."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from maskgrpo_cli import registry
from maskgrpo_cli.config.checks import settings_of_none, unknown_settings
from maskgrpo_cli.config.mistakes import MISSING, Mistake, tell
from maskgrpo_cli.errors import RunFailed, UserError
from maskgrpo_cli.objective import total_reward
from maskgrpo_cli.types import Problem, Reward

Settings = Mapping[str, Mapping[str, Any]]
SUPPLIED = ("device", "offline")  # arguments of constructors that a run fills in itself
NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Rewarded(NamedTuple):
    """Rewards of N completions by F functions."""

    values: Tensor  # [N, F] float32, NaN where a function does not apply or failed
    failed: Tensor  # [N, F] bool
    total: Tensor  # [N] weighted sum, NaN where any function failed


class Rewards:
    """The reward functions of a run and their weights.

    A function that raises or returns NaN or an infinity for a sample has failed there: said once a function,
    counted always, and the sample leaves its group's statistics.

    Args:
        weights: name of a reward -> its weight.
        warn: called with a sentence.
        settings: name of a reward that is a class -> the arguments of its constructor.
        device, offline: handed to the constructors that take them.

    Raises:
        UserError: a reward is unknown or cannot be made, such as from weights that are not there.
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        warn: Callable[[str], None],
        settings: Settings | None = None,
        device: torch.device | str = "cpu",
        offline: bool = False,
    ):
        if not weights:
            raise UserError("task.rewards is empty: name at least one reward and its weight")
        self.names = list(weights)
        self.weights = torch.tensor(list(weights.values()), dtype=torch.float32)
        self._functions = make(self.names, settings or {}, device=device, offline=offline)
        self._warn, self._told = warn, set()

    def __call__(self, problems: Sequence[Problem], completions: Sequence[Any]) -> Rewarded:
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

    def _run(self, name: str, function: Reward, problems: Sequence[Problem], completions: Sequence[Any]) -> list:
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

    def _call(self, name: str, function: Reward, problems: Sequence[Problem], completions: Sequence[Any]) -> list:
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


def make(names: Sequence[str], settings: Settings, **offered: Any) -> list[Reward]:
    """The rewards of these names: functions as they are, classes made with their settings.

    Args:
        names: registered, or module.path:attribute.
        settings: name -> the arguments of its constructor.
        offered: handed to the constructors that take them.

    Raises:
        UserError: names the settings that no reward reads or that are missing, or says why one cannot be made.
    """
    parts = {name: registry.resolve("reward", name) for name in names}
    mistakes = [
        Mistake(*found)
        for name in {**parts, **settings}
        for found in _mistakes(name, parts, settings.get(name, {}))
    ]
    if mistakes:
        raise UserError(tell(mistakes, "the settings of the rewards"))
    return [_made(name, part, settings.get(name, {}), offered) for name, part in parts.items()]


def _mistakes(name: str, parts: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[tuple]:
    if name not in parts:
        yield from settings_of_none(name, given, list(parts))
    elif not inspect.isclass(parts[name]):
        yield from unknown_settings(name, given, ())
    else:
        taken = inspect.signature(parts[name]).parameters.values()
        own = [parameter for parameter in taken if parameter.kind in NAMED and parameter.name not in SUPPLIED]
        if not any(parameter.kind == inspect.Parameter.VAR_KEYWORD for parameter in taken):
            yield from unknown_settings(name, given, [parameter.name for parameter in own])
        for parameter in own:
            if parameter.default is inspect.Parameter.empty and parameter.name not in given:
                yield f"task.reward_settings.{name}.{parameter.name}", MISSING, f"'{name}' needs it; set it", None


def _made(name: str, part: Any, given: Mapping[str, Any], offered: Mapping[str, Any]) -> Reward:
    if not inspect.isclass(part):
        return part
    taken = inspect.signature(part).parameters
    try:
        reward = part(**{**{key: value for key, value in offered.items() if key in taken}, **given})
    except UserError as error:
        raise UserError(f"task.reward_settings.{name}: {error}") from error
    if not callable(reward):
        raise UserError(f"reward '{name}': the class has no __call__(prompts, completions, **columns)")
    return reward
