"""The comparison of the published runs: the last box, and the string normal form of Hendrycks' MATH.

Kept to reproduce their rewards and verdicts. Where the original stops with an exception inside (an unclosed box,
`a/b`, a lone `\\frac`), `last_boxed_string` returns None and `normal_form` leaves the text as it is.
"""

from __future__ import annotations

from collections.abc import Callable


def last_boxed_string(text: str) -> str | None:
    """The last box with its command (`\\boxed{7}`), the whole text without one, None when it is never closed.

    As published: a `\\boxed ` with a space anywhere is taken instead, up to the next `$`.
    """
    if "\\boxed " in text:
        return "\\boxed " + text.split("\\boxed ")[-1].split("$")[0]
    start = text.rfind("\\boxed")
    if start < 0:
        start = text.rfind("\\fbox")
    if start < 0:
        return text
    depth = 0
    for place in range(start, len(text)):
        if text[place] == "{":
            depth += 1
        elif text[place] == "}":
            depth -= 1
            if depth == 0:
                return text[start : place + 1]
    return None


def without_box(text: str) -> str | None:
    """The content of `\\boxed{...}` or `\\boxed ...`; other text as it is, or None if `\\boxed ` is in it."""
    if "\\boxed " in text:
        return text[len("\\boxed ") :] if text.startswith("\\boxed ") else None
    if text.startswith("\\boxed{") and text.endswith("}"):
        return text[len("\\boxed{") : -1]
    return text


def boxed_content(text: str) -> str | None:
    """What the published reward compares: the content of the last box, or the whole text without one."""
    boxed = last_boxed_string(text)
    return None if boxed is None else without_box(boxed)


def is_equivalent(first: str | None, second: str | None) -> bool:
    """Whether two answers have one normal form; two missing ones are equal, as published."""
    if first is None or second is None:
        return first is second
    return normal_form(first) == normal_form(second)


def is_equivalent_as_published(first: str, second: str) -> bool:
    """Like `is_equivalent`, with its fault: where the normalisation of one stops, both must be the same text.

    It stops at `a/b`, at a `\\frac` or `\\sqrt` without anything behind it, and at two units.
    """
    try:
        return _form(first, _stop) == _form(second, _stop)
    except NoNormalForm:
        return first == second


class NoNormalForm(ValueError):
    """A text that makes the published normalisation stop with an exception."""


Otherwise = Callable[[str], str]
"""What to make of a text (or a part of it) on which the published normalisation stops."""


def _stop(text: str) -> str:
    raise NoNormalForm(text)


def normal_form(text: str) -> str:
    """The string that stands for a MATH answer; never raises."""
    return _form(text, lambda part: part)


def _form(text: str, otherwise: Otherwise) -> str:
    text = text.replace("\n", "").replace("\\!", "").replace("\\\\", "\\")
    text = text.replace("tfrac", "frac").replace("dfrac", "frac")
    text = text.replace("\\left", "").replace("\\right", "")
    text = text.replace("^{\\circ}", "").replace("^\\circ", "").replace("\\$", "")
    text = _without_unit(text, otherwise)
    text = text.replace("\\%", "").replace(" .", " 0.").replace("{.", "{0.")
    if not text:
        return text
    if text[0] == ".":
        text = "0" + text
    parts = text.split("=")
    if len(parts) == 2 and len(parts[0]) <= 2:
        text = parts[1]
    text = _braced_roots(text, otherwise).replace(" ", "")
    text = _braced_fractions(text, otherwise)
    return _slash_as_fraction("\\frac{1}{2}" if text == "0.5" else text, otherwise)


def _without_unit(text: str, otherwise: Otherwise) -> str:
    """Without what follows the one `\\text{ `, a unit."""
    parts = text.split("\\text{ ")
    return parts[0] if len(parts) == 2 else text if len(parts) == 1 else otherwise(text)


def _braced_roots(text: str, otherwise: Otherwise) -> str:
    first, *rest = text.split("\\sqrt")
    result = first
    for part in rest:
        if not part:
            result += otherwise("\\sqrt")
        else:
            result += "\\sqrt" + (part if part.startswith("{") else f"{{{part[0]}}}{part[1:]}")
    return result


def _braced_fractions(text: str, otherwise: Otherwise) -> str:
    """`\\frac12` and `\\frac1{72}` with braces; all as it is where a `\\frac` has one mark only."""
    first, *rest = text.split("\\frac")
    result = first
    for part in rest:
        if part.startswith("{"):
            result += "\\frac" + part
        elif not part:
            return otherwise(text)
        elif len(part) < 2:
            return text
        elif part[1] == "{":
            result += f"\\frac{{{part[0]}}}{part[1:]}"
        else:
            result += f"\\frac{{{part[0]}}}{{{part[1]}}}{part[2:]}"
    return result


def _slash_as_fraction(text: str, otherwise: Otherwise) -> str:
    """`1/2` as `\\frac{1}{2}` where both are plain integers."""
    parts = text.split("/")
    if len(parts) != 2:
        return text
    try:
        over, under = map(int, parts)
    except ValueError:
        return otherwise(text)
    return f"\\frac{{{over}}}{{{under}}}" if text == f"{over}/{under}" else text
