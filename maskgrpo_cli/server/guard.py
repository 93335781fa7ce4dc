"""What surrounds every request: its id, who may ask, its line in the log and its place in the metrics."""

from __future__ import annotations

import hmac
import logging
import re
import secrets
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maskgrpo_cli.domains import scoring_protocol as protocol
from maskgrpo_cli.server.bodies import read_away
from maskgrpo_cli.server.logs import log
from maskgrpo_cli.server.metrics import Metrics
from maskgrpo_cli.server.refusals import Refused

OPEN = (protocol.HEALTH, protocol.READY, "/docs", "/openapi.json")
"""Paths that say nothing of what is served, and need no token."""
PROBES = (protocol.HEALTH, protocol.READY, protocol.METRICS)
"""Paths that are asked every few seconds, which the log leaves out where they are answered."""
PATHS = (protocol.SCORE, protocol.INFO, *PROBES, "/docs", "/openapi.json")
_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class Guard:
    """An ASGI application around another.

    Args:
        app: what answers.
        token: what clients must say; None: nothing.
        metrics: where requests are counted.
        most: bytes of a body that are read away where it is not wanted.
    """

    def __init__(self, app: ASGIApp, token: str | None, metrics: Metrics, most: int):
        self.app, self.metrics, self.most = app, metrics, most
        self._token = None if token is None else token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        began, status, left = time.perf_counter(), 0, True
        headers = {name: value for name, value in scope["headers"] if name in (b"authorization", b"x-request-id")}
        request_id = headers.get(b"x-request-id", b"").decode("latin-1")
        request_id = request_id if _ID.fullmatch(request_id) else secrets.token_hex(8)
        state = scope["state"] = {**scope.get("state", {}), "request_id": request_id, "fields": {}}

        async def hear() -> Message:
            nonlocal left
            message = await receive()
            left = message["type"] == "http.request" and message.get("more_body", False)
            return message

        async def say(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                closing = (b"connection", b"close") in message["headers"]
                if closing and left:
                    await read_away(receive, self.most)
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            if self._may(scope["path"], headers.get(b"authorization", b"")):
                await self.app(scope, hear, say)
            else:
                refused = Refused(401, "token", "write Authorization: Bearer TOKEN", "Authorization", close=True)
                await refused.answer(request_id)(scope, hear, say)
        finally:
            self._tell(scope, status, time.perf_counter() - began, state)

    def _may(self, path: str, authorization: bytes) -> bool:
        if self._token is None or path in OPEN:
            return True
        kind, _, token = authorization.partition(b" ")
        return hmac.compare_digest(token.strip(), self._token) and kind.lower() == b"bearer"

    def _tell(self, scope: Scope, status: int, seconds: float, state: dict) -> None:
        path = scope["path"] if scope["path"] in PATHS else "other"
        self.metrics.requests.labels(path, str(status)).inc()
        self.metrics.request_seconds.labels(path).observe(seconds)
        if path in PROBES and status in (200, 503):
            return
        log(
            "request",
            logging.ERROR if status >= 500 and status not in (503, 504) else logging.INFO,
            id=state["request_id"],
            client=(scope.get("client") or [""])[0],
            method=scope["method"][:20],
            path=scope["path"][:200],
            status=status,
            ms=round(1000 * seconds, 2),
            **state["fields"],
        )
