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
    if "jail" in limits:
        from . import jail

        jail.enter(limits.pop("jail"))
    user = limits.pop("user", None)
    if user is not None and posix.getuid() == 0:
        posix.setgroups([])
        posix.setgid(user)
        posix.setuid(user)
        end_with_parent()
    for name, value in limits.items():
        number = getattr(resource, name, None)
        if number is not None:
            hard = resource.getrlimit(number)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(number, (value, value))
    sys.path[:] = [folder for folder in sys.path if folder]


def end_with_parent():
    """Ask again to be killed when the parent dies: a change of user takes that back."""
    try:
        import _ctypes
    except ImportError:
        return
    _ctypes.call_function(_ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl"), (1, 9, 0, 0, 0))


def close(fd):
    """Close a descriptor that may not be open."""
    try:
        posix.close(fd)
    except OSError:
        return
