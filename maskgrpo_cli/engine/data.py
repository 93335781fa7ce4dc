"""The problems of a run: loading, rewards' weights, over-long prompts, and the order they come in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import numpy as np

from maskgrpo_cli import registry
from maskgrpo_cli.config.schema import Config, TaskConfig
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.noise import Purpose, generator
from maskgrpo_cli.types import Modality, Problem, Task


def find_task(settings: TaskConfig) -> Task:
    """The task that a recipe names; raises UserError where it is unknown."""
    return registry.resolve("task", settings.name)


def load_problems(
    config: Config, task: Task, split: str, *, limit: int | None, data: str | None = None
) -> list[Problem]:
    """Problems of a split; raises UserError when there are none."""
    settings = config.task
    problems = task.load(data or settings.data, split, columns=settings.columns, limit=limit, offline=config.offline)
    if not problems:
        raise UserError(
            f"task '{settings.name}': split '{split}' of {data or settings.data or 'its data'} holds no problems"
        )
    return problems


def reward_weights(config: Config, task: Task) -> dict[str, float]:
    """The recipe's rewards, or the task's own."""
    return dict(config.task.rewards if config.task.rewards is not None else task.rewards)


def encode_prompts(
    problems: Sequence[Problem],
    modality: Modality,
    settings: TaskConfig,
    warn: Callable[[str], None],
    key: str = "task.max_prompt_length",
) -> tuple[list[Problem], list[list[int]]]:
    """Problems and prompt ids under the recipe's policy for over-long prompts; `key` says where the limit stands.

    Raises:
        UserError: no prompt is short enough.
    """
    kept, prompts, long, longest = [], [], 0, settings.max_prompt_length + modality.prompt_overhead
    for problem, ids in zip(problems, modality.encode([problem.messages for problem in problems]), strict=True):
        if len(ids) > longest:
            long += 1
            if settings.over_long == "drop":
                continue
            ids = modality.cut(ids, longest)
        kept.append(problem)
        prompts.append(ids)
    if long:
        done = "dropped" if settings.over_long == "drop" else "cut"
        warn(
            f"{long} of {len(problems)} prompts are longer than {key} = "
            f"{settings.max_prompt_length} tokens and were {done}"
        )
    if not kept:
        raise UserError(
            f"{key} = {settings.max_prompt_length}: every prompt is longer; "
            "raise it, or set task.over_long to truncate"
        )
    return kept, prompts


def shuffled(seed: int, places: Iterable[int], size: int) -> list[int]:
    """The items at `places` of an endless stream over `size` items, shuffled anew each epoch."""
    return [int(_order(seed, place // size, size)[place % size]) for place in places]


@lru_cache(maxsize=8)
def _order(seed: int, epoch: int, size: int) -> np.ndarray:
    return generator(seed, Purpose.DATA, epoch).permutation(size)
