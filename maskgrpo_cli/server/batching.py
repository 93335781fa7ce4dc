"""Samples of many requests, put together to batches.

A job is a request's share of the work: its samples, and the future of their scores. Samples wait in line by age; a
batch holds samples that ask for the same rewards, of as many jobs as it takes to fill it, and is not held back
for more than `max_wait` seconds. Everything here runs in one event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from maskgrpo_cli.server.frames import Answer, Raw
from maskgrpo_cli.server.refusals import Refused, invalid
from maskgrpo_cli.server.scoring import Outcome


class Job:
    """One request's samples on their way to their scores.

    Args:
        rewards: names of the rewards that score them.
        samples: N of them.
        paths: where each was in the request, for refusals.
    """

    def __init__(self, rewards: Sequence[str], samples: Sequence[Raw], paths: Sequence[str]):
        self.rewards, self.samples, self.paths = tuple(rewards), list(samples), list(paths)
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.arrived = asyncio.get_running_loop().time()
        self.scores: dict[str, list[Outcome]] = {name: [None] * len(samples) for name in self.rewards}
        self.batches: list[int] = []
        self.queue_s = self.score_s = 0.0
        self.alone = False  # in batches of its own, since it was in one that a worker died of
        self._missing = len(self.samples)

    def fail(self, why: Refused) -> None:
        """End with a refusal, unless it has ended."""
        if not self.done.done():
            self.done.set_exception(why)

    def take(self, indices: Sequence[int], answer: Answer, offset: int) -> None:
        """The answer's rows from `offset` on are those of these samples."""
        rows = range(offset, offset + len(indices))
        for index, row in zip(indices, rows, strict=True):
            if row in answer.rejected:
                return self.fail(invalid(self.paths[index], answer.rejected[row]))
            for name in self.rewards:
                self.scores[name][index] = answer.scores[name][row]
        self._missing -= len(indices)
        if self._missing == 0 and not self.done.done():
            self.done.set_result(None)


@dataclass
class Batch:
    """Samples that a worker scores at once: stretches of jobs, one after another."""

    rewards: tuple[str, ...]
    alone: bool  # one job's only
    parts: list[tuple[Job, list[int]]] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(len(indices) for _, indices in self.parts)

    @property
    def samples(self) -> list[Raw]:
        """All samples, in order."""
        return [job.samples[index] for job, indices in self.parts for index in indices]

    def add(self, job: Job, index: int) -> None:
        """One more sample."""
        if not self.parts or self.parts[-1][0] is not job:
            self.parts.append((job, []))
        self.parts[-1][1].append(index)

    def deliver(self, answer: Answer) -> None:
        """Hand every job its rows of the answer."""
        offset = 0
        for job, indices in self.parts:
            job.batches.append(len(self))
            job.score_s += answer.seconds
            job.take(indices, answer, offset)
            offset += len(indices)


Line = tuple[tuple[str, ...], "int | None"]  # rewards, and which job where it is by itself


class Queue:
    """Where samples wait.

    Args:
        size: samples that may wait at once.
        max_batch: samples in one batch.
        max_wait: seconds that a batch which is not full waits for more.
    """

    def __init__(self, size: int, max_batch: int, max_wait: float):
        self.size, self.max_batch, self.max_wait = size, max_batch, max_wait
        self._lines: dict[Line, deque[tuple[Job, int]]] = {}
        self._more = asyncio.Event()

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def check_room(self, samples: int = 1) -> None:
        """Raises Refused (429) where there is no room for this many samples."""
        if len(self) + samples > self.size:
            why = f"{len(self)} samples wait already, of the {self.size} that may"
            raise Refused(429, "queue-full", why, retry_after=1)

    def put(self, job: Job) -> None:
        """Let a job wait. Raises Refused (429) where there is no room for all of its samples."""
        self.check_room(len(job.samples))
        self._wait_in_line(job, range(len(job.samples)))

    def put_back(self, batch: Batch) -> None:
        """Let the jobs of a batch that a worker died of wait again, each by itself; the second time is too often."""
        for job, indices in batch.parts:
            waiting = self.remove(job)
            if batch.alone:
                job.fail(Refused(500, "worker-lost", "two workers died of these samples, or took too long"))
            elif not job.done.done():
                job.alone = True
                self._wait_in_line(job, [*indices, *waiting])

    def remove(self, job: Job) -> list[int]:
        """Forget a job that nobody waits for any more; gives those of its samples that waited."""
        key = _line(job)
        entries = self._lines.pop(key, deque())
        kept = deque(entry for entry in entries if entry[0] is not job)
        if kept:
            self._lines[key] = kept
        return [index for owner, index in entries if owner is job]

    async def take(self) -> Batch:
        """The next batch, once one is full or has waited long enough."""
        loop = asyncio.get_running_loop()
        while True:
            ages = {key: loop.time() - entries[0][0].arrived for key, entries in self._lines.items()}
            ready = [key for key in ages if self._is_ready(key, ages[key])]
            if ready:
                return self._pop(max(ready, key=ages.__getitem__), loop.time())
            self._more.clear()  # nothing can come between this and the wait: there is one thread
            try:
                patience = self.max_wait - max(ages.values()) if ages else None
                await asyncio.wait_for(self._more.wait(), patience)
            except asyncio.TimeoutError:
                continue

    def _is_ready(self, key: Line, age: float) -> bool:
        return age >= self.max_wait or len(self._lines[key]) >= self.max_batch or key[1] is not None

    def _pop(self, key: Line, now: float) -> Batch:
        entries, batch = self._lines[key], Batch(key[0], alone=key[1] is not None)
        while entries and len(batch) < self.max_batch:
            job, index = entries.popleft()
            job.queue_s = now - job.arrived
            batch.add(job, index)
        if not entries:
            del self._lines[key]
        return batch

    def _wait_in_line(self, job: Job, indices: Sequence[int]) -> None:
        self._lines.setdefault(_line(job), deque()).extend((job, index) for index in indices)
        self._more.set()


def _line(job: Job) -> Line:
    return job.rewards, id(job) if job.alone else None
