"""A recipe, its overrides and every mistake in them, as one typed Config."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import ValidationError

from maskgrpo_cli import __version__
from maskgrpo_cli.config import checks, describe, overrides, recipes, sampling, yaml_file
from maskgrpo_cli.config.mistakes import MISSING, Mistake, show, tell
from maskgrpo_cli.config.overrides import Override
from maskgrpo_cli.config.schema import Config
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.registry import nearest

KeyPath = tuple  # names, and indices of lists
Finding = tuple[KeyPath, Mistake]


def load(
    recipe: str,
    overrides: Mapping[str, object] | Iterable[str | Override] = (),
    command: str | None = None,
) -> Config:
    """The config of a bundled recipe, a YAML file or a run directory, with overrides laid over it in order.

    `overrides` is `{"grpo.steps": 3}`, or a list of `"grpo.steps=3"` and Override objects. `command` (sft,
    grpo, sample, eval) adds the checks that only it needs. Raises UserError that lists all mistakes at once.
    """
    path = recipes.find(recipe)
    config, mistakes = check(yaml_file.read(path), overrides, command)
    if mistakes:
        raise UserError(tell(mistakes, source(recipe, path)))
    return config


def load_overrides(overrides: Iterable[str | Override]) -> Config:
    """The config of overrides alone, for commands without a recipe; raises UserError that lists all mistakes."""
    config, mistakes = check(yaml_file.Document({}), overrides)
    if mistakes:
        raise UserError(tell(mistakes, "the options"))
    return config


def check(
    document: yaml_file.Document,
    given: Mapping[str, object] | Iterable[str | Override] = (),
    command: str | None = None,
) -> tuple[Config, list[Mistake]]:
    """The config of a document, wrong keys left at their defaults, and all of its mistakes."""
    mistakes = list(document.mistakes)
    tree = copy.deepcopy(document.tree)
    origins = {path: f"line {line}" for path, line in document.lines.items()}
    said = overrides.gather(given, mistakes)
    for override in said:
        overrides.apply(tree, override, origins)
    odd = _take_out_odd_keys(tree, (), origins, set())
    mistakes += [mistake for _, mistake in odd]
    config, wrong = _validate(tree, origins, mistakes)
    wrong += [path for path, _ in odd]
    if command == "sample":
        config = sampling.for_sample(config, [override.path for override in said])
    mistakes += checks.run(config, command, wrong, origins)
    return config, [mistake for i, mistake in enumerate(mistakes) if mistake not in mistakes[:i]]


def dump(config: Config) -> str:
    """A config as YAML that `load` reads back as an equal one."""
    header = f"# Resolved by maskgrpo {__version__}; run it again with --recipe THIS-FILE.\n"
    return header + yaml_file.write(config.model_dump(mode="json"))


def source(recipe: str, path: Path) -> str:
    """How messages name a recipe: by its name and its file, or by the file alone."""
    return f"recipe '{recipe}' ({path})" if recipe in recipes.names() else str(path)


def _take_out_odd_keys(tree: dict, path: KeyPath, origins: dict, seen: set[int]) -> list[Finding]:
    """Deletes the keys that are not text, such as `3:` or `yes:`, and gives the mistakes that they are."""
    if id(tree) in seen:  # YAML's anchors can make a mapping that holds itself
        return []
    seen.add(id(tree))
    found = []
    for key in [key for key in tree if not isinstance(key, str)]:
        advice, origin = "a key is text; put it in quotes", checks.origin(path, origins)
        inner = (*path, show(key))
        found.append((inner, Mistake(dotted(inner), tree.pop(key), advice, None, origin)))
    for key, inner in tree.items():
        if isinstance(inner, dict):
            found += _take_out_odd_keys(inner, (*path, key), origins, seen)
    return found


def _validate(tree: dict, origins: dict, mistakes: list[Mistake]) -> tuple[Config, list[KeyPath]]:
    """A Config of what is right in `tree`, and the key paths that are not and were left at their defaults."""
    wrong: list[KeyPath] = []
    while True:
        try:
            return Config.model_validate(tree), wrong
        except ValidationError as error:
            found = [_mistake(detail, origins) for detail in error.errors(include_url=False)]
        for path, mistake in found:
            if mistake not in mistakes:
                mistakes.append(mistake)
            wrong.append(path)
            if mistake.hint and mistake.value is not MISSING:
                wrong.append((*path[:-1], mistake.hint))  # what was meant has no trustworthy value either
        if not any([_remove(tree, path) for path, _ in found]):  # never go round with the same mistakes
            for path, _ in found:
                tree.pop(path[0], None)
                wrong.append(path[:1])


def _mistake(detail: Mapping, origins: dict) -> Finding:
    """pydantic's finding in our words, and where it lies."""
    path = tuple(detail["loc"])
    if path and path[-1] == "[key]":
        path = path[:-1]
    if detail["type"] == "missing":  # a pair with one number: the list is what is wrong
        path = path[:-1]
    value, key, origin = detail["input"], dotted(path), checks.origin(path, origins)
    if detail["loc"][-1] == "[key]":
        return path, Mistake(key, MISSING, "a key here is not empty", None, origin)
    if detail["type"] == "extra_forbidden":
        keys = describe.keys_at(path[:-1])
        advice = "unknown key; known here: " + ", ".join(keys)
        return path, Mistake(key, value, advice, nearest(str(path[-1]), keys), origin)
    node = describe.node_at(path)
    advice = describe.allowed(node) if node is not None else str(detail["msg"])
    if isinstance(value, str) and advice.startswith(("a number", "a whole number", "true or false")):
        advice += " (without quotes)"
    elif advice.startswith("text") and isinstance(value, (bool, int, float)):
        advice += " (in quotes)"
    hint = nearest(value, describe.choices(node)) if isinstance(value, str) and node is not None else None
    return path, Mistake(key, value, advice, hint, origin)


def _remove(tree: dict, path: KeyPath) -> bool:
    """Takes a wrong key out of the tree (of a list, the whole list); False when it is not there any more."""
    node = tree
    for part in path[:-1]:
        if not isinstance(node.get(part), dict):
            return node.pop(part, MISSING) is not MISSING
        node = node[part]
    return node.pop(path[-1], MISSING) is not MISSING


def dotted(path: KeyPath) -> str:
    """`("grpo", "optimizer", "betas", 0)` as `grpo.optimizer.betas[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
