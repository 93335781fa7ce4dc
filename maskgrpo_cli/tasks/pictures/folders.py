"""Folders of pictures: captions beside them, tables that name them (Hugging Face's imagefolder), or tars."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from maskgrpo_cli.domains.pictures import ENDINGS, Stored
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.tasks.pictures.entries import CAPTION_ENDINGS, Entry, read_table, row_of
from maskgrpo_cli.tasks.pictures.tars import read_tar

TABLES = ("metadata.jsonl", "metadata.csv", "captions.jsonl", "captions.csv")
SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval"),
}


def read_folder(folder: Path, root: Path, column: str | None) -> Iterator[Entry]:
    """What a folder holds, in the order of the names: of each folder its tars, its tables' rows, then other pictures.

    A picture `x.jpg` has its caption in `x.txt` or `x.caption`, or columns in `x.json`, unless a table names it.

    Args:
        root: what keys are relative to.
        column: the tables' column of the picture; None: one of the usual names.

    Raises:
        UserError: a folder or file cannot be read.
    """
    named: set[str] = set()
    for directory, files in _walk(folder):
        for name in files:
            if name.lower().endswith(".tar"):
                yield from read_tar(directory / name, (directory / name).relative_to(root).as_posix())
        for name in TABLES:
            for entry in read_table(directory / name, root, column) if name in files else ():
                if isinstance(entry.picture, Stored):
                    named.add(os.path.normpath(entry.picture.path))
                yield entry
        yield from _pairs(directory, files, root, named)


def split_folders(folder: Path) -> dict[str, Path]:
    """Split -> its folder, of a folder that holds nothing but folders with the names of splits; else empty."""
    below = [entry for entry in sorted(folder.iterdir()) if not _is_hidden(entry.name)]
    known = {name: split for split, names in SPLITS.items() for name in names}
    if not all(entry.name.lower() in known and entry.is_dir() for entry in below):
        return {}
    return {known[entry.name.lower()]: entry for entry in below}


def holds_parquet(folder: Path) -> bool:
    """Whether .parquet files lie in it or in its folders, as in a data set of the hub that was fetched whole."""
    return any(next(folder.glob(pattern), None) for pattern in ("*.parquet", "*/*.parquet"))


def _pairs(directory: Path, files: list[str], root: Path, named: set[str]) -> Iterator[Entry]:
    parts: dict[str, dict[str, Stored]] = {}
    pictures = []
    for name in files:
        stem, ending = os.path.splitext(name)
        part = Stored(str(directory / name), (directory / name).relative_to(root).as_posix())
        if ending.lower() in ENDINGS:
            pictures.append((stem, part))
        elif ending.lower() in (".json", *CAPTION_ENDINGS):
            parts.setdefault(stem, {})[ending.lower()] = part
    for stem, part in pictures:
        if os.path.normpath(part.path) not in named:
            yield Entry(part.path, part.name, row_of(parts.get(stem, {})), part)
    with_picture = {stem for stem, _ in pictures}
    for stem, found in parts.items():
        lonely = [found[ending] for ending in CAPTION_ENDINGS if ending in found and stem not in with_picture]
        for part in lonely[:1]:
            yield Entry(part.path, part.name, {}, None)


def _walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Every folder below with the names of its files, sorted; links are followed once, hidden things left out."""

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: cannot be read: {error.strerror}") from error

    seen: set[str] = set()
    for directory, below, files in os.walk(folder, followlinks=True, onerror=refuse):
        real = os.path.realpath(directory)
        below[:] = [] if real in seen else sorted(name for name in below if not _is_hidden(name))
        if real not in seen:
            yield Path(directory), sorted(name for name in files if not _is_hidden(name))
        seen.add(real)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
