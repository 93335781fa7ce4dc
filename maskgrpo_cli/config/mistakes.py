"""One mistake of a recipe, and how all of them are told at once."""

from __future__ import annotations

import json
import reprlib
from dataclasses import dataclass

MISSING = object()  # a mistake without a value to show

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 80


@dataclass(frozen=True)
class Mistake:
    """What is wrong at a key, what was given there, what is allowed, and where it was written."""

    key: str
    value: object
    allowed: str
    hint: str | None = None  # the nearest name, or another way out
    origin: str = ""  # such as "line 12" or "--max-steps"

    def __str__(self) -> str:
        """One line: `key = value (line 3): what is allowed; did you mean 'that'?`."""
        given = "" if self.value is MISSING else f" = {show(self.value)}"
        origin = f" ({self.origin})" if self.origin else ""
        hint = f"; did you mean '{self.hint}'?" if self.hint else ""
        return f"{self.key}{given}{origin}: {self.allowed}{hint}"


def show(value: object) -> str:
    """A value as YAML would write it, on one line and cut when long; text is always quoted."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
        return text if len(text) <= 80 else text[:77] + '..."'
    if isinstance(value, int) and abs(value) >= 10**40:
        return f"a number of {value.bit_length()} bits"  # its decimal digits may be more than Python prints
    return _short.repr(value)


def tell(mistakes: list[Mistake], source: str) -> str:
    """The message that lists every mistake of a recipe."""
    count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    return "\n".join([f"{count} in {source}"] + [f"  {mistake}" for mistake in mistakes])
