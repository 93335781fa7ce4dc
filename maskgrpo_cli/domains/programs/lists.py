"""`the sum of the even numbers in xs, each times 3`: numbers are chosen, changed and summed up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from maskgrpo_cli.domains.arithmetic import Draws
from maskgrpo_cli.domains.programs.stage import Stage, Stages

NAMES = (("xs",), ("nums",), ("values",), ("items",))
EVERY = Stage("the numbers in {xs}", "", lambda x: True)
SAME = Stage("", "x", lambda x: x)


def _test(words: str, code: str, meaning: Callable[[int], bool], *slips: Stage) -> Stage:
    return Stage(words, f" if {code}", meaning, slips=slips)


def _above(n: int) -> Stage:
    slip = _test("", f"x >= {n}", lambda x: x >= n)
    return _test(f"the numbers in {{xs}} greater than {n}", f"x > {n}", lambda x: x > n, slip)


def _below(n: int) -> Stage:
    slip = _test("", f"x <= {n}", lambda x: x <= n)
    return _test(f"the numbers in {{xs}} less than {n}", f"x < {n}", lambda x: x < n, slip)


def _multiple(n: int) -> Stage:
    slip = _test("", f"x % {n} == 1", lambda x: x % n == 1)
    return _test(f"the numbers in {{xs}} divisible by {n}", f"x % {n} == 0", lambda x: x % n == 0, slip)


_EVEN = _test("the even numbers in {xs}", "x % 2 == 0", lambda x: x % 2 == 0)
_ODD = _test("the odd numbers in {xs}", "x % 2 == 1", lambda x: x % 2 == 1)
TESTS = (
    _EVEN.but(_ODD), _ODD.but(_EVEN),
    _test("the positive numbers in {xs}", "x > 0", lambda x: x > 0, _test("", "x >= 0", lambda x: x >= 0)),
    _test("the negative numbers in {xs}", "x < 0", lambda x: x < 0, _test("", "x <= 0", lambda x: x <= 0)),
    *map(_above, range(1, 10)), *map(_below, range(1, 10)), *map(_multiple, range(3, 10)),
)


def _times(n: int) -> Stage:
    return Stage(f", each times {n}", f"x * {n}", lambda x: x * n)


def _plus(n: int) -> Stage:
    return Stage(f", each plus {n}", f"x + {n}", lambda x: x + n)


def _minus(n: int) -> Stage:
    return Stage(f", each minus {n}", f"x - {n}", lambda x: x - n)


CHANGES = (
    *(_times(n).but(_plus(n)) for n in range(2, 10)),
    *(_plus(n).but(_minus(n)) for n in range(1, 10)),
    *(_minus(n).but(_plus(n)) for n in range(1, 10)),
    Stage(", each squared", "x * x", lambda x: x * x, slips=(_times(2),)),
    Stage(", each negated", "-x", lambda x: -x),
    Stage(", each without its sign", "abs(x)", abs, slips=(Stage("", "-x", lambda x: -x),)),
)

_LIST = Stage("a list of {}", "[{}]", list)
_COUNT = Stage("how many are {}", "len([{}])", len)
ENDS = (
    _LIST,
    Stage("the sum of {}", "sum({})", sum, slips=(_COUNT,)),
    Stage("the largest of {}, or 0", "max(({}), default=0)", lambda items: max(items, default=0),
          slips=(Stage("", "max({})", max),)),
    Stage("the smallest of {}, or 0", "min(({}), default=0)", lambda items: min(items, default=0),
          slips=(Stage("", "min({})", min),)),
    Stage("a sorted list of {}", "sorted({})", sorted, slips=(_LIST,)),
)


def draw(draws: Draws) -> Stages:
    """What is kept, how it is changed, and what becomes of it; not always all three."""
    kind = draws.random()
    if kind < 0.2:
        return draws.among(TESTS), SAME, draws.among((*ENDS, _COUNT))
    return (EVERY if kind < 0.4 else draws.among(TESTS)), draws.among(CHANGES), draws.among(ENDS)


def without(stages: Stages) -> list[Stages]:
    """Everything kept, or nothing changed."""
    test, change, end = stages
    forgotten = [] if test is EVERY else [(EVERY, change, end)]
    return forgotten if change is SAME else [*forgotten, (test, SAME, end)]


def say(stages: Stages, names: tuple[str, ...]) -> str:
    """`the sum of the even numbers in xs, each times 3`."""
    test, change, end = stages
    return end.words.format(test.words.format(xs=names[0]) + change.words)


def write(stages: Stages, names: tuple[str, ...]) -> str:
    """`sum(x * 3 for x in xs if x % 2 == 0)`."""
    test, change, end = stages
    return end.code.format(f"{change.code} for x in {names[0]}{test.code}")


def value(stages: Stages, arguments: tuple[Any, ...]) -> Any:
    """What that is."""
    test, change, end = stages
    return end.meaning([change.meaning(x) for x in arguments[0] if test.meaning(x)])


def arguments(draws: Draws) -> tuple[Any, ...]:
    """One list of up to seven numbers."""
    return ([draws.between(-6, 12) for _ in range(draws.between(0, 7))],)
