"""Plain numbers as people write them, read exactly: `1,000`, `$18`, `18.0`, `18 apples`, `\\frac{1}{2}`."""

from __future__ import annotations

import re
from fractions import Fraction

LONGEST = 200  # characters; a longer text is no number that anybody would write

_SPACES = str.maketrans("\u2212\u2013\u00a0\u202f\u2009\u00b0", "--    ")  # minus, dash, spaces, degree sign
_THIN_SPACE = re.compile(r"(?:\\[!,;:]|\\ |\\quad|~)\s*")
_DOLLARS = re.compile(r"\\?\$|[€£]|\\text\{\s*\\?\$\s*\}")
_DELIMITERS = re.compile(r"\\[()\[\]]|^\*\*|\*\*$")
_WRAPPER = re.compile(r"\\(?:text|textbf|mathbf|mathrm|mbox|bf)\s*\{([^{}]*)\}")
_DEGREES = re.compile(r"\^\s*\{?\s*\\circ\s*\}?")
_FRACTION = re.compile(
    r"\\[dt]?frac\s*(?:\{\s*(-?\s*[0-9]+)\s*\}|\s([0-9])|([0-9]))\s*(?:\{\s*([0-9]+)\s*\}|([0-9]))"
)

_DIGITS = r"(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|[0-9]+)"
_VALUE = rf"(?P<whole>{_DIGITS})?(?:\.(?P<decimals>[0-9]*))?(?:\s*/\s*(?P<below>{_DIGITS}))?"
_MIXED = rf"(?P<units>{_DIGITS})\s+(?P<over>[0-9]+)\s*/\s*(?P<under>[0-9]+)"
_NUMBER = re.compile(
    rf"(?:[A-Za-z]\s*=\s*)?(?P<sign>[-+]?)\s*(?:{_MIXED}|{_VALUE})"
    r"(?:\s*\\?%)?(?P<unit>.*)",
    re.DOTALL,
)
_POWER = r"(?:\s*(?:\^\s*\{?[0-9]\}?|[²³]))?"
# Short units may follow without a space; longer words need one, and other single letters are variables.
_SHORT = r"(?:cm|mm|km|dm|kg|mg|ml|mL|lbs?|oz|ft|in|yd|mi|mph|hrs?|mins?|secs?|am|pm|m|g|L)"
_UNIT = re.compile(
    rf"\s*(?:{_SHORT}{_POWER}(?:/[a-z]+)?\s*)?|\s+[A-Za-z][A-Za-z'’-]{{2,}}(?:[\s,/]+[A-Za-z'’-]+)*{_POWER}\s*"
)
_NOT_A_UNIT = re.compile(
    r"\b(?:and|or|to|by|is|not|plus|minus|times|over|divided|point|equals?|half|dozens?"
    r"|pi|sqrt|mod|sin|cos|tan|cot|log|ln|exp|factorial|halves|(?:third|fourth|fifth|sixth|seventh|eighth|ninth)s"
    r"|(?:ten|hundred|thousand|million)ths|(?:hundred|thousand)\s+(?:thousand|million|billion))\b"
    r"|^\s*(?:squared|cubed)\b",
    re.IGNORECASE,
)
_SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9}


def parse_number(text: str) -> Fraction | None:
    """The exact value of a number as people write it, or None where the text is anything else.

    Read: thousands separators (`1,000`, `1{,}000`, `1,\\!000`), currency signs, decimals, fractions and mixed
    numbers (`1/2`, `\\frac43`, `1\\frac{4}{5}`), a sign (also U+2212), a unit in words or in `\\text{}` (`18
    apples`, `5 cm^2`), degrees, `x = 5`, a final full stop. A percentage is its number, `50%` is 50, as the
    published comparison has it. Not read: lists (`1,2`), powers, roots, products (`2k`), numbers in a base.
    """
    if len(text) > LONGEST:
        return None
    match = _NUMBER.fullmatch(_plain(text))
    if match is None:
        return None
    scale = _scale_of(match["unit"])
    value = _value(match)
    if scale is None or value is None:
        return None
    return (-value if match["sign"] == "-" else value) * scale


def changes_a_number(words: str) -> bool:
    """Whether words behind a number may make another one of it: `dozen`, `or more`, `feet 3 inches`."""
    return _NOT_A_UNIT.search(words) is not None or re.search("[0-9]", words) is not None


def _plain(text: str) -> str:
    """The text without the dress of LaTeX and money."""
    text = text.translate(_SPACES).replace("{,}", ",").strip()
    text = _DOLLARS.sub(" ", text)
    text = _THIN_SPACE.sub(lambda space: "" if space.group().startswith("\\!") else " ", text)
    text = _DELIMITERS.sub("", text)
    text = _WRAPPER.sub(r" \1", text)
    text = _DEGREES.sub(" ", text)
    text = _FRACTION.sub(_as_ratio, text).strip()
    return re.sub(r"(?<=[^.])\.$", "", text).strip("{} ")


def _as_ratio(match: re.Match[str]) -> str:
    """`\\frac{a}{b}` as ` a/b`; the space makes `1\\frac{4}{5}` a mixed number."""
    over, under = [part for part in match.groups() if part is not None]
    gap = "" if match.string[: match.start()].rstrip().endswith(("-", "+")) else " "
    return f"{gap}{over.replace(' ', '')}/{under} "


def _value(match: re.Match[str]) -> Fraction | None:
    if match["units"] is not None:
        under = int(match["under"])
        return Fraction(_integer(match["units"])) + Fraction(int(match["over"]), under) if under else None
    whole, decimals = match["whole"], match["decimals"]
    if not whole and not decimals:
        return None
    value = Fraction(_integer(whole or "0"))
    if decimals:
        value += Fraction(int(decimals), 10 ** len(decimals))
    if match["below"] is None:
        return value
    below = _integer(match["below"])
    return value / below if below else None


def _integer(digits: str) -> int:
    return int(digits.replace(",", ""))


def _scale_of(unit: str) -> int | None:
    """What the words after a number multiply it by: 10^6 for `million`, 1 for a unit, else None."""
    if not _UNIT.fullmatch(unit) or _NOT_A_UNIT.search(unit):
        return None
    first = unit.split()[:1]
    return _SCALES.get(first[0].lower(), 1) if first else 1
