"""What runs the programs of a run: made when the first one comes, closed when the run ends. Needs no torch."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import typer

from maskgrpo_cli.config.sandbox import SandboxConfig
from maskgrpo_cli.types import Executor, Program, TestResult

Executing = Callable[[], Executor]
"""Gives the executor of a run; asked only by what runs programs."""

KEPT = 4096  # programs whose results are remembered


class LazyExecutor:
    """The executor of one process of a run; calling it gives it. Nothing of it is left when the context ends.

    Args:
        settings: the recipe's section `sandbox`.
        processes: how many processes of this run share the machine's processors.
        watch: called with how many programs are done, of how many; None: nobody watches.
    """

    def __init__(self, settings: SandboxConfig, processes: int = 1, watch: Callable[[int, int], None] | None = None):
        self._settings, self._processes, self._watch = settings, processes, watch
        self._made: Once | None = None

    def __call__(self) -> Executor:
        """The executor; raises UserError where nothing isolates programs here, and how to get what does."""
        if self._made is None:
            from maskgrpo_cli import sandbox

            own = self._settings
            if own.unsafe_local:
                warn_unsafe()
            self._made = Once(
                sandbox.make(
                    own.backend,
                    workers=own.workers or max(1, processors() // self._processes),
                    timeout=own.timeout,
                    memory=own.memory,
                    unsafe_local=own.unsafe_local,
                ),
                self._watch,
            )
        return self._made

    def __enter__(self) -> LazyExecutor:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._made is not None:
            self._made.close()


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def warn_unsafe() -> None:
    """Tell, in red, what --unsafe-local means."""
    colour = None if "NO_COLOR" in os.environ else "red"
    typer.secho(
        "warning: --unsafe-local: programs that a model wrote run with your own rights, isolated from nothing: they "
        "can read, change and send all that you can",
        fg=colour, bold=colour is not None, err=True,
    )


class Once:
    """An executor that runs equal programs once, such as those of a group, or what is rewarded and judged.

    Forgotten are results that the clock decided, failures of the sandbox itself, and those of long ago.
    """

    def __init__(self, executor: Executor, watch: Callable[[int, int], None] | None = None):
        self._executor, self._watch = executor, watch
        self._submitted, self._done, self._lock = 0, 0, threading.Lock()
        self._running: OrderedDict[Program, Future[list[TestResult]]] = OrderedDict()

    def submit(self, program: Program) -> Future[list[TestResult]]:
        """Start on a program, or take up what is known of it."""
        future = self._running.get(program)
        if future is None or _by_chance(future):
            future = self._executor.submit(program)
        if self._watch:
            self._submitted += 1
            future.add_done_callback(self._count)
        self._running[program] = future
        self._running.move_to_end(program)
        while len(self._running) > KEPT:
            self._running.popitem(last=False)
        return future

    def _count(self, future: Future[list[TestResult]]) -> None:
        with self._lock:  # called on the executor's threads
            self._done += 1
            self._watch(self._done, self._submitted)

    def run(self, programs: Sequence[Program]) -> list[list[TestResult]]:
        """The results of many programs, in their order."""
        return [future.result() for future in [self.submit(program) for program in programs]]

    def close(self) -> None:
        """Stop what still runs."""
        self._running.clear()
        self._executor.close()


def _by_chance(future: Future[list[TestResult]]) -> bool:
    """Whether a future's outcome may be another next time."""
    if not future.done():
        return False
    if future.cancelled() or future.exception() is not None:
        return True
    return any(result.status in ("timeout", "limit") for result in future.result())


