"""Running rewards on samples of many requests, so that no sample takes others with it. For the worker processes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from maskgrpo_cli.types import Reward

LONGEST = 500  # characters of an error that are told


class Sample(NamedTuple):
    """A completion, its prompt and its columns."""

    prompt: str
    completion: Any  # text, or a PIL image
    columns: Mapping[str, Any]


class Failure(NamedTuple):
    """Why there is no score."""

    error: str


Outcome = float | None | Failure


def score(reward: Reward, samples: Sequence[Sample]) -> list[Outcome]:
    """One outcome per sample: a finite float, None where the reward does not apply, or why it failed.

    Samples of different columns are scored apart, and those of a call that raises one by one.
    """
    outcomes: list[Outcome] = [None] * len(samples)
    groups: dict[tuple[str, ...], list[int]] = {}
    for index, sample in enumerate(samples):
        groups.setdefault(tuple(sorted(sample.columns)), []).append(index)
    for indices in groups.values():
        for index, outcome in zip(indices, _run(reward, [samples[index] for index in indices]), strict=True):
            outcomes[index] = outcome
    return outcomes


def _run(reward: Reward, samples: Sequence[Sample]) -> list[Outcome]:
    try:
        return _call(reward, samples)
    except Exception as error:
        if len(samples) > 1:
            return [_run(reward, [sample])[0] for sample in samples]
        return [Failure(f"{type(error).__name__}: {error}"[:LONGEST])]


def _call(reward: Reward, samples: Sequence[Sample]) -> list[Outcome]:
    columns = {name: [sample.columns[name] for sample in samples] for name in samples[0].columns}
    prompts = [sample.prompt for sample in samples]
    completions = [sample.completion for sample in samples]
    scores = list(reward(prompts=prompts, completions=completions, **columns))
    if len(scores) != len(samples):
        raise ValueError(f"it returned {len(scores)} values for {len(samples)} completions")
    return [None if score is None else _finite(float(score)) for score in scores]


def _finite(score: float) -> Outcome:
    return score if math.isfinite(score) else Failure(f"it returned {score}")
