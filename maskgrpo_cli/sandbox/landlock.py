"""The backend where bwrap is missing: guests shut themselves in, by namespaces and Landlock."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from .backends import ENVIRONMENT, guest_command, interpreter, start_up
from .limits import MIB, Limits
from .seccomp import filter_program
from .users import HOST_USER, INNER_USER


class Landlock:
    """Namespaces, read-only mounts and Landlock rules around every process (Linux 5.13 and newer).

    Raises OSError where the system does not have or not allow them.
    """

    name = "landlock"
    isolates = True
    extra = ("jail",)

    def __init__(self):
        base = str(Path(interpreter()).parent.parent)
        self.read = ["/usr", "/bin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/localtime", base]
        self.filter = filter_program().hex()
        start_up(self)

    def start(self, role: str, fd: int, limits: Limits, seconds: float, **streams) -> subprocess.Popen:
        """See `Backend`."""
        jail = {
            "root": os.geteuid() == 0, "user": INNER_USER, "host_user": HOST_USER, "filter": self.filter,
            "disk": limits.disk * MIB, "entries": limits.entries, "read": self.read, "caller": os.getpid(),
        }  # fmt: skip
        settings = {**limits.guest(seconds), "jail": jail}
        return subprocess.Popen(
            guest_command(fd, settings), pass_fds=[fd], stdin=subprocess.DEVNULL, cwd="/", start_new_session=True,
            env={**ENVIRONMENT, "ALONE": "1"}, **streams,
        )  # fmt: skip

    def close(self) -> None:
        """See `Backend`."""
