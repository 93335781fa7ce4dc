"""What one program may use."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """The most that one program may use; each is kept by the system, not by the program's good will."""

    timeout: float = 10.0  # wall-clock seconds of one test
    memory: int = 512  # MiB of address space of each process, and of memory of all of them together
    processes: int = 16  # processes and threads at one time
    disk: int = 16  # MiB of files, in total
    output: int = 1  # MiB written to stdout and stderr during one test
    files: int = 64  # open files of one process
    entries: int = 4096  # files and folders, in total

    def guest(self, seconds: float) -> dict:
        """What the process itself asks the system to keep; `seconds` bounds its CPU time."""
        return {
            "RLIMIT_AS": self.memory * MIB,
            "RLIMIT_CPU": max(1, int(seconds) + 1),
            "RLIMIT_NPROC": self.processes,
            "RLIMIT_FSIZE": self.disk * MIB,
            "RLIMIT_NOFILE": self.files,
            "RLIMIT_CORE": 0,
            "RLIMIT_MEMLOCK": 0,
            "RLIMIT_MSGQUEUE": 0,
            "RLIMIT_SIGPENDING": 64,
        }
