"""Reading the answer out of a completion: boxes, tags, hash marks. No text makes anything here raise."""

from __future__ import annotations

import re

DEEPEST = 1000  # nested braces; no answer has ten
MOST_BOXES = 20  # that are looked at
_END = re.compile(r"<\|(?:eot_id|endoftext)\|>")
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
    start = text.rfind(f"<{tag}>", 0, max(text.rfind(f"</{tag}>"), 0))
    return text[start + len(tag) + 2 : text.find(f"</{tag}>", start)].strip() if start >= 0 else None


def turns(completion: str) -> list[str]:
    """Where an answer is looked for: the turn up to the first token that ends it, then all the text without those."""
    turn, *rest = _END.split(completion)
    return [turn, " ".join([turn, *rest])] if any(part.strip() for part in rest) else [turn]


def final_answer(completion: str) -> str | None:
    """What a reader takes for the answer; None where nothing is marked as one.

    It is the last box or, where that is missing, never closed, empty or only dots, the last `<answer>` tag, without
    the remains of a box in it (`\\boxed{20`, `boxed{4}`); else the last earlier box; else an `<answer>` that is never
    closed, up to the end of the turn; else a box that lacks its last brace, `\\boxed{7\\text{ cm}`.
    """
    return next((answer for text in turns(completion) if (answer := _marked(text)) is not None), None)


def _marked(text: str) -> str | None:
    boxed = last_boxed(text)
    if boxed and not is_empty(boxed):
        return boxed.strip()
    closed = tagged(text, "answer")
    tag = None if closed is None else unboxed(closed)
    if tag and not is_empty(tag):
        return tag
    earlier = _earlier_box(text)
    if earlier is None and closed is None and "<answer>" in text:
        earlier = unboxed(text.rpartition("<answer>")[2])
    if earlier is None or is_empty(earlier):
        earlier = _short_of_a_brace(text)
    return tag if earlier is None else earlier


def _short_of_a_brace(text: str) -> str | None:
    """The last box to the last brace of its line, as if its own were missing."""
    if last_boxed(text) is not None:
        return None
    line = text.rpartition("\\boxed{")[2].partition("\n")[0]
    content = line[: line.rfind("}") + 1]
    return content if "\\boxed{" in text and content and not is_empty(content) else None


def is_empty(answer: str) -> bool:
    """Whether nothing is answered: only space and dots, as in the `\\boxed{...}` of a prompt."""
    return not answer.replace("\\ldots", "").replace("\\dots", "").strip(" \t\r\n.…")


def unboxed(answer: str) -> str:
    """An answer without the remains of a box that is not closed in it."""
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
