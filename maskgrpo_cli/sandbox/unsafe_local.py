"""Bare processes, for code that is trusted."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile

from .backends import ENVIRONMENT, guest_command
from .limits import Limits


class UnsafeLocal:
    """Bare processes of this user with nothing but the system's limits: for code that is trusted."""

    name = "unsafe-local"
    isolates = False
    extra = ()

    def start(self, role: str, fd: int, limits: Limits, seconds: float, **streams) -> subprocess.Popen:
        """See `Backend`."""
        settings = limits.guest(seconds)
        settings.pop("RLIMIT_NPROC")  # counts all processes of the user
        folder = tempfile.mkdtemp(prefix="maskgrpo-unsafe-")
        self.hand_over(role, settings, folder)
        process = LocalProcess(
            guest_command(fd, settings), pass_fds=[fd], stdin=subprocess.DEVNULL, cwd=folder,
            env={**ENVIRONMENT, "HOME": folder, "TMPDIR": folder}, start_new_session=True, **streams,
        )  # fmt: skip
        process.folder = folder
        return process

    def hand_over(self, role: str, settings: dict, folder: str) -> None:
        """Change what else a guest gets: nothing, here."""

    def close(self) -> None:
        """See `Backend`."""


class OtherUsers(UnsafeLocal):
    """Each role as a user of its own: inside a container that isolates, started by its root."""

    name = "other-users"
    users = {"candidate": 65533, "tester": 65532}

    def hand_over(self, role: str, settings: dict, folder: str) -> None:
        """The guest becomes its user, who owns its folder."""
        settings["user"] = self.users[role]
        os.chown(folder, settings["user"], settings["user"])


class LocalProcess(subprocess.Popen):
    """A process that is killed with its group, and whose folder goes with it."""

    folder = ""

    def kill(self) -> None:
        """Kill the process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """Wait, then empty what it left."""
        code = super().wait(timeout)
        shutil.rmtree(self.folder, ignore_errors=True)
        return code
