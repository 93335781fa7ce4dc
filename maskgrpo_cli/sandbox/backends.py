"""How a guest process is started: behind bubblewrap, or bare."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Protocol

from .bundle import BOOT
from .limits import MIB, Limits
from .seccomp import filter_program
from .usage import children
from .users import INNER_USER, UserNamespace


class Backend(Protocol):
    """Starts guest processes; `fd` is the one descriptor that they get besides the three standard ones."""

    name: str
    isolates: bool

    def start(self, fd: int, limits: Limits, seconds: float, **streams) -> subprocess.Popen:
        """A process that runs the bundle which it reads from `fd`; killing it leaves nothing behind."""

    def close(self) -> None:
        """Let go of what all processes share."""


def interpreter() -> str:
    """The Python that runs guests: this one, outside any virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def guest_command(fd: int, settings: dict) -> list[str]:
    """The command line of a guest, which reads its code from the descriptor."""
    return [interpreter(), "-s", "-S", "-B", "-c", BOOT, str(fd), json.dumps(settings)]


PATIENCE = 5.0  # seconds for bwrap to end once its child did
ENVIRONMENT = {
    "HOME": "/tmp",
    "TMPDIR": "/tmp",
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
}


class Bubblewrap:
    """A fresh set of namespaces for every process, made by `bwrap`.

    Raises OSError where bwrap is missing.
    """

    name = "bubblewrap"
    isolates = True

    def __init__(self):
        path = shutil.which("bwrap")
        if path is None:
            raise FileNotFoundError("bwrap is not installed")
        self.path = path
        self.users = UserNamespace() if os.geteuid() == 0 else None
        self.filter = filter_program()
        self.mounts = system_mounts()

    def start(self, fd: int, limits: Limits, seconds: float, **streams) -> subprocess.Popen:
        """See `Backend`."""
        settings = limits.guest(seconds)
        fds = [fd]
        command = [self.path]
        if self.users is None:
            command += ["--unshare-user", "--uid", str(INNER_USER), "--gid", str(INNER_USER)]
        else:
            settings["user"] = INNER_USER
            command += ["--userns", str(self.users.fd), "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
            fds.append(self.users.fd)
        filter_fd = None
        if self.filter:
            filter_fd = self.filter_pipe()
            command += ["--seccomp", str(filter_fd)]
            fds.append(filter_fd)
        command += ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--hostname",
                    "sandbox", "--die-with-parent", "--new-session", "--as-pid-1", "--clearenv"]  # fmt: skip
        for name, value in {**ENVIRONMENT, "ALONE": "1"}.items():
            command += ["--setenv", name, value]
        command += self.mounts
        command += ["--perms", "1777", "--size", str(limits.disk * MIB), "--tmpfs", "/tmp", "--remount-ro", "/"]
        command += ["--chdir", "/tmp", "--", *guest_command(fd, settings)]
        try:
            return subprocess.Popen(command, pass_fds=fds, env={}, stdin=subprocess.DEVNULL, **streams)
        finally:
            if filter_fd is not None:
                os.close(filter_fd)

    def filter_pipe(self) -> int:
        """A descriptor from which bwrap reads the filter."""
        reader, writer = os.pipe()
        os.write(writer, self.filter)
        os.close(writer)
        return reader

    def close(self) -> None:
        """See `Backend`."""
        if self.users is not None:
            self.users.close()


def system_mounts() -> list[str]:
    """bwrap's options for a read-only system: /usr, this Python and the guests; no /home, /etc, /var, /run, /sys."""
    options = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/", name)
        if path.is_symlink():
            options += ["--symlink", os.readlink(path), str(path)]
        elif path.is_dir():
            options += ["--ro-bind", str(path), str(path)]
    options += ["--perms", "0755", "--dir", "/etc"]
    for name in ("/etc/ld.so.cache", "/etc/localtime"):
        options += ["--ro-bind-try", name, name]
    base = Path(interpreter()).parent.parent
    if not str(base).startswith("/usr") or str(base) == "/":
        for parent in reversed(base.parents):
            if str(parent) != "/":
                options += ["--perms", "0755", "--dir", str(parent)]
        options += ["--ro-bind", str(base), str(base)]
    options += ["--proc", "/proc", "--perms", "0755", "--dir", "/dev"]
    for name in ("null", "zero", "full", "random", "urandom"):
        options += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
    return options


def end(process: subprocess.Popen) -> None:
    """Kill a guest and all that it started, and wait until nothing of it is left.

    The guest is process 1 of its namespace: the kernel ends all others with it, before bwrap hears of it. Were bwrap
    killed instead, the guest would be an orphan until somebody reaps it.
    """
    until = time.monotonic() + PATIENCE
    while process.poll() is None:
        if isinstance(process, LocalProcess) or time.monotonic() > until:
            process.kill()
        for pid in [] if isinstance(process, LocalProcess) else children(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
    process.wait()


class UnsafeLocal:
    """Bare processes of this user with nothing but the system's limits: for code that is trusted."""

    name = "unsafe-local"
    isolates = False

    def start(self, fd: int, limits: Limits, seconds: float, **streams) -> subprocess.Popen:
        """See `Backend`."""
        settings = limits.guest(seconds)
        settings.pop("RLIMIT_NPROC")  # counts all processes of the user
        folder = tempfile.mkdtemp(prefix="maskgrpo-unsafe-")
        process = LocalProcess(
            guest_command(fd, settings), pass_fds=[fd], stdin=subprocess.DEVNULL, cwd=folder,
            env={**ENVIRONMENT, "HOME": folder, "TMPDIR": folder}, start_new_session=True, **streams,
        )  # fmt: skip
        process.folder = folder
        return process

    def close(self) -> None:
        """See `Backend`."""


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
