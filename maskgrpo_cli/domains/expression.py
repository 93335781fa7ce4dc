"""Expressions over + - * / and parentheses: parsed into a tree and computed exactly, never run as code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

LONGEST = 200  # characters
DEEPEST = 40  # nested parentheses or signs
MOST_DIGITS = 9  # of a number: puzzles have two or three

_MARKS = re.compile(r"\s*(?:([0-9]+)|(\\frac|\S))")
_WRITTEN = (
    ("\\times", "*"), ("\\cdot", "*"), ("\\div", "/"), ("×", "*"), ("·", "*"), ("∗", "*"), ("÷", "/"),
    ("−", "-"), ("–", "-"), ("\\left", ""), ("\\right", ""), ("\\dfrac", "\\frac"), ("\\tfrac", "\\frac"),
    ("\\(", ""), ("\\)", ""), ("\\[", ""), ("\\]", ""), ("\\,", " "), ("$", ""), ("[", "("), ("]", ")"),
)


class NotAnExpression(ValueError):
    """A text that is no expression; the message says where it stops being one."""


@dataclass(frozen=True)
class Number:
    """A whole number as it is written."""

    digits: int

    @property
    def value(self) -> Fraction:
        """Its value."""
        return Fraction(self.digits)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The number itself."""
        return (self.digits,)


@dataclass(frozen=True)
class Operation:
    """Two expressions joined by + - * or /."""

    op: str
    left: Expression
    right: Expression

    @property
    def value(self) -> Fraction:
        """Its exact value; raises ZeroDivisionError where it divides by zero."""
        left, right = self.left.value, self.right.value
        if self.op == "+":
            return left + right
        if self.op == "-":
            return left - right
        return left * right if self.op == "*" else left / right

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers that occur, from left to right, each as often as it is written."""
        return self.left.numbers + self.right.numbers


@dataclass(frozen=True)
class Negative:
    """An expression with a minus in front."""

    inner: Expression

    @property
    def value(self) -> Fraction:
        """Its exact value."""
        return -self.inner.value

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers that occur."""
        return self.inner.numbers


Expression = Number | Operation | Negative


def parse_expression(text: str) -> Expression:
    """The tree of an expression over whole numbers, + - * / and parentheses, as plain text or LaTeX.

    Also `×`, `÷`, `\\times`, `\\cdot`, `\\div` and `\\frac{a}{b}`. Powers (`**`), whole division (`//`),
    decimals, names and signs of equality are none of it. Raises NotAnExpression, also for what is longer than
    `LONGEST` or nested deeper than `DEEPEST`.
    """
    if len(text) > LONGEST:
        raise NotAnExpression(f"longer than {LONGEST} characters")
    for written, plain in _WRITTEN:
        text = text.replace(written, plain)
    parser = _Parser([number or mark for number, mark in _MARKS.findall(text)])
    tree = parser.sum(0)
    if parser.next is not None:
        raise NotAnExpression(f"'{parser.next}' is out of place")
    return tree


class _Parser:
    """Recursive descent: a sum of products of factors."""

    def __init__(self, marks: list[str]) -> None:
        self._marks = marks
        self._place = 0

    @property
    def next(self) -> str | None:
        return self._marks[self._place] if self._place < len(self._marks) else None

    def sum(self, depth: int) -> Expression:
        tree = self._product(depth)
        while self.next in ("+", "-"):
            op = self._take()
            tree = Operation(op, tree, self._product(depth))
        return tree

    def _product(self, depth: int) -> Expression:
        tree = self._factor(depth)
        while self.next in ("*", "/"):
            op = self._take()
            tree = Operation(op, tree, self._factor(depth))
        return tree

    def _factor(self, depth: int) -> Expression:
        if depth > DEEPEST:
            raise NotAnExpression(f"nested deeper than {DEEPEST}")
        mark = self._take()
        if mark == "-":
            return Negative(self._factor(depth + 1))
        if mark == "+":
            return self._factor(depth + 1)
        if mark == "\\frac":
            return Operation("/", self._enclosed("{", depth), self._enclosed("{", depth))
        if mark in ("(", "{"):
            self._place -= 1
            return self._enclosed(mark, depth)
        if not mark.isascii() or not mark.isdigit():
            raise NotAnExpression(f"'{mark}' is out of place")
        if len(mark) > MOST_DIGITS:
            raise NotAnExpression(f"a number of more than {MOST_DIGITS} digits")
        return Number(int(mark))

    def _enclosed(self, opening: str, depth: int) -> Expression:
        if self._take() != opening:
            raise NotAnExpression(f"'{opening}' is missing")
        tree = self.sum(depth + 1)
        closing = {"(": ")", "{": "}"}[opening]
        if self._take() != closing:
            raise NotAnExpression(f"'{closing}' is missing")
        return tree

    def _take(self) -> str:
        mark = self.next
        if mark is None:
            raise NotAnExpression("it ends too early")
        self._place += 1
        return mark
