"""A user namespace in which root of the host is not root, for a host that runs as root."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections import deque

INNER_USER = 1000
HOST_USER = 65534
GUESTS = 600  # further users, each for one guest at a time
HOST_GUESTS = 60578  # the first of them outside: numbers that systemd and distributions leave unused
CLONE_NEWUSER = 0x10000000


GUARD = """
import os, signal, sys, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
sys.stdin.buffer.read()
quiet = 0
while quiet < 5:
    quiet += 1
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink("/proc/%s/ns/user" % name) == sys.argv[1]:
                os.kill(int(name), signal.SIGKILL)
                quiet = 0
        except OSError:
            continue
    time.sleep(0.1)
"""


class UserNamespace:
    """A namespace with user 0 (to set up mounts) and users for guests, who are nobody outside.

    Limits on processes do not hold for the host's root, nor do the permissions of /proc/sys; so a program must not
    run as that, not even without capabilities. The limit counts the processes of a user in the namespace: guests of
    one user would take them from each other. Raises OSError where the system refuses.

    bwrap's own process stays root without capabilities, which may not signal another user: where this process is
    killed, bwrap ends with it and cannot take its guest along. A guard does, which waits for this process to end and
    then kills what is in the namespace.
    """

    def __init__(self):
        libc = ctypes.CDLL(None, use_errno=True)
        ready, go = os.pipe(), os.pipe()
        child = os.fork()
        if child == 0:
            failed = libc.unshare(CLONE_NEWUSER)
            os.write(ready[1], b"n" if failed else b"y")
            os.read(go[0], 1)
            os._exit(0)
        try:
            if os.read(ready[0], 1) != b"y":
                raise PermissionError("the system refuses a user namespace")
            for kind in ("uid", "gid"):
                with open(f"/proc/{child}/{kind}_map", "w") as file:
                    file.write(f"0 0 1\n{INNER_USER} {HOST_USER} 1\n{INNER_USER + 1} {HOST_GUESTS} {GUESTS}\n")
            self.fd = os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.write(go[1], b"g")
            os.waitpid(child, 0)
            for fd in (*ready, *go):
                os.close(fd)

        self.free = deque(range(INNER_USER + 1, INNER_USER + 1 + GUESTS))
        command = [sys.executable, "-S", "-s", "-c", GUARD, os.readlink(f"/proc/self/fd/{self.fd}")]
        self.guard = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, cwd="/", env={})

    def lend(self) -> int:
        """A user that no other guest has; INNER_USER, shared, where there are more guests than users."""
        try:
            return self.free.popleft()
        except IndexError:
            return INNER_USER

    def take_back(self, user: int) -> None:
        """The guest of this user is gone."""
        if user != INNER_USER:
            self.free.append(user)

    def close(self) -> None:
        """Let the namespace go."""
        os.close(self.fd)
        self.guard.kill()
        self.guard.communicate()
