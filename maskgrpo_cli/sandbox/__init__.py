"""Running programs that nobody trusts, and judging them by tests.

A program runs in a process of its own (`guest.candidate`); its tests run in another (`guest.tester`), which calls the
program's functions over a line that carries plain data only (`guest.wire`) and reports on a channel of which the
program has no end. Both are shut in, afresh for every program on its own side; times, output, memory and the number of
files are watched from outside (`pair`).

What is guaranteed, with `bubblewrap` and with `landlock` on Linux:

- The program sees a read-only system of /usr and this Python, an empty /tmp (its home), devices such as /dev/null, and
  its own processes. With `landlock` the names and sizes of other files can be asked for, not what is in them.
- No network, no sockets, no system calls that make namespaces, trace processes, mount, or keep memory outside the
  limits (on x86-64 and aarch64; other machines have no filter of system calls).
- It is never root of the host, even where the caller is. With it ends whatever it started; when the caller is killed,
  too. No file and no zombie stays.
- Limits on wall-clock and CPU time, memory of each process and of all, processes and threads, size and number of
  files, output. What passes one is `timeout` or `limit`. The memory of all processes together and the number of files
  are looked at ten times a second, the others kept by the kernel.
- The verdict: a test compares plain data, rebuilt by exact type, in a process where no line of the program ever ran.
  The program cannot see the tests or what they expect, or change a builtin, a module or a comparison there. The name
  of a builtin or of a standard module means the genuine one in tests, except where it is the one asked for (a task may
  ask for `sum`); names that the set-up defines come before the program's. No call ends an iteration of the test: its
  StopIteration arrives as a RuntimeError, except where tests name it.
- Objects of the program's own classes are handled by number. They equal no plain value, and no operator hands a plain
  value of the test over and takes plain data for an answer. What they say in place of a text, a set or a number
  (`f(2).isdigit()`) is not heard, unless the test made them of a class with a capital letter.

What is not:

- Where a test compares two objects of the program (`Point(1) == Point(1)`), calculates with them, or asks one a
  question (`stack.contains(3)`), the program's own class answers. A test that passed with such a comparison or
  calculation says so in `reason`.
- A name that a test neither defines nor imports is the program's, also when it is called `isclose`.
- Arguments are known to the program, of course: it can learn answers by heart from what it is called with. Lists, dicts
  and sets among them are changed as it changed them, also where a test goes on to use them.
- Tests see no memory of the program but through its functions; they cannot subclass its classes, and patching its
  module changes nothing there. Only what numbers, texts, containers, exceptions, iterators, functions, objects can do
  crosses; packages outside the standard library are not installed for either side.
- Faults of the kernel, of bwrap and of Python, and what can be learnt from timing.
- `--unsafe-local` keeps times and limits of single processes, and nothing else of the above but the way of judging.
- `docker` and `e2b` isolate by what these do; on their machine the tests and the program are two users. They were tried
  without a daemon and without an account only: the job that is sent there, and how its answer is read.
"""

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
