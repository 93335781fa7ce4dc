"""The rules over a config, carried out: known names first, then what several keys must be together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from maskgrpo_cli.config import combinations, names
from maskgrpo_cli.config.mistakes import Mistake
from maskgrpo_cli.config.overrides import split
from maskgrpo_cli.config.schema import Config


def run(config: Config, command: str | None, wrong: list, origins: Mapping[tuple, str]) -> list[Mistake]:
    """All findings of the rules that matter to `command`, less those over keys that are wrong already."""
    mistakes = [*_unsafe(config, origins)]
    for rule in (*names.RULES, *combinations.RULES):
        if rule.commands and command not in rule.commands:
            continue
        if any(_overlap(tuple(key.split(".")), path) for key in rule.keys for path in wrong):
            continue
        for key, value, allowed, hint in rule.find(config):
            mistakes.append(Mistake(key, value, allowed, hint, origin(key_path(key), origins)))
    return mistakes


def _unsafe(config: Config, origins: Mapping[tuple, str]) -> Iterator[Mistake]:
    """No file may do away with the sandbox, not that of a stranger nor one's own of last year."""
    where = origin(("sandbox", "unsafe_local"), origins)
    if config.sandbox.unsafe_local and where != "--unsafe-local":
        advice = "only the option --unsafe-local may say that; add the option, or take this out"
        yield Mistake("sandbox.unsafe_local", True, advice, None, where)


def origin(path: tuple, origins: Mapping[tuple, str]) -> str:
    """Where the value at `path`, or the section that holds it, was written."""
    return next((origins[path[:end]] for end in range(len(path), 0, -1) if path[:end] in origins), "")


def key_path(key: str) -> tuple[str, ...]:
    """A dotted key as a path; a reward's own name may hold dots, and a list's element stands for the list."""
    named = key.startswith(("task.rewards.", "task.reward_settings."))
    return split(key) if named else tuple(key.partition("[")[0].split("."))


def _overlap(a: tuple, b: tuple) -> bool:
    shorter = min(len(a), len(b))
    return a[:shorter] == b[:shorter]
