"""Running programs that nobody trusts, and judging them by tests."""

from __future__ import annotations

import importlib
import os
import shutil

from ..errors import UserError
from .limits import Limits

CLASSES = {
    "bubblewrap": (".bubblewrap", "Bubblewrap"),
    "landlock": (".landlock", "Landlock"),
    "docker": (".docker", "Docker"),
    "e2b": (".e2b", "E2b"),
}
AUTO = ("bubblewrap", "landlock")  # the first that works
REMOTE = ("docker", "e2b")
BACKENDS = ("auto", *CLASSES)
USER_NAMESPACES = ", with user namespaces allowed (sysctl kernel.unprivileged_userns_clone=1, or an AppArmor profile)"
INSTALL = "install bubblewrap (apt install bubblewrap, dnf install bubblewrap, pacman -S bubblewrap)"


def make(
    backend: str = "auto",
    *,
    timeout: float = 10.0,
    memory: int = 512,
    processes: int = 16,
    disk: int = 16,
    output: int = 1,
    workers: int | None = None,
    unsafe_local: bool = False,
):
    """An executor (`types.Executor`) on a backend, one of BACKENDS; it can be used as a context.

    `timeout` is in seconds for one test; `memory`, `disk` and `output` are in MiB for one program, `processes` counts
    threads too; `workers` programs run at a time (None: one per core). `unsafe_local` runs programs bare, with this
    user's rights, whatever the backend. Raises UserError where the backend cannot isolate, saying how to get one.
    """
    limits = Limits(timeout, memory, processes, disk, output)
    workers = workers or os.cpu_count() or 1
    if unsafe_local:
        from .unsafe_local import UnsafeLocal

        return local(UnsafeLocal(), limits, workers)
    if backend not in BACKENDS:
        raise UserError(f"sandbox.backend: {backend!r} is no backend; write one of {', '.join(BACKENDS)}")
    reasons = []
    for name in AUTO if backend == "auto" else (backend,):
        home, kind = CLASSES[name]
        try:
            made = getattr(importlib.import_module(home, __name__), kind)
            return made(limits, workers) if name in REMOTE else local(made(), limits, workers)
        except OSError as error:
            reasons.append(f"{name}: {error}")
    allowed = USER_NAMESPACES if shutil.which("bwrap") else ""
    raise UserError(
        f"no sandbox to run programs in ({'; '.join(reasons)}): {INSTALL}{allowed}, "
        "or pass --unsafe-local to run the model's programs with your own rights"
    )


def local(backend, limits: Limits, workers: int):
    """An executor on this machine."""
    from .executor import Local

    return Local(backend, limits, workers)
