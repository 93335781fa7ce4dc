"""Image tokens of pictures, computed once and kept on disk.

A code is found again by what it came from: the image tokenizer's config and weights, how pictures are prepared for
it, and the picture's own key. Where any of these is another, nothing is found and the picture is encoded anew.
Shapes: N pictures, K of them distinct, L tokens a picture.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image
from torch import Tensor

from maskgrpo_cli.engine.code_shelf import Shelf, hashed
from maskgrpo_cli.engine.devices import gather_rows, share
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.modalities.image import ImageModality
from maskgrpo_cli.types import Problem, Task

PREPARATION = 1  # to be raised with any change in how `ImageModality.answers` scales and cuts pictures
NAMED = 5  # unreadable pictures named in one message

Warn = Callable[[str], None]
Progress = Callable[[int, int], None]


def picture_answers(
    modality: ImageModality, task: Task, problems: Sequence[Problem], length: int, folder: Path | None, **more: Any
) -> Tensor:
    """Image token ids [N, L] of the pictures that a task has of its problems; see `cached_answers`."""
    return cached_answers(
        modality,
        lambda place: picture_key(task, problems[place]),
        len(problems),
        lambda place: task.picture(problems[place]),
        length,
        folder,
        **more,
    )


def picture_key(task: Task, problem: Problem, index: int = 0) -> str | None:
    """What tells `task.picture(problem, index)` from every other picture; None where only its pixels do.

    A task that knows it without opening the picture says it with a method `picture_key(problem, index)`.
    """
    return task.picture_key(problem, index) if hasattr(task, "picture_key") else None


def code_folder(setting: str | None) -> Path | None:
    """The folder that `sft.code_cache` means: `auto` is maskgrpo/codes in $XDG_CACHE_HOME or ~/.cache; None: none."""
    if setting is None:
        return None
    if setting != "auto":
        return Path(setting).expanduser()
    base = Path(os.environ.get("XDG_CACHE_HOME") or "")  # to be ignored where it is relative, says its specification
    return (base if base.is_absolute() else Path.home() / ".cache") / "maskgrpo" / "codes"


def cached_answers(
    modality: ImageModality,
    key: Callable[[int], str | None],
    count: int,
    fetch: Callable[[int], Any],
    length: int,
    folder: Path | None,
    *,
    accelerator: Accelerator | None = None,
    warn: Warn | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Image token ids [N, L] int32 of `count` pictures: those of `modality.answers`.

    Pictures with equal keys are encoded once. The processes of an accelerator share the work, and all get all ids.

    Args:
        key: what tells picture i from every other (see `picture_key`); None: its pixels do.
        fetch: opens picture i; raises UserError where it cannot be.
        folder: where codes are kept; None: nowhere.
        warn: called with a sentence where the folder is of no use, or a file in it is damaged.
        progress: called with (pictures encoded, all that have to be) of this process; what it raises ends the work,
            and what was done is kept.

    Raises:
        UserError: pictures cannot be opened; names the first of them, once all others are encoded.
    """
    warn = warn if warn and (accelerator is None or accelerator.is_main_process) else lambda text: None
    unreadable: dict[int, str] = {}
    places, firsts, rows = _distinct(key, count, fetch, unreadable)
    codes = np.zeros((len(places), length), dtype=np.uint16 if modality.pictures.codebook_size <= 2**16 else np.int32)
    shelf = _shelf(modality, length, folder, warn)
    found = shelf.fill(places, codes) if shelf else set()
    missing = _of_all(accelerator, [place for place in places.values() if place not in found])
    mine = [missing[i] for i in share(accelerator, len(missing))] if accelerator else missing
    work = _Encoding(modality, length, fetch, codes, unreadable, shelf, [*places])
    work.carry_out([(place, firsts[place]) for place in mine], progress)
    _exchange(accelerator, codes, mine, unreadable)
    if unreadable:
        raise _refused(unreadable, count)
    return torch.from_numpy(codes[rows].astype(np.int32)) + modality.vocabulary.first


