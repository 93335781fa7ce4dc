"""`a plus 3 if a is greater than b, else b times 2`: one thing or another, by a condition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from maskgrpo_cli.domains.arithmetic import Draws
from maskgrpo_cli.domains.programs.stage import Stage, Stages

NAMES = (("a", "b"), ("x", "y"), ("m", "n"), ("p", "q"))


Number = Callable[[int, int], int]  # of two arguments


def _compared(sign: str, words: str, test: Number, slip: str, wrong: Number):
    """`a > b`, `a > 3` and `b > 3`, with a slip each."""
    yield Stage(f"{{a}} is {words} {{b}}", f"{{a}} {sign} {{b}}", test,
                slips=(Stage("", f"{{a}} {slip} {{b}}", wrong),))
    for n in range(1, 10):
        yield Stage(f"{{a}} is {words} {n}", f"{{a}} {sign} {n}", lambda a, b, n=n: test(a, n),
                    slips=(Stage("", f"{{a}} {slip} {n}", lambda a, b, n=n: wrong(a, n)),))
        yield Stage(f"{{b}} is {words} {n}", f"{{b}} {sign} {n}", lambda a, b, n=n: test(b, n),
                    slips=(Stage("", f"{{b}} {slip} {n}", lambda a, b, n=n: wrong(b, n)),))


def _parity(name: str, kind: str, rest: int, of: Number) -> Stage:
    slip = Stage("", f"{{{name}}} % 2 == {1 - rest}", lambda a, b: of(a, b) % 2 == 1 - rest)
    return Stage(f"{{{name}}} is {kind}", f"{{{name}}} % 2 == {rest}", lambda a, b: of(a, b) % 2 == rest, slips=(slip,))


CONDITIONS = (
    *_compared(">", "greater than", int.__gt__, ">=", int.__ge__),
    *_compared("<", "less than", int.__lt__, "<=", int.__le__),
    *(_parity(*one) for one in (("a", "even", 0, lambda a, b: a), ("a", "odd", 1, lambda a, b: a),
                                ("b", "even", 0, lambda a, b: b), ("b", "odd", 1, lambda a, b: b))),
)


def _changed(word: str, sign: str, other: str, change: Number, wrong: Number):
    """`a plus 3` and `b plus 3`, with a slip each."""
    for n in range(2, 10):
        yield Stage(f"{{a}} {word} {n}", f"{{a}} {sign} {n}", lambda a, b, n=n: change(a, n),
                    slips=(Stage("", f"{{a}} {other} {n}", lambda a, b, n=n: wrong(a, n)),))
        yield Stage(f"{{b}} {word} {n}", f"{{b}} {sign} {n}", lambda a, b, n=n: change(b, n),
                    slips=(Stage("", f"{{b}} {other} {n}", lambda a, b, n=n: wrong(b, n)),))


RESULTS = (
    *(Stage("{a}", "{a}", lambda a, b: a, slips=(Stage("", "{b}", lambda a, b: b),)),) * 3,
    *(Stage("{b}", "{b}", lambda a, b: b, slips=(Stage("", "{a}", lambda a, b: a),)),) * 3,
    *_changed("plus", "+", "-", int.__add__, int.__sub__),
    *_changed("minus", "-", "+", int.__sub__, int.__add__),
    *_changed("times", "*", "+", int.__mul__, int.__add__),
)


def draw(draws: Draws) -> Stages:
    """A condition, and the results where it holds and where it does not."""
    return draws.among(CONDITIONS), draws.among(RESULTS), draws.among(RESULTS)


def without(stages: Stages) -> list[Stages]:
    """The condition forgotten, and one of the results with it."""
    _, then, otherwise = stages
    always = Stage("", "", lambda a, b: True)
    return [(always, otherwise, then), (always, then, otherwise)]


def say(stages: Stages, names: tuple[str, ...]) -> str:
    """`a plus 3 if a is greater than b, else b times 2`."""
    condition, then, otherwise = (stage.words.format(a=names[0], b=names[1]) for stage in stages)
    return f"{then} if {condition}, else {otherwise}"


def write(stages: Stages, names: tuple[str, ...]) -> str:
    """`a + 3 if a > b else b * 2`; the first result alone where the condition is forgotten."""
    condition, then, otherwise = (stage.code.format(a=names[0], b=names[1]) for stage in stages)
    return f"{then} if {condition} else {otherwise}" if condition else then


def value(stages: Stages, arguments: tuple[Any, ...]) -> Any:
    """What that is."""
    condition, then, otherwise = stages
    return (then if condition.meaning(*arguments) else otherwise).meaning(*arguments)


def arguments(draws: Draws) -> tuple[Any, ...]:
    """Two numbers, equal more often than chance has it."""
    first = draws.between(-3, 12)
    return first, first if draws.random() < 0.2 else draws.between(-3, 12)
