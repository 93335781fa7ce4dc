"""Whether a short free answer is one of the references, as in questions about pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence

from maskgrpo_cli.domains.numbers import parse_number
from maskgrpo_cli.domains.text import final_answer, turns

LONGEST = 1000  # characters of an answer


def read_answer(completion: str) -> str:
    """The box or the `<answer>` tag of a completion or, where there is neither, all of its turn."""
    marked = final_answer(completion)
    return (turns(completion)[0] if marked is None else marked).strip()[:LONGEST]


def is_one_of(answer: str, references: str | Sequence[str]) -> bool:
    """Whether an answer says the same as the reference or one of them: in words, or as a number of the same value.

    Case, articles, space and the signs at the ends make no difference.
    """
    references = [references] if isinstance(references, str) else references
    said, number = _words(answer), parse_number(answer)
    bare = [] if number is None else [reference for reference in references if not re.search(r"[^\W\d_]", reference)]
    if any(parse_number(reference) == number for reference in bare):
        return True
    return bool(said) and any(said == _words(reference) for reference in references)


def _words(text: str) -> str:
    plain = " ".join(text.casefold().split()).strip(" .,;:!?\"'`")
    return re.sub(r"\b(?:a|an|the) ", "", plain)
