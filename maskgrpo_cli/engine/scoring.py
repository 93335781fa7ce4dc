"""Making and running reward functions: settings, weights, what does not apply, and what fails."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from maskgrpo_cli import registry
from maskgrpo_cli.config.mistakes import MISSING, Mistake, tell
from maskgrpo_cli.config.names import settings_of_none, unknown_settings
from maskgrpo_cli.engine.patience import Together, alone, patiently
from maskgrpo_cli.errors import Away, RunFailed, Stopped, UserError
from maskgrpo_cli.objective import total_reward
from maskgrpo_cli.types import Executor, Problem, Reward

Settings = Mapping[str, Mapping[str, Any]]
Scores = list["float | None"]
Waiting = Callable[[], Sequence["float | None"]]  # gives the scores of what was begun
Piece = tuple["list[Problem]", "list[Any]", "list[Waiting | None] | None"]  # with what each function has begun
Pulse = Callable[[str, int, int, "str | None"], None]  # a reward's name; requests done, of; why it waits, if it does
SUPPLIED = ("device", "offline", "executor", "warn", "pulse")  # arguments of constructors that a run fills in itself
NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Rewarded(NamedTuple):
    """Rewards of N completions by F functions."""

    values: Tensor  # [N, F] float32, NaN where a function does not apply, failed or is away
    failed: Tensor  # [N, F] bool
    away: Tensor  # [N, F] bool: the service that makes it could not be reached
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
        executor: gives what runs programs; asked only where a constructor takes an `executor`.
        pulse: called several times a second while a reward is asked for elsewhere; may raise Interrupted.

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
        executor: Callable[[], Executor] | None = None,
        pulse: Pulse | None = None,
    ):
        if not weights:
            raise UserError("task.rewards is empty: name at least one reward and its weight")
        self.names = list(weights)
        self.weights = torch.tensor(list(weights.values()), dtype=torch.float32)
        offered = {"device": device, "offline": offline}
        self._functions = make(self.names, settings or {}, executor, Voice(warn, pulse), **offered)
        self.remote = [getattr(function, "when_away", None) for function in self._functions]
        self.early = [hasattr(function, "begin") for function in self._functions]
        self._warn, self._told = warn, set()

    def __call__(self, problems: Sequence[Problem], completions: Sequence[Any]) -> Rewarded:
        """Score one completion per problem."""
        scoring = self.begin()
        scoring.add(problems, completions)
        return scoring.finish()

    def begin(self) -> Scoring:
        """Scores completions that come in pieces: functions that are `early` work on one while the next is made."""
        return Scoring(self)

    def start(self, place: int, problems: Sequence[Problem], completions: Sequence[Any]) -> Waiting | None:
        """Let the function at `place` begin on completions; None where it cannot, or failed to."""
        if not self.early[place]:
            return None
        try:
            return self._functions[place].begin(**_asked(problems, completions))
        except RunFailed:
            raise
        except Exception:  # told when the scores are asked for, and then for the sample alone
            return None

    def scores(
        self, place: int, problems: Sequence[Problem], completions: Sequence[Any], waiting: Waiting | None = None
    ) -> list[float | None]:
        """What the function at `place` says, or what it has begun on; NaN for each sample where it fails."""
        name, function = self.names[place], self._functions[place]
        try:
            given = waiting() if waiting else function(**_asked(problems, completions))
            scores = _checked(name, list(given), len(completions))
        except (RunFailed, Away):
            raise
        except Exception as error:
            self._tell(name, f"{type(error).__name__}: {error}")
            if len(completions) <= 1:
                return [math.nan] * len(completions)
            # one bad sample must not take its neighbours with it
            return [
                self.scores(place, [problem], [completion])[0]
                for problem, completion in zip(problems, completions, strict=True)
            ]
        odd = next((score for score in scores if score is not None and not math.isfinite(score)), None)
        if odd is not None:
            self._tell(name, f"it returned {odd}")
        return scores

    def patiently(self, place: int, pieces: Sequence[Piece], together: Together) -> Scores | None:
        """The scores of the function at `place` for all pieces; None where it is away and left out."""

        def score() -> Scores:
            return [
                score
                for asked, made, started in pieces
                for score in self.scores(place, asked, made, started and started[place])
            ]

        when_away = self.remote[place]
        return score() if when_away is None else patiently(self.names[place], when_away, score, together, self._warn)

    def _tell(self, name: str, why: str) -> None:
        if name not in self._told:
            self._told.add(name)
            self._warn(f"reward '{name}' failed for a sample: {why}; such samples are left out and counted")


class Scoring:
    """The rewards of completions that come in pieces.

    Functions that are `early` begin on each piece as it comes. The others see all completions at once, at the end.
    """

    def __init__(self, rewards: Rewards):
        self._rewards = rewards
        self._pieces: list[Piece] = []

    def add(self, problems: Sequence[Problem], completions: Sequence[Any]) -> None:
        """One more piece: a completion per problem."""
        started = [self._rewards.start(place, problems, completions) for place in range(len(self._rewards.names))]
        self._pieces.append(([*problems], [*completions], started))

    def finish(self, together: Together | None = None) -> Rewarded:
        """The rewards of all pieces, in their order; what was begun is waited for last.

        A function that is away and left out is so in all processes, which have it `together`. Without the others,
        as in evaluations, its samples have failed: their totals would mean something else than those around them.

        Raises:
            Stopped: a function is away, and the recipe says to stop then, or no other is left.
        """
        early, columns = self._rewards.early, {}
        problems = [problem for piece in self._pieces for problem in piece[0]]
        completions = [completion for piece in self._pieces for completion in piece[1]]
        for place in sorted(range(len(early)), key=early.__getitem__):
            pieces = self._pieces if early[place] else [(problems, completions, None)]
            columns[place] = self._rewards.patiently(place, pieces, together or alone)
        if together and all(column is None for column in columns.values()):
            raise Stopped("all rewards are away: nothing is left to learn from")
        away = [columns[place] is None for place in range(len(early))]
        empty = [None if together else math.nan] * len(completions)
        return self._rewarded([columns[place] or empty for place in range(len(early))], away, len(completions))

    def _rewarded(self, columns: Sequence[Scores], away: Sequence[bool], count: int) -> Rewarded:
        values = torch.tensor([[math.nan if v is None else v for v in column] for column in columns]).T
        absent = torch.tensor([[v is None for v in column] for column in columns], dtype=torch.bool).T
        values = values.reshape(count, len(columns)).float()
        failed = ~values.isfinite() & ~absent
        values = values.masked_fill(failed, math.nan)
        gone = torch.tensor(away).expand(count, -1)
        return Rewarded(values, failed, gone, total_reward(values, self._rewards.weights, failed))


def _asked(problems: Sequence[Problem], completions: Sequence[Any]) -> dict[str, list]:
    """The arguments of a reward."""
    keys = problems[0].columns if problems else ()
    columns = {key: [problem.columns[key] for problem in problems] for key in keys}
    return {"prompts": [problem.prompt for problem in problems], "completions": list(completions), **columns}


def _checked(name: str, scores: list, count: int) -> list[float | None]:
    if len(scores) != count:
        raise RunFailed(f"reward '{name}' returned {len(scores)} values for {count} completions")
    return [None if score is None else float(score) for score in scores]


class Voice(NamedTuple):
    """What rewards tell a run while they work."""

    warn: Callable[[str], None] = lambda text: None
    pulse: Pulse | None = None

    def of(self, name: str) -> dict[str, Callable]:
        """The arguments `warn` and `pulse` of the reward `name`."""

        def pulse(done: int, of: int, waiting: str | None) -> None:
            if self.pulse:
                self.pulse(name, done, of, waiting)

        return {"warn": lambda text: self.warn(f"reward '{name}': {text}"), "pulse": pulse}


def make(
    names: Sequence[str], settings: Settings, executor: Callable[[], Executor] | None = None,
    voice: Voice | None = None, **offered: Any,
) -> list[Reward]:
    """The rewards of these names: functions as they are, classes made with their settings.

    Args:
        names: registered, or module.path:attribute.
        settings: name -> the arguments of its constructor.
        executor: gives what runs programs, for the constructors that take one.
        voice: what they may tell the run.
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
    voice = voice or Voice()
    return [
        _made(name, part, settings.get(name, {}), executor, offered | voice.of(name)) for name, part in parts.items()
    ]


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


def _made(
    name: str, part: Any, given: Mapping[str, Any], executor: Callable[[], Executor] | None, offered: Mapping[str, Any]
) -> Reward:
    if not inspect.isclass(part):
        return part
    taken = inspect.signature(part).parameters
    if executor is not None and "executor" in taken:
        offered = {**offered, "executor": executor()}
    try:
        reward = part(**{**{key: value for key, value in offered.items() if key in taken}, **given})
    except UserError as error:
        raise UserError(f"task.reward_settings.{name}: {error}") from error
    if not callable(reward):
        raise UserError(f"reward '{name}': the class has no __call__(prompts, completions, **columns)")
    return reward
