"""Pictures of data sets that the `datasets` library reads: of the hub, or .parquet files in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from maskgrpo_cli.domains.pictures import TAKE_OUT, Stored, open_picture
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.tasks.hub import Hub, media_columns, read_hub
from maskgrpo_cli.tasks.pictures.entries import Entry, picture_column


@dataclass(frozen=True)
class HubPicture:
    """The picture of one row; its bytes are read when they are asked for."""

    rows: Any = field(repr=False, compare=False)  # a datasets.Dataset with this one column, not decoded
    column: str
    index: int
    place: str
    name: str
    fingerprint: str  # of the data set: another one once its content is another

    def read(self) -> bytes:
        """The bytes of the picture's file; raises UserError where the row has none."""
        value = self.rows[self.index][self.column]
        if isinstance(value, dict):  # an Image of the library: its bytes, or where they lie
            value, path = value.get("bytes"), value.get("path")
            if value is None and path:
                return Stored(path, self.name).read()
        if not isinstance(value, bytes):
            raise UserError(f"{self.place}: the column '{self.column}' holds no picture\n  {TAKE_OUT}")
        return value

    def identity(self) -> str:
        """The data set's fingerprint and the row."""
        return f"{self.fingerprint} {self.column} {self.index}"

    def __call__(self) -> Image.Image:
        """The picture, as `open_picture` gives it."""
        return open_picture(self)

    def __str__(self) -> str:
        return self.name


def read_hub_pictures(hub: Hub, split: str, task: str, offline: bool, column: str | None) -> Iterator[Entry]:
    """The rows of a split; no picture is read.

    Args:
        column: that of the pictures; None: the one that the data set declares as an image, or one of the usual names.

    Raises:
        UserError: the data set is not to be had, or has no such column.
    """
    rows = read_hub(hub, split, task, offline)
    declared = [name for name, kind in media_columns(rows).items() if kind == "Image"]
    if column is None and declared:
        column = declared[0]
    column = picture_column(hub.repository, rows.column_names, column)
    pictures = rows.select_columns([column])
    if column in declared:
        import datasets

        pictures = pictures.cast_column(column, datasets.Image(decode=False))
    texts = rows.remove_columns(sorted({column, *media_columns(rows)}))
    for index in range(len(rows)):
        row = texts[index] if texts.column_names else {}
        place, key = f"{hub.repository}, row {index + 1} of {split}", f"{split}-{index}"
        yield Entry(place, key, row, HubPicture(pictures, column, index, place, key, rows._fingerprint))
