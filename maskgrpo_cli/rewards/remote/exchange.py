"""One request and its answer over HTTP: what is read at most, what is never followed, and which failures pass."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import functools
import math
import os
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from maskgrpo_cli.errors import UserError
from maskgrpo_cli.rewards.remote.adapter import Adapter, Refused, clean

LARGEST = 16 * 2**20  # bytes of an answer
LARGEST_ERROR = 2**16
QUICK = 10.0  # seconds for what costs a server nothing
BUSY = 429
AWAY = (502, 503, 504)


class TryLater(Exception):
    """A failure that may pass: no connection, no answer in time, a server that is away or starting.

    `busy` says that the server is there and has too much to do.
    """

    def __init__(self, why: str, retry_after: float | None = None, busy: bool = False):
        super().__init__(why)
        self.why, self.retry_after, self.busy = why, retry_after, busy


class Broken(Exception):
    """A server that failed at this very request (status 500): another one may not."""


@dataclass(frozen=True)
class Terms:
    """How servers are asked. The token is neither shown nor written anywhere."""

    connect_timeout: float = 5.0
    read_timeout: float = 120.0  # from the request to the last byte of the answer
    token: str | None = field(default=None, repr=False)
    ca_file: str | None = None

    def client(self, connections: int) -> httpx.AsyncClient:
        """A client for one batch. Proxies, .netrc and the like are left alone: only the named servers are asked.

        Raises UserError where the file of certificates is none.
        """
        headers = {"Accept-Encoding": "identity"}  # a packed answer may unpack to anything
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        return httpx.AsyncClient(
            headers=headers,
            timeout=httpx.Timeout(self.read_timeout, connect=self.connect_timeout),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            follow_redirects=False,
            trust_env=False,
            verify=certificates(self.ca_file),
        )

    def scrub(self, text: str) -> str:
        """A server's words without the token, should it send that back."""
        return text.replace(self.token, "***") if self.token else text


@functools.lru_cache(maxsize=8)
def certificates(ca_file: str | None) -> ssl.SSLContext:
    """Whom to trust: the usual authorities, or those in a file. Reading them takes longer than many a request.

    Raises UserError where the file is none.
    """
    if ca_file is None:
        return httpx.create_ssl_context(trust_env=False)
    try:
        return ssl.create_default_context(cafile=str(Path(ca_file).expanduser()))
    except (OSError, ssl.SSLError) as error:
        raise UserError(f"ca_file = {ca_file!r}: is no file of certificates in PEM ({error})") from error


def read_token(variable: str | None) -> str | None:
    """The token in an environment variable. Raises UserError, which never shows it."""
    if variable is None:
        return None
    token = os.environ.get(variable, "")
    if not token:
        raise UserError(f"token_env = {variable!r}: this environment variable is not set; export it before the run")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise UserError(f"token_env = {variable!r}: the token in it has spaces, line ends or signs that none has")
    return token


async def post(client: httpx.AsyncClient, url: str, adapter: Adapter, body: bytes, terms: Terms) -> bytes:
    """The body of the answer to a request.

    Raises:
        TryLater: it may be answered later, or by another server.
        Broken: the server failed at it.
        Refused: it is turned down, or the answer is none that is read.
    """
    headers = {"Content-Type": adapter.content_type}
    status, answer, reply = await _exchange(
        client, "POST", url, terms, terms.read_timeout, content=body, headers=headers
    )
    if status == 200:
        return answer
    if 300 <= status < 400:
        target = clean(reply.get("Location", "nowhere"), 120)
        raise Refused(f"it sends the request on to {target} (status {status}); that is not followed: name that address")
    text, later = adapter.complaint(status, answer)
    why = terms.scrub(f"status {status}" + (f": {text}" if text else ""))
    if status == BUSY or status in AWAY or later:
        raise TryLater(why, retry_after(reply.get("Retry-After")), busy=status == BUSY)
    if status >= 500:
        raise Broken(why)
    if status in (401, 403):
        named = "the token is not the server's" if terms.token else "it wants a token: name its variable, token_env"
        raise Refused(f"{why} ({named})")
    raise Refused(why)


async def get(client: httpx.AsyncClient, url: str, terms: Terms) -> tuple[int, bytes]:
    """Status and body of a page. Raises TryLater where there is none, and Refused where it is not to be read."""
    status, body, _ = await _exchange(client, "GET", url, terms, min(QUICK, terms.read_timeout))
    return status, body


async def _exchange(client: httpx.AsyncClient, method: str, url: str, terms: Terms, seconds: float, **request):
    try:
        return await asyncio.wait_for(_whole(client, method, url, **request), seconds)
    except (asyncio.TimeoutError, httpx.TimeoutException) as error:
        if isinstance(error, httpx.ConnectTimeout):
            raise TryLater(f"no connection within {terms.connect_timeout:g} s") from error
        raise TryLater(f"no answer within {seconds:g} s") from error
    except httpx.TransportError as error:
        if why := _untrusted(error):
            raise Refused(f"its certificate is not trusted ({why}); name the authority's file, ca_file") from error
        if isinstance(error.__context__, httpx.InvalidURL):  # httpx reads where a redirect goes, followed or not
            raise Refused("it sends the request on to what is no address; that is not followed") from error
        raise TryLater(terms.scrub(clean(str(error)) or type(error).__name__)) from error


async def _whole(client: httpx.AsyncClient, method: str, url: str, **request) -> tuple[int, bytes, httpx.Headers]:
    async with client.stream(method, url, **request) as response:
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise Refused("its answer is packed, which was not asked for")
        good, body = response.status_code == 200, bytearray()
        most = LARGEST if good else LARGEST_ERROR
        async with contextlib.aclosing(response.aiter_raw()) as pieces:
            async for piece in pieces:
                body += piece
                if len(body) > most:
                    if good:
                        raise Refused(f"its answer has more than {most} bytes")
                    break  # of an error the beginning is enough
        return response.status_code, bytes(body[:most]), response.headers


def _untrusted(error: BaseException) -> str | None:
    """Why a certificate is not trusted, where that is what an error comes from."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return clean(seen.verify_message, 100)
        seen = seen.__cause__ or seen.__context__
    return None


def retry_after(value: str | None) -> float | None:
    """The seconds that a Retry-After header asks for, as a number or a date; None where it says nothing."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
