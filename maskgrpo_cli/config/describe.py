"""What a key may hold, in words, read off the schema, so that messages never drift from it."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from maskgrpo_cli.config.schema import Config

Node = Mapping[str, object]


@functools.cache
def _schema() -> dict:
    return Config.model_json_schema()


def node_at(path: tuple) -> Node | None:
    """The schema of the key at `path` (names and list indices), or None when there is no such key."""
    node: Node = _schema()
    for part in path:
        inner = _child(_branches(node), part)
        if inner is None:
            return None
        node = inner
    return node


def keys_at(path: tuple) -> list[str]:
    """The keys that the section at `path` knows."""
    node = node_at(path)
    return [] if node is None else [key for branch in _branches(node) for key in branch.get("properties", {})]


def is_free_mapping(path: tuple) -> bool:
    """Whether the user chooses the keys below `path`, as for `task.rewards`."""
    node = node_at(path)
    branches = [] if node is None else _branches(node)
    return any(isinstance(branch.get("additionalProperties"), Mapping) for branch in branches)


def choices(node: Node) -> list[str]:
    """The words that may be written, where there is a fixed list of them."""
    return [word for branch in _branches(node) for word in branch.get("enum", []) if isinstance(word, str)]


def allowed(node: Node) -> str:
    """What may be written, such as `a whole number, at least 1, or null`."""
    return ", or ".join(_one(branch) for branch in _branches(node))


def _branches(node: Node) -> list[Node]:
    """The alternatives of a schema (`X | None` has two), with references followed."""
    if "$ref" in node:
        return _branches(_schema()["$defs"][str(node["$ref"]).rpartition("/")[2]])
    if "anyOf" in node:
        return [branch for part in node["anyOf"] for branch in _branches(part)]
    return [node]


def _child(branches: list[Node], part) -> Node | None:
    for branch in branches:
        if isinstance(part, int):
            items = branch.get("prefixItems", [])
            inner = items[part] if part < len(items) else branch.get("items")
        else:
            free = branch.get("additionalProperties")
            inner = branch.get("properties", {}).get(part) or (free if isinstance(free, Mapping) else None)
        if inner:
            return inner
    return None


def _one(node: Node) -> str:
    kind = node.get("type")
    if "enum" in node:
        return "one of " + ", ".join(str(word) for word in node["enum"])
    if kind in ("integer", "number"):
        return ("a whole number" if kind == "integer" else "a number") + _range(node)
    if kind == "array":
        items = node.get("prefixItems")
        if items:
            return f"a list of {len(items)}, each {allowed(items[0])}"
        return f"a list, not empty, each {allowed(node['items'])}"
    if kind == "object":
        if "properties" in node:
            return "a section with the keys " + ", ".join(node["properties"])
        return f"a mapping from names to values, each {allowed(node['additionalProperties'])}"
    if kind == "string":
        return "text, not empty" if "minLength" in node else "text"
    return {"boolean": "true or false", "null": "null"}.get(str(kind), "a value")


def _range(node: Node) -> str:
    bounds = {
        "minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below",
    }
    return "".join(
        f", {words} {node[bound] if isinstance(node[bound], int) else format(node[bound], 'g')}"
        for bound, words in bounds.items() if bound in node
    )
