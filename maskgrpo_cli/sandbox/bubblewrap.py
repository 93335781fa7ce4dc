"""The default backend: every guest in namespaces of its own, made by `bwrap`."""

from __future__ import annotations

import os
import shutil
import subprocess
import weakref
from pathlib import Path

from .backends import ENVIRONMENT, guest_command, interpreter, start_up
from .limits import MIB, Limits
from .seccomp import filter_program
from .users import INNER_USER, UserNamespace

NAMESPACES = ("--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try",
              "--hostname", "sandbox", "--die-with-parent", "--new-session", "--as-pid-1", "--clearenv")  # fmt: skip


class Bubblewrap:
    """A fresh set of namespaces for every process, made by `bwrap`.

    Raises OSError where bwrap is missing or the system does not let it work.
    """

    name = "bubblewrap"
    isolates = True
    extra = ()

    def __init__(self):
        path = shutil.which("bwrap")
        if path is None:
            raise FileNotFoundError("bwrap is not installed")
        self.path = path
        self.users = UserNamespace() if os.geteuid() == 0 else None
        self.filter = filter_program()
        self.mounts = system_mounts()
        try:
            start_up(self)
        except OSError:
            self.close()
            raise

    def start(self, role: str, fd: int, limits: Limits, seconds: float, **streams) -> subprocess.Popen:
        """See `Backend`."""
        settings = limits.guest(seconds)
        fds = [fd]
        command = [self.path]
        if self.users is None:
            command += ["--unshare-user", "--uid", str(INNER_USER), "--gid", str(INNER_USER)]
        else:
            settings["user"] = self.users.lend()
            command += ["--userns", str(self.users.fd), "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
            fds.append(self.users.fd)
        filter_fd = None
        if self.filter:
            filter_fd = self.filter_pipe()
            command += ["--seccomp", str(filter_fd)]
            fds.append(filter_fd)
        command += NAMESPACES
        for name, value in {**ENVIRONMENT, "ALONE": "1"}.items():
            command += ["--setenv", name, value]
        command += self.mounts
        command += ["--perms", "1777", "--size", str(limits.disk * MIB), "--tmpfs", "/tmp", "--remount-ro", "/"]
        command += ["--chdir", "/tmp", "--", *guest_command(fd, settings)]
        try:
            process = subprocess.Popen(command, pass_fds=fds, env={}, stdin=subprocess.DEVNULL, **streams)
            if self.users is not None:
                weakref.finalize(process, self.users.take_back, settings["user"])
            return process
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
