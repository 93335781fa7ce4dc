"""A bar for work that is counted; nothing where standard error is no terminal. Needs no torch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextlib.contextmanager
def counted(title: str) -> Iterator[Callable[[int, int], None]]:
    """Gives `report(done, of)`, which may be called on any thread; the bar is gone when the context ends."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        line = bar.add_task(title, total=None)
        yield lambda done, of: bar.update(line, completed=done, total=of)
