"""Many programs at once, each in its own sandbox."""

from __future__ import annotations

import selectors
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from ..errors import RunFailed
from ..types import Program, TestResult
from .backends import START, Backend, end
from .bundle import bundle
from .limits import Limits
from .pair import Pair

LONGEST = 1 << 20  # characters of a program with its tests
AT_ONCE = 8  # pairs of one program


class Tester:
    """The process in which tests run, in a sandbox of its own; it forks for every program."""

    def __init__(self, backend: Backend, limits: Limits):
        self.isolated = backend.isolates
        self.control, theirs = socket.socketpair()
        roomy = Limits(memory=limits.memory, processes=4 * limits.processes, disk=limits.disk, files=256)
        self.control.sendall(bundle("tester", backend.extra))
        with theirs:
            self.process = backend.start(
                "tester", theirs.fileno(), roomy, 10**6, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
        self.control.settimeout(START)
        if self.said() != b"r":
            end(self.process, self.isolated)
            raise RunFailed(f"the sandbox did not start: {self.process.stderr.read().decode(errors='replace')}")

    def said(self) -> bytes:
        """The next word, empty at the end."""
        try:
            return self.control.recv(1)
        except (ConnectionError, TimeoutError):
            return b""

    def hand_over(self, line: socket.socket, verdicts: socket.socket) -> None:
        """Have it fork for a program, with the ends of both channels."""
        socket.send_fds(self.control, [b"j"], [line.fileno(), verdicts.fileno()])

    def clean(self) -> bool:
        """Whether nothing is left of the last program's tests."""
        for _ in range(20):
            try:
                self.control.send(b"c")
            except ConnectionError:
                return False
            answer = self.said()
            if answer != b"d":
                return answer == b"k"
            time.sleep(0.005)
        return False

    def close(self) -> None:
        """Kill it, and all that it forked."""
        end(self.process, self.isolated)
        self.control.close()
        self.process.stderr.close()


class Pool:
    """What all executors share: `workers` threads, each of which judges one program at a time."""

    def __init__(self, workers: int):
        self.pool = ThreadPoolExecutor(workers, thread_name_prefix="sandbox")
        self.closing = False
        self.futures: set[Future] = set()

    def submit(self, program: Program) -> Future[list[TestResult]]:
        """See `types.Executor`."""
        future = self.pool.submit(self.judge, program)
        self.futures.add(future)
        future.add_done_callback(self.futures.discard)
        return future

    def run(self, programs: Sequence[Program]) -> list[list[TestResult]]:
        """See `types.Executor`."""
        return [future.result() for future in [self.submit(program) for program in programs]]

    def close(self) -> None:
        """See `types.Executor`."""
        self.closing = True
        running = list(self.futures)
        for future in running:
            future.cancel()
        wait(running)
        self.release()
        self.pool.shutdown()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def judge(self, program: Program) -> list[TestResult]:
        """The results of one program, in a worker's thread."""
        raise NotImplementedError

    def release(self) -> None:
        """Leave nothing behind, when no program runs any more."""


class Local(Pool):
    """An executor on this machine, on any backend that starts processes."""

    def __init__(self, backend: Backend, limits: Limits, workers: int):
        super().__init__(workers)
        self.backend, self.limits = backend, limits
        self.mine = threading.local()
        self.testers: list[Tester] = []
        self.lock = threading.Lock()

    def release(self) -> None:
        """Before the threads end: bwrap dies with the thread that started it."""
        for tester in self.testers:
            tester.close()
        self.testers.clear()
        self.backend.close()

    # --- one program, in a worker's thread ------------------------------------------------------------

    def judge(self, program: Program) -> list[TestResult]:
        """The results of one program."""
        if not program.tests:
            return []
        if sum(map(len, (program.source, program.setup, *program.tests))) > LONGEST:
            return [TestResult("error", f"program and tests are longer than {LONGEST} characters")] * len(program.tests)
        try:
            results = self.results(program)
        except ConnectionError:  # a test of an earlier program had killed the tests' process
            self.drop_tester()
            results = self.results(program)
        return [results[index] for index in range(len(program.tests))]

    def results(self, program: Program) -> dict[int, TestResult]:
        """The results by number of test; afterwards the tests' process is clean, or another."""
        run = Run(self, program)
        try:
            return run.results()
        finally:
            run.close()
            if run.stuck or not self.tester().clean():
                self.drop_tester()

    def tester(self) -> Tester:
        """This thread's tests' process."""
        tester = getattr(self.mine, "tester", None)
        if tester is not None and tester.process.poll() is not None:
            self.drop_tester()
        if getattr(self.mine, "tester", None) is None:
            self.mine.tester = Tester(self.backend, self.limits)
            with self.lock:
                self.testers.append(self.mine.tester)
        return self.mine.tester

    def drop_tester(self) -> None:
        """Have the next program start with a new one."""
        tester, self.mine.tester = self.mine.tester, None
        tester.close()
        with self.lock:
            self.testers.remove(tester)


class Run:
    """All pairs of one program."""

    def __init__(self, executor: Local, program: Program):
        self.executor, self.program = executor, program
        self.pairs: list[Pair] = []
        self.found: dict[int, TestResult] = {}
        self.stuck = False
        self.selector = selectors.DefaultSelector()
        self.queue = [list(range(len(program.tests)))]  # groups of tests that wait for a pair

    def results(self) -> dict[int, TestResult]:
        """Run until every test has its verdict."""
        while self.queue or self.pairs:
            if self.executor.closing:
                raise RunFailed("the sandbox was closed while it ran a program")
            while self.queue and len(self.pairs) < AT_ONCE:
                self.start(self.queue.pop(0))
            until = min(pair.deadline() for pair in self.pairs)
            for key, _ in self.selector.select(max(0.0, until - time.monotonic())):
                key.data()
            now = time.monotonic()
            for pair in list(self.pairs):
                pair.look(now)
                self.go_on(pair, now)
        return self.found

    def start(self, indices: list[int]) -> None:
        """A new pair for some tests."""
        executor = self.executor
        pair = Pair(executor.backend, executor.tester(), self.program, indices, executor.limits)
        pair.register(self.selector)
        self.pairs.append(pair)

    def go_on(self, pair: Pair, now: float) -> None:
        """Take a pair's verdicts; give the tests behind a slow or broken one pairs of their own."""
        self.found.update(pair.results)
        behind = [index for index in pair.waiting if index != pair.current]
        if behind and pair.slow(now):
            self.queue += [[index] for index in behind]
            pair.waiting = [index for index in pair.waiting if index == pair.current]
        if pair.over or pair.killed or not pair.waiting:
            self.stuck |= pair.stuck
            self.queue += [[index] for index in pair.waiting]
            pair.close(self.selector)
            self.pairs.remove(pair)

    def close(self) -> None:
        """Leave nothing behind."""
        for pair in self.pairs:
            pair.close(self.selector)
        self.selector.close()
