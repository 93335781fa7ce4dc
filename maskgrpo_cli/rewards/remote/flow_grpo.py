"""The protocol of the published reward servers (yifan123/reward-server, flow_grpo): pickled dicts over HTTP.

What is sent is plain: lists, dicts, text and JPEG bytes. What comes back is read by `pickles`, which runs nothing.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from maskgrpo_cli.rewards.remote.adapter import BadAnswer, Sample, Scores, as_file, clean, numbers, short
from maskgrpo_cli.rewards.remote.pickles import NotPlain, loads

BATCH = 64  # pictures of a request, at most, as these servers take them
PICKLE = 4  # the version that every Python since 3.4 reads
QUALITY = 75  # of a JPEG, as the published client sends it


@dataclass(frozen=True)
class Dialect:
    """What one of the servers takes besides the pictures, and which keys of its answer hold scores."""

    answers: tuple[str, ...]  # the first is what is read by default
    prompts: bool = False
    rows: bool = False  # the rows of GenEval's prompt file


DIALECTS = {
    "geneval": Dialect(("scores", "rewards", "strict_rewards"), rows=True),
    "deqa": Dialect(("outputs",)),
    "hpsv3": Dialect(("scores",), prompts=True),
    "unified-reward": Dialect(("scores",), prompts=True),
}


class FlowGrpo:
    """Asks one of the published servers.

    Args:
        server: which one: a key of `DIALECTS`.
        answer: the key of the answer that holds the scores; None: the dialect's first.
        only_strict: GenEval: whether the server leaves out what is not strict.
    """

    most, tries = BATCH, 3  # they answer every mishap with 500, also that memory ran out for once
    path, health, content_type = "/", None, "application/octet-stream"

    def __init__(self, server: str, answer: str | None = None, only_strict: bool = False):
        self.dialect = DIALECTS[server]
        self.answer, self.only_strict = answer or self.dialect.answers[0], only_strict

    def write(self, samples: Sequence[Sample]) -> tuple[bytes, int]:
        """A request, and the number of its pictures."""
        asked: dict[str, Any] = {
            "images": [as_file(sample.completion, "JPEG", quality=QUALITY) for sample in samples]
        }
        if self.dialect.prompts:
            asked["prompts"] = [sample.prompt for sample in samples]
        if self.dialect.rows:
            asked |= {"meta_datas": [_row(sample) for sample in samples], "only_strict": self.only_strict}
        return pickle.dumps(asked, protocol=PICKLE), len(samples)

    def read(self, body: bytes, about: int) -> Scores:
        """The scores under the answer's key."""
        try:
            answer = loads(body)
        except NotPlain as error:
            raise BadAnswer(f"its answer is not read: {error}") from error
        if not isinstance(answer, dict):
            raise BadAnswer(f"its answer is {short(answer)}, not a dict")
        if self.answer not in answer:
            found = ", ".join(clean(key, 40) for key in list(answer)[:10] if isinstance(key, str)) or "nothing"
            raise BadAnswer(f"its answer has no '{self.answer}'; it has: {found}")
        return numbers(answer[self.answer], about, self.answer)

    def complaint(self, status: int, body: bytes) -> tuple[str, bool]:
        """The last line of the traceback that these servers answer an error with."""
        lines = [line for line in body.decode("utf-8", "replace").splitlines() if line.strip()]
        return clean(lines[-1]) if lines else "", False


def _row(sample: Sample) -> dict[str, Any]:
    """A row of GenEval's file: the columns that are no None, as plain values."""
    row = {name: _copied(value) for name, value in sample.columns.items() if value is not None}
    if not row:
        raise ValueError("GenEval's server needs the rows of its prompt file: the task's columns are empty")
    return {**row, "prompt": sample.prompt}


def _copied(value: Any) -> Any:
    """A column as what a pickle holds without naming any class. Raises ValueError where it is something else."""
    if isinstance(value, Mapping):
        return {str(key): _copied(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copied(item) for item in value]
    if type(value) in (str, int, float, bool, type(None)):
        return value
    raise ValueError(f"a column of GenEval's row is a {type(value).__name__}; only plain values are sent")
