"""Answers that are stated instead of given: `5 + 13 = 18`, `The answer is 18 dollars`."""

from __future__ import annotations

import re

from maskgrpo_cli.domains.expression import NotAnExpression, parse_expression
from maskgrpo_cli.domains.numbers import parse_number

LONGEST = 300  # characters

_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mbox)\s*\{([^{}]*)\}")
_COMMA = re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))")
_NUMBER = re.compile(r"(?<![A-Za-z0-9.])-?[0-9]+(?:\.[0-9]+)?(?:/[0-9]+)?(?![0-9A-Za-z])")
_OPERATION = re.compile(r"[0-9)][\s$]*[-+*/×÷^][\s$]*[0-9($]|[\\^_{}=]")
_VARIABLE = re.compile(r"(?<![A-Za-z'’])[B-HJ-Zb-z](?![A-Za-z'’])")
_STATED = re.compile(r"(?:\b(?:is|are|was|were|has|have|had|equals|costs?|makes?|earns?|pays?|needs?|takes?)|:)\s*$")


def states_number(text: str, reference: str) -> bool:
    """Whether a calculation or a sentence ends in the reference, a plain number; never raises.

    A calculation counts when what stands before its last `=` makes the number (or is words, `Total cost = $18`). A
    sentence counts with its only number, or with the last one where a verb introduces it. Sums left unevaluated,
    lists and anything with variables state nothing.
    """
    wanted = parse_number(reference)
    if wanted is None or len(text) > LONGEST:
        return False
    plain = _COMMA.sub("", _TEXT.sub(r" \1 ", text)).replace("\\$", "$").replace("\n", " ")
    head, equals, result = plain.rpartition("=")
    if equals:
        return parse_number(result) == wanted and _makes(head.rpartition("=")[2], reference)
    return _last_stated(plain) == wanted


def _makes(calculation: str, reference: str) -> bool:
    if re.fullmatch(r"[A-Za-z' ]*[A-Za-z]{3}[A-Za-z' ]*", calculation.strip()):
        return not _VARIABLE.search(calculation)
    try:
        return parse_expression(calculation).value == parse_number(reference)
    except (NotAnExpression, ZeroDivisionError):
        return False


def _last_stated(sentence: str):
    plain = sentence.replace("$", "")
    numbers = list(_NUMBER.finditer(plain))
    if len(re.findall(r"[A-Za-z]{2,}", plain)) < 2 or _OPERATION.search(plain) or _VARIABLE.search(plain):
        return None
    if not numbers or (len(numbers) > 1 and not _STATED.search(plain[: numbers[-1].start()])):
        return None
    return parse_number(numbers[-1].group())
