"""Which servers there are, which of them are well, and how long one that failed is left alone."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from maskgrpo_cli.errors import UserError

LONGEST_REST = 60.0  # seconds; a server may ask for more by Retry-After
LONGEST_ASKED = 600.0
_chance = random.SystemRandom()  # keeps no state, and leaves the generators of the run alone


@dataclass
class Server:
    """One server: what it has failed at, and since when."""

    url: str
    rest: float  # seconds that it is left alone after a first failure, doubled with every further one
    failures: int = 0  # in a row
    why: str = ""  # of the last one, or why it was put off; "" once it has answered again
    since: float | None = None  # when the first of them was; None: it is well
    until: float = 0.0  # it is left alone until then
    answered: int = 0

    @property
    def well(self) -> bool:
        """Whether its last request was answered."""
        return self.since is None

    @property
    def waits(self) -> float:
        """Seconds that it is to be left alone yet."""
        return max(0.0, self.until - time.monotonic())

    def fail(self, why: str, retry_after: float | None = None) -> None:
        """It did not answer: leave it alone for a while, longer each time, and never just as long as others do."""
        now = time.monotonic()
        if now < self.until and retry_after is None and not self.well:
            return  # one of several requests that failed together
        self.failures, self.why = self.failures + 1, why
        self.since = now if self.since is None else self.since
        self.until = max(self.until, now + self._pause(self.failures, retry_after))

    def put_off(self, why: str, retry_after: float | None = None) -> None:
        """It is well, and has too much to do, or failed at one request."""
        self.why = why
        self.until = max(self.until, time.monotonic() + self._pause(1, retry_after))

    def answer(self) -> float | None:
        """It answered; returns the seconds that it was away, if it was."""
        self.answered += 1
        away = None if self.since is None else time.monotonic() - self.since
        self.failures, self.why, self.since, self.until = 0, "", None, 0.0
        return away

    def _pause(self, times: int, retry_after: float | None) -> float:
        if retry_after is not None:
            return min(retry_after, LONGEST_ASKED) * _chance.uniform(1.0, 1.25)  # never before it asked for
        return min(self.rest * 2 ** min(times - 1, 20), LONGEST_REST) * _chance.uniform(0.5, 1.0)


def checked_urls(urls: object) -> list[str]:
    """The addresses of servers, from a recipe: a text or a list of them. Raises UserError."""
    given = [urls] if isinstance(urls, str) else urls
    if not isinstance(given, (list, tuple)) or not given:
        raise UserError(f"urls = {urls!r}: the address of a server, such as http://127.0.0.1:8090, or a list of them")
    found = [_checked(url) for url in given]
    twice = next((url for url in found if found.count(url) > 1), None)
    if twice:
        raise UserError(f"urls: {twice} stands there twice; take one out")
    return found


def _checked(url: object) -> str:
    example = "write it as http://HOST:PORT or https://HOST"
    if not isinstance(url, str) or not url.isascii() or not url.isprintable() or " " in url:
        raise UserError(f"urls: {url!r} is no address; {example}")
    try:
        parts = urlsplit(url)
        named = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        named = None
    if not named:
        raise UserError(f"urls: {url!r} is no address; {example}")
    if parts.username or parts.password or "@" in parts.netloc:
        raise UserError("urls: an address holds a password; put it in an environment variable and name that, token_env")
    if parts.query or parts.fragment:
        raise UserError(f"urls: {url!r} ends in a query or a fragment; {example}")
    return url.rstrip("/")
