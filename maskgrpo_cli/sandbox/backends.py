"""How a guest process is started and ended, whatever is around it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import Protocol

from .bundle import BOOT, bundle
from .limits import Limits
from .usage import children


class Backend(Protocol):
    """Starts guest processes; `fd` is the one descriptor that they get besides the three standard ones."""

    name: str
    isolates: bool  # the guest is the first process of a namespace, and the only child of what `start` returns
    extra: tuple[str, ...]  # modules that its guests need besides their own

    def start(self, role: str, fd: int, limits: Limits, seconds: float, **streams) -> subprocess.Popen:
        """A process that runs the bundle which it reads from `fd`; `role` is candidate or tester."""

    def close(self) -> None:
        """Let go of what all processes share."""


def interpreter() -> str:
    """The Python that runs guests: this one, outside any virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def guest_command(fd: int, settings: dict) -> list[str]:
    """The command line of a guest, which reads its code from the descriptor."""
    return [interpreter(), "-s", "-S", "-B", "-c", BOOT, str(fd), json.dumps(settings)]


START = 60.0  # seconds within which a guest has to stand
PATIENCE = 5.0  # seconds for bwrap to end once its child did
ENVIRONMENT = {
    "HOME": "/tmp",
    "TMPDIR": "/tmp",
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
}


def start_up(backend: Backend) -> None:
    """Start a guest and hear it, once; raises OSError with what the system said where that fails."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(bundle("tester", backend.extra))
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        process = backend.start("tester", theirs.fileno(), Limits(), START, **streams)
        theirs.close()
        ours.settimeout(START)
        try:
            heard = ours.recv(1)
        except (ConnectionError, TimeoutError):
            heard = b""
        end(process, backend.isolates)
        said = process.stderr.read().decode(errors="replace").strip()
        process.stderr.close()
    if not heard:
        raise PermissionError(said.splitlines()[-1] if said else "a guest did not start")


def end(process: subprocess.Popen, isolated: bool = True) -> None:
    """Kill a guest and all that it started, and wait until nothing of it is left.

    The guest is process 1 of its namespace: the kernel ends all others with it, before bwrap hears of it. Were bwrap
    killed instead, the guest would be an orphan until somebody reaps it.
    """
    until = time.monotonic() + PATIENCE
    while process.poll() is None:
        inner = children(process.pid) if isolated else []
        for pid in inner:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not isolated or time.monotonic() > until:
            process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
    process.wait()
