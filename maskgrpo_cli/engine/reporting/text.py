"""Numbers, durations and curves as short text, and model output made safe for a terminal."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

LEVELS = " ▁▂▃▄▅▆▇█"


def duration(seconds: float) -> str:
    """Seconds as `0:07`, `12:34` or `1:02:03`."""
    minutes, second = divmod(int(max(seconds, 0) + 0.5), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def number(value: Any, digits: int = 3) -> str:
    """A number to `digits` significant places, `-` when there is none; `1.2k` from ten thousand on."""
    if not finite(value):
        return "-" if value is None else str(float(value))
    value = float(value)
    for least, size, unit in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= least:
            return f"{value / size:.{digits}g}{unit}"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:.0f}"
    return f"{value:.{digits}g}"


def fixed(value: Any) -> str:
    """A score to two places, `-` when there is none."""
    return f"{float(value):.2f}" if finite(value) else number(value)


def finite(value: Any) -> bool:
    """Whether `value` is a number that is neither NaN nor infinite."""
    return value is not None and math.isfinite(float(value))


def memory(count: int) -> str:
    """Bytes as `812 MiB` or `3.4 GiB`."""
    return f"{count / 2**20:.0f} MiB" if count < 2**30 else f"{count / 2**30:.1f} GiB"


def curve(values: Sequence[float | None], width: int, rows: int = 1) -> list[str]:
    """A curve in block characters, top line first, each line `width` cells.

    More values than cells are averaged in buckets, fewer are widened; None and NaN leave a gap. The scale
    runs from the least to the greatest cell, and a flat curve is drawn at half height.
    """
    if not values or width < 1:
        return [""] * rows
    edges = itertools.pairwise(len(values) * cell // width for cell in range(width + 1))
    cells = [mean(values[start : max(end, start + 1)]) for start, end in edges]
    drawn = [cell for cell in cells if cell is not None]
    low, high = min(drawn, default=0.0), max(drawn, default=0.0)
    steps = rows * 8

    def height(cell: float | None) -> int:
        if cell is None:
            return 0
        return 1 + round((cell - low) / (high - low) * (steps - 1)) if high > low else steps // 2

    heights = [height(cell) for cell in cells]
    return [
        "".join(LEVELS[min(max(cell - 8 * row, 0), 8)] for cell in heights) for row in range(rows - 1, -1, -1)
    ]


def mean(values: Sequence[float | None]) -> float | None:
    """The mean of the values that are numbers; None when none is."""
    numbers = [value for value in values if finite(value)]
    return sum(numbers) / len(numbers) if numbers else None


def printable(text: str, newline: str = "\n") -> str:
    """`text` without characters that would steer a terminal (escape sequences, half characters).

    A model may write anything: what is not printable shows as `\N{REPLACEMENT CHARACTER}`.
    """
    text = text.replace("\r\n", "\n").replace("\t", " ")
    return "".join(
        newline if letter == "\n" else letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}"
        for letter in text
    )
