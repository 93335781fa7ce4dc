"""From the bytes of a request to samples: JSON or a multipart form, checked against the limits. Touches no network."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import from_json
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from maskgrpo_cli.domains.scoring_protocol import (
    REQUEST_PART,
    ImageCompletion,
    Item,
    Limits,
    PartCompletion,
    ScoreRequest,
)
from maskgrpo_cli.server import pictures
from maskgrpo_cli.server.frames import Raw
from maskgrpo_cli.server.refusals import Refused, invalid

JSON, FORM = "application/json", "multipart/form-data"
STRUCTURE = 4_000_000
"""Commas and opening brackets of a request's JSON, within texts too: each may cost a hundred times its byte in memory,
and `[[],[],...]` does. Pictures in base64 have none."""
KEYS = 16
"""Keys of an object, and names of rewards: a request has at most four of the former outside its columns."""
TOLD = 3  # mistakes of a request that are told
_UNIONS = ("text", "image", "part")  # how pydantic names the kinds of completion within a path


class Parsed(NamedTuple):
    """A request of N items that can be carried out."""

    rewards: list[str]  # in the server's order
    ids: list[str]  # N
    samples: list[Raw]  # N
    paths: list[str]  # N: where the completion of each sample was
    timeout: float  # seconds


def check_media_type(content_type: str) -> str:
    """`application/json` or `multipart/form-data`; raises Refused (415) for anything else."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in (JSON, FORM):
        raise Refused(415, "media-type", f"write Content-Type: {JSON}, or {FORM}", "Content-Type", close=True)
    return kind


def parse(body: bytes, content_type: str, limits: Limits, known: Collection[str]) -> Parsed:
    """The samples of a request's body. Raises Refused, naming the field.

    Args:
        body: as it came.
        content_type: the header; of JSON or of a form.
        limits: what is taken at most.
        known: the names of rewards.
    """
    parts: dict[str, bytes] = {}
    if check_media_type(content_type) == FORM:
        parts = read_form(body, content_type, limits.pictures + 1)
        if REQUEST_PART not in parts:
            raise invalid(REQUEST_PART, f"the form has no part '{REQUEST_PART}', which holds the JSON")
        body = parts.pop(REQUEST_PART)
    request = _validated(body, limits, known)
    for name in request.rewards or ():
        if name not in known:
            raise invalid("rewards", f"there is no reward '{name[:80]}'; there are: {', '.join(known)}")
    _check_pictures(request, limits)
    samples, paths = [], []
    for index, item in enumerate(request.items):
        path = f"items[{index}]"
        _check_texts(item, path, limits)
        samples.append(Raw(item.prompt, _completion(item, path, parts, limits), item.columns))
        kind = next(iter(type(item.completion).model_fields))
        paths.append(f"{path}.completion.{kind}")
    if parts:
        raise invalid(next(iter(parts))[:200], "no completion names this part of the form, or one did already")
    rewards = [name for name in known if request.rewards is None or name in request.rewards]
    timeout = min(request.timeout_s or limits.timeout_s, limits.timeout_s)
    return Parsed(rewards, request.ids(), samples, paths, timeout)


def read_form(body: bytes, content_type: str, most: int) -> dict[str, bytes]:
    """The parts of a multipart form by name. Raises Refused where it is damaged or has more than `most` parts."""
    parts: dict[str, bytearray] = {}
    header: list[bytearray] = [bytearray(), bytearray()]  # name and value, as far as they were read
    disposition: list[bytes] = []
    current: list[bytearray] = []
    ended: list[bool] = []

    def end_header() -> None:
        if bytes(header[0]).lower() == b"content-disposition":
            disposition.append(bytes(header[1]))
        header[0], header[1] = bytearray(), bytearray()

    def end_headers() -> None:
        options = parse_options_header(disposition[-1])[1] if disposition else {}
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if not name or name in parts:
            raise invalid(name[:200] or "body", "every part of a form has a name, and no two the same")
        if len(parts) >= most:
            raise Refused(413, "too-many-parts", f"a form has at most {most} parts", "body")
        parts[name] = bytearray()
        current.append(parts[name])
        disposition.clear()

    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise Refused(400, "malformed", "the form has no boundary", "Content-Type")
    callbacks = {
        "on_header_field": lambda data, start, end: header[0].extend(data[start:end]),
        "on_header_value": lambda data, start, end: header[1].extend(data[start:end]),
        "on_header_end": end_header,
        "on_headers_finished": end_headers,
        "on_part_data": lambda data, start, end: current[-1].extend(data[start:end]),
        "on_end": lambda: ended.append(True),
    }
    try:
        parser = MultipartParser(boundary, callbacks)
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise Refused(400, "malformed", f"the form cannot be read: {error}"[:300], "body") from error
    if not ended:
        raise Refused(400, "malformed", "the form is cut off: its last boundary is missing", "body")
    return {name: bytes(part) for name, part in parts.items()}


