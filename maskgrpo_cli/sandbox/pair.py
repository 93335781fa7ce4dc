"""One program beside its tests: two guest processes, one line between them, and this process as the only judge of time.

The line runs from the program to the tests' process directly; the verdicts come over another, of which the program
has no end. Times, output and memory are watched from here, and here both are killed.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import time

from ..types import Program, TestResult
from .backends import Backend, end
from .bundle import bundle
from .guest import wire
from .limits import MIB, Limits
from .streams import Tail, legible
from .usage import files_below, resident, tree

SLOW = 0.5  # seconds after which the tests behind a slow one get pairs of their own
GRACE = 2.0  # seconds a tests' process may take to notice that its program is gone
WATCH = 0.1  # seconds between two looks at the memory of a program that runs longer
ENDING = 0.01  # seconds between two looks at a process whose line is closed
ENDED = "the program ended"  # as the tests' process says it where the line was closed
SIGNALS_OF_LIMITS = {signal.SIGXCPU: "CPU time", signal.SIGXFSZ: "the size of a file"}


class Pair:
    """A run of some tests of one program; `results` fills up until `over`."""

    def __init__(self, backend: Backend, tester, program: Program, indices: list[int], limits: Limits):
        self.backend, self.program, self.limits = backend, program, limits
        self.timeout = limits.timeout if program.timeout is None else program.timeout
        self.waiting = list(indices)  # tests without a verdict, in order
        self.results: dict[int, TestResult] = {}
        self.over = False
        self.stuck = False  # the tests' process did not end: it has to go too
        self.current: int | None = None
        self.started = self.ended = 0.0
        self.loaded: float | None = None  # when the program stood, None before
        self.lost: tuple[float, str] | None = None  # until when to wait for its end, and why the tests lost it
        self.killed = ""
        self.buffer = b""
        self.watched = 0.0
        self.open(tester, indices)

    def open(self, tester, indices: list[int]) -> None:
        """Start the program's process and hand its line to the tests' one."""
        ours, program_end = socket.socketpair()
        self.verdicts, theirs = socket.socketpair()
        out, err = os.pipe(), os.pipe()
        seconds = self.timeout * len(indices) + GRACE
        try:
            ours.sendall(bundle("candidate", self.backend.extra))
            self.process = self.backend.start(
                "candidate", program_end.fileno(), self.limits, seconds, stdout=out[1], stderr=err[1]
            )
            tester.hand_over(ours, theirs)
        finally:
            for one in (program_end, ours, theirs):
                one.close()
            os.close(out[1])
            os.close(err[1])
        self.streams = Tail(out[0]), Tail(err[0])
        tests = [[index, self.program.tests[index]] for index in indices]
        job = {name: getattr(self.program, name) for name in ("source", "module", "setup", "asked")}
        self.verdicts.settimeout(self.timeout + GRACE)
        self.verdicts.sendall(wire.frame({**job, "tests": tests, "seconds": int(seconds) + 1}))
        self.verdicts.setblocking(False)
        self.started = time.monotonic()
        self.current = indices[0]

    def register(self, selector: selectors.BaseSelector) -> None:
        """Have the selector call back for each of the three streams."""
        selector.register(self.verdicts, selectors.EVENT_READ, self.listen)
        for tail in self.streams:
            selector.register(tail.fd, selectors.EVENT_READ, lambda tail=tail: self.printed(selector, tail))

    def deadline(self) -> float:
        """When something has to be done at the latest."""
        if self.killed:
            return self.ended + GRACE
        if self.lost:
            return time.monotonic() + ENDING
        return min(self.started + self.timeout, max(self.watched, self.started) + WATCH)

    def slow(self, now: float) -> bool:
        """Whether the tests behind the current one should not wait for it."""
        return bool(self.killed) or (self.loaded is not None and now > max(self.started, self.loaded) + SLOW)

    # --- what comes in ----------------------------------------------------------------------------

    def printed(self, selector: selectors.BaseSelector, tail: Tail) -> None:
        """Take what the program printed; too much of it ends the test."""
        if not tail.read():
            selector.unregister(tail.fd)
        if sum(stream.count for stream in self.streams) > self.limits.output * MIB and not self.killed:
            self.stop("limit", f"more than {self.limits.output} MiB of output")

    def listen(self) -> None:
        """Read what the tests' process says."""
        try:
            data = self.verdicts.recv(1 << 16)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self.hang_up()
            return
        self.buffer += data
        while len(self.buffer) >= wire.HEADER:
            size = int.from_bytes(self.buffer[: wire.HEADER], "big")
            if len(self.buffer) < wire.HEADER + size:
                return
            frame, self.buffer = self.buffer[wire.HEADER : wire.HEADER + size], self.buffer[wire.HEADER + size :]
            try:
                self.hear(*wire.loads(frame.decode("ascii")))
            except (ValueError, TypeError, IndexError):
                self.stop("error", "the tests' own process sent nonsense")
            except ConnectionError:
                self.hang_up()

    def hear(self, word: str, *body) -> None:
        """One message."""
        if self.killed or self.over:
            return
        if word == "start":
            self.current, self.started = body[0], time.monotonic()
        elif word == "loaded":
            self.loaded = time.monotonic()
        elif word == "verdict":
            self.settle(*body)
            self.verdicts.send(b"g")
        elif word == "broken":
            self.settle_all(*body)
            self.over = True
        elif word == "lost":
            self.lost = time.monotonic() + (GRACE if body[1] == ENDED else 0.0), body[1]
        elif word == "end":
            self.over = True

    def settle(self, index: int, status: str, reason: str, fresh: bool = True) -> None:
        """Write down a verdict; not one that another pair was asked for."""
        if index not in self.waiting:
            return
        seconds = time.monotonic() - self.started
        out, err = (stream.take() for stream in self.streams) if fresh else ("", "")
        self.results[index] = TestResult(status, legible(reason), out, err, seconds if fresh else 0.0)
        self.waiting.remove(index)

    def settle_all(self, status: str, reason: str) -> None:
        """The program or the set-up fell at the start: no test can run, and none would in a pair of its own."""
        for index in list(self.waiting):
            self.settle(index, status, reason, fresh=index == self.current)

    def hang_up(self) -> None:
        """The tests' process ended."""
        if not self.over and not self.killed:
            self.stop("error", "the tests' own process ended")
        self.over = True

    # --- limits and ends --------------------------------------------------------------------------

    def look(self, now: float) -> None:
        """Keep the limits of time and memory."""
        if self.over:
            return
        if self.killed:
            if now >= self.ended + GRACE:
                self.stuck = self.over = True
            return
        late = now >= self.started + self.timeout
        if self.lost and (late or self.process.poll() is not None or now >= self.lost[0]):
            self.stop(*self.autopsy(self.lost[1]))
        elif late:
            self.stop("timeout", f"no end after {self.timeout:g} s")
        elif now >= max(self.watched, self.started) + WATCH:
            self.watched = now
            self.look_inside()

    def look_inside(self) -> None:
        """Keep the limits that no call of the system keeps: those on all processes and all files together."""
        members = tree(self.process.pid)
        guest = members[:2][-1]  # the first process of its namespace, there to the end; those below it come and go
        if resident(members) > self.limits.memory * MIB:
            self.stop("limit", f"more than {self.limits.memory} MiB of memory")
        elif self.backend.isolates and files_below(guest, "/tmp") > self.limits.entries:
            self.stop("limit", f"more than {self.limits.entries} files")

    def stop(self, status: str, reason: str) -> None:
        """End the program in the middle of a test, and say why."""
        self.killed, self.ended = status, time.monotonic()
        self.kill()
        if self.loaded is None:
            self.settle_all(status, reason)
        else:
            self.settle(self.current, status, reason)

    def autopsy(self, reason: str) -> tuple[str, str]:
        """The status of a program that the tests lost, and why its process ended if it did."""
        code = self.process.poll()
        if code is None:
            return "error", reason
        number = -code if code < 0 else code - 128
        if number in SIGNALS_OF_LIMITS:
            return "limit", f"the program reached the limit on {SIGNALS_OF_LIMITS[number]}"
        if 0 < number < 65:
            return "error", f"the program was ended by {signal.Signals(number).name}"
        return "error", f"{reason} with status {code}" if reason == ENDED else reason

    def kill(self) -> None:
        """Kill the program's process, and with it all that it started."""
        end(self.process, self.backend.isolates)

    def close(self, selector: selectors.BaseSelector) -> None:
        """Leave nothing behind."""
        self.kill()
        for stream in (self.verdicts, *(tail.fd for tail in self.streams)):
            try:
                selector.unregister(stream)
            except (KeyError, ValueError):
                continue
        self.verdicts.close()
        for tail in self.streams:
            os.close(tail.fd)
