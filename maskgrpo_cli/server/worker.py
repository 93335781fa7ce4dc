"""A worker process: it makes the rewards once, and scores the batches that the server hands it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import connection as pipes
from multiprocessing import parent_process
from typing import NamedTuple

from maskgrpo_cli.errors import UserError
from maskgrpo_cli.server import pictures
from maskgrpo_cli.server.frames import Answer, Raw, receive_batch, send_answer
from maskgrpo_cli.server.logs import set_up
from maskgrpo_cli.server.scoring import Sample, score
from maskgrpo_cli.types import Reward

DECODERS = 4  # threads that decode pictures; PIL lets others run meanwhile


class Loaded(NamedTuple):
    """A reward that is ready, and the version of it that is told to clients."""

    function: Reward
    version: str


Load = Callable[[], "contextlib.AbstractContextManager[Mapping[str, Loaded]]"]
"""Makes the rewards, by name, for the time of a context; raises UserError where one cannot be made."""


def main(connection: pipes.Connection, load: Load, pixels: int) -> None:
    """The life of a worker: first `{"ready": versions}`, `{"refused": why}` or `{"failed": why}`, then an answer each.

    It ends when the server closes the pipe, or is gone.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # they reach the whole process group; the server decides
        signal.signal(number, signal.SIG_IGN)
    set_up()
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    with contextlib.ExitStack() as made:
        try:
            rewards = made.enter_context(load())
        except UserError as error:
            return _say(connection, "refused", str(error))
        except Exception:
            return _say(connection, "failed", traceback.format_exc())
        pictures.limit_reading()
        _say(connection, "ready", {name: reward.version for name, reward in rewards.items()})
        with contextlib.suppress(EOFError, OSError), ThreadPoolExecutor(DECODERS) as threads:
            while True:
                names, samples = receive_batch(connection)
                send_answer(connection, answer(rewards, names, samples, pixels, threads))


def answer(
    rewards: Mapping[str, Loaded],
    names: Sequence[str],
    samples: Sequence[Raw],
    pixels: int,
    threads: ThreadPoolExecutor,
) -> Answer:
    """Score samples by the rewards of these names; a picture that cannot be read is rejected, and the rest scored."""
    began = time.perf_counter()
    read = list(threads.map(lambda sample: _read(sample, pixels), samples))
    rejected = {index: found for index, found in enumerate(read) if isinstance(found, str)}
    good = [index for index in range(len(samples)) if index not in rejected]
    scores = {}
    for name in names:
        outcomes = score(rewards[name].function, [read[index] for index in good])
        scores[name] = [None] * len(samples)
        for index, outcome in zip(good, outcomes, strict=True):
            scores[name][index] = outcome
    return Answer(scores, rejected, time.perf_counter() - began)


def _read(sample: Raw, pixels: int) -> Sample | str:
    if isinstance(sample.completion, str):
        return Sample(*sample)
    try:
        return Sample(sample.prompt, pictures.decode(sample.completion, pixels), sample.columns)
    except pictures.NotAPicture as error:
        return str(error)


def _say(connection: pipes.Connection, what: str, value: object) -> None:
    with contextlib.suppress(OSError):
        connection.send_bytes(json.dumps({what: value}).encode())


def _end_with_the_server() -> None:
    pipes.wait([parent_process().sentinel])
    os._exit(1)  # the main thread may be in the middle of a reward that never ends
