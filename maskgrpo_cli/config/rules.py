"""What a rule over a config is: the keys that it reads, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from maskgrpo_cli.config.schema import Config

Found = Iterator["tuple[str, object, str, str | None]"]  # key, value, what is allowed, nearest name


@dataclass(frozen=True)
class Check:
    """One rule: the keys that it reads, the finding, and the commands it matters to.

    Without commands it always matters; None stands for a recipe that is checked for no command in particular.
    """

    keys: tuple[str, ...]
    find: Callable[[Config], Found]
    commands: tuple[str | None, ...] = ()


def into(rules: list[Check]):
    """A decorator `check(*keys, commands=())` that adds a rule over `keys` to a list."""

    def check(*keys: str, commands: tuple[str | None, ...] = ()):
        def register(find):
            rules.append(Check(keys, find, commands))
            return find

        return register

    return check
