"""Ctrl-C and SIGTERM, heard at once and obeyed where a run can be left whole."""

from __future__ import annotations

import signal
import threading
import time

from maskgrpo_cli.errors import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# A launcher of several processes passes on the Ctrl-C that the terminal has sent to all of them already.
ECHO = 1.0


class Interrupts:
    """Within the context a first signal waits for `check`; a second one ends the process at once, nothing saved.

    What comes within a second of the first is taken for its echo.
    """

    def __init__(self):
        self.received: int | None = None
        self.insisted = False
        self._since = 0.0
        self._previous: dict[int, object] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._hear) for number in _SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise Interrupted if a signal has come; called where nothing is half done."""
        if self.received is not None:
            raise Interrupted(self.received)

    def _hear(self, number: int, frame: object) -> None:
        if self.received is not None and time.monotonic() - self._since < ECHO:
            return
        if self.received is not None:
            self.insisted = True  # whatever was going on is half done: it must not be saved
            raise Interrupted(number)
        self.received, self._since = number, time.monotonic()
