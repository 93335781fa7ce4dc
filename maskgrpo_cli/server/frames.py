"""What the server and its worker processes say to each other: JSON and the bytes of pictures, never pickled objects.

`connection` is one end of a pipe: `send_bytes`, and `recv_bytes`, which raises EOFError once the other end is gone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from maskgrpo_cli.server.scoring import Failure, Outcome


class Raw(NamedTuple):
    """A sample as it came: the completion is text, or the bytes of a picture's file."""

    prompt: str
    completion: str | bytes
    columns: Mapping[str, Any]


class Answer(NamedTuple):
    """What a worker says of a batch of N samples."""

    scores: dict[str, list[Outcome]]  # N for each reward; of no meaning where rejected
    rejected: dict[int, str]  # index -> why the picture there cannot be read
    seconds: float


def send_batch(connection: Connection, rewards: Sequence[str], samples: Sequence[Raw]) -> None:
    """Hand a batch to a worker."""
    header = {
        "rewards": list(rewards),
        "samples": [
            [sample.prompt, sample.completion if isinstance(sample.completion, str) else None, dict(sample.columns)]
            for sample in samples
        ],
    }
    connection.send_bytes(json.dumps(header).encode())
    for sample in samples:
        if isinstance(sample.completion, bytes):
            connection.send_bytes(sample.completion)


def receive_batch(connection: Connection) -> tuple[list[str], list[Raw]]:
    """The names of rewards and the samples that `send_batch` sent."""
    header = json.loads(connection.recv_bytes())
    samples = [
        Raw(prompt, connection.recv_bytes() if text is None else text, columns)
        for prompt, text, columns in header["samples"]
    ]
    return header["rewards"], samples


def send_answer(connection: Connection, answer: Answer) -> None:
    """Hand back what came of a batch."""
    scores = {
        name: [{"error": outcome.error} if isinstance(outcome, Failure) else outcome for outcome in outcomes]
        for name, outcomes in answer.scores.items()
    }
    message = {"scores": scores, "rejected": list(answer.rejected.items()), "seconds": answer.seconds}
    connection.send_bytes(json.dumps(message).encode())


def receive_answer(connection: Connection) -> Answer:
    """What `send_answer` sent."""
    message = json.loads(connection.recv_bytes())
    scores = {
        name: [Failure(outcome["error"]) if isinstance(outcome, dict) else outcome for outcome in outcomes]
        for name, outcomes in message["scores"].items()
    }
    return Answer(scores, dict(message["rejected"]), message["seconds"])
