"""How a run speaks: the Reporter protocol, plain lines, and the choice between them and the live view."""

from __future__ import annotations

import os
import sys
from typing import Any, Protocol, TextIO

from maskgrpo_cli.engine.reporting.progress import Progress
from maskgrpo_cli.engine.reporting.run_directory import RunDirectory
from maskgrpo_cli.engine.reporting.text import printable

MEASURED = ("eval/accuracy", "eval/reward")  # a step with one of them gets its line at once
LINE_EVERY = 2.0  # seconds between the lines of quick steps
PHASE_EVERY = 15.0  # seconds of silence after which a phase says how far it is


class Reporter(Protocol):
    """What the engine tells of a run while it runs; used as a context manager."""

    def phase(self, name: str, done: int, total: int) -> None:
        """Say how far the work within a step is, such as ("rollout", 5, 24); cheap, to be called often."""

    def step(self, row: dict[str, Any]) -> None:
        """Take the metrics of one optimiser step, show them and write them to `metrics.jsonl`."""

    def completion(self, prompt: str, completion: str, reward: float) -> None:
        """Show a sample completion with its reward."""

    def say(self, text: str) -> None:
        """Tell the user something; it goes to `log.txt` as well."""

    def warn(self, text: str) -> None:
        """Tell the user of something wrong that the run survives; it goes to `log.txt` as well."""

    def __enter__(self) -> Reporter: ...

    def __exit__(self, *exception: object) -> None: ...


def make_reporter(
    run: RunDirectory | None, title: str, total_steps: int, quiet: bool = False, stream: TextIO | None = None
) -> Reporter:
    """The live view when `stream` (standard output) is a terminal that can show it, plain lines otherwise.

    `quiet` shows warnings only. Without `run` nothing is written to disk. `total_steps` is 0 for work
    that has phases but no steps, such as an evaluation.
    """
    stream = stream or sys.stdout
    progress = Progress(title, total_steps)
    if quiet or not draws(stream):
        return PlainLines(run, progress, stream, quiet)
    from maskgrpo_cli.engine.reporting.live import LiveView  # rich takes its time to import

    return LiveView(run, progress, stream)


def draws(stream: TextIO) -> bool:
    """Whether `stream` is a terminal that can move its cursor and show block characters."""
    encoding = (getattr(stream, "encoding", None) or "").lower().replace("-", "")
    return stream.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown") and encoding == "utf8"


class Recorder:
    """What both reporters share: the state, the run's files, and which steps get a line in the log."""

    def __init__(self, run: RunDirectory | None, progress: Progress) -> None:
        self.run, self.progress = run, progress
        self._spoken = progress.clock()
        self._held = False  # whether the latest step has not had its line

    def phase(self, name: str, done: int, total: int) -> None:
        """Remember the phase."""
        self.progress.enter(name, done, total)

    def step(self, row: dict[str, Any]) -> None:
        """Remember the row, write it to the metrics, and its line when one is due."""
        progress = self.progress
        due = not progress.row or any(row.get(name) is not None for name in MEASURED)
        progress.step(row)
        if self.run:
            self.run.metrics(row)
        self._held = True
        if due or progress.clock() - self._spoken >= LINE_EVERY:
            self._release()

    def completion(self, prompt: str, completion: str, reward: float) -> None:
        """Remember the sample."""
        self.progress.sample = (prompt, completion, reward)

    def _release(self) -> None:
        """Give the latest step its line, unless it had one: the last of a run, or of an interrupted one."""
        if self._held:
            self._held, self._spoken = False, self.progress.clock()
            self._line(self.progress.line())

    def _line(self, text: str) -> None:
        self._log(text)

    def _log(self, text: str) -> None:
        if self.run:
            self.run.log(text)


class PlainLines(Recorder):
    """One line per step for pipes and files: no colour, no cursor movement.

    Steps quicker than two seconds share a line; the first, the last and the evaluated ones always speak.
    """

    def __init__(
        self, run: RunDirectory | None, progress: Progress, stream: TextIO | None = None, quiet: bool = False
    ) -> None:
        super().__init__(run, progress)
        self.stream, self.quiet = stream or sys.stdout, quiet

    def phase(self, name: str, done: int, total: int) -> None:
        """Say how far the phase is when nothing else was said for a while."""
        super().phase(name, done, total)
        if self.progress.clock() - self._spoken >= PHASE_EVERY:
            self._spoken = self.progress.clock()
            self._write(f"{name} {done}/{total}")

    def say(self, text: str) -> None:
        """Write the text as it is."""
        self._log(text)
        self._write(text)

    def warn(self, text: str) -> None:
        """Write the text after `warning:`; to standard error when quiet."""
        self._log(f"warning: {text}")
        self._write(f"warning: {text}", sys.stderr if self.quiet else None)

    def _line(self, text: str) -> None:
        super()._line(text)
        self._write(text)

    def _write(self, text: str, stream: TextIO | None = None) -> None:
        if self.quiet and stream is None:
            return
        stream = stream or self.stream
        encoding = getattr(stream, "encoding", None) or "utf-8"
        try:
            stream.write(printable(text).encode(encoding, "replace").decode(encoding) + "\n")
            stream.flush()
        except BrokenPipeError:
            # Nobody reads any more: `| head`, or the Ctrl-C that this run is to obey has ended `| tee` first. The log
            # has everything; what else is written there goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

    def __enter__(self) -> PlainLines:
        return self

    def __exit__(self, *exception: object) -> None:
        self._release()
