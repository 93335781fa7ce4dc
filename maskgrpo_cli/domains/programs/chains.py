"""`s in upper case, then reversed`; `the sum of a and b, then times 3`: things done one after another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from maskgrpo_cli.domains.arithmetic import Draws
from maskgrpo_cli.domains.programs.stage import ATOM, POWER, PRODUCT, SUM, Stage, Stages

_LETTERS = "aeiourst"


@dataclass(frozen=True)
class Chains:
    """A start, then one to three steps; see `stage.Family`."""

    NAMES: tuple[tuple[str, ...], ...]
    starts: Stages
    steps: Stages
    ends: Stages  # steps that only the last one may be
    lengths: tuple[int, int]  # fewest and most steps
    among: tuple[Any, ...]  # what arguments are made of

    def draw(self, draws: Draws) -> Stages:
        """A start and its steps."""
        count = draws.between(*self.lengths)
        last = draws.among(self.ends if self.ends and draws.random() < 0.2 else self.steps)
        return (draws.among(self.starts), *(draws.among(self.steps) for _ in range(count - 1)), last)

    def without(self, stages: Stages) -> list[Stages]:
        """One step left out."""
        return [(*stages[:place], *stages[place + 1 :]) for place in range(1, len(stages))]

    def say(self, stages: Stages, names: tuple[str, ...]) -> str:
        """The start, and each step behind a `then`."""
        start, *steps = (stage.words for stage in stages)
        words = ", then ".join([f"{start} {steps[0]}", *steps[1:]] if start == "{a}" else [start, *steps])
        return words.format(**_called(names))

    def write(self, stages: Stages, names: tuple[str, ...]) -> str:
        """The steps around the start, in parentheses where Python needs them."""
        written, binding = stages[0].code.format(**_called(names)), stages[0].gives
        for step in stages[1:]:
            written, binding = step.around(written, binding), step.gives
        return written

    def value(self, stages: Stages, arguments: tuple[Any, ...]) -> Any:
        """The steps done to the start."""
        result = stages[0].meaning(*arguments)
        for step in stages[1:]:
            result = step.meaning(result)
        return result

    def arguments(self, draws: Draws) -> tuple[Any, ...]:
        """Strings of three to nine letters, or numbers."""
        if len(self.NAMES[0]) == 1:
            return ("".join(draws.among(self.among) for _ in range(draws.between(3, 9))),)
        return tuple(draws.among(self.among) for _ in self.NAMES[0])


def _called(names: tuple[str, ...]) -> dict[str, str]:
    return dict(zip("ab", names, strict=False))


def _cut(words: str, code: str, piece: slice, *slips: Stage) -> Stage:
    return Stage(words, f"{{}}[{code}]", lambda s: s[piece], ATOM, ATOM, slips)


def _first(n: int) -> Stage:
    return _cut(f"cut to its first {n} letters", f":{n}", slice(None, n))


def _last(n: int) -> Stage:
    return _cut(f"cut to its last {n} letters", f"-{n}:", slice(-n, None))


def _from(n: int) -> Stage:
    return _cut(f"without its first {n} letters", f"{n}:", slice(n, None))


def _until(n: int) -> Stage:
    return _cut(f"without its last {n} letters", f":-{n}", slice(None, -n))


def _repeated(n: int) -> Stage:
    return Stage(f"repeated {n} times", f"{{}} * {n}", lambda s: s * n, PRODUCT, PRODUCT)


def _replaced(old: str, new: str) -> Stage:
    return Stage(f"with {new} for every {old}", f'{{}}.replace("{old}", "{new}")', lambda s: s.replace(old, new), ATOM)


def _followed(c: str) -> Stage:
    return Stage(f"followed by {c}", f'{{}} + "{c}"', lambda s: s + c, SUM, SUM)


def _preceded(c: str) -> Stage:
    return Stage(f"preceded by {c}", f'"{c}" + {{}}', lambda s: c + s, PRODUCT, SUM)


def _counted(c: str) -> Stage:
    found = Stage("", f'{{}}.find("{c}")', lambda s: s.find(c), ATOM)
    return Stage(f"its number of {c}", f'{{}}.count("{c}")', lambda s: s.count(c), ATOM, slips=(found,))


_UPPER = Stage("in upper case", "{}.upper()", str.upper, ATOM)
_LOWER = Stage("in lower case", "{}.lower()", str.lower, ATOM)

TEXTS = Chains(
    NAMES=(("s",), ("text",), ("word",), ("line",)),
    starts=(Stage("{a}", "{a}", lambda s: s),),
    steps=(
        *(_UPPER.but(_LOWER), _LOWER.but(_UPPER)) * 2,
        *(Stage("reversed", "{}[::-1]", lambda s: s[::-1], ATOM),) * 4,
        *(_first(n).but(_first(n + 1)) for n in range(2, 6)), *(_last(n).but(_from(n)) for n in range(2, 6)),
        *(_from(n).but(_from(n - 1)) for n in range(2, 6)), *(_until(n).but(_last(n)) for n in range(2, 6)),
        *(_repeated(n).but(_repeated(n + 1)) for n in range(2, 6)),
        *(_replaced(old, new).but(_replaced(new, old)) for old in "aeio" for new in "ust"),
        *(_followed(c).but(_preceded(c)) for c in _LETTERS), *(_preceded(c).but(_followed(c)) for c in _LETTERS),
    ),
    ends=(Stage("its length", "len({})", len), *map(_counted, _LETTERS)),
    lengths=(2, 2),
    among=tuple(_LETTERS + "AEIOUS"),
)


def _plus(n: int) -> Stage:
    return Stage(f"plus {n}", f"{{}} + {n}", lambda x: x + n, SUM, SUM)


def _minus(n: int) -> Stage:
    return Stage(f"minus {n}", f"{{}} - {n}", lambda x: x - n, SUM, SUM)


def _times(n: int) -> Stage:
    return Stage(f"times {n}", f"{{}} * {n}", lambda x: x * n, PRODUCT, PRODUCT)


def _modulo(n: int) -> Stage:
    whole = Stage("", f"{{}} // {n}", lambda x: x // n, PRODUCT, PRODUCT)
    return Stage(f"modulo {n}", f"{{}} % {n}", lambda x: x % n, PRODUCT, PRODUCT, (whole,))


_SUM = Stage("the sum of {a} and {b}", "{a} + {b}", lambda a, b: a + b, gives=SUM)
_DIFFERENCE = Stage("{a} minus {b}", "{a} - {b}", lambda a, b: a - b, gives=SUM)
_TURNED = Stage("{b} minus {a}", "{b} - {a}", lambda a, b: b - a, gives=SUM)
_LARGER = Stage("the larger of {a} and {b}", "max({a}, {b})", max)
_SMALLER = Stage("the smaller of {a} and {b}", "min({a}, {b})", min)

NUMBERS = Chains(
    NAMES=(("a", "b"), ("x", "y"), ("m", "n"), ("p", "q")),
    starts=(
        _SUM.but(_DIFFERENCE), _DIFFERENCE.but(_TURNED), _TURNED.but(_DIFFERENCE), _LARGER.but(_SMALLER),
        _SMALLER.but(_LARGER),
        Stage("the product of {a} and {b}", "{a} * {b}", lambda a, b: a * b, gives=PRODUCT, slips=(_SUM,)),
    ),
    steps=(
        *(_plus(n).but(_minus(n)) for n in range(1, 10)), *(_minus(n).but(_plus(n)) for n in range(1, 10)),
        *(_times(n).but(_plus(n)) for n in range(2, 10)), *(_modulo(n) for n in range(3, 10)),
        *(Stage("squared", "{} ** 2", lambda x: x**2, ATOM, POWER, (_times(2),)),) * 3,
    ),
    ends=(),
    lengths=(1, 2),
    among=tuple(range(-5, 16)),
)

