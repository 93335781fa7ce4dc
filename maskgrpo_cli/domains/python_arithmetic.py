"""What Python makes of an expression of digits, + - * / ( ) . and space, without evaluating any text.

Published scripts hand such text to `eval`; this computes the same numbers (whole, floating and complex, `//` and
`**`, unary signs) with bounds on size and depth, so that `9**9**9` costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

Value = int | float | complex

DEEPEST = 200  # nested parentheses; Python's own limit
LONGEST_CHAIN = 2000  # signs or powers in a row; Python gives up somewhere there
MOST_BITS = 100_000  # of a whole number

_TOKEN = re.compile(
    r"(?P<float>[0-9]+\.[0-9]*|\.[0-9]+)|(?P<whole>[0-9]+)|(?P<mark>\*\*|//|[-+*/()])"
    r"|(?P<space>[ \t\f]+)|(?P<line>[\r\n])"
)


class _Invalid(ValueError):
    """A text that is no expression for Python, or one that has no value."""


def python_value(text: str) -> Value | None:
    """The value of an expression as Python computes it; None where Python raises, and for numbers out of bounds.

    As in Python: `007` is no number (`007.` is), a line ends the expression outside parentheses, `-2**2` is -4,
    `2**-1` is 0.5, and only ASCII digits count. Linear in the length of the text.
    """
    parser = _Parser()
    try:
        for kind, token in _tokens(text):
            parser.take(kind, token)
        return parser.result()
    except (ArithmeticError, TypeError, ValueError):  # `//` of complex numbers is a TypeError
        return None


def _tokens(text: str):
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise _Invalid
        if match.lastgroup != "space":
            yield match.lastgroup, match.group()
        place = match.end()


@dataclass
class _Operator:
    precedence: int
    apply: Callable
    unary: bool = False


def _power(base: Value, exponent: Value) -> Value:
    whole = isinstance(base, int) and isinstance(exponent, int)
    if whole and abs(base) > 1 and base.bit_length() * exponent > MOST_BITS:
        raise _Invalid
    return base**exponent


_BINARY = {
    "+": _Operator(1, lambda a, b: a + b),
    "-": _Operator(1, lambda a, b: a - b),
    "*": _Operator(2, lambda a, b: a * b),
    "/": _Operator(2, lambda a, b: a / b),
    "//": _Operator(2, lambda a, b: a // b),
    "**": _Operator(4, _power),
}
_UNARY = {"+": _Operator(3, lambda a: +a, unary=True), "-": _Operator(3, lambda a: -a, unary=True)}


@dataclass
class _Parser:
    """Two stacks (Dijkstra's shunting yard); None among the operators is an open parenthesis."""

    values: list[Value] = field(default_factory=list)
    operators: list[_Operator | None] = field(default_factory=list)
    wants_value: bool = True
    depth: int = 0

    def take(self, kind: str, token: str) -> None:
        """One token more."""
        if kind == "line":
            if self.depth == 0:
                raise _Invalid
        elif kind in ("whole", "float"):
            self._value(_number(token) if kind == "whole" else float(token))
        elif token == "(":
            self._open()
        elif token == ")":
            self._close()
        elif self.wants_value:
            if token not in _UNARY:
                raise _Invalid
            self._push(_UNARY[token])
        else:
            operator = _BINARY[token]
            self._reduce(operator.precedence + (token == "**"))
            self._push(operator)
            self.wants_value = True

    def result(self) -> Value:
        """The value of all that was taken."""
        if self.wants_value or self.depth:
            raise _Invalid
        self._reduce(0)
        return self.values[0]

    def _value(self, value: Value) -> None:
        if not self.wants_value:
            raise _Invalid
        self.values.append(value)
        self.wants_value = False

    def _push(self, operator: _Operator) -> None:
        if len(self.operators) > LONGEST_CHAIN:
            raise _Invalid
        self.operators.append(operator)

    def _open(self) -> None:
        if not self.wants_value or self.depth >= DEEPEST:
            raise _Invalid
        self.operators.append(None)
        self.depth += 1

    def _close(self) -> None:
        if self.wants_value or not self.depth:
            raise _Invalid
        self._reduce(0)
        self.operators.pop()
        self.depth -= 1

    def _reduce(self, precedence: int) -> None:
        """Apply the operators on top that bind at least as strongly, back to the open parenthesis."""
        while self.operators and (operator := self.operators[-1]) is not None and operator.precedence >= precedence:
            self.operators.pop()
            last = self.values.pop()
            value = operator.apply(last) if operator.unary else operator.apply(self.values.pop(), last)
            if isinstance(value, int) and value.bit_length() > MOST_BITS:
                raise _Invalid
            self.values.append(value)


def _number(digits: str) -> int:
    if digits.startswith("0") and digits.strip("0"):
        raise _Invalid
    return int(digits)
