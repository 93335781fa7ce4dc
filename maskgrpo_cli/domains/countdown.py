"""Countdown: reach a target with given numbers, each used once, and + - * /."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import islice
from typing import Any

from maskgrpo_cli.domains.expression import NotAnExpression, parse_expression
from maskgrpo_cli.domains.numbers import parse_number
from maskgrpo_cli.domains.text import last_boxed, tagged, turns, unboxed

MOST_ATTEMPTS = 50
_CHAIN = re.compile(r"[0-9(][0-9+\-*/() ]*")
_EQUALS = re.compile(r"[\s$]*=")


def read_answer(completion: str) -> str | None:
    """The content of the last `<answer>` tag, or of the box in it; else that of the last box; else None."""
    answer = tagged(completion, "answer")
    if answer is None:
        return last_boxed(completion)
    boxed = last_boxed(answer)
    return answer if boxed is None else boxed


def read_attempts(completion: str) -> list[str]:
    """What evaluation takes for the answer: one expression or equation, or several where nothing is marked.

    It is that of `read_answer` or, where that has no number in it, the last box; else an `<answer>` that is never
    closed, up to the end of the turn; else every `expression = ...` of the text, of which the first 50 are returned;
    else the text where it is an expression and nothing more.
    """
    for text in turns(completion):
        answer = read_answer(text)
        if answer is not None and not re.search("[0-9]", answer):
            answer = last_boxed(text) or answer
        if answer is None and "<answer>" in text:
            answer = text.rpartition("<answer>")[2].strip() or None
        if answer is not None:
            return [unboxed(answer)]
    text = turns(completion)[-1].replace("\\div", "/").replace("\\times", "*").replace("\\cdot", "*")
    chains = (chain for chain in _CHAIN.finditer(text) if _EQUALS.match(text, chain.end()))
    whole = [text.strip()] if _CHAIN.fullmatch(text.strip()) else []
    return [chain.group().strip() for chain in islice(chains, MOST_ATTEMPTS)] or whole


def expression_of(answer: str, target: int | float | str) -> str:
    """The side of an equation that is the expression: the left one, or the right one of `51 = 49 + 55 - 53`."""
    left, equals, right = answer.partition("=")
    if equals and parse_number(left) == parse_number(str(target)) and not re.fullmatch(r"[\s0-9.$]*", right):
        return right.partition("=")[0]
    return left


def mistake(answer: str, numbers: Sequence[int], target: int | float | str) -> str | None:
    """Why an answer does not reach the target, or None when it does; never raises.

    The expression uses all the numbers, each once, and has exactly the target's value. It may be followed by
    `= target`.
    """
    text, equals, result = answer.partition("=")
    try:
        wanted = Fraction(str(target))
        tree = parse_expression(text)
        value = tree.value
    except NotAnExpression as error:
        return f"no expression: {error}"
    except ZeroDivisionError:
        return "it divides by zero"
    except ValueError:
        return f"the target {target} is no number"
    if sorted(tree.numbers) != sorted(int(number) for number in numbers):
        return f"it uses {_listed(tree.numbers)} instead of {_listed(numbers)}"
    if value != wanted:
        return f"it makes {value}, not {target}"
    if equals and parse_number(result) != wanted:
        return f"it claims {result.strip()[:20]}, not {target}"
    return None


def read_numbers(value: Any) -> list[int]:
    """The numbers of a puzzle from a list or, in a CSV file, a text such as `[1, 18, 51]`.

    Raises ValueError where there are none or one is not whole.
    """
    parts: list[Any] = re.findall(r"[^\s,;\[\]()]+", value) if isinstance(value, str) else list(value)
    numbers = [int(part) for part in parts]
    if not numbers or any(isinstance(part, float) and not part.is_integer() for part in parts):
        raise ValueError(f"{value!r} is no list of whole numbers")
    return numbers


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
