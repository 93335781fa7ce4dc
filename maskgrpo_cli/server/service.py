"""The part of the server that scores: workers that take batches from the queue, and the state it is in."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from maskgrpo_cli import __version__
from maskgrpo_cli.cancelling import end
from maskgrpo_cli.domains.scoring_protocol import RewardInfo, ServerInfo
from maskgrpo_cli.errors import RunFailed, UserError
from maskgrpo_cli.server.batching import Batch, Job, Queue
from maskgrpo_cli.server.logs import log
from maskgrpo_cli.server.metrics import Metrics
from maskgrpo_cli.server.options import Options
from maskgrpo_cli.server.refusals import Refused
from maskgrpo_cli.server.worker import Load
from maskgrpo_cli.server.workers import Worker, WorkerLost

LONGEST_PAUSE = 30.0  # between attempts to start a worker anew


class Service:
    """Scores jobs in worker processes.

    Args:
        loads: one for each worker: what makes its rewards.
        options: of the server.
    """

    def __init__(self, loads: Sequence[Load], options: Options):
        self.options = options
        self.versions: dict[str, str] = {}  # of the rewards; empty until the first worker is ready
        self.draining = False
        self.active = 0  # requests that were accepted and are not answered yet
        self.queue = Queue(options.queue_items, options.max_batch, options.max_wait)
        self._threads = ThreadPoolExecutor(len(loads), "worker")
        self.workers = [
            Worker(load, options.limits.pixels, options.batch_timeout, self._threads) for load in loads
        ]
        self.metrics = Metrics(lambda: len(self.queue), lambda: sum(one.running for one in self.workers))
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: list[asyncio.Task] = []

    @property
    def state(self) -> str:
        """`ready`, `draining`, or `loading` while there is no worker."""
        if self.draining:
            return "draining"
        return "ready" if any(one.running for one in self.workers) else "loading"

    def check_open(self) -> None:
        """Raises Refused (503) unless jobs are taken."""
        if self.state == "draining":
            raise Refused(503, "draining", "the server is about to end; ask another", retry_after=5, close=True)
        if self.state == "loading":
            raise Refused(503, "loading", "the rewards are being loaded", retry_after=2)

    @contextlib.contextmanager
    def accepted(self) -> Iterator[None]:
        """A request that will be answered, even if the server is told to end meanwhile."""
        self.active += 1
        try:
            yield
        finally:
            self.active -= 1

    def info(self) -> ServerInfo:
        """What clients are told of the server."""
        return ServerInfo(
            server=f"maskgrpo {__version__}",
            rewards=[RewardInfo(name=name, version=version) for name, version in self.versions.items()],
            limits=self.options.limits,
            max_batch=self.options.max_batch,
            max_wait_s=self.options.max_wait,
            workers=len(self.workers),
            queue_items=self.options.queue_items,
        )

    def start(self) -> None:
        """Start the workers; `failed` is set where the rewards cannot be made at all."""
        self._tasks = [asyncio.create_task(self._work(one)) for one in self.workers]

    async def score(self, job: Job, timeout: float) -> None:
        """Wait until a job is done. Raises Refused; a job that is given up is taken out of the queue."""
        self.queue.put(job)
        try:
            await asyncio.wait_for(job.done, timeout)
        except BaseException as error:
            self.queue.remove(job)
            job.done.cancel()
            if isinstance(error, asyncio.TimeoutError):
                why = f"there are no scores after {timeout:g} s"
                raise Refused(504, "deadline", why, retry_after=1) from None
            raise
        self.metrics.count_scores(job.scores)
        self.metrics.queue_seconds.observe(job.queue_s)

    async def close(self) -> None:
        """End the workers."""
        for one in self.workers:
            one.close()
        await end(self._tasks)
        self._threads.shutdown()

    async def _work(self, worker: Worker) -> None:
        try:
            self.versions = await worker.start()
        except (UserError, RunFailed) as error:
            if not self.failed.done():
                self.failed.set_exception(error)
            return
        log("worker ready", pid=worker.pid, rewards=list(self.versions))
        while True:
            batch = await self.queue.take()
            try:
                await self._score(worker, batch)
            except WorkerLost:
                self.metrics.workers_lost.inc()
                log("worker lost", logging.ERROR, pid=worker.pid, items=len(batch))
                self.queue.put_back(batch)
                await self._restart(worker)

    async def _score(self, worker: Worker, batch: Batch) -> None:
        self.metrics.batch_items.observe(len(batch))
        answer = await worker.score(batch.rewards, batch.samples)
        self.metrics.batch_seconds.observe(answer.seconds)
        batch.deliver(answer)

    async def _restart(self, worker: Worker) -> None:
        pause = 0.5
        while True:
            try:
                await worker.start()
                return log("worker ready", pid=worker.pid)
            except (UserError, RunFailed) as error:
                log("worker does not start", logging.ERROR, why=str(error))
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
