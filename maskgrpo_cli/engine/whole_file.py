"""Writing a file so that a reader, or a process that comes after a crash, sees the old one or the new one."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def replace_whole(path: Path, content: bytes) -> None:
    """Write a file, and the folders above it.

    Raises:
        OSError: the disk is full or not writable; the old file is untouched, and nothing else is left.
    """
    partial = path.with_name(f".{path.name[:64]}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
