"""`--set key.path=value` and options, laid over a recipe's tree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from maskgrpo_cli.config import describe, yaml_file
from maskgrpo_cli.config.mistakes import MISSING, Mistake


@dataclass(frozen=True)
class Override:
    """One value that replaces a recipe's; `origin` is how the user gave it, such as `--max-steps`."""

    path: str
    value: object
    origin: str = ""


def gather(given: Mapping[str, object] | Iterable[str | Override], mistakes: list[Mistake]) -> list[Override]:
    """Overrides from `{path: value}`, or from `key.path=value` texts and ready Overrides, in their order.

    A text that cannot be read is added to `mistakes`.
    """
    if isinstance(given, Mapping):
        return [Override(path, value) for path, value in given.items()]
    ready = []
    for item in given:
        parsed = item if isinstance(item, Override) else _parse(item)
        (mistakes if isinstance(parsed, Mistake) else ready).append(parsed)
    return ready


def apply(tree: dict, override: Override, origins: dict[tuple[str, ...], str]) -> None:
    """Sets a key in `tree`, making the sections above it; notes where the value came from.

    Where the recipe has something else than a section above the key, nothing is set: it is a mistake itself.
    """
    path = split(override.path, named=isinstance(override.value, Mapping))
    node = tree
    for part in path[:-1]:
        inner = node.get(part)
        if inner is None:
            inner = node[part] = {}
        if not isinstance(inner, dict):
            return
        node = inner
    node[path[-1]] = override.value
    origins[path] = override.origin


def split(text: str, named: bool = False) -> tuple[str, ...]:
    """A dotted key path; a reward's own name may hold dots (`task.rewards.my.module:function`, `remote.first`).

    Below `task.reward_settings` the last part is the setting, which has no colon as such a name has; with `named` it
    belongs to the reward's name, because what is set is all of that reward's settings.
    """
    parts = tuple(text.split("."))
    for end in range(1, len(parts)):
        if describe.is_free_mapping(parts[:end]):
            head, rest = parts[:end], parts[end:]
            if len(rest) > 1 and not named and ":" not in rest[-1] and describe.is_free_mapping((*head, rest[0])):
                return (*head, ".".join(rest[:-1]), rest[-1])
            return (*head, ".".join(rest))
    return parts


def _parse(text: str) -> Override | Mistake:
    key, equals, value = text.partition("=")
    origin, key = "--set", key.strip()
    if not equals or not all(key.split(".")):
        return Mistake(text or "''", MISSING, "write key.path=value, such as grpo.steps=50", None, origin)
    try:
        return Override(key, yaml_file.parse_value(value), origin)
    except ValueError as error:
        return Mistake(key, value, str(error), None, origin)
