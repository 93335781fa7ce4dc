"""What supervised training learns from: parts of a mixture, each with its own task, modality and worked answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from maskgrpo_cli import registry
from maskgrpo_cli.config.schema import Config, MixtureItem, SftConfig
from maskgrpo_cli.engine import data
from maskgrpo_cli.engine.arguments import taken
from maskgrpo_cli.engine.asked import with_codes
from maskgrpo_cli.engine.codes import code_folder, picture_answers
from maskgrpo_cli.engine.modality import modality_of
from maskgrpo_cli.engine.policy import Policy
from maskgrpo_cli.engine.session import Session
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.noise import Noise, Purpose
from maskgrpo_cli.types import Canvas, Modality, Problem, Supervision, Task


@dataclass
class Part:
    """Prompts and answers [N, L] of one task, and how its modality is learnt."""

    name: str
    weight: float
    mismatched: float  # share of examples with the prompt of another
    modality: Modality
    supervision: Supervision
    settings: SftConfig
    prompts: list[list[int]]
    answers: Tensor

    def options(self, function: Callable) -> dict[str, Any]:
        """Those of the recipe's settings that the supervision takes."""
        return taken(function, {"min_mask_rate": self.settings.min_mask_rate})

    def canvas(self, seed: int, places: Sequence[int], noise: Noise, dropout: float) -> Canvas:
        """The examples at `places` of the endless shuffled stream, some with another's prompt or without a caption."""
        rows = data.shuffled(seed, places, len(self.prompts))
        prompts = []
        for row, drawn in zip(rows, noise.uniform(Purpose.CONDITION, 3).tolist(), strict=True):
            prompt = self.prompts[int(drawn[2] * len(self.prompts)) if drawn[1] < self.mismatched else row]
            prompts.append(self.modality.without_condition(prompt) if drawn[0] < dropout else prompt)
        answers = self.answers[rows].long()
        canvas = self.modality.canvas(prompts, answers.shape[1])
        canvas.response.copy_(answers)
        return canvas


def items(config: Config) -> list[MixtureItem]:
    """The parts of a recipe's mixture; without one, its own task."""
    if config.sft.mixture is not None:
        return config.sft.mixture
    own = config.task
    return [
        MixtureItem(task=own.name, data=own.data, columns=own.columns, split=config.sft.split, limit=own.limit)
    ]


def tasks(config: Config) -> list[Task]:
    """The tasks of the mixture."""
    return [registry.resolve("task", item.task) for item in items(config)]


def load_parts(session: Session, policy: Policy) -> list[Part]:
    """The parts with their answers in tokens.

    Raises:
        UserError: a part has nothing to learn from, or does not fit the model.
    """
    parts = [_part(session, policy, item, number) for number, item in enumerate(items(session.config))]
    names = [part.name for part in parts]
    for number, part in enumerate(parts):
        if names.count(part.name) > 1:
            part.name = f"{part.name}-{number + 1}"
    return parts


def _part(session: Session, policy: Policy, item: MixtureItem, number: int) -> Part:
    config, warn = session.config, session.reporter.warn
    task = registry.resolve("task", item.task)
    modality = policy.modalities(modality_of(task))
    problems = task.load(
        item.data, item.split, columns=item.columns, limit=item.limit, offline=config.offline,
        **taken(task.load, {"warn": warn}),
    )
    problems = [problem for problem in problems if has_answer(task, problem)]
    if not problems:
        raise UserError(f"task '{item.task}' has no worked answers to train on")
    settings, key = config.task, "task.max_prompt_length"
    if item.max_prompt_length is not None:
        key = f"sft.mixture[{number}].max_prompt_length"
        settings = settings.model_copy(update={"max_prompt_length": item.max_prompt_length})
        longest = getattr(modality, "longest_prompt", item.max_prompt_length)
        if item.max_prompt_length > longest:
            raise UserError(
                f"{key} = {item.max_prompt_length}: a canvas of pictures has room for {longest} caption tokens, "
                f"task.max_prompt_length; write at most that, or raise it"
            )
    problems = with_codes(session, policy, modality, problems)
    kept, prompts = data.encode_prompts(problems, modality, settings, warn, key)
    length = item.length or config.sft.length or config.sampler.length
    answers = _answers(session, modality, task, kept, length)
    if cut := int(modality.missing(answers).sum()):
        warn(f"{cut} of {len(kept)} answers are longer than {length} tokens and were cut")
    supervision = registry.resolve("supervision", modality.supervision)
    return Part(task.name, item.weight, item.mismatched, modality, supervision, config.sft, prompts, answers)


def _answers(session: Session, modality: Modality, task: Task, problems: Sequence[Problem], length: int) -> Tensor:
    """The worked answers [N, L] of problems: their targets, or the pictures that the task has of them."""
    if not hasattr(task, "picture"):
        return modality.answers([problem.target for problem in problems], length)
    return picture_answers(
        modality, task, problems, length, code_folder(session.config.sft.code_cache),
        accelerator=session.accelerator, warn=session.reporter.warn, progress=session.progress("encode"),
    )


def has_answer(task: Task, problem: Problem) -> bool:
    """Whether there is something to learn from: a picture, or a target."""
    if hasattr(task, "picture"):
        return getattr(task, "has_picture", lambda problem: True)(problem)
    return problem.target is not None
