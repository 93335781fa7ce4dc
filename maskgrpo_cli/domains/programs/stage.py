"""One step of what a function is asked to do: the same thing in words, in Python, and as a Python function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from maskgrpo_cli.domains.arithmetic import Draws

# How strongly Python binds the operators of an expression.
LOOSE, SUM, PRODUCT, POWER, ATOM = range(5)


@dataclass(frozen=True)
class Stage:
    """A step. `code` is a template: `{}` stands for what it is done to, `{a}` and `{b}` for the arguments.

    `slips` are the mistakes that are easily made in its place; nobody asks for them, so they have no words.
    """

    words: str
    code: str
    meaning: Callable[..., Any]
    needs: int = LOOSE  # how strongly the operand must bind, or it gets parentheses
    gives: int = ATOM  # how strongly the result binds
    slips: tuple[Stage, ...] = ()

    def but(self, *slips: Stage) -> Stage:
        """The step with these slips."""
        return replace(self, slips=slips)

    def around(self, inner: str, binding: int, **names: str) -> str:
        """Its Python around an operand that binds as strongly as `binding` says."""
        return self.code.format(inner if binding >= self.needs else f"({inner})", **names)


Stages = tuple[Stage, ...]


class Family(Protocol):
    """Tasks of one shape."""

    NAMES: tuple[tuple[str, ...], ...]  # what arguments may be called

    def draw(self, draws: Draws) -> Stages:
        """The steps of a task."""

    def without(self, stages: Stages) -> list[Stages]:
        """The steps with one of them forgotten, in every way."""

    def say(self, stages: Stages, names: tuple[str, ...]) -> str:
        """What the function returns, in words."""

    def write(self, stages: Stages, names: tuple[str, ...]) -> str:
        """The Python expression of it."""

    def value(self, stages: Stages, arguments: tuple[Any, ...]) -> Any:
        """Its value; raises what the expression would."""

    def arguments(self, draws: Draws) -> tuple[Any, ...]:
        """Arguments to test with."""
