"""Requests and programs as text, made of a small closed vocabulary."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from maskgrpo_cli.domains.arithmetic import Draws
from maskgrpo_cli.domains.programs import choices, lists
from maskgrpo_cli.domains.programs.chains import NUMBERS, TEXTS
from maskgrpo_cli.domains.programs.composing import FAMILIES, Spec
from maskgrpo_cli.domains.programs.stage import Stage

FUNCTIONS = ("f", "g", "h", "solve", "run", "work", "make", "find")
_REQUESTS = ("Write {call} that returns {what}.", "Define {call} to return {what}.", "{call} returns {what}.")
# Signs that are one piece each: fences, line breaks with their indentation, and what code strings together.
_SIGNS = ("```python\n", "\n```", "):\n    ", ", default=0)", '.replace("', '.count("', '.find("', '", "', '")',
          ".upper()", ".lower()", "[::-1]", "[:-", "[:", "[-", ":]", "**", "//", "==", ">=", "<=")
_PLAIN = ("def return print if else for x in (),", "then else if")  # what every program or request may hold
_PIECE = re.compile("|".join([*map(re.escape, _SIGNS), "[A-Za-z]+", "[0-9]+", r"\S"]))


@dataclass(frozen=True)
class Names:
    """What a function and its arguments are called."""

    function: str
    arguments: tuple[str, ...]

    @classmethod
    def drawn(cls, spec: Spec, draws: Draws) -> Names:
        """Names that fit a specification."""
        return cls(draws.among(FUNCTIONS), draws.among(spec.family.NAMES))

    @property
    def call(self) -> str:
        """`f(a, b)`."""
        return f"{self.function}({', '.join(self.arguments)})"


def request(spec: Spec, names: Names, draws: Draws) -> str:
    """`Write f(xs) that returns the sum of the even numbers in xs.`"""
    what = spec.family.say(spec.stages, names.arguments)
    return draws.among(_REQUESTS).format(call=names.call, what=what)


def program(spec: Spec, names: Names, prints: bool = False) -> str:
    """A function of one line; one that `prints` its result forgets to return it."""
    expression = spec.family.write(spec.stages, names.arguments)
    return f"def {names.call}:\n    " + (f"print({expression})" if prints else f"return {expression}")


def fenced(code: str) -> str:
    """A program as a completion holds it."""
    return f"```python\n{code}\n```"


def assertion(names: Names, arguments: tuple[Any, ...], value: Any) -> str:
    """`assert f([1, 2]) == 3`."""
    return f"assert {names.function}({', '.join(map(repr, arguments))}) == {value!r}"


def pieces(text: str) -> list[str]:
    """The words, numbers and signs of a request or a fenced program, without the space between them."""
    return _PIECE.findall(text)


def vocabulary() -> list[str]:
    """Every piece of requests and programs: signs, then words and numbers by the alphabet."""
    texts = [*(form.format(call="", what="") for form in _REQUESTS), *FUNCTIONS, *_PLAIN]
    texts += [name for family in FAMILIES.values() for names in family.NAMES for name in names]
    for stage in _stages():
        texts += [re.sub(r"\{\w*\}", " ", text) for text in (stage.words, stage.code)]
    found = {piece for text in texts for piece in pieces(text)}
    return [*_SIGNS, *sorted(found.difference(_SIGNS))]


def _stages() -> Iterator[Stage]:
    chained = (stage for chain in (TEXTS, NUMBERS) for stage in (*chain.starts, *chain.steps, *chain.ends))
    listed = (lists.EVERY, lists.SAME, *lists.TESTS, *lists.CHANGES, *lists.ENDS)
    for stage in (*chained, *listed, *choices.CONDITIONS, *choices.RESULTS):
        yield from (stage, *stage.slips)
