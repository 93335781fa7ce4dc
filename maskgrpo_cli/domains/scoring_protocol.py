"""The schema that a reward server and its clients share, version 1: what is sent, what comes back, and the limits.

`POST /v1/score` takes a `ScoreRequest` as JSON, or as a multipart form whose part `request` is that JSON and whose
other parts are picture files, each named by one completion. It answers with a `ScoreResponse`; everything that is not
answered so is an `ErrorResponse` with a 4xx or 5xx status. `GET /v1/info` gives a `ServerInfo`.

A score is a number, null where the reward does not apply, or a `Failed`: never NaN, never a zero in place of one.
Numbers are written with as many digits as it takes to read the same 64 bits again.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    StringConstraints,
    Tag,
    field_validator,
    model_validator,
)

VERSION = 1
SCORE, INFO, HEALTH, READY, METRICS = "/v1/score", "/v1/info", "/healthz", "/readyz", "/metrics"
REQUEST_PART = "request"
"""The name of the part of a multipart form that holds the JSON; every other part is a picture."""
REQUEST_ID = "X-Request-ID"
"""The header that names a request in logs and answers; a server makes one up where there is none, and echoes it."""
FORMATS = ("PNG", "JPEG", "WEBP")
"""The formats, as PIL calls them, in which pictures are taken."""
RESERVED = ("prompts", "completions", "self")
"""Names that no column may have, because rewards take arguments of these names."""

LONGEST_NAME = 200
Name = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_NAME)]


class Message(BaseModel):
    """What every part of the schema has in common: no key that nobody reads, and nothing converted quietly."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


# --- what is asked ----------------------------------------------------------------------------------


class TextCompletion(Message):
    """A completion that is text."""

    text: str


class ImageCompletion(Message):
    """A completion that is a picture, a PNG, JPEG or WebP file in base64."""

    image: Annotated[str, StringConstraints(min_length=1)]


class PartCompletion(Message):
    """A completion that is a picture, in the part of this name of the multipart form."""

    part: Name


def _kind(value: Any) -> str | None:
    kinds = {"text": TextCompletion, "image": ImageCompletion, "part": PartCompletion}
    if isinstance(value, dict):
        return next((kind for kind in kinds if kind in value), None)
    return next((kind for kind, model in kinds.items() if isinstance(value, model)), None)


Completion = Annotated[
    Annotated[TextCompletion, Tag("text")]
    | Annotated[ImageCompletion, Tag("image")]
    | Annotated[PartCompletion, Tag("part")],
    Discriminator(
        _kind,
        custom_error_type="completion",
        custom_error_message='write {"text": ...}, {"image": base64} or {"part": name of a part of the form}',
    ),
]


class Item(Message):
    """One completion to be scored, its prompt, and the columns that rewards read by name."""

    id: Name | None = Field(None, description="echoed in the answer; default: the index as text; no two are the same")
    prompt: str
    completion: Completion
    columns: dict[str, JsonValue] = Field(
        {}, description="plain JSON; no column is called prompts, completions, self",
        json_schema_extra={"propertyNames": {"minLength": 1, "maxLength": LONGEST_NAME}},
    )  # fmt: skip

    @field_validator("columns")
    @classmethod
    def _are_well_named(cls, columns: dict[str, Any]) -> dict[str, Any]:
        """Not `Name`s: a stranger's million of bad ones is one mistake, not a million of them."""
        for name in columns:
            if name in RESERVED:
                raise ValueError(f"no column may be called '{name}'")
            if not 0 < len(name) <= LONGEST_NAME:
                raise ValueError(f"the name of a column has {len(name)} characters; 1 to {LONGEST_NAME} are taken")
        return columns


class ScoreRequest(Message):
    """Completions to be scored by some of a server's rewards, or by all of them."""

    version: Annotated[int, Field(ge=VERSION, le=VERSION)] = VERSION
    rewards: Annotated[list[Name], Field(min_length=1)] | None = Field(None, description="names; null: all of them")
    items: Annotated[list[Item], Field(min_length=1)]
    timeout_s: Annotated[float, Field(gt=0)] | None = Field(
        None, description="seconds after which nobody waits for the answer; at most the server's own limit counts"
    )

    @field_validator("rewards")
    @classmethod
    def _are_named_once(cls, rewards: list[str] | None) -> list[str] | None:
        for name, count in Counter(rewards or ()).items():
            if count > 1:
                raise ValueError(f"'{name}' is named {count} times")
        return rewards

    @model_validator(mode="after")
    def _have_different_ids(self) -> ScoreRequest:
        for name, count in Counter(self.ids()).items():
            if count > 1:
                raise ValueError(f"{count} items have the id '{name}'")
        return self

    def ids(self) -> list[str]:
        """The ids of the items as the answer will name them, in order."""
        return [str(index) if item.id is None else item.id for index, item in enumerate(self.items)]


# --- what comes back --------------------------------------------------------------------------------


class Failed(Message):
    """In place of a score: the reward failed on this item, by raising an error or by a number that is not finite."""

    error: str


Score = float | Failed | None


class RewardScores(Message):
    """What one reward says of the items, in their order."""

    version: str = Field(description="another one once the reward's code, package or settings are others")
    scores: list[Score]


class Timing(Message):
    """Where the seconds of a request went."""

    queue_s: float = Field(description="until the last of its items was taken up by a worker")
    score_s: float = Field(description="in workers, its batches one after another")
    total_s: float = Field(description="from its first byte to its answer")


class ScoreResponse(Message):
    """The scores of a request's items by each reward asked for, and how they were made."""

    version: int = VERSION
    request_id: str
    items: list[str] = Field(description="the ids of the items, in the order of the request and of all scores")
    rewards: dict[str, RewardScores]
    timing: Timing
    batches: list[int] = Field(description="items in each batch that held some of this request's")

    @model_validator(mode="after")
    def _fit(self) -> ScoreResponse:
        for name, reward in self.rewards.items():
            if len(reward.scores) != len(self.items):
                raise ValueError(f"'{name}' has {len(reward.scores)} scores for {len(self.items)} items")
        return self


class ErrorDetail(Message):
    """Why a request was not answered. `field` is its culprit as a path, such as items[3].completion.image."""

    code: str = Field(description="a word for programs, such as queue-full")
    message: str
    field: str | None = None
    retryable: bool = Field(description="whether the same request may be answered later")
    request_id: str


class ErrorResponse(Message):
    """The body of every answer with a status of 400 or more."""

    error: ErrorDetail


# --- what a server tells of itself ------------------------------------------------------------------


class Limits(Message):
    """What a server takes at most. Each is a refusal with a 4xx status that names the field, not a cut."""

    body_bytes: int = Field(64 * 2**20, description="of a request, headers not counted")
    items: int = Field(1024, description="of a request")
    pictures: int = Field(256, description="of a request")
    pixels: int = Field(2048 * 2048, description="of a picture")
    text: int = Field(100_000, description="characters of a prompt or of a completion that is text")
    columns: int = Field(64, description="of an item")
    column_values: int = Field(10_000, description="of all columns of an item, those within lists and objects counted")
    column_text: int = Field(200_000, description="characters of all columns of an item, names counted")
    column_depth: int = Field(8, description="lists and objects within one another")
    timeout_s: float = Field(300.0, description="seconds until an answer is given up")


class RewardInfo(Message):
    """A reward that a server has."""

    name: str
    version: str


class ServerInfo(Message):
    """What a server has and takes."""

    version: int = VERSION
    server: str = Field(description="program and version")
    rewards: list[RewardInfo]
    limits: Limits
    max_batch: int
    max_wait_s: float
    workers: int
    queue_items: int
