"""What a protocol is to the client: samples in, the body of a request out; the body of an answer in, scores out."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from maskgrpo_cli.rewards.pictures import as_image


class Sample(NamedTuple):
    """One completion to be scored, text or a picture, with its prompt and the task's columns of it."""

    prompt: str
    completion: Any
    columns: Mapping[str, Any]


class Unscored(NamedTuple):
    """In place of a score: why the server has none for this sample."""

    why: str


Scores = list["float | Unscored | None"]  # None where the reward does not apply


class Refused(Exception):
    """What no other attempt would change: a request that is turned down, an answer that means nothing."""


class BadAnswer(Refused):
    """An answer that came, and is none: no JSON, another number of scores, NaN."""


class Adapter(Protocol):
    """A protocol. It keeps nothing between requests; several are written and read at once."""

    most: int  # samples of a request
    tries: int  # times that a server may fail at the same request (status 500) before it counts
    path: str  # of a request, behind a server's URL
    health: str | None  # the path that says whether a server is ready; None where the protocol has none
    content_type: str

    def write(self, samples: Sequence[Sample]) -> tuple[bytes, Any]:
        """The body of a request, and what `read` is to be told of it. Raises ValueError for what is no completion."""

    def read(self, body: bytes, about: Any) -> Scores:
        """The scores in an answer's body, one for each sample, in their order. Raises BadAnswer."""

    def complaint(self, status: int, body: bytes) -> tuple[str, bool]:
        """What an error's body says, and whether it says that the same request may be answered later."""


def as_file(picture: Any, kind: str, **options: Any) -> bytes:
    """A picture (see `as_image`) as the bytes of a PNG or JPEG file. Raises ValueError where it is none."""
    file = io.BytesIO()
    as_image(picture).save(file, format=kind, **options)
    return file.getvalue()


def number(value: Any, place: str) -> float:
    """A finite float from what an answer holds at `place`. Raises BadAnswer for anything else, NaN too."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadAnswer(f"{place} is {short(value)}, not a number")
    try:
        score = float(value)
    except OverflowError:
        score = math.inf
    if not math.isfinite(score):
        raise BadAnswer(f"{place} is {score}")
    return score


def numbers(values: Any, count: int, place: str) -> list[float]:
    """`count` finite floats from the list, or row of numbers, that an answer holds at `place`. Raises BadAnswer."""
    is_row = isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind in "iuf"
    if not is_row and not isinstance(values, (list, tuple)):
        raise BadAnswer(f"{place} is {short(values)}, not a list")
    if len(values) != count:
        raise BadAnswer(f"{place} holds {len(values)} scores for {count} completions")
    values = values.tolist() if is_row else values  # a float takes more memory here than there: only as many as are due
    return [number(value, f"{place}[{index}]") for index, value in enumerate(values)]


def short(value: Any) -> str:
    """A value that a stranger sent, in a few harmless words: no deep or long one is ever written out."""
    if isinstance(value, (str, bytes)):
        return f"text: {clean(value, 60)!r}"
    if value is None or isinstance(value, (bool, float)):
        return str(value)
    if isinstance(value, int):
        return str(value) if abs(value) < 10**20 else "a huge number"
    return {list: "a list", dict: "an object", tuple: "a tuple"}.get(type(value), f"a {type(value).__name__}")


def clean(text: str | bytes, most: int = 300) -> str:
    """What a stranger sent, on one line, cut, and without anything that a terminal would obey."""
    text = text[: 4 * most]
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= most else text[: most - 3] + "..."
