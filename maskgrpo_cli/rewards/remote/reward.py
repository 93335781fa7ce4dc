"""The reward `remote`: what a recipe says of servers, and the scores that they give."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Any

from maskgrpo_cli.rewards.remote import settings
from maskgrpo_cli.rewards.remote.adapter import Sample, Unscored
from maskgrpo_cli.rewards.remote.asking import Asking, Piece, Pulse
from maskgrpo_cli.rewards.remote.exchange import Terms, read_token
from maskgrpo_cli.rewards.remote.greeting import greet
from maskgrpo_cli.rewards.remote.maskgrpo import MaskGrpo
from maskgrpo_cli.rewards.remote.servers import Server, checked_urls


class Remote:
    """A reward that servers make. Several of them, such as remote.one and remote.two, have settings of their own.

    Args:
        urls: the servers' addresses, one or a list; each piece of a batch goes to whichever is free. Those of
            openai-chat end in /v1.
        protocol: `maskgrpo`, that of `maskgrpo reward-server`; `flow-grpo`, that of yifan123/reward-server; or
            `openai-chat`, a judge behind an OpenAI-compatible endpoint.
        when_away: what a run does while no server answers: `wait`; `leave-out`, the batch goes without this reward;
            or `stop`, with a checkpoint.
        divide_by: scores are divided by it.
        token_env: the environment variable that holds the servers' token; the token itself is never written down.
        ca_file: certificates, in PEM, of the authority that signed the servers' own.
        batch_size: completions of a request, at most.
        concurrency: requests at once to each server.
        connect_timeout, read_timeout: seconds for a connection, and for a whole answer.
        deadline: seconds for a batch with all retries, after which the servers count as away.
        rest: seconds that a server which failed is left alone, doubled each time up to a minute.
        reward, columns: maskgrpo: the reward's name at the server, and the columns that are sent; default: its only
            one, and all that are plain JSON.
        server, answer, only_strict: flow-grpo: `geneval`, `deqa`, `hpsv3` or `unified-reward`; which key of its
            answer holds the scores; GenEval's switch.
        model, question, pattern, low, high, max_tokens: openai-chat: the judge, what it is asked, and the score in
            what it writes; see `chat.Chat`.
        warn: called with a sentence.
        pulse: called while servers are asked; see `asking.Pulse`.

    Raises:
        UserError: a setting is wrong, a server refuses the token, or has no such reward.
    """

    def __init__(
        self, urls: Any, protocol: Any = "maskgrpo", when_away: Any = "wait", divide_by: Any = 1.0,
        token_env: Any = None, ca_file: Any = None, batch_size: Any = 16, concurrency: Any = 2,
        connect_timeout: Any = 5.0, read_timeout: Any = 120.0, deadline: Any = 300.0, rest: Any = 2.0,
        reward: Any = None, columns: Any = None, server: Any = None, answer: Any = None, only_strict: Any = None,
        model: Any = None, question: Any = None, pattern: Any = None, low: Any = None, high: Any = None,
        max_tokens: Any = None, *, warn: Callable[[str], None] = lambda text: None,
        pulse: Pulse = lambda done, of, waiting: None,
    ):  # fmt: skip
        settings.one_of("protocol", protocol, settings.PROTOCOLS)
        self.when_away = settings.one_of("when_away", when_away, settings.WHEN_AWAY)
        self.divide_by = settings.number("divide_by", divide_by)
        own = {
            "reward": reward, "columns": columns, "server": server, "answer": answer, "only_strict": only_strict,
            "model": model, "question": question, "pattern": pattern, "low": low, "high": high,
            "max_tokens": max_tokens,
        }  # fmt: skip
        given = {key: value for key, value in own.items() if value is not None}
        settings.fit(protocol, given)
        terms = Terms(
            settings.seconds("connect_timeout", connect_timeout), settings.seconds("read_timeout", read_timeout),
            read_token(settings.text("token_env", token_env)), settings.text("ca_file", ca_file),
        )  # fmt: skip
        adapter = settings.make_adapter(protocol, given, terms.read_timeout)
        servers = [Server(url, settings.seconds("rest", rest)) for url in checked_urls(urls)]
        self.batch_size = min(settings.count("batch_size", batch_size), adapter.most)
        self.asking = Asking(
            servers, adapter, terms, concurrency=settings.count("concurrency", concurrency),
            deadline=settings.seconds("deadline", deadline), warn=warn, pulse=pulse,
        )  # fmt: skip
        self._warn, self._told = warn, False
        self._unfinished: tuple[list[Sample], list[Piece]] = ([], [])
        if isinstance(adapter, MaskGrpo):
            self.batch_size = min(self.batch_size, asyncio.run(greet(servers, adapter, terms, warn)))

    def __call__(self, prompts: Sequence[str], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        """The servers' scores, divided by `divide_by`; None where they do not apply, NaN where they failed.

        Raises:
            Away: no server answered in time. Asked again for the same, it goes on where it was.
            Stopped: a server turned the request down, or answered nonsense.
        """
        samples = [
            Sample(prompt, completion, {name: values[index] for name, values in columns.items()})
            for index, (prompt, completion) in enumerate(zip(prompts, completions, strict=True))
        ]
        if not samples:
            return []
        pieces = self._pieces(samples)
        self.asking.ask(pieces)
        self._unfinished = ([], [])
        return [self._value(score) for piece in pieces for score in piece.scores or ()]

    def _pieces(self, samples: list[Sample]) -> list[Piece]:
        """Requests; those of the batch that could not be finished, where it is asked for again."""
        before, pieces = self._unfinished
        same = len(before) == len(samples) and all(
            a.completion is b.completion and a.prompt == b.prompt for a, b in zip(before, samples, strict=True)
        )
        if not same:
            size = self.batch_size
            starts = range(0, len(samples), size)
            pieces = [Piece(place, samples[start : start + size]) for place, start in enumerate(starts)]
            self._unfinished = (samples, pieces)
        return pieces

    def _value(self, score: float | Unscored | None) -> float | None:
        if not isinstance(score, Unscored):
            return None if score is None else score / self.divide_by
        if not self._told:
            self._told = True
            self._warn(f"a sample has no score: {score.why}")
        return math.nan
