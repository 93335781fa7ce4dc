"""The problems of a run: loading, rewards' weights, over-long prompts, and the order they come in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from maskgrpo_cli import registry
from maskgrpo_cli.config.schema import Config, TaskConfig
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.noise import Purpose, generator
from maskgrpo_cli.types import Problem, Task


def find_task(settings: TaskConfig) -> Task:
    """The task that a recipe names.

    Raises:
        UserError: it is unknown, or asks for pictures.
    """
    task = registry.resolve("task", settings.name)
    if getattr(task, "modality", "text") != "text":
        raise UserError(f"task '{settings.name}' is answered with pictures; grpo, sft and eval train and measure text")
    return task


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
    problems: Sequence[Problem], encode: Callable, settings: TaskConfig, warn: Callable[[str], None]
) -> tuple[list[Problem], list[list[int]]]:
    """Problems and prompt ids under the recipe's policy for over-long prompts.

    Raises:
        UserError: no prompt is short enough.
    """
    kept, prompts, long = [], [], 0
    for problem, ids in zip(problems, encode([problem.messages for problem in problems]), strict=True):
        if len(ids) > settings.max_prompt_length:
            long += 1
            if settings.over_long == "drop":
                continue
            ids = ids[-settings.max_prompt_length :]
        kept.append(problem)
        prompts.append(ids)
    if long:
        done = "dropped" if settings.over_long == "drop" else "cut at the left"
        warn(
            f"{long} of {len(problems)} prompts are longer than task.max_prompt_length = "
            f"{settings.max_prompt_length} tokens and were {done}"
        )
    if not kept:
        raise UserError(
            f"task.max_prompt_length = {settings.max_prompt_length}: every prompt is longer; "
            "raise it, or set task.over_long to truncate"
        )
    return kept, prompts


def shuffled(seed: int, first: int, count: int, size: int) -> list[int]:
    """Items `first` .. `first + count` of an endless stream over `size` items, shuffled anew each epoch."""
    orders: dict[int, list[int]] = {}
    chosen = []
    for place in range(first, first + count):
        epoch, offset = divmod(place, size)
        if epoch not in orders:
            orders[epoch] = generator(seed, Purpose.DATA, epoch).permutation(size).tolist()
        chosen.append(orders[epoch][offset])
    return chosen
