"""First steps of every process in a sandbox: give up what it does not need, before anything untrusted is read."""

import posix
import sys


def confine(limits, keep):
    """Give up root, close every file but stdin, stdout, stderr and `keep`, and take on the limits."""
    import resource

    top = max(keep)
    for fd in range(3, top):
        if fd not in keep:
            close(fd)
    posix.closerange(top + 1, 1024)
    user = limits.pop("user", None)
    if user is not None and posix.getuid() == 0:
        posix.setgid(user)
        posix.setuid(user)
    for name, value in limits.items():
        number = getattr(resource, name, None)
        if number is not None:
            hard = resource.getrlimit(number)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(number, (value, value))
    sys.path[:] = [folder for folder in sys.path if folder]


def close(fd):
    """Close a descriptor that may not be open."""
    try:
        posix.close(fd)
    except OSError:
        return
