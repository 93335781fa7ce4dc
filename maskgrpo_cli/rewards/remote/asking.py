"""A batch spread over the servers: every server has a few askers, and each takes the next piece when it is free.

So the server that is least loaded takes most. A piece that a server does not answer goes back to the front, and the
server is left alone for a while; then one asker tries it, and the others follow when it answers.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import httpx

from maskgrpo_cli.cancelling import end
from maskgrpo_cli.errors import Away, Stopped
from maskgrpo_cli.rewards.remote.adapter import Adapter, Refused, Sample, Scores
from maskgrpo_cli.rewards.remote.exchange import Broken, Terms, TryLater, get, post
from maskgrpo_cli.rewards.remote.servers import Server

BEAT = 0.1  # seconds between two looks at an interruption
Pulse = Callable[[int, int, "str | None"], None]
"""`pulse(done, of, waiting)`: called several times a second; may raise, which ends all requests."""


@dataclass
class Piece:
    """Some samples of a batch: one request, asked until it is answered."""

    place: int  # among the pieces of its batch
    samples: Sequence[Sample]
    scores: Scores | None = None
    broken: Counter[str] = field(default_factory=Counter)  # how often each server failed at it


class Asking:
    """Asks servers for the scores of batches.

    Args:
        servers: their state stays from batch to batch.
        adapter: the protocol.
        terms: time-outs, token and certificates.
        concurrency: requests at once to each server.
        deadline: seconds for a batch, retries included.
        warn: called with a sentence when all servers are away, and when one is back.
        pulse: see `Pulse`.
    """

    def __init__(
        self, servers: Sequence[Server], adapter: Adapter, terms: Terms, *, concurrency: int, deadline: float,
        warn: Callable[[str], None], pulse: Pulse,
    ):
        self.servers, self.adapter, self.terms = servers, adapter, terms
        self.concurrency, self.deadline, self.warn, self.pulse = concurrency, deadline, warn, pulse
        self.told = False  # whether the outage that goes on has been told

    def ask(self, pieces: Sequence[Piece]) -> None:
        """Fill in the scores of the pieces that have none yet.

        Raises:
            Away: the deadline has passed; what came until then is kept in the pieces.
            Stopped: a server turned a request down, or answered nonsense.
        """
        if any(piece.scores is None for piece in pieces):
            interruption = asyncio.run(_Batch(self, pieces).run())
            if interruption is not None:  # asyncio has a mind of its own about this one
                raise interruption

    def failing(self) -> str:
        """Every server that does not answer, and why."""
        return "; ".join(f"{server.url}: {server.why}" for server in self.servers if server.why)


class _Batch:
    """One batch, in one event loop."""

    def __init__(self, asking: Asking, pieces: Sequence[Piece]):
        self.asking, self.pieces = asking, pieces
        self.left = deque(piece for piece in pieces if piece.scores is None)
        self.changed = asyncio.Event()  # something came back to `left`
        self.finished = asyncio.Event()
        self.trying = {server.url: asyncio.Lock() for server in asking.servers}

    async def run(self) -> KeyboardInterrupt | None:
        """Until all is answered; returns the interruption that ended it, if one did."""
        asking, started = self.asking, time.monotonic()
        askers = asking.concurrency * len(asking.servers)
        async with asking.terms.client(askers) as client:
            # in turns, so that a batch of few pieces is spread over all servers, the least used first
            order = sorted(asking.servers, key=lambda server: (not server.well, server.answered)) * asking.concurrency
            tasks = {asyncio.ensure_future(self._asker(client, server)) for server in order}
            tasks.add(asyncio.ensure_future(self.finished.wait()))
            try:
                while self._unanswered():
                    done, _ = await asyncio.wait(tasks, timeout=BEAT, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        task.result()  # raises what the asker could not bear
                    tasks -= done
                    self._tell()
                    if time.monotonic() - started > asking.deadline and self._unanswered():
                        raise Away(self._late())
            except KeyboardInterrupt as interruption:
                return interruption
            finally:
                await end(tasks)
        return None

    def _unanswered(self) -> bool:
        return any(piece.scores is None for piece in self.pieces)

    def _late(self) -> str:
        missing = sum(piece.scores is None for piece in self.pieces)
        why = self.asking.failing() or "they are too slow"
        return f"{missing} of {len(self.pieces)} requests not answered within {self.asking.deadline:g} s: {why}"

    def _tell(self) -> None:
        asking = self.asking
        away = not any(server.well for server in asking.servers)
        if away and not asking.told:
            asking.told = True
            asking.warn(f"no server answers; trying again: {asking.failing()}")
        done = sum(piece.scores is not None for piece in self.pieces)
        asking.pulse(done, len(self.pieces), asking.failing() if away else None)

    async def _asker(self, client: httpx.AsyncClient, server: Server) -> None:
        """Ask one server for piece after piece until none is left that it may be asked for."""
        while True:
            await self._rested(server)
            if server.well:
                piece = await self._next(server)
                await self._attempt(client, server, piece)
                continue
            async with self.trying[server.url]:  # one asker finds out for all of them
                if server.well or server.waits:
                    continue
                if await self._healthy(client, server):
                    piece = await self._next(server)
                    await self._attempt(client, server, piece)

    async def _rested(self, server: Server) -> None:
        while seconds := server.waits:
            await asyncio.sleep(seconds)

    async def _next(self, server: Server) -> Piece:
        while True:
            for piece in self.left:
                if piece.broken[server.url] < self.asking.adapter.tries:
                    self.left.remove(piece)
                    return piece
            self.changed.clear()
            await self.changed.wait()

    def _give_back(self, piece: Piece) -> None:
        self.left.appendleft(piece)
        self.changed.set()

    async def _healthy(self, client: httpx.AsyncClient, server: Server) -> bool:
        """Whether a server that failed says that it is ready; always, where the protocol has no such question."""
        path = self.asking.adapter.health
        if path is None:
            return True
        try:
            status, _ = await get(client, server.url + path, self.asking.terms)
        except (TryLater, Refused) as error:
            server.fail(str(error))
            return False
        if status != 200:
            server.fail(f"it is not ready (status {status})")
        return status == 200

    async def _attempt(self, client: httpx.AsyncClient, server: Server, piece: Piece) -> None:
        asking, adapter = self.asking, self.asking.adapter
        try:
            body, about = await asyncio.to_thread(adapter.write, piece.samples)
            answer = await post(client, server.url + adapter.path, adapter, body, asking.terms)
            scores = await asyncio.to_thread(adapter.read, answer, about)
        except TryLater as error:
            if error.busy:
                server.put_off(error.why, error.retry_after)
            else:
                self._failed(server, error)
            self._give_back(piece)
        except Broken as error:
            piece.broken[server.url] += 1
            self._give_back(piece)
            if all(piece.broken[other.url] >= adapter.tries for other in asking.servers):
                raise Stopped(f"{server.url}: {error}; it fails at the request") from error
            if piece.broken[server.url] < adapter.tries:
                asking.warn(f"{server.url} failed at a request ({error}) and is asked again")
                server.put_off(str(error))
        except Refused as error:
            raise Stopped(f"{server.url}: {asking.terms.scrub(str(error))}") from error
        else:
            piece.scores = scores
            self._answered(server)
            if not self._unanswered():
                self.finished.set()

    def _failed(self, server: Server, error: TryLater) -> None:
        first = server.well
        server.fail(error.why, error.retry_after)
        if first and any(other.well for other in self.asking.servers):
            self.asking.warn(f"{server.url} does not answer ({error.why}); the others go on")

    def _answered(self, server: Server) -> None:
        away = server.answer()
        if away is not None:
            self.asking.warn(f"{server.url} answers again after {away:.0f} s")
            self.asking.told = False
