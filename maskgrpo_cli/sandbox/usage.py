"""What the processes of a sandbox use, read from outside."""

from __future__ import annotations

import os

PAGE = os.sysconf("SC_PAGE_SIZE")


def children(pid: int) -> list[int]:
    """The processes that the threads of a process started."""
    try:
        found = []
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                found += [int(child) for child in file.read().split()]
        return found
    except FileNotFoundError:  # gone meanwhile, or a kernel without these files
        return [child for child in processes() if parent(child) == pid] if os.path.exists(f"/proc/{pid}") else []
    except OSError:
        return []


def processes() -> list[int]:
    """All processes to be seen."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def parent(pid: int) -> int:
    """The parent of a process, 0 where there is none."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def tree(pid: int) -> list[int]:
    """The process and all below it."""
    found = [pid]
    for member in found:
        found += children(member)
    return found


def resident(members: list[int]) -> int:
    """Bytes of memory that processes hold."""
    total = 0
    for member in members:
        try:
            with open(f"/proc/{member}/statm") as file:
                total += int(file.read().split()[1]) * PAGE
        except (OSError, IndexError):
            continue
    return total


def files_below(pid: int, folder: str) -> int:
    """Files and folders on the file system that a process sees as `folder`, 0 where it is still that of the host."""
    seen = f"/proc/{pid}/root{folder}"
    try:
        if os.stat(seen).st_dev == os.stat(folder).st_dev:
            return 0
        system = os.statvfs(seen)
    except OSError:
        return 0
    return system.f_files - system.f_ffree
