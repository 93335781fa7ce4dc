"""Rows from .jsonl, .json, .csv and .txt files, plain or gzipped."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

from maskgrpo_cli.errors import UserError

FORMATS = (".jsonl", ".json", ".csv", ".txt")
LINE = "prompt"  # the column of what is text and no row: the lines of a .txt, strings in a .json
Placed = tuple[str, dict[str, Any]]


def is_file(data: str) -> bool:
    """Whether `data` means a file and not a hub id: it exists, or its name ends or begins like a path."""
    like_a_path = data.startswith((".", "/", "~")) or data.endswith((".gz", *FORMATS))
    return like_a_path or Path(data).exists()


def read_rows(data: str) -> list[dict[str, Any]]:
    """The rows of a file, in its order; raises UserError like `read_placed_rows`."""
    return [row for _, row in read_placed_rows(data)]


def read_placed_rows(data: str) -> list[tuple[str, dict[str, Any]]]:
    """The rows of a file, in its order, each with where it stands: the file and the line or item.

    A line of text, or a string where a row could stand, is a row with the one column `prompt`.

    Raises UserError where the file is missing, is of another kind, cannot be decoded, or holds a row that is
    no object; the message names the file and the line.
    """
    path = Path(data).expanduser()
    if not path.is_file():
        raise UserError(f"{data}: there is no such file" + (" (it is a folder)" if path.is_dir() else ""))
    if _format(data) not in FORMATS:
        raise UserError(f"{data}: a data file ends in .jsonl, .json, .csv or .txt, or in one of these and .gz")
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if data.endswith(".gz") else raw).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{data}: is not UTF-8 text ({error.reason} at byte {error.start})") from error
    except (OSError, EOFError) as error:  # gzip.BadGzipFile is an OSError
        raise UserError(f"{data}: cannot be read: {error}") from error
    rows = {".jsonl": _json_lines, ".json": _json, ".csv": _csv, ".txt": _lines}[_format(data)](data, text)
    if not rows:
        raise UserError(f"{data}: holds no rows")
    return rows


def _format(data: str) -> str:
    return Path(data[:-3] if data.endswith(".gz") else data).suffix.lower()


def _json_lines(data: str, text: str) -> list[Placed]:
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            where = f"{data}, line {number}"
            rows.append((where, _object(where, _parsed(where, line))))
    return rows


def _json(data: str, text: str) -> list[Placed]:
    value = _parsed(data, text)
    if not isinstance(value, list):
        raise UserError(f"{data}: a .json file holds a list of objects, not a {type(value).__name__}")
    places = (f"{data}, item {number}" for number in range(1, len(value) + 1))
    return [(where, _object(where, item)) for where, item in zip(places, value, strict=True)]


def _csv(data: str, text: str) -> list[Placed]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    rows = []
    try:
        for row in reader:
            if None in row or None in row.values():
                raise UserError(f"{data}, line {reader.line_num}: not as many fields as in the header")
            rows.append((f"{data}, line {reader.line_num}", row))
    except csv.Error as error:
        raise UserError(f"{data}, after line {reader.line_num}: {error}") from error
    return rows


def _lines(data: str, text: str) -> list[Placed]:
    numbered = enumerate(text.splitlines(), start=1)
    return [(f"{data}, line {number}", {LINE: line.strip()}) for number, line in numbered if line.strip()]


def _parsed(where: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: is not valid JSON: {error}") from error


def _object(where: str, value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {LINE: value}
    if not isinstance(value, dict):
        kind = type(value).__name__
        raise UserError(f'{where}: a row is an object, {{"column": value, ...}}, not a {kind}')
    return value
