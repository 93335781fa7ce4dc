"""Prompts for pictures, without an answer: only rewards can tell a good picture from a bad one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maskgrpo_cli.tasks.base import Built, Row, TableTask
from maskgrpo_cli.types import Parts, Verdict

NO_TRUTH = "a prompt says of no picture that it is right or wrong; the rewards measure it"


def uncounted(completion: Any, columns: Mapping[str, Any]) -> Verdict:
    """Nothing is right and nothing is wrong, so that an evaluation reports rewards and no accuracy."""
    return Verdict(0.0, None, NO_TRUTH, Parts(0, 0, "pictures"))


def prompt_of(row: Row) -> Built:
    """A row that holds a prompt and nothing that would judge."""
    prompt = str(row["prompt"]).strip()
    if not prompt:
        raise ValueError("the prompt is empty")
    return prompt, {}, None


PROMPTS = TableTask(
    name="prompts",
    rewards={"clip": 1.0},
    needed={"prompt": ("caption", "text", "Prompt", "Caption", "TEXT")},
    build=prompt_of,
    verdict=uncounted,
    others=True,
    modality="image",
    judges=False,
    unpack=lambda question, ground_truth: {"prompt": question},
)
