"""Ending asyncio's tasks for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN = 0.1  # seconds after which a task that still runs is cancelled once more


async def end(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel tasks until all of them have ended; what they raise is dropped.

    Once may not do: before Python 3.12 `asyncio.wait_for` swallows a cancellation that comes in the moment in which
    what it waits for is done (https://github.com/python/cpython/issues/86296).
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        done, left = await asyncio.wait(left, timeout=AGAIN)
        for task in done:
            if not task.cancelled():
                task.exception()  # looked at, or asyncio tells of it on stderr