def _validated(body: bytes, limits: Limits, known: Collection[str]) -> ScoreRequest:
    if sum(body.count(sign) for sign in (b",", b"[", b"{")) > STRUCTURE:
        raise Refused(413, "too-many-values", f"a request holds at most {STRUCTURE} commas and brackets", "body")
    try:
        _check_counts(from_json(body), limits, known)
        return ScoreRequest.model_validate_json(body)  # once more, for its words are those of JSON
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
    except ValueError as error:
        raise Refused(400, "malformed", f"Invalid JSON: {error}"[:300], "body") from error
    more = [f"and {len(found) - TOLD} more mistakes"] if len(found) > TOLD else []
    told = [f"{path_of(one['loc'])}: {one['msg'].removeprefix('Value error, ')[:300]}" for one in found[:TOLD]]
    raise invalid(path_of(found[0]["loc"]), "; ".join(told + more))


def _check_counts(given: Any, limits: Limits, known: Collection[str]) -> None:
    """Raises Refused for more items or keys than are taken, before each of them is a mistake of a kilobyte."""
    if not isinstance(given, dict):
        return
    items, rewards = given.get("items"), given.get("rewards")
    objects = [("body", given, KEYS)]
    if isinstance(rewards, list):
        objects.append(("rewards", rewards, max(KEYS, len(known))))
    if isinstance(items, list):
        if len(items) > limits.items:
            why = f"{len(items)} items; at most {limits.items} are taken"
            raise Refused(413, "too-many-items", why, "items")
        for index, item in enumerate(items):
            if isinstance(item, dict):
                objects.append((f"items[{index}]", item, KEYS))
                objects.append((f"items[{index}].completion", item.get("completion"), KEYS))
                objects.append((f"items[{index}].columns", item.get("columns"), limits.columns))
    for path, value, most in objects:
        if isinstance(value, (dict, list)) and len(value) > most:
            raise invalid(path, f"there are {len(value)}; at most {most} are taken")


def path_of(location: tuple[int | str, ...]) -> str:
    """`items[3].completion.image` of pydantic's path, without what it says of unions."""
    path = ""
    for index, part in enumerate(location):
        before = location[index - 1] if index else None
        if before == "completion" and part in _UNIONS and index + 1 < len(location):
            continue
        path += f"[{part}]" if isinstance(part, int) else f".{part[:80]}"
    return path.removeprefix(".") or "body"


def _check_pictures(request: ScoreRequest, limits: Limits) -> None:
    shown = sum(isinstance(item.completion, (ImageCompletion, PartCompletion)) for item in request.items)
    if shown > limits.pictures:
        raise Refused(413, "too-many-pictures", f"{shown} pictures; at most {limits.pictures} are taken", "items")


def _check_texts(item: Item, path: str, limits: Limits) -> None:
    texts = {"prompt": item.prompt, "completion.text": getattr(item.completion, "text", "")}
    for name, text in texts.items():
        if len(text) > limits.text:
            raise invalid(f"{path}.{name}", f"it has {len(text)} characters; at most {limits.text} are taken")
    check_columns(item.columns, f"{path}.columns", limits)


def check_columns(columns: Mapping[str, Any], path: str, limits: Limits) -> None:
    """Raises Refused for columns that are too many, too large or too deep, and for numbers that are not finite."""
    if len(columns) > limits.columns:
        raise invalid(path, f"there are {len(columns)}; at most {limits.columns} are taken")
    values = text = 0
    for name, column in columns.items():
        where, waiting = f"{path}.{name[:80]}", [(name, 0), (column, 1)]
        while waiting:
            value, depth = waiting.pop()
            values += 1
            text += len(value) if isinstance(value, str) else 0
            if isinstance(value, float) and not math.isfinite(value):
                raise invalid(where, "a number is not finite")
            if isinstance(value, (list, dict)):
                if depth > limits.column_depth:
                    raise invalid(where, f"lists and objects lie more than {limits.column_depth} deep in one another")
                if values + len(value) > limits.column_values:
                    raise invalid(where, f"the columns of an item hold more than {limits.column_values} values")
                inner = value if isinstance(value, list) else [*value, *value.values()]
                waiting += [(one, depth + 1) for one in inner]
        if values > limits.column_values:
            raise invalid(where, f"the columns of an item hold more than {limits.column_values} values")
        if text > limits.column_text:
            raise invalid(where, f"the columns of an item hold more than {limits.column_text} characters")


def _completion(item: Item, path: str, parts: dict[str, bytes], limits: Limits) -> str | bytes:
    completion = item.completion
    if isinstance(completion, PartCompletion):
        path = f"{path}.completion.part"
        if completion.part not in parts:
            raise invalid(path, f"there is no part '{completion.part[:80]}' in a form, or one named it already")
        raw = parts.pop(completion.part)
    elif isinstance(completion, ImageCompletion):
        path = f"{path}.completion.image"
        try:
            raw = base64.b64decode(completion.image, validate=True)
        except (binascii.Error, ValueError) as error:
            raise invalid(path, f"it is not base64: {error}") from error
    else:
        return completion.text
    try:
        pictures.check_size(pictures.size_of(raw), limits.pixels)
    except pictures.NotAPicture as error:
        raise invalid(path, str(error)) from error
    return raw
