"""Tars as the WebDataset format writes them: members `key.jpg` and `key.txt` or `key.json` belong together.

Nothing is unpacked: an index remembers where in the file each member lies, so that any picture is one read away.
"""

from __future__ import annotations

import glob
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

from maskgrpo_cli.domains.pictures import ENDINGS, Stored
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.tasks.pictures.entries import CAPTION_ENDINGS, Entry, row_of

MOST_SHARDS = 100_000
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


def is_pattern(data: str) -> bool:
    """Whether `data` means tars: by their ending, or as a pattern such as `shards/{00000..00012}.tar`."""
    if data.lower().endswith((".tar", *COMPRESSED)):
        return True
    return bool(re.search(r"[{*?]", data)) and not os.path.exists(os.path.expanduser(data))


def shards(data: str) -> list[Path]:
    """The tars that a path or pattern means: braces are ranges or choices, as in a shell, `*` and `?` match names.

    Raises:
        UserError: some are missing, or none matches.
    """
    given = str(Path(data).expanduser())
    names = [given] if os.path.exists(given) else expand(given)
    found: list[str] = []
    for name in names:
        matched = sorted(glob.glob(name)) if re.search(r"[*?]", name) and not os.path.exists(name) else [name]
        found += matched
    missing = [name for name in found if not os.path.isfile(name)]
    if not found:
        raise UserError(f"{data}: no file matches")
    if missing:
        raise UserError(f"{data}: {len(missing)} of {len(found)} files are missing, such as {missing[0]}")
    return [Path(name) for name in found]


def expand(pattern: str) -> list[str]:
    """The words of a pattern with braces: `{08..11}` is 08, 09, 10, 11, `{a,b}` is a, b.

    Raises:
        UserError: they are more than `MOST_SHARDS`.
    """
    words = [""]
    for text, inside in re.findall(r"([^{}]+)|\{([^{}]*)\}", pattern):
        choices = [text] if text else _choices(inside)
        if len(words) * len(choices) > MOST_SHARDS:
            raise UserError(f"{pattern}: means more than {MOST_SHARDS} files; write a shorter range")
        words = [word + choice for word in words for choice in choices]
    return words


def _choices(inside: str) -> list[str]:
    numbers = re.fullmatch(r"(\d{1,18})\.\.(\d{1,18})", inside)
    if numbers is None:
        return inside.split(",") if "," in inside else [f"{{{inside}}}"]
    first, last = int(numbers[1]), int(numbers[2])
    padded = any(len(number) > 1 and number.startswith("0") for number in numbers.groups())
    width, step = max(map(len, numbers.groups())) if padded else 0, 1 if last >= first else -1
    count = min(abs(last - first), MOST_SHARDS) + 1  # no longer list is made than is refused
    return [f"{first + step * place:0{width}d}" for place in range(count)]


def read_tars(paths: list[Path]) -> Iterator[Entry]:
    """The samples of several tars, one tar after another; keys begin with a tar's path below what all share."""
    root = os.path.commonpath([path.absolute().parent for path in paths])
    for path in paths:
        yield from read_tar(path, os.path.relpath(path.absolute(), root).replace(os.sep, "/"))


def read_tar(path: Path, name: str) -> Iterator[Entry]:
    """The samples of one tar, in the order in which their keys first come.

    Members that are no plain files are passed over. Of two members with one name the later counts, as in tar itself.

    Raises:
        UserError: the tar is compressed, damaged or cut off, or a sample's text cannot be read.
    """
    if path.name.lower().endswith(COMPRESSED):
        raise UserError(f"{path}: is compressed, so that no picture can be read alone; unpack it once to a plain .tar")
    for parts in _samples(path, name).values():
        pictures = [parts[ending] for ending in ENDINGS if ending in parts]
        texts = [parts[ending] for ending in (".json", *CAPTION_ENDINGS) if ending in parts]
        if pictures:
            yield Entry(pictures[0].place, pictures[0].name, row_of(parts), pictures[0])
        elif texts:
            yield Entry(texts[0].place, texts[0].name, {}, None)


def _samples(path: Path, name: str) -> dict[str, dict[str, Stored]]:
    """Key -> ending -> where it lies. A key ends at the first dot of the member's own name."""
    samples: dict[str, dict[str, Stored]] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # a large tar's list of members would stay in memory
                folder, _, own = member.name.rpartition("/")
                stem, dot, ending = own.partition(".")
                if member.isreg() and not member.issparse() and stem and dot:
                    key = f"{folder}/{stem}" if folder else stem
                    part = Stored(str(path), f"{name}/{member.name}", member.offset_data, member.size, member.name)
                    samples.setdefault(key, {})[f".{ending.lower()}"] = part
            _check_end(tar)
    except (tarfile.TarError, OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as a tar: {error}\n  fetch it again, or take it out") from error
    return samples


def _check_end(tar: tarfile.TarFile) -> None:
    """Raises ReadError where the members end in something else than an end: tarfile passes over it."""
    tar.fileobj.seek(tar.offset)
    block = tar.fileobj.read(tarfile.BLOCKSIZE)
    if block.strip(b"\0") or len(block) not in (0, tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"it is damaged or cut off at byte {tar.offset}")
