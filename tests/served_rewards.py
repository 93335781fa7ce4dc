"""Rewards that a test's server serves: each does by its prompt what rewards can do wrong. Imported by its workers."""

import contextlib
import functools
import os
import time
from pathlib import Path

from maskgrpo_cli.errors import UserError
from maskgrpo_cli.registry import resolve
from maskgrpo_cli.server.worker import Loaded


def length(prompts, completions, **columns):
    """Characters of a text, or width times height of a picture."""
    return [float(len(one) if isinstance(one, str) else one.width * one.height) for one in completions]


def batch(prompts, completions, **columns):
    """How many were scored at once; it lasts until every file that `until` names is there."""
    while not all(Path(name).exists() for name in columns.get("until", ())):
        time.sleep(0.01)
    return [len(prompts)] * len(prompts)


def faulty(prompts, completions, **columns):
    """A word of the prompt says what goes wrong with the sample, or with the whole call."""
    if "die" in prompts:
        os._exit(3)
    if "hang" in prompts:
        time.sleep(3600)
    if "die once" in prompts:  # the completion names a file that remembers
        flag = Path(completions[prompts.index("die once")])
        if not flag.exists():
            flag.touch()
            os._exit(3)
    if "raise" in prompts:
        raise ValueError("a sample that the reward does not bear")
    values = {"nan": float("nan"), "infinite": -float("inf"), "none": None}
    scores = [values.get(prompt, 1.0) for prompt in prompts]
    return scores[1:] if "short" in prompts else scores


@contextlib.contextmanager
def loaded(names, refuse=""):
    """The rewards of these names, those of this file or functions as a recipe names them, for `server.serve.run`."""
    if refuse:
        raise UserError(refuse)
    yield {name: Loaded(globals().get(name) or resolve("reward", name), f"{name}-1") for name in names}


def loads(names, workers=1, refuse=""):
    """What makes them, for each worker."""
    return [functools.partial(loaded, tuple(names), refuse) for _ in range(workers)]
