"""A seccomp filter by hand, for x86-64 and aarch64: what a program of plain Python never needs is refused."""

from __future__ import annotations

import platform
import struct

LOAD, JUMP_EQUAL, JUMP_AT_LEAST, JUMP_ANY, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
EPERM, ENOSYS, EACCES = 1, 38, 13
NUMBER, ARCH, ARGUMENT, SECOND = 0, 4, 16, 24  # offsets in struct seccomp_data
NEW_NAMESPACES = 0x7E020080  # CLONE_NEW*: ns, cgroup, uts, ipc, user, pid, net, and time's 0x80

AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
LAST = 448  # process_mrelease: what came after it answers "no such call"
# name -> number on x86-64, on aarch64 (Linux: syscall_64.tbl; include/uapi/asm-generic/unistd.h)
REFUSED = {
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201), "accept": (43, 202),
    "accept4": (288, 242), "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "kcmp": (312, 272), "pidfd_getfd": (438, 438), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "unshare": (272, 97), "setns": (308, 268), "open_tree": (428, 428), "move_mount": (429, 429),
    "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "keyctl": (250, 219),
    "add_key": (248, 217), "request_key": (249, 218), "kexec_load": (246, 104), "kexec_file_load": (320, 294),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106), "reboot": (169, 142),
    "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "syslog": (103, 116), "quotactl": (179, 60),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266), "adjtimex": (159, 171),
    "sethostname": (170, 161), "setdomainname": (171, 162), "personality": (135, 92), "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265), "fanotify_init": (300, 262), "fanotify_mark": (301, 263), "mknodat": (259, 33),
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "shmat": (30, 196),
    "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180), "lookup_dcookie": (212, 18), "vhangup": (153, 58),
    "nfsservctl": (180, 42), "landlock_restrict_self": (446, 446), "seccomp": (317, 277), "mbind": (237, 235),
    "set_mempolicy": (238, 237), "migrate_pages": (256, 238), "move_pages": (279, 239),
}  # fmt: skip
ONLY_X86 = {"mknod": 133, "iopl": 172, "ioperm": 173, "modify_ldt": 154, "uselib": 134, "ustat": 136, "_sysctl": 156}
CLONE, CLONE3, PRCTL = (56, 220), (435, 435), (157, 167)
SET_DEATH_SIGNAL, SIGKILL = 1, 9


def filter_program(machine: str | None = None) -> bytes:
    """The filter as BPF instructions; empty for a machine whose calls are not listed here."""
    machine = machine or platform.machine()
    if machine not in AUDIT:
        return b""
    column = 0 if machine == "x86_64" else 1
    numbers = sorted({pair[column] for pair in REFUSED.values()} | set(ONLY_X86.values() if column == 0 else ()))
    code = [
        op(LOAD, ARCH),
        op(JUMP_EQUAL, AUDIT[machine], 1, 0),  # another architecture's calls have other numbers
        op(RETURN, KILL),
        op(LOAD, NUMBER),
        op(JUMP_AT_LEAST, LAST + 1, 0, 1),  # newer calls, and the x32 table
        op(RETURN, ERRNO | ENOSYS),
        op(JUMP_EQUAL, CLONE3[column], 0, 1),  # its flags lie in memory; libc then falls back to clone
        op(RETURN, ERRNO | ENOSYS),
    ]
    for number in numbers:
        code += [op(JUMP_EQUAL, number, 0, 1), op(RETURN, ERRNO | EACCES)]
    code += [
        op(JUMP_EQUAL, CLONE[column], 0, 4),
        op(LOAD, ARGUMENT),
        op(JUMP_ANY, NEW_NAMESPACES, 0, 1),
        op(RETURN, ERRNO | EPERM),
        op(RETURN, ALLOW),
        op(JUMP_EQUAL, PRCTL[column], 0, 5),  # a guest ends with its bwrap, and cannot have it otherwise
        op(LOAD, ARGUMENT),
        op(JUMP_EQUAL, SET_DEATH_SIGNAL, 0, 3),
        op(LOAD, SECOND),
        op(JUMP_EQUAL, SIGKILL, 1, 0),
        op(RETURN, ERRNO | EPERM),
        op(RETURN, ALLOW),
    ]
    return b"".join(code)


def op(code: int, value: int, when_true: int = 0, when_false: int = 0) -> bytes:
    """One instruction, struct sock_filter."""
    return struct.pack("=HBBI", code, when_true, when_false, value)
