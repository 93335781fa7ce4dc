"""The comparison of the published runs: the last box, and the string normal form of Hendrycks' MATH.

Kept to reproduce their rewards. Where the original stops with an exception (an unclosed box, `a/b`, a lone
`\\frac`), the function at hand returns None or leaves the text as it is.
"""

from __future__ import annotations

import re


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


def normal_form(text: str) -> str:
    """The string that stands for a MATH answer; never raises."""
    text = text.replace("\n", "").replace("\\!", "").replace("\\\\", "\\")
    text = text.replace("tfrac", "frac").replace("dfrac", "frac")
    text = text.replace("\\left", "").replace("\\right", "")
    text = text.replace("^{\\circ}", "").replace("^\\circ", "").replace("\\$", "")
    text = _without_unit(text)
    text = text.replace("\\%", "").replace(" .", " 0.").replace("{.", "{0.")
    if not text:
        return text
    if text[0] == ".":
        text = "0" + text
    parts = text.split("=")
    if len(parts) == 2 and len(parts[0]) <= 2:
        text = parts[1]
    text = re.sub(r"\\sqrt(?!\{)(.?)", _braced_root, text, flags=re.DOTALL).replace(" ", "")
    text = _braced_fractions(text)
    return _slash_as_fraction("\\frac{1}{2}" if text == "0.5" else text)


def _without_unit(text: str) -> str:
    """Without what follows the one `\\text{ `, a unit; two of them are left alone."""
    parts = text.split("\\text{ ")
    return parts[0] if len(parts) == 2 else text


def _braced_root(match: re.Match[str]) -> str:
    return f"\\sqrt{{{match[1]}}}" if match[1] else match[0]


def _braced_fractions(text: str) -> str:
    """`\\frac12` and `\\frac1{72}` with braces; all as it is where a `\\frac` has fewer than two marks."""
    first, *rest = text.split("\\frac")
    result = first
    for part in rest:
        if part.startswith("{"):
            result += "\\frac" + part
        elif len(part) < 2:
            return text
        elif part[1] == "{":
            result += f"\\frac{{{part[0]}}}{part[1:]}"
        else:
            result += f"\\frac{{{part[0]}}}{{{part[1]}}}{part[2:]}"
    return result


def _slash_as_fraction(text: str) -> str:
    """`1/2` as `\\frac{1}{2}` where both are plain integers; `a/b` stays."""
    match = re.fullmatch(r"(-?(?:0|[1-9][0-9]*))/(-?(?:0|[1-9][0-9]*))", text)
    return f"\\frac{{{match[1]}}}{{{match[2]}}}" if match else text
