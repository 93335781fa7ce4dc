"""YAML as people write it: `1e-4` is a number, `yes` a switch, and a key given twice a mistake.

PyYAML follows YAML 1.1, where `1e-4` is text, `010` is eight and `1:30` is ninety; here numbers are those of
YAML 1.2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from maskgrpo_cli.config.mistakes import MISSING, Mistake
from maskgrpo_cli.errors import UserError

_BOOL = "tag:yaml.org,2002:bool"
_INT = "tag:yaml.org,2002:int"
_FLOAT = "tag:yaml.org,2002:float"
_TIME = "tag:yaml.org,2002:timestamp"
_BOOL_FORM = re.compile(r"^(?:yes|no|true|false|on|off)$", re.IGNORECASE)
_INT_FORM = re.compile(r"^[-+]?[0-9][0-9_]*$")
_FLOAT_FORM = re.compile(
    r"^[-+]?(?:(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+)$"
    r"|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
)
_DIGITS = 400  # far beyond any setting; Python itself refuses to read thousands of digits


class Loader(yaml.SafeLoader):
    """The safe loader with the numbers of YAML 1.2; of tags, such as `!!int`, only those of plain values."""

    def construct_yaml_int(self, node):
        """A whole number, decimal."""
        return int(self._plain(node, _INT_FORM).replace("_", ""))

    def construct_yaml_float(self, node):
        """A number, `1e-4` included."""
        self._plain(node, _FLOAT_FORM if not _INT_FORM.match(str(node.value)) else _INT_FORM)
        return super().construct_yaml_float(node)

    def construct_yaml_bool(self, node):
        """A switch: yes, no, on, off, true, false."""
        self._plain(node, _BOOL_FORM)
        return super().construct_yaml_bool(node)

    def _plain(self, node, form: re.Pattern) -> str:
        """A scalar's text. PyYAML breaks on `!!bool x`, and Python on numbers of thousands of digits."""
        if isinstance(node, yaml.ScalarNode) and form.match(node.value) and len(node.value) <= _DIGITS:
            return node.value
        raise yaml.constructor.ConstructorError(None, None, "not a value of this kind", node.start_mark)


class Dumper(yaml.SafeDumper):
    """The safe dumper that quotes what our loader would not read as text."""


def _write_text(dumper: Dumper, text: str):
    # these three count as line breaks: outside double quotes they would come back as spaces
    style = '"' if any(mark in text for mark in "\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


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
Dumper.add_representer(str, _write_text)
Loader.yaml_constructors = {
    tag: constructor
    for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.rpartition(":")[2] in ("null", "str", "seq", "map")
}
Loader.add_constructor(_INT, Loader.construct_yaml_int)
Loader.add_constructor(_FLOAT, Loader.construct_yaml_float)
Loader.add_constructor(_BOOL, Loader.construct_yaml_bool)


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
