"""The protocol of `maskgrpo reward-server`, version 1: JSON, pictures as PNG in base64, so that nothing is lost."""

from __future__ import annotations

import base64
import json
import math
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from maskgrpo_cli.domains import scoring_protocol as wire
from maskgrpo_cli.rewards.remote.adapter import BadAnswer, Sample, Scores, Unscored, as_file, clean, number

DEEPEST = 8  # lists and objects within one another in a column that is sent
SIGNS = 600
"""Commas and opening brackets that an answer holds for each completion: two, and what the text of an error has."""
INFO_SIGNS = 10_000


class MaskGrpo:
    """Asks a reward server of this program.

    Args:
        reward: the name of the reward at the server; None: its only one.
        timeout: seconds after which the server may give up the request.
        columns: which of the task's columns are sent; None: all that are plain JSON.
    """

    most, tries = wire.Limits().pictures, 1  # the server itself has tried again
    path, health, content_type = wire.SCORE, wire.READY, "application/json"

    def __init__(self, reward: str | None, timeout: float, columns: Sequence[str] | None = None):
        self.reward, self.timeout, self.columns = reward, timeout, columns

    def write(self, samples: Sequence[Sample]) -> tuple[bytes, list[str]]:
        """A request, and the ids of its items: no other request has any of them, so that none is taken for another."""
        stem = uuid.uuid4().hex[:12]
        ids = [f"{stem}-{index}" for index in range(len(samples))]
        items = [
            wire.Item(
                id=name, prompt=sample.prompt, completion=_completion(sample.completion), columns=self._sent(sample)
            )
            for name, sample in zip(ids, samples, strict=True)
        ]
        named = None if self.reward is None else [self.reward]
        request = wire.ScoreRequest(rewards=named, items=items, timeout_s=self.timeout)
        return request.model_dump_json().encode(), ids

    def read(self, body: bytes, about: list[str]) -> Scores:
        """The scores of one reward, those of the very items that were sent."""
        _check_signs(body, SIGNS * (len(about) + 2))
        try:
            answer = wire.ScoreResponse.model_validate_json(body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise BadAnswer(f"its answer is none: {clean(place, 80)}{': ' if place else ''}{first['msg']}") from error
        if len(answer.items) != len(about):
            raise BadAnswer(f"it answered for {len(answer.items)} completions; {len(about)} were sent")
        if answer.items != about:
            raise BadAnswer("its scores are not in the order of the completions that were sent")
        if (self.reward is not None and set(answer.rewards) != {self.reward}) or len(answer.rewards) != 1:
            named = ", ".join(clean(name, 40) for name in answer.rewards) or "none"
            wanted = f"'{self.reward}'" if self.reward else "one reward; name it as the setting `reward`"
            raise BadAnswer(f"it answered with the scores of: {named}; asked was {wanted}")
        (reward,) = answer.rewards.values()
        return [_score(score, index) for index, score in enumerate(reward.scores)]

    def complaint(self, status: int, body: bytes) -> tuple[str, bool]:
        """What the error says, with the field that it names."""
        try:
            detail = wire.ErrorResponse.model_validate_json(body).error
        except ValidationError:
            return clean(body), False
        field = f" ({clean(detail.field, 80)})" if detail.field else ""
        return f"{clean(detail.message)}{field}", detail.retryable

    def _sent(self, sample: Sample) -> dict[str, Any]:
        columns = sample.columns
        if self.columns is not None:
            columns = {name: columns[name] for name in self.columns if name in columns}
            odd = [name for name, value in columns.items() if not _plain(value)]
            if odd:
                raise ValueError(f"the column '{odd[0]}' is no plain JSON and cannot be sent")
        return {
            name: value
            for name, value in columns.items()
            if name not in wire.RESERVED and 0 < len(name) <= wire.LONGEST_NAME and _plain(value)
        }


def info(body: bytes) -> wire.ServerInfo:
    """What a server tells of itself. Raises BadAnswer."""
    _check_signs(body, INFO_SIGNS)
    try:
        json.loads(body)  # says what is wrong with what is no JSON at all
        return wire.ServerInfo.model_validate_json(body)
    except (ValueError, RecursionError) as error:
        raise BadAnswer(f"{wire.INFO} is not that of a reward server, version {wire.VERSION}") from error


def _check_signs(body: bytes, most: int) -> None:
    """Raises BadAnswer for far more values than are due: a wrong one takes a thousand times its bytes to be told."""
    if sum(body.count(sign) for sign in (b",", b"[", b"{")) > most:
        raise BadAnswer(f"its answer holds more than {most} commas and brackets")


def _completion(completion: Any) -> wire.Completion:
    if isinstance(completion, str):
        return wire.TextCompletion(text=completion)
    return wire.ImageCompletion(image=base64.b64encode(as_file(completion, "PNG")).decode())


def _score(score: float | wire.Failed | None, index: int) -> float | Unscored | None:
    if isinstance(score, wire.Failed):
        return Unscored(clean(score.error))
    return None if score is None else number(score, f"score {index}")


def _plain(value: Any, depth: int = 0) -> bool:
    """Whether a column is a value of JSON."""
    if value is None or isinstance(value, (str, bool, int)):
        return True
    if isinstance(value, float):
        return math.isfinite(value)
    if depth < DEEPEST and isinstance(value, (list, tuple)):
        return all(_plain(item, depth + 1) for item in value)
    if depth < DEEPEST and isinstance(value, Mapping):
        return all(isinstance(name, str) and _plain(item, depth + 1) for name, item in value.items())
    return False
