"""YAML as people write it: `1e-4` is a number, `yes` a switch, and a key given twice a mistake.

PyYAML follows YAML 1.1, where `1e-4` is text, `010` is eight and `1:30` is ninety; here numbers are those of
YAML 1.2.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from maskgrpo_cli.config.mistakes import MISSING, Mistake
from maskgrpo_cli.errors import UserError

_INT = "tag:yaml.org,2002:int"
_FLOAT = "tag:yaml.org,2002:float"
_TIME = "tag:yaml.org,2002:timestamp"
_INT_FORM = re.compile(r"^[-+]?[0-9][0-9_]*$")
_FLOAT_FORM = re.compile(
    r"^[-+]?(?:(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+)$"
    r"|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
)
_DIGITS = 400  # far beyond any setting; Python itself refuses to read thousands of digits


class Loader(yaml.SafeLoader):
    """The safe loader with the numbers of YAML 1.2."""

    def construct_yaml_int(self, node):
        """A whole number, decimal."""
        return self._number(node, lambda node: int(node.value.replace("_", "")))

    def construct_yaml_float(self, node):
        """A number, `1e-4` included."""
        return self._number(node, super().construct_yaml_float)

    def _number(self, node, make):
        # `!!int x` and numbers of thousands of digits reach this, and Python refuses both
        if isinstance(node, yaml.ScalarNode) and len(node.value) <= _DIGITS:
            with contextlib.suppress(ValueError):
                return make(node)
        raise yaml.constructor.ConstructorError(None, None, "not a number", node.start_mark)


class Dumper(yaml.SafeDumper):
    """The safe dumper that quotes what our loader would not read as text."""


def _use_our_numbers(target) -> None:
    """The rules by which plain text becomes a number: the same for reading and for writing."""
    target.yaml_implicit_resolvers = {
        first: [pair for pair in pairs if pair[0] not in (_INT, _FLOAT, _TIME)]
        for first, pairs in target.yaml_implicit_resolvers.items()
    }
    target.add_implicit_resolver(_INT, _INT_FORM, list("-+0123456789"))
    target.add_implicit_resolver(_FLOAT, _FLOAT_FORM, list("-+.0123456789"))


_use_our_numbers(Loader)
_use_our_numbers(Dumper)
Loader.add_constructor(_INT, Loader.construct_yaml_int)
Loader.add_constructor(_FLOAT, Loader.construct_yaml_float)


@dataclass
class Document:
    """A recipe file: its values, the line of every key path, and keys that were given twice."""

    tree: dict
    lines: dict[tuple[str, ...], int] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)


def read(path: Path) -> Document:
    """The mapping in a YAML file; raises UserError (`file:line:column`) when it cannot be read as one."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file (byte {error.start} is not UTF-8)") from error
    return parse(text, str(path))


def parse(text: str, name: str) -> Document:
    """The mapping in YAML text; `name` is what messages call it."""
    try:
        loader = Loader(text)
        node = loader.get_single_node()
        document = Document({})
        if node is not None:
            _walk(node, (), document, set())
        value = {} if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        raise UserError(f"{_place(error, name)}: {_problem(error)}") from error
    except RecursionError as error:
        raise UserError(f"{name}: nested too deeply for a recipe") from error
    if not isinstance(value, dict):
        raise UserError(f"{name}: a recipe is a mapping of keys such as 'seed: 0', this is {_kind(value)}")
    document.tree = value
    return document


def parse_value(text: str) -> object:
    """One value, as after `--set key=`; raises ValueError with the problem."""
    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise ValueError(_problem(error)) from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def write(tree: dict) -> str:
    """YAML text of plain values, in the order of the keys."""
    return yaml.dump(tree, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=110)


def _walk(node, path: tuple[str, ...], document: Document, seen: set[int]) -> None:
    """Notes the line of every key, and keys that occur twice (YAML would silently take the last)."""
    if not isinstance(node, yaml.MappingNode) or id(node) in seen:
        return
    seen.add(id(node))
    here: set[str] = set()
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        inner, line = (*path, str(key.value)), key.start_mark.line + 1
        if key.value in here:
            first = document.lines[inner]
            advice = f"given twice, first in line {first}; keep one"
            document.mistakes.append(Mistake(".".join(inner), MISSING, advice, None, f"line {line}"))
        here.add(key.value)
        document.lines[inner] = line
        _walk(value, inner, document, seen)


def _place(error: yaml.YAMLError, name: str) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    return f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name


def _problem(error: yaml.YAMLError) -> str:
    """What PyYAML says, on one line."""
    problem = getattr(error, "problem", None) or getattr(error, "reason", None)
    parts = [getattr(error, "context", None), problem]
    return "not valid YAML: " + (", ".join(part for part in parts if part) or "cannot be read")


def _kind(value: object) -> str:
    if isinstance(value, list):
        return "a list"
    return f"the single value {value!r:.60}"
