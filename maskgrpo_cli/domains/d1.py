"""How the evaluation scripts of d1 (Zhao et al. 2025, arXiv:2504.12216) read answers, quirks included.

Every function returns what the published parsers return, in time linear in the text: their patterns are searched
for by hand where a hostile text would make them quadratic, and model text is computed by `python_value`, never
evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from maskgrpo_cli.domains.published import boxed_content
from maskgrpo_cli.domains.python_arithmetic import Value, python_value

CELLS = 16
CLOSE_ENOUGH = 1e-5  # of a countdown target

_NUMBER = re.compile(r"-?\d+\.?\d*")
_CHAIN = re.compile(r"[0-9+\-*/() ]+")
_ALPHABET = re.compile(r"[\d+\-*/().\s]+")
_FENCED = re.compile(r"```([\d\s]+)```")
_BEFORE_TAG = re.compile(r"(\d{16})\s*</answer>")
_WORD = re.compile(r"\b(\d{16})\b")
_ENDS = ("<|eot_id|>", "<|endoftext|>")


def answer_tag(text: str) -> str | None:
    """What stands between the first `<answer>` and the next `</answer>`, stripped; None without them."""
    _, opened, rest = text.partition("<answer>")
    inner, closed, _ = rest.partition("</answer>")
    return inner.strip() if opened and closed else None


# --- GSM8K ------------------------------------------------------------------------------------------


def gsm8k_number(text: str) -> float | None:
    """The number of the first box that holds one, else the last number of the `<answer>` tag.

    A box ends at its first closing brace, in its line. What is no number for Python as a whole counts for the
    first run of digits in it: `1,000` is 1, and `\\frac{1` of a fraction is 1.
    """
    number = next(filter(_is_number, (_number(content, 0) for content in _boxes(text))), None)
    return _number(answer_tag(text) or "", -1) if number is None else number


def usable_boxes(text: str) -> list[str]:
    """The content of the boxes that hold a number, by d1's way of finding boxes."""
    return [content for content in _boxes(text) if _is_number(_number(content, 0))]


def _is_number(value: float | None) -> bool:
    return value is not None


def _boxes(text: str) -> Iterator[str]:
    """From every `\\boxed{` to the next closing brace of its line: what `\\boxed{(.*?)}` finds, stripped."""
    for line in text.split("\n"):
        start = line.find("\\boxed{")
        while start >= 0:
            end = line.find("}", start)
            if end < 0:
                break
            yield line[start + len("\\boxed{") : end].strip()
            start = line.find("\\boxed{", end + 1)


def _number(text: str, which: int) -> float | None:
    """The text as Python's float or, where it is none, its first (0) or last (-1) number."""
    try:
        return float(text)
    except ValueError:
        numbers = _NUMBER.findall(text)
        return float(numbers[which]) if numbers else None


# --- MATH -------------------------------------------------------------------------------------------


def math_answer(text: str) -> str | None:
    """The content of the last box, or the whole text without any; where that is empty or the box is never closed,
    the `<answer>` tag, else what there was: "" or None.
    """
    boxed = boxed_content(text)
    if boxed:
        return boxed
    tag = answer_tag(text)
    return boxed if tag is None else tag


# --- countdown --------------------------------------------------------------------------------------


def countdown_equation(text: str) -> str:
    """The content of the last box, or the whole text without any; where the box is never closed, the `<answer>`
    tag, else the whole text. Of the first `expression = number` in it only the expression counts.
    """
    equation = boxed_content(text)
    if equation is None:
        tag = answer_tag(text)
        equation = text if tag is None else tag
    equation = equation.replace("\\div", "/").replace("\\times", "*").replace("\\cdot", "*")
    for chain in _CHAIN.finditer(equation):
        if re.match(r"=[0-9. ]", equation[chain.end() : chain.end() + 2]):
            return chain.group().strip()
    return equation


def uses_numbers(equation: str, numbers: Sequence[int]) -> bool:
    """Whether the runs of digits in an equation are exactly the numbers; `4.5` holds a 4 and a 5."""
    try:
        return sorted(int(digits) for digits in re.findall(r"\d+", equation)) == sorted(numbers)
    except ValueError:  # more digits than Python converts
        return False


def countdown_value(equation: str) -> Value | None:
    """What Python makes of an equation of digits, + - * / ( ) . and space; None for anything else or an error."""
    return python_value(equation.strip()) if _ALPHABET.fullmatch(equation) else None


def countdown_right(value: Value | None, target: float) -> bool:
    """Whether a value is the target's, within 1e-5."""
    try:
        return value is not None and abs(value - target) < CLOSE_ENOUGH
    except OverflowError:  # a whole number too large for a float
        return False


# --- sudoku -----------------------------------------------------------------------------------------


def sudoku_grid(text: str) -> str:
    """The grid: what the first of five places holds that is not empty, without space, cut or filled with 0 to 16.

    They are: digits in a code fence behind `<answer>`, the `<answer>` tag, what follows `</answer>`, 16 digits
    before it, and a word of 16 digits. It need not be made of digits; "" where all five are empty.
    """
    for place in (_fenced, _tagged, _behind_tag, _before_tag, _sixteen_digits):
        found = re.sub(r"\s", "", place(text))
        if found:
            return found[:CELLS].ljust(CELLS, "0")
    return ""


def sudoku_cells(grid: str, puzzle: str, solution: str) -> tuple[int, int]:
    """(right, empty): the puzzle's empty cells, and how many of them hold the listed solution's digit."""
    empty = [cell for cell in range(CELLS) if puzzle[cell] == "0"]
    return sum(grid[cell : cell + 1] == solution[cell] for cell in empty), len(empty)


def _fenced(text: str) -> str:
    start = text.find("<answer>")
    match = _FENCED.search(text, start) if start >= 0 else None
    return match[1] if match else ""


def _tagged(text: str) -> str:
    _, opened, rest = text.partition("<answer>")
    ends = [place for end in (*_ENDS, "</answer>") if (place := rest.find(end)) >= 0]
    return rest[: min(ends)] if opened and ends else ""


def _behind_tag(text: str) -> str:
    rest = text.partition("</answer>")[2]
    return rest[: min([place for end in _ENDS if (place := rest.find(end)) >= 0], default=len(rest))]


def _before_tag(text: str) -> str:
    match = _BEFORE_TAG.search(text)
    return match[1] if match else ""


def _sixteen_digits(text: str) -> str:
    match = _WORD.search(text)
    return match[1] if match else ""
