"""How the check of a reward server is shown: a table in a terminal, a line for each reward in a pipe."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from maskgrpo_cli.engine.reporting.text import printable

if TYPE_CHECKING:
    from maskgrpo_cli.engine.reward_check import Checked

COLUMNS = ("reward", "sample", "scored", "one alone", "together", "in batches of", "agreement")


def show(url: str, rows: Sequence[Checked]) -> None:
    """A row for each reward and kind of completion."""
    console = Console()
    texts = [[printable(text, " ") for text in _texts(row)] for row in rows]
    if not console.is_terminal:
        for row in texts:
            line = "; ".join(f"{name} {text}" for name, text in zip(COLUMNS, row, strict=True) if text)
            console.print(line, soft_wrap=True, highlight=False, markup=False)
        return
    table = Table(*COLUMNS, title=escape(url), box=None, header_style="bold", pad_edge=False)
    for row, checked in zip(texts, rows, strict=True):
        table.add_row(*map(escape, row), style=None if checked.good else "red")
    console.print(table)


def _texts(row: Checked) -> list[str]:
    """The cells of `COLUMNS`; without any score, all but the first and the last are empty."""
    name = f"{row.reward} ({row.version})"
    if not row.scores:
        return [name, "", "", "", "", "", row.agreement]
    scored = sum(isinstance(score, float) for score in row.scores)
    sizes = ", ".join(str(size) for size in sorted(set(row.batches)))  # requests that shared one all name it
    middle, most = 1000 * statistics.median(row.latencies), 1000 * max(row.latencies)
    return [
        name, row.kind, f"{scored} of {len(row.scores)}", f"{middle:.1f} ms, at most {most:.1f}",
        f"{row.rate:.0f} a second", sizes, row.agreement,
    ]  # fmt: skip
