"""Reading what clients send, no more than is taken and no longer than is waited for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request

from maskgrpo_cli.server.metrics import Metrics
from maskgrpo_cli.server.options import Options
from maskgrpo_cli.server.refusals import Refused

PATIENCE = 3.0
"""Seconds in which a body that is not wanted is read away: who still sends does not hear an answer."""


class Bodies:
    """Reads bodies and knows how many bytes of them are held.

    Args:
        options: of the server.
        metrics: where what is held is shown.
    """

    def __init__(self, options: Options, metrics: Metrics):
        self._options, self._metrics = options, metrics
        self.held = 0

    @contextlib.asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """The body of a request; it counts as held until the end of the context.

        Raises:
            Refused: it is too large (413), too slow (408) or more than there is room for (429).
        """
        body = bytearray()
        try:
            await asyncio.wait_for(self._gather(request, body), self._options.body_timeout)
        except asyncio.TimeoutError:
            self._metrics.connections_cut.labels("body").inc()
            why = f"the body was not there after {self._options.body_timeout:g} s"
            self._hold(-len(body))
            raise Refused(408, "too-slow", why, "body", close=True) from None
        except BaseException:
            self._hold(-len(body))
            raise
        size = len(body)
        try:
            yield body
        finally:
            self._hold(-size)

    async def _gather(self, request: Request, body: bytearray) -> None:
        most = self._options.limits.body_bytes
        said = request.headers.get("content-length", "0")
        if int(said) > most:  # h11 takes nothing but digits here
            raise self._too_large()
        async for chunk in request.stream():
            if len(body) + len(chunk) > most:
                raise self._too_large()
            if self.held + len(chunk) > self._options.held_bytes:
                why = f"requests of {self.held} bytes are in memory already"
                raise Refused(429, "memory-full", why, retry_after=2, close=True)
            body += chunk
            self._hold(len(chunk))

    def _too_large(self) -> Refused:
        most = self._options.limits.body_bytes
        return Refused(413, "too-large", f"a request has at most {most} bytes", "body", close=True)

    def _hold(self, size: int) -> None:
        self.held += size
        self._metrics.held_bytes.set(self.held)


async def read_away(receive, most: int) -> None:
    """Read and drop what a refused client still sends, for a short while, so that it hears the answer."""

    async def drop() -> None:
        dropped, more = 0, True
        while more and dropped <= most:
            message = await receive()
            dropped += len(message.get("body", b""))
            more = message["type"] == "http.request" and message.get("more_body", False)

    with contextlib.suppress(asyncio.TimeoutError, ClientDisconnect):
        await asyncio.wait_for(drop(), PATIENCE)
