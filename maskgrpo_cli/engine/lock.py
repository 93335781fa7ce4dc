"""One process writes a run: the system's own lock on a file in it, let go of however the process ends."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
from datetime import datetime
from pathlib import Path

from maskgrpo_cli.errors import UserError

NAME = ".lock"
_HELD = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}  # a file system that has none


class RunLock:
    """The right to write the run in `run`; the file says who has it.

    The lock dies with its process, so that a run which was killed can be continued at once. On a file system without
    locks the file's own word stands in: the process is looked for, and one of another machine is believed.
    """

    def __init__(self, run: Path):
        self.path = Path(run) / NAME
        self._handle: int | None = None

    def take(self) -> str | None:
        """Take the lock; the words of a process that had it and was killed, or None.

        Raises:
            UserError: another process is writing the run, or the directory cannot be written.
        """
        while self._handle is None:
            try:
                handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            except OSError as error:
                raise UserError(f"the run directory {self.path.parent} cannot be written: {error.strerror}") from error
            try:
                left = self._lock(handle)
            except BaseException:
                os.close(handle)
                raise
            if self._is_the_file(handle):
                self._handle = handle
            else:  # its last owner took the file away between our opening and locking it
                os.close(handle)
        self._write(handle)
        return _words(left) if left else None

    def release(self) -> None:
        """Let go; the file goes too."""
        if self._handle is not None:
            with contextlib.suppress(OSError):  # Windows keeps open files; the lock is what counts
                self.path.unlink()
            os.close(self._handle)
            self._handle = None

    def __enter__(self) -> RunLock:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def _lock(self, handle: int) -> dict:
        """Lock the open file; what its last owner wrote and did not take away."""
        try:
            lock_file(handle)
        except OSError as error:
            owner = _read(handle)
            if error.errno in _HELD or (error.errno in _NO_LOCKS and _alive(owner)):
                raise UserError(
                    f"{self.path.parent} is being written by {_words(owner)}\n"
                    f"  wait for it or stop it; if it is long gone, delete {self.path}"
                ) from error
            if error.errno not in _NO_LOCKS:
                raise UserError(f"{self.path} cannot be locked: {error.strerror}") from error
        return _read(handle)

    def _is_the_file(self, handle: int) -> bool:
        try:
            return os.path.samestat(os.fstat(handle), os.stat(self.path))
        except FileNotFoundError:
            return False

    def _write(self, handle: int) -> None:
        since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        text = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since})
        try:
            os.ftruncate(handle, 0)
            os.pwrite(handle, text.encode(), 0) if hasattr(os, "pwrite") else os.write(handle, text.encode())
        except OSError as error:
            self.release()
            raise UserError(f"the run directory {self.path.parent} cannot be written: {error.strerror}") from error


def busy(run: Path) -> bool:
    """Whether another process is writing the run now."""
    with contextlib.suppress(OSError), open(run / NAME, "r+") as file:
        try:
            lock_file(file.fileno())
        except OSError as error:
            return error.errno in _HELD or _alive(_read(file.fileno()))
    return False


def lock_file(handle: int) -> None:
    """Lock an open file for this process, or raise OSError at once."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        os.lseek(handle, 1 << 20, os.SEEK_SET)  # past the words, which others may read
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        return
    # of the process, not of the open file: a child that a reward leaves behind does not keep it
    fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _read(handle: int) -> dict:
    try:
        os.lseek(handle, 0, os.SEEK_SET)
        found = json.loads(os.read(handle, 4096) or b"{}")
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _alive(owner: dict) -> bool:
    """Whether the process that wrote the file may be at work; one of another machine may."""
    if owner.get("host") != socket.gethostname():
        return bool(owner)
    try:
        os.kill(int(owner["pid"]), 0)
    except (ProcessLookupError, KeyError, ValueError, TypeError):
        return False
    except OSError:  # somebody else's
        return True
    return True


def _words(owner: dict) -> str:
    if not owner:
        return "another process"
    return f"process {owner.get('pid')} on {owner.get('host')} since {owner.get('since')}"
