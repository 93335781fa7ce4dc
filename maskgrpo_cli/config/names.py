"""Which names are known: of tasks, samplers, rewards and their settings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from maskgrpo_cli import registry
from maskgrpo_cli.config.rules import Check, Found, into
from maskgrpo_cli.config.schema import Config

OWN_PART = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
POWER = re.compile(r"pow(\d+(?:\.\d+)?)")
RULES: list[Check] = []
check = into(RULES)


@check()
def _names(config: Config) -> Found:
    given = [
        ("task", "task.name", config.task.name),
        ("sampler", "sampler.name", config.sampler.name),
        ("sampler", "evaluation.sampler", config.evaluation.sampler),
        ("estimator", "grpo.estimator.name", config.grpo.estimator.name),
        ("advantage", "grpo.advantage", config.grpo.advantage),
        ("objective", "grpo.objective.name", config.grpo.objective.name),
    ]
    for kind, key, name in given:
        if name is not None and (advice := _unknown(kind, name)):
            yield key, name, advice, registry.nearest(name, registry.names(kind))


@check()
def _rewards(config: Config) -> Found:
    for name, weight in (config.task.rewards or {}).items():
        if advice := _unknown("reward", name):
            yield f"task.rewards.{name}", weight, advice, registry.nearest(name, registry.names("reward"))


@check("task.rewards", "task.reward_settings")
def _reward_settings(config: Config) -> Found:
    """As far as the tables tell: whose settings nobody reads, and which ones there are."""
    named = config.task.rewards  # None: the task's own, which are not known here
    for name, given in config.task.reward_settings.items():
        if named is not None and name not in named:
            yield from settings_of_none(name, given, list(named))
        elif named is None and (advice := _unknown("reward", name)):
            hint = registry.nearest(name, registry.names("reward"))
            yield from ((f"task.reward_settings.{name}.{key}", value, advice, hint) for key, value in given.items())
        elif (known := registry.settings(name)) is not None:
            yield from unknown_settings(name, given, known)
            for key, value in given.items():
                if isinstance(value, list) and key in known and key not in registry.LISTS:
                    yield f"task.reward_settings.{name}.{key}", value, "one value, not a list", None


def settings_of_none(name: str, given: Mapping[str, object], rewards: Sequence[str]) -> Found:
    """The settings of a reward that is not among those of the run."""
    advice = f"'{name}' is no reward of this task; its rewards are {', '.join(rewards) or 'none'}"
    for key, value in given.items():
        yield f"task.reward_settings.{name}.{key}", value, advice, registry.nearest(name, rewards)


def unknown_settings(name: str, given: Mapping[str, object], known: Sequence[str]) -> Found:
    """The settings of a reward that it does not have; it has those that are `known`."""
    advice = f"unknown setting; known here: {', '.join(known)}" if known else f"'{name}' takes no settings; take it out"
    for key, value in given.items():
        if key not in known:
            yield f"task.reward_settings.{name}.{key}", value, advice, registry.nearest(key, known)


def _unknown(kind: str, name: str) -> str | None:
    """What to write instead of a name that is neither registered nor `module:attribute`; None when it is."""
    if registry.registered(kind, name) or OWN_PART.fullmatch(name):
        return None
    return f"unknown {kind}; known: {', '.join(registry.names(kind))}, or your own as module.path:attribute"


@check("sampler.schedule")
def _schedule(config: Config) -> Found:
    name, named = config.sampler.schedule, ("linear", "cosine", "sigmoid")
    power = POWER.fullmatch(name)
    if name not in named and not (power and float(power[1]) > 0):
        advice = f"one of {', '.join(named)}, or pow with an exponent above 0, such as pow2"
        yield "sampler.schedule", name, advice, registry.nearest(name, named)
