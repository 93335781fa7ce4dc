"""A task whose rows come with pictures: captions, or questions about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from maskgrpo_cli.domains.pictures import Reference
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.tasks.base import Row, TableTask, other_columns
from maskgrpo_cli.tasks.files import is_file
from maskgrpo_cli.tasks.hub import Hub, splits_of
from maskgrpo_cli.tasks.pictures.entries import Entry, read_table
from maskgrpo_cli.tasks.pictures.folders import holds_parquet, read_folder, split_folders
from maskgrpo_cli.tasks.pictures.hub import read_hub_pictures
from maskgrpo_cli.tasks.pictures.tars import is_pattern, read_tars, shards
from maskgrpo_cli.tasks.splits import chosen_split, is_in_split
from maskgrpo_cli.types import Problem

PICTURE = "picture"  # the column that every such task has besides its own
SOURCES = (
    "write a folder (x.jpg beside x.txt, or with a metadata.jsonl), tars such as shards/{00000..00012}.tar, a .jsonl, "
    ".json or .csv file with a column of paths, or a hub id"
)


@dataclass
class Lonely:
    """Pictures without texts and texts without pictures: how many, and one of each."""

    pictures: int = 0
    texts: int = 0
    picture: str = ""
    text: str = ""
    columns: list[str] = field(default_factory=list)  # of the first picture without a text

    def add(self, entry: Entry) -> None:
        """Count an entry that lacks one of them."""
        if entry.picture is None:
            self.texts, self.text = self.texts + 1, self.text or entry.key
        else:
            if not self.pictures:
                self.columns = list(entry.row)
            self.pictures, self.picture = self.pictures + 1, self.picture or entry.key


@dataclass(frozen=True)
class PictureProblem(Problem):
    """A problem with its picture: the one to be drawn, or the one that is asked about."""

    picture: Reference | None = None


@dataclass(frozen=True)
class PictureTask(TableTask):
    """Problems with a picture each; see `maskgrpo_cli.tasks.base.TableTask` for its other columns.

    The column `picture` of a table holds the path of one. Other columns are found by their names in any row.
    """

    said: str = "caption"  # what pictures come with, for messages
    asked: bool = False  # whether the picture belongs to the question; the turn then holds it as `picture`

    def load(
        self, data: str | None, split: str, *, columns: Mapping[str, str] | None = None, limit: int | None = None,
        offline: bool = False, seed: int = 0, warn: Callable[[str], None] | None = None,
    ) -> list[Problem]:
        """The first `limit` problems of a split, in the order of the source; pictures are opened later, one by one.

        A file, tars or a folder is taken whole, whatever `split` says, unless the folder holds nothing but folders
        named as splits. Where those, or a hub data set, lack `validation`, the training rows lend a twentieth.

        Args:
            warn: called with a sentence where pictures or texts have no counterpart and are left out.

        Raises:
            UserError: data are missing or cannot be read, columns are unknown, or no picture has its text.
        """
        wanted = self._wanted(columns or {})
        where, entries = self._entries(data, split, offline, (columns or {}).get(PICTURE))
        problems, rows, lonely, ids = [], [], Lonely(), Counter()
        for entry in entries:
            if limit is not None and len(problems) >= limit:
                break
            values = {column: _first(entry.row, names) for column, names in wanted.items()}
            if entry.picture is None or any(values[column] is None for column in self.needed):
                lonely.add(entry)
                continue
            for one in self.spread(values):
                ids[entry.key] += 1
                key = entry.key if ids[entry.key] == 1 else f"{entry.key}#{ids[entry.key]}"
                problems.append(self._made(entry, key, one))
                rows.append(entry.row)
        problems, rows = problems[:limit], rows[:limit]
        if not problems:
            raise UserError(self._nothing(where, lonely, wanted))
        if warn and (lonely.pictures or lonely.texts):
            warn(self._told(where, lonely))
        used = {name for names in wanted.values() for name in names}
        further = other_columns(rows, used) if self.others else [{}] * len(rows)
        return [
            replace(problem, columns={**other, **problem.columns})
            for problem, other in zip(problems, further, strict=True)
        ]

    def spread(self, values: Row) -> list[Row]:
        """The problems that one row stands for: itself."""
        return [values]

    # --- where rows come from -------------------------------------------------------------------------

    def _entries(self, data: str | None, split: str, offline: bool, column: str | None) -> tuple[str, Iterator[Entry]]:
        if data is None and self.hub is None:
            raise UserError(
                f"the task {self.name} has no data set of its own: pass --data, or set task.data\n  {SOURCES}"
            )
        path = None if data is None else Path(data).expanduser()
        if path is not None and path.is_dir():
            return self._folder(data, path, split, offline, column)
        if path is not None and is_pattern(data):
            return data, read_tars(shards(data))
        if path is not None and is_file(data):
            if not path.is_file():
                raise UserError(f"{data}: there is no such file or folder\n  {SOURCES}")
            return data, read_table(path, path.parent, column)
        try:
            return self._hub(self.hub_of(data), split, offline, column)
        except UserError as error:
            here = f"{data}: there is no such file or folder here, and " if data else ""
            raise UserError(f"{here}{error}") from error

    def _folder(
        self, data: str, path: Path, split: str, offline: bool, column: str | None
    ) -> tuple[str, Iterator[Entry]]:
        if holds_parquet(path):
            return self._hub(Hub(str(path)), split, offline, column)
        folders = split_folders(path)
        if not folders:
            return data, read_folder(path, path, column)
        have = [*folders]
        entries = read_folder(folders[chosen_split(split, have, data)], path, column)
        return data, (entry for entry in entries if is_in_split({"": entry.key}, split, have))

    def _hub(self, hub: Hub, split: str, offline: bool, column: str | None) -> tuple[str, Iterator[Entry]]:
        have = splits_of(hub, self.name, offline)
        chosen = chosen_split(split, have, hub.repository)
        entries = read_hub_pictures(hub, chosen, self.name, offline, column)
        return hub.repository, (entry for entry in entries if is_in_split(entry.row, split, have))

    # --- what a row says ------------------------------------------------------------------------------

    def _wanted(self, columns: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
        """The task's column -> the names that it may have in a row."""
        allowed = [*self.needed, *self.optional, PICTURE]
        for column in columns:
            if column not in allowed:
                raise UserError(f"task.columns.{column}: the task {self.name} has no such column; "
                                f"its columns: {', '.join(allowed)}")
        names = {column: (column, *self.needed.get(column, ())) for column in (*self.needed, *self.optional)}
        return names | {column: (name,) for column, name in columns.items() if column != PICTURE}

    def _made(self, entry: Entry, key: str, values: Row) -> PictureProblem:
        try:
            message, columns, target = self.build(values)
        except (TypeError, ValueError) as error:
            raise UserError(f"{entry.where}: cannot be read as a problem of {self.name}: {error}") from error
        turn = {"role": "user", "content": message} | ({"picture": entry.picture} if self.asked else {})
        return PictureProblem(f"{self.name}-{key}", (turn,), columns, target, entry.picture)

    def _nothing(self, where: str, lonely: Lonely, wanted: Mapping[str, tuple[str, ...]]) -> str:
        if lonely.pictures:
            first = next(iter(self.needed))
            has = f"; its columns: {', '.join(lonely.columns)}" if lonely.columns else ""
            return (
                f"{where}: {lonely.pictures} pictures, such as {lonely.picture}, and none has a {self.said}{has}\n"
                f"  needed: {' and '.join(' or '.join(wanted[column][:3]) for column in self.needed)}, in a "
                f"metadata.jsonl or a .json{' or .txt' if first == 'caption' else ''} beside each picture; other "
                f"columns are named in the recipe, task.columns: {{{first}: YOUR COLUMN}}"
            )
        if lonely.texts:
            return (
                f"{where}: {lonely.texts} rows or texts, and no picture to any of them, such as {lonely.text}\n"
                "  paths of pictures are relative to the file that names them; a text has the name of its picture"
            )
        return f"{where} holds no pictures for the task {self.name}\n  {SOURCES}"

    def _told(self, where: str, lonely: Lonely) -> str:
        parts = []
        if lonely.pictures:
            parts.append(f"{lonely.pictures} pictures without a {self.said} (such as {lonely.picture})")
        if lonely.texts:
            parts.append(f"{lonely.texts} texts without a picture (such as {lonely.text})")
        return f"{where}: {' and '.join(parts)} are left out"


def _first(row: Row, names: tuple[str, ...]) -> Any:
    """The first of these columns that holds something."""
    return next((row[name] for name in names if row.get(name) is not None and str(row[name]).strip()), None)