class _Encoding:
    """The work of one process: pictures opened, encoded and put on the shelf, batch by batch."""

    def __init__(self, modality, length, fetch, codes, unreadable, shelf: Shelf | None, keys: list[bytes]):
        self.modality, self.length, self.fetch, self.codes = modality, length, fetch, codes
        self.unreadable, self.shelf, self.keys = unreadable, shelf, keys

    def carry_out(self, work: list[tuple[int, int]], progress: Progress | None) -> None:
        """Encode pictures given as (place among the codes, number of a picture)."""
        size = self.modality.batch_size
        try:
            for start in range(0, len(work), size):
                self._batch(work[start : start + size])
                if progress:
                    progress(min(start + size, len(work)), len(work))
        finally:
            if self.shelf:
                self.shelf.flush()

    def _batch(self, work: list[tuple[int, int]]) -> None:
        places, pictures = [], []
        for place, number in work:
            try:
                pictures.append(self.fetch(number))
                places.append(place)
            except UserError as error:
                self.unreadable[number] = str(error)
        if pictures:
            ids = self.modality.answers(pictures, self.length)
            self.codes[places] = (ids - self.modality.vocabulary.first).numpy()
            if self.shelf:
                self.shelf.add([self.keys[place] for place in places], self.codes[places])


def _distinct(
    key: Callable[[int], str | None], count: int, fetch: Callable[[int], Any], unreadable: dict[int, str]
) -> tuple[dict[bytes, int], list[int], list[int]]:
    """Key -> place of each distinct picture, the number of a picture at each place, and the place of each number."""
    places: dict[bytes, int] = {}
    firsts, rows = [], []
    for number in range(count):
        try:
            given = key(number)
            name = hashed("key", given) if given is not None else _of_pixels(fetch(number))
        except UserError as error:
            unreadable[number] = str(error)
            continue
        place = places.setdefault(name, len(places))
        firsts += [number] if place == len(firsts) else []
        rows.append(place)
    return places, firsts, rows


def _of_pixels(picture: Any) -> bytes:
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(np.asarray(picture))
    return hashed("pixels", f"{image.mode} {image.size}", image.tobytes())


def _shelf(modality: ImageModality, length: int, folder: Path | None, warn: Warn) -> Shelf | None:
    """The codes of this tokenizer and preparation; None where none are kept."""
    pictures = modality.pictures
    if folder is None:
        return None
    if not hasattr(pictures, "state_dict"):
        warn(f"image codes are not kept: a {type(pictures).__name__} has no weights to know it by")
        return None
    config = pictures.config.to_dict() if hasattr(pictures, "config") else None
    facts = [type(pictures).__name__, config, PREPARATION, *modality.shape_of(length), pictures.factor]
    digest = hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16)
    for name, tensor in sorted(pictures.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return Shelf(folder / digest.hexdigest(), warn)


def _of_all(accelerator: Accelerator | None, missing: list[int]) -> list[int]:
    """What any process lacks: they may see another disk, or another run's files may have come between."""
    if accelerator is None:
        return missing
    return sorted(set().union(*gather_rows(accelerator, [missing])))


def _exchange(
    accelerator: Accelerator | None, codes: np.ndarray, mine: list[int], unreadable: dict[int, str]
) -> None:
    """Every process gets the codes of all, and what none could open."""
    if accelerator is None:
        return
    for places, values, bad in gather_rows(accelerator, [(mine, codes[mine], unreadable)]):
        codes[places] = values
        unreadable |= bad


def _refused(unreadable: dict[int, str], count: int) -> UserError:
    messages = [unreadable[number] for number in sorted(unreadable)]
    if len(messages) == 1:
        return UserError(messages[0])
    lines = [f"  {message.splitlines()[0]}" for message in messages[:NAMED]]
    more = [f"  and {len(messages) - NAMED} more"] if len(messages) > NAMED else []
    advice = messages[0].splitlines()[1:]
    return UserError("\n".join([f"{len(messages)} of {count} pictures cannot be read", *lines, *more, *advice]))
