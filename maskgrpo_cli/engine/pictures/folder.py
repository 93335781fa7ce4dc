"""Where pictures are written: into a new folder, whole or not at all, and never over what is there."""

from __future__ import annotations

import itertools
import os
import re
import time
import unicodedata
from pathlib import Path

from maskgrpo_cli.engine.whole_file import replace_whole
from maskgrpo_cli.errors import UserError

SAMPLES = "samples"
_LONGEST = 48  # letters of a name made from a prompt


def slug(text: str) -> str:
    """A prompt as part of a file's name: `A red circle, left` -> `a-red-circle-left`."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    words = re.findall(r"[a-z0-9]+", plain)
    while len(words) > 1 and len("-".join(words)) > _LONGEST:
        words.pop()
    return "-".join(words)[:_LONGEST] or "picture"


def new_folder(prompt: str) -> Path:
    """`samples/<prompt>-<time>`, where nothing lies yet."""
    return free(Path(SAMPLES) / f"{slug(prompt)}-{time.strftime('%Y%m%d-%H%M%S')}")


def free(path: Path, taken: set[Path] | None = None) -> Path:
    """`path`, or where something lies there already `path` with -2, -3, ... before its ending.

    What is in `taken` counts as being there; the answer joins it.
    """
    taken = set() if taken is None else taken
    numbered = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in itertools.count(2))
    found = next(one for one in itertools.chain([path], numbered) if one not in taken and not os.path.lexists(one))
    taken.add(found)
    return found


def check_writable(folder: Path, option: str) -> None:
    """Raises UserError where no file can be written to `folder`, be it there or not; changes nothing."""
    for place in (folder, *folder.absolute().parents):
        try:
            if place.is_dir():
                if os.access(place, os.W_OK | os.X_OK):
                    return
                raise UserError(f"{option} {folder}: nothing can be written to {place}; choose another folder")
            if os.path.lexists(place):
                raise UserError(f"{option} {folder}: {place} is no folder; choose another name")
        except OSError as error:
            raise UserError(f"{option} {folder}: {error.strerror}; choose another folder") from error


def write(path: Path, content: bytes) -> Path:
    """Write a file so that a reader sees nothing or all of it.

    Raises:
        UserError: the disk is full, or not writable; nothing of the file is left.
    """
    try:
        replace_whole(path, content)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error
    return path
