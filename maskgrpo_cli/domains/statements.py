"""Answers that are stated instead of given: `5 + 13 = 18`, `The answer is 18 dollars`."""

from __future__ import annotations

import re
from fractions import Fraction

from maskgrpo_cli.domains.expression import NotAnExpression, parse_expression
from maskgrpo_cli.domains.numbers import parse_number

LONGEST = 300  # characters

_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mbox)\s*\{([^{}]*)\}")
_PER = re.compile(r"\\[dt]?frac\s*\{([A-Za-z ]{2,})\}\s*\{([A-Za-z ]{2,})\}")
_COMMA = re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))")
_GLUED = re.compile(r"(?<=[0-9])(?=(?:cm|mm|km|kg|mg|ml|lbs?|oz|ft|mph|am|pm|m|g|L)\b)")
_CLOCK = re.compile(
    r"(?<![0-9:])([0-9]{1,2})(?:(?::00)?\s*(?:[ap]\.?\s?m\b\.?|o['’]clock)|:00(?![0-9:]))", re.IGNORECASE
)
_ABOUT = re.compile(
    r"\s*(?:\\approx|\\sim|≈|~|(?:about|approximately|around|roughly|nearly|almost|exactly|only)\s)\s*", re.IGNORECASE
)
_LETTER = re.compile(r"(?<=[0-9])\s*[hsmgL]\s*$")  # hours, seconds, metres, grams, litres
_ASIDE = re.compile(r"\s*\([A-Za-z ,.]+\)\s*$|^\s*\((?=[^()]*\)\s*$)|(?<=[0-9])\)\s*$")  # `18 (eggs)`, `(18)`
_MINUS = re.compile(r"\b(?:minus|negative)\s+(?=\$?[0-9])", re.IGNORECASE)
_NUMBER = re.compile(
    r"(?<![A-Za-z0-9./])-?[0-9]+(?:\.[0-9]+)?(?:/[0-9]+)?(?:\s+(?:hundred|thousand|million|billion)\b)?"
    r"(?![0-9A-Za-z]|\.[0-9])"
)
_VARIABLE = re.compile(r"(?<![A-Za-z'’])[B-HJ-Zb-z](?![A-Za-z'’])")
# What makes a sentence more than the statement of a number: operations, relations, intervals, negations.
_CALCULATES = re.compile(
    r"[0-9)]\s*[-+*×÷^:]\s*[0-9(]|[0-9)]\s+/|[0-9]!|[\\^_{}=<>≤≥]|[\[(][^)\]]*,|\b(?:not|never|cannot|nor)\b|n['’]t\b",
    re.IGNORECASE,
)
_PART_OF = re.compile(
    r"\b(?:half|thirds?|quarters?|twice|double|triple|times|root|log|logarithm|than|between|over|or)"
    r"(?:\s+(?:of|as|a|an|the))*\s*$|-\s+$",
    re.IGNORECASE,
)
_GOES_ON = re.compile(
    r"(?:and\s+(?:an?\s+|one\s+|two\s+|three\s+)?)?(?:half|halves|thirds?|quarters?\s+of|tenths|hundredths|thousandths)\b"
    r"|(?:dozen|squared|cubed|or|to|plus|minus|over|divided|multiplied)\b",
    re.IGNORECASE,
)
_STATED = re.compile(r"(?:\b(?:is|are|was|were|has|have|had|equals|costs?|makes?|earns?|pays?|needs?|takes?)|:)\s*$")


def states_number(text: str, reference: str) -> bool:
    """Whether a calculation or a sentence ends in the reference, a plain number, or names it; never raises.

    A calculation counts when what stands before its last `=` makes the number (or is words, `Total cost = $18`). A
    sentence counts with its only number, or with the last one where a verb introduces it. Named are `about 18`,
    `6:00 PM` and `5 h`. Sums left unevaluated, lists, parts of a number (`half of 18`), denials and anything with
    variables state nothing.
    """
    wanted = parse_number(reference)
    if wanted is None or len(text) > LONGEST:
        return False
    plain = _CLOCK.sub(r"\1", _COMMA.sub("", _PER.sub(r" \1 per \2 ", _TEXT.sub(r" \1 ", text))))
    plain = plain.replace("\\$", "$").replace("\n", " ").replace("\u2212", "-")
    head, equals, result = plain.rpartition("=")
    if equals:
        return parse_number(result) == wanted and _makes(head.rpartition("=")[2], wanted)
    about = _ABOUT.match(plain)
    named = _LETTER.sub("", _ASIDE.sub("", plain[about.end() :] if about else plain))
    return wanted in (parse_number(named), _last_stated(_MINUS.sub("-", plain.replace("$", ""))))


def _makes(calculation: str, wanted: Fraction) -> bool:
    if re.fullmatch(r"[A-Za-z' ]*[A-Za-z]{3}[A-Za-z' ]*", calculation.strip()):
        return not _VARIABLE.search(calculation)
    try:
        return parse_expression(re.sub(r"(?<![\\A-Za-z])[A-Za-z]{2,}", "", calculation)).value == wanted
    except (NotAnExpression, ZeroDivisionError):
        return False


def _last_stated(sentence: str) -> Fraction | None:
    plain = _GLUED.sub(" ", sentence)
    numbers = list(_NUMBER.finditer(plain))
    if not numbers or re.search(r"[0-9]", _NUMBER.sub("", plain)):  # `18th`, `2nd floor`: not all of it was understood
        return None
    before, after = plain[: numbers[-1].start()], plain[numbers[-1].end() :].lstrip()
    others = before + re.sub(r"^[mgL]\b", "", after)
    if _CALCULATES.search(plain) or _VARIABLE.search(others) or _PART_OF.search(before) or _GOES_ON.match(after):
        return None
    stated, words = _STATED.search(before), len(re.findall(r"[A-Za-z]{2,}", plain))
    if not (stated or len(numbers) == 1) or words < (1 if stated else 2):
        return None
    return parse_number(numbers[-1].group())
