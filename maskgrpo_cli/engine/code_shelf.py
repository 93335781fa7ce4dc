"""Codes on disk: files that are written whole, named by a hash of their content, and never changed.

So any number of processes may read and write one folder, a file that is damaged is noticed, and what a run had done
when it was cut off is found by the next one.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from maskgrpo_cli.engine.whole_file import replace_whole

KEY = 16  # bytes of a key
LARGEST = 4096  # pictures in one file
EVERY = 30.0  # seconds of work that a killed process may lose


def hashed(*parts: str | bytes) -> bytes:
    """A key of `KEY` bytes; other parts give another."""
    digest = hashlib.blake2b(digest_size=KEY)
    for part in parts:
        raw = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "little") + raw)
    return digest.digest()


class Shelf:
    """The codes in one folder, by key.

    Args:
        folder: made when something is written.
        warn: called with a sentence where a file is damaged, or nothing can be written; then nothing is kept.
    """

    def __init__(self, folder: Path, warn: Callable[[str], None]):
        self.folder, self._warn = folder, warn
        self._keys: list[bytes] = []
        self._codes: list[np.ndarray] = []
        self._since = time.monotonic()
        self._useless = False

    def fill(self, places: Mapping[bytes, int], codes: np.ndarray) -> set[int]:
        """Put what is known into `codes` [K, L], each at the place of its key; returns the places filled."""
        filled: set[int] = set()
        for path in sorted(self.folder.glob("*.safetensors")):
            for name, row in zip(*self._read(path, codes.shape[1]), strict=True):
                place = places.get(name.tobytes())
                if place is not None:
                    codes[place] = row
                    filled.add(place)
        return filled

    def add(self, keys: list[bytes], codes: np.ndarray) -> None:
        """Take codes [n, L] in; they are written now and then, and by `flush`."""
        self._keys += keys
        self._codes.append(codes)
        if len(self._keys) >= LARGEST or time.monotonic() - self._since >= EVERY:
            self.flush()

    def flush(self) -> None:
        """Write what was taken in."""
        keys, codes, self._keys, self._codes = self._keys, self._codes, [], []
        if keys and not self._useless:
            names = np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(-1, KEY)
            self._write(save({"keys": names, "codes": np.concatenate(codes)}))
        self._since = time.monotonic()

    def _write(self, raw: bytes) -> None:
        name = _name(raw)
        try:
            replace_whole(self.folder / name, raw)
        except OSError as error:
            self._useless = True
            self._warn(f"image codes are not kept: {self.folder} cannot be written: {error.strerror}")

    def _read(self, path: Path, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Keys [n, 16] and codes [n, L] of a file; none where it is damaged, which is told, and it goes."""
        nothing = np.zeros((0, KEY), np.uint8), np.zeros((0, length), np.uint16)
        try:
            raw = path.read_bytes()
            found = load(raw) if _name(raw) == path.name else {}
            keys, codes = found["keys"], found["codes"]
            if keys.shape == (len(codes), KEY) and codes.shape[1:] == (length,):
                return keys, codes
        except FileNotFoundError:  # another process has found it damaged
            return nothing
        except (OSError, SafetensorError, KeyError):
            pass
        self._warn(f"{path} is damaged; its pictures are encoded anew")
        with contextlib.suppress(OSError):
            path.unlink()
        return nothing


def _name(raw: bytes) -> str:
    return f"{hashlib.blake2b(raw, digest_size=KEY).hexdigest()}.safetensors"
