"""Reading the answer out of a completion: boxes, tags, hash marks. No text makes anything here raise."""

from __future__ import annotations

import re

DEEPEST = 1000  # nested braces; no answer has ten
MOST_BOXES = 20  # that are looked at
_BROKEN_BOX = re.compile(r"\\?boxed\s*(?:\{\s*\})?\{?")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)  # takes an escaped brace whole, so that it counts for nothing


def last_boxed(text: str) -> str | None:
    """The content of the last `\\boxed{...}`, braces balanced; None without one or when it is never closed.

    `\\boxed 7` holds what follows up to the next `$` or the end of the line. Of nested boxes the last counts.
    """
    start = text.rfind("\\boxed")
    return None if start < 0 else _box_at(text, start)


def _box_at(text: str, start: int) -> str | None:
    rest = text[start + len("\\boxed") :]
    if rest.startswith("{"):
        return _braced(rest)
    if not rest[:1].isspace():
        return None
    opened = rest.lstrip()
    if opened.startswith("{"):
        return _braced(opened)
    return re.split(r"[$\n]", opened, maxsplit=1)[0].strip() or None


def _braced(text: str) -> str | None:
    """What stands between the brace that `text` starts with and the one that closes it."""
    depth = 0
    for mark in _BRACE.finditer(text):
        if mark.group() == "{":
            depth += 1
        elif mark.group() == "}":
            depth -= 1
            if depth == 0:
                return text[1 : mark.start()]
        if depth > DEEPEST:
            return None
    return None


def tagged(text: str, tag: str) -> str | None:
    """The content of the last closed `<tag>...</tag>`, without space at its ends; None without one."""
    end = text.rfind(f"</{tag}>")
    start = text.rfind(f"<{tag}>", 0, max(end, 0))
    return text[start + len(tag) + 2 : end].strip() if end >= 0 and start >= 0 else None


def final_answer(completion: str) -> str | None:
    """What a reader takes for the answer; None where nothing is marked as one.

    It is the last box or, where that is missing, never closed, empty or only dots, the last `<answer>` tag, without
    the remains of a box in it (`\\boxed{20`, `boxed{4}`); else the last earlier box; else an `<answer>` that is never
    closed, up to the end of the turn.
    """
    boxed = last_boxed(completion)
    if boxed and not is_empty(boxed):
        return boxed.strip()
    closed = tagged(completion, "answer")
    tag = None if closed is None else _unboxed(closed)
    if tag and not is_empty(tag):
        return tag
    earlier = _earlier_box(completion)
    if earlier is not None:
        return earlier
    if tag is None and "<answer>" in completion:
        rest = _unboxed(without_end(completion.rpartition("<answer>")[2]).strip())
        tag = None if is_empty(rest) else rest
    return tag


def is_empty(answer: str) -> bool:
    """Whether nothing is answered: only space and dots, as in the `\\boxed{...}` of a prompt."""
    return not answer.replace("\\ldots", "").replace("\\dots", "").strip(" \t\r\n.…")


def without_end(text: str) -> str:
    """The text up to the first token that ends a turn."""
    return re.split(r"<\|(?:eot_id|endoftext)\|>", text, maxsplit=1)[0]


def _unboxed(answer: str) -> str:
    plain = _BROKEN_BOX.sub("", answer).strip()
    return plain[:-1] if plain.endswith("}") and plain.count("}") > plain.count("{") else plain


def _earlier_box(text: str) -> str | None:
    """The last box that holds something, of the last `MOST_BOXES`; None without one."""
    start = len(text)
    for _ in range(MOST_BOXES):
        start = text.rfind("\\boxed", 0, start)
        if start < 0:
            return None
        boxed = _box_at(text, start)
        if boxed and not is_empty(boxed):
            return boxed.strip()
    return None


def hash_answer(text: str) -> str | None:
    """GSM8K's reference answer: what follows the first `####` up to a further one; None without one."""
    parts = text.split("####")
    return parts[1].strip() if len(parts) > 1 else None


def reasoning_of(completion: str) -> str | None:
    """The reasoning of a completion of the shape `<reasoning>...</reasoning>...\\boxed{...}`, else None.

    Exact: each tag once, the box behind the reasoning and closed, and nothing in front of the first tag.
    """
    head, opened, rest = completion.partition("<reasoning>")
    reasoning, closed, answer = rest.partition("</reasoning>")
    if head.strip() or not opened or not closed:
        return None
    if any(tag in part for tag in ("<reasoning>", "</reasoning>") for part in (reasoning, answer)):
        return None
    if "\\boxed" in reasoning or answer.count("\\boxed") != 1 or last_boxed(answer) is None:
        return None
    return reasoning.strip()
