"""A picture with what is said about it, whatever it was found in; and the rows of tables that name pictures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskgrpo_cli.domains.pictures import Reference, Stored
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.tasks.files import read_placed_rows

PICTURE_COLUMNS = ("picture", "file_name", "image", "img", "jpg", "jpeg", "png", "webp", "image_path", "path")
CAPTION_ENDINGS = (".caption", ".txt")  # the later one counts where there are both
LONGEST_TEXT = 2**20  # bytes of a caption or of what a .json says of one picture


@dataclass(frozen=True)
class Entry:
    """One picture with its row; without a picture the row is of no use and may be empty."""

    where: str  # for messages
    key: str  # the same wherever the data lie and however much of them is read
    row: Mapping[str, Any]
    picture: Reference | None


def read_table(file: Path, root: Path, column: str | None) -> Iterator[Entry]:
    """The rows of a file; the column of the picture holds its path, as seen from the file's folder.

    Args:
        root: what keys are relative to.
        column: that of the picture; None: one of `PICTURE_COLUMNS`.

    Raises:
        UserError: the file cannot be read, or has no such column.
    """
    name = None
    for where, row in read_placed_rows(str(file)):
        name = name or picture_column(str(file), list(row), column)
        given = row.get(name)
        if given is not None and not isinstance(given, str):
            raise UserError(f"{where}: the column '{name}' holds the path of a picture, not {given!r:.60}")
        path = file.parent / Path(given or "").expanduser()
        key = _relative(path, root) if given else f"row of {file.name}"
        picture = Stored(str(path), key) if given and path.is_file() else None
        yield Entry(where, key, {other: value for other, value in row.items() if other != name}, picture)


def picture_column(where: str, found: Sequence[str], column: str | None) -> str:
    """The column that holds the pictures; raises UserError where there is none."""
    names = PICTURE_COLUMNS if column is None else (column,)
    name = next((name for name in names if name in found), None)
    if name is None:
        wanted = "no column with a picture" if column is None else f"no column '{column}'"
        raise UserError(
            f"{where} has {wanted}; it has: {', '.join(found)}\n"
            "  name it in the recipe, task.columns: {picture: YOUR COLUMN}"
        )
    return name


def row_of(parts: Mapping[str, Stored]) -> dict[str, Any]:
    """What files beside a picture say of it, by their endings: a .json its columns, a .txt or .caption the caption.

    Raises:
        UserError: they cannot be read, or are no UTF-8 text or no JSON object.
    """
    row: dict[str, Any] = {}
    if ".json" in parts:
        row |= _object(parts[".json"])
    for ending in CAPTION_ENDINGS:
        if ending in parts:
            row["caption"] = _text(parts[ending])
    return row


def _text(part: Stored) -> str:
    try:
        return part.read(LONGEST_TEXT).decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise UserError(f"{part.place}: is not UTF-8 text ({error.reason} at byte {error.start})") from error


def _object(part: Stored) -> dict[str, Any]:
    try:
        found = json.loads(_text(part))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{part.place}: is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise UserError(f'{part.place}: holds an object, {{"caption": ...}}, not a {type(found).__name__}')
    return found


def _relative(path: Path, root: Path) -> str:
    try:
        return path.relative_to(root).as_posix()
    except ValueError:  # it lies elsewhere
        return path.as_posix()
