"""From options of the command line to keys of the recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maskgrpo_cli.config import Override

_EVERYWHERE = {
    "model": "model.path",
    "adapter": "model.adapter",
    "seed": "seed",
    "device": "device",
    "dtype": "dtype",
    "offline": "offline",
}
_PROGRAMS = {"unsafe_local": "sandbox.unsafe_local"}
_TRAINING = {
    **_EVERYWHERE,
    "output_dir": "output_dir",
    "sampling_steps": "sampler.steps",
    "limit": "task.limit",
    "tracker": "tracker",
    "merge": "model.merge",
    **_PROGRAMS,
}

KEYS: dict[str, dict[str, str]] = {
    "grpo": {**_TRAINING, "max_steps": "grpo.steps"},
    "sft": {**_TRAINING, "max_steps": "sft.steps"},
    "tokenizer": {
        "seed": "seed",
        "device": "device",
        "output_dir": "output_dir",
        "limit": "task.limit",
        "tracker": "tracker",
        "max_steps": "tokenizer.steps",
    },
    "sample": {
        **_EVERYWHERE,
        "sampler": "sampler.name",
        "steps": "sampler.steps",
        "length": "sampler.length",
        "block_length": "sampler.block_length",
        "temperature": "sampler.temperature",
        "threshold": "sampler.threshold",
        "cache": "sampler.cache",
        "guidance": "sampler.guidance",
    },
    "eval": {
        **_EVERYWHERE,
        "data": "evaluation.data",
        "split": "task.split",
        "limit": "task.limit",
        "output_dir": "output_dir",
        "sampler": "evaluation.sampler",
        "sampling_steps": "evaluation.steps",
        "length": "evaluation.lengths",
        "block_length": "evaluation.block_length",
        "temperature": "evaluation.temperatures",
        "threshold": "sampler.threshold",
        "cache": "sampler.cache",
        "batch_size": "evaluation.batch_size",
        "protocol": "evaluation.protocol",
        "samples": "evaluation.samples",
        "pass_at": "evaluation.pass_at",
        "shots": "evaluation.shots",
        "shots_data": "evaluation.shots_data",
        **_PROGRAMS,
    },
    "data check": {
        "task": "task.name",
        "file": "task.data",
        "limit": "task.limit",
        "offline": "offline",
        **_PROGRAMS,
    },
}


def overrides(command: str, params: Mapping[str, Any]) -> list[str | Override]:
    """What the options change in a recipe: what --model makes void, then --set, then the other options."""
    from maskgrpo_cli.config import Override

    void = []
    if params.get("model") is not None:  # they belong to the recipe's own model
        void = ["model.adapter", "model.revision"] + (["sft.from_scratch"] if command == "sft" else [])
    changed: list[str | Override] = [
        *(Override(key, None, "--model") for key in void),
        *(params["set_"] or []),
    ]
    for name, key in KEYS[command].items():
        value = params[name]
        if value is None or value is False:  # not given
            continue
        if isinstance(value, (list, tuple)):
            if not value:  # an option that may be repeated, and was not given
                continue
            value = _listed(value)
        changed.append(Override(key, value, "--" + name.replace("_", "-")))
    return changed


def _listed(texts: Sequence[str]) -> list[object]:
    """The values of a repeatable option with commas, read as a recipe's are; what is wrong is told with the rest."""
    from maskgrpo_cli.config.yaml_file import parse_value

    return [_value(word, parse_value) for text in texts for word in text.split(",")]


def _value(word: str, parse) -> object:
    try:
        return parse(word.strip())
    except ValueError:
        return word
