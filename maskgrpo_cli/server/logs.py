"""The log: lines of JSON where it is piped, coloured ones in a terminal. It goes to stderr."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

_LOGGER = logging.getLogger("maskgrpo.server")


def log(event: str, level: int = logging.INFO, **fields: Any) -> None:
    """One line about an event; the fields are plain JSON."""
    _LOGGER.log(level, event, extra={"fields": fields})


class JsonLines(logging.Formatter):
    """A line of JSON for each record, whatever a stranger put into it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{when}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


class Words(logging.Formatter):
    """An event and its fields, `event key=value ...`, for people."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        fields = getattr(record, "fields", {})
        text = " ".join([record.getMessage(), *(f"{key}={_shown(value)}" for key, value in fields.items())])
        return text + (f"\n{self.formatException(record.exc_info)}" if record.exc_info else "")


def _shown(value: Any) -> str:
    """As it is where that is a plain word, else as JSON, which no control character of a stranger passes."""
    text = str(value)
    return text if text.isascii() and text.isprintable() and " " not in text else json.dumps(text)


def set_up() -> None:
    """Send the log of this process, and what libraries warn of, to stderr."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.logging import RichHandler

        handler: logging.Handler = RichHandler(console=Console(stderr=True), show_path=False, markup=False)
        handler.setFormatter(Words())
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.captureWarnings(True)
    _LOGGER.setLevel(logging.INFO)
