"""Connections that do not wait for ever: what uvicorn lacks against clients that are slow on purpose."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from uvicorn.protocols.http.h11_impl import H11Protocol


class PatientProtocol(H11Protocol):
    """HTTP/1.1, where the headers of a request and the taking of an answer have a time.

    Bodies have theirs where they are read. Set by `with_times`.
    """

    header_timeout: float
    write_timeout: float
    cut: Callable[[str], None]  # told the phase in which a connection was ended

    _header_clock: asyncio.TimerHandle | None = None
    _write_clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport) -> None:
        """A client is there, and has yet to ask."""
        super().connection_made(transport)
        self._wait_for_headers()

    def data_received(self, data: bytes) -> None:
        """Until a request is begun, bytes of it do not buy time."""
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._wait_for_headers()

    def handle_events(self) -> None:
        """Reads requests; one that begins has its headers complete."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before and self._header_clock is not None:
            self._header_clock.cancel()
            self._header_clock = None

    def on_response_complete(self) -> None:
        """An answer is handed over; one that ends the connection has a time to be taken."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._wait_for_taking()

    def pause_writing(self) -> None:
        """The client does not take what it asked for."""
        super().pause_writing()
        self._wait_for_taking()

    def resume_writing(self) -> None:
        """It does."""
        super().resume_writing()
        if self._write_clock is not None and not self.transport.is_closing():
            self._write_clock.cancel()
            self._write_clock = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        for clock in (self._header_clock, self._write_clock):
            if clock is not None:
                clock.cancel()
        super().connection_lost(exc)

    def _wait_for_headers(self) -> None:
        if self._header_clock is None:
            self._header_clock = self.loop.call_later(self.header_timeout, self._end, "headers")

    def _wait_for_taking(self) -> None:
        if self._write_clock is None:
            self._write_clock = self.loop.call_later(self.write_timeout, self._end, "answer")

    def _end(self, phase: str) -> None:
        type(self).cut(phase)
        self.transport.abort()


def with_times(header_timeout: float, write_timeout: float, cut: Callable[[str], None]) -> type[PatientProtocol]:
    """The protocol with these times, in seconds."""
    times = {"header_timeout": header_timeout, "write_timeout": write_timeout, "cut": staticmethod(cut)}
    return type("TimedProtocol", (PatientProtocol,), times)
