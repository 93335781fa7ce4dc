"""A process shuts itself in, where no bwrap does it: namespaces, read-only mounts, Landlock, seccomp.

Constants are those of the Linux headers sched.h, mount.h, landlock.h, prctl.h, seccomp.h, capability.h.
"""

import ctypes
import os
import struct

NAMESPACES = 0x10000000 | 0x00020000 | 0x40000000 | 0x08000000 | 0x04000000 | 0x20000000 | 0x02000000
PRIVATE, BIND, READ_ONLY_NOSUID, RECURSIVE, HERE = 0x44000, 0x5000, 3, 0x8000, -100
MOUNT_SETATTR, CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 442, 444, 445, 446
PATH_BENEATH = 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # Landlock's version -> bits of its rights on files
DEATH_SIGNAL, NO_NEW_PRIVILEGES, SECCOMP, FILTER = 1, 38, 22, 2
CAPABILITIES = 0x20080522


def enter(settings):
    """Shut in; what returns is the first process of a namespace, and its parent waits for it and ends as it does."""
    libc = ctypes.CDLL(None, use_errno=True)
    checked(libc.prctl(DEATH_SIGNAL, 9, 0, 0, 0), "prctl")
    if os.getppid() != settings["caller"]:  # it died before it could be asked to take this process along
        os._exit(1)
    leave_namespaces(libc, settings)
    parent, held = os.pipe()
    child = os.fork()
    if child:
        os.closerange(0, held)
        os.closerange(held + 1, 1024)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os._exit(code if code >= 0 else 128 - code)
    os.close(held)
    mount(libc, settings)
    rules = landlock_rules(libc, settings)
    if settings["root"]:
        os.setgroups([])
        os.setgid(settings["user"])
        os.setuid(settings["user"])
    checked(libc.prctl(DEATH_SIGNAL, 9, 0, 0, 0), "prctl")
    end_if_hung_up(parent)
    checked(libc.capset(struct.pack("=Ii", CAPABILITIES, 0), bytes(24)), "capset")
    checked(libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0), "prctl")
    checked(libc.syscall(RESTRICT_SELF, rules, 0), "landlock_restrict_self")
    os.close(rules)
    code = bytes.fromhex(settings["filter"])
    if code:
        kept = ctypes.create_string_buffer(code, len(code))
        program = struct.pack("@HP", len(code) // 8, ctypes.addressof(kept))
        checked(libc.prctl(SECCOMP, FILTER, ctypes.c_char_p(program), 0, 0), "seccomp")


def end_if_hung_up(parent):
    """End if the parent died before this process had asked to die with it: then its end of the pipe is closed."""
    os.set_blocking(parent, False)
    try:
        os.read(parent, 1)
        os._exit(1)
    except BlockingIOError:
        os.close(parent)


def checked(result, what):
    """The result of a call, or what the system said against it."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def leave_namespaces(libc, settings):
    """New namespaces of every kind; a second process, from outside, says who is who in that of users."""
    reader, writer = os.pipe()
    pid, user, group = os.getpid(), os.getuid(), os.getgid()
    helper = os.fork()
    if helper == 0:
        os.close(writer)
        os.read(reader, 1)
        own = f"0 0 1\n{settings['user']} {settings['host_user']} 1\n"
        for kind, one in (("uid", user), ("gid", group)):
            if kind == "gid" and not settings["root"]:
                put(f"/proc/{pid}/setgroups", "deny")
            put(f"/proc/{pid}/{kind}_map", own if settings["root"] else f"{settings['user']} {one} 1\n")
        os._exit(0)
    checked(libc.unshare(NAMESPACES), "unshare")
    os.write(writer, b"g")
    os.close(writer)
    os.close(reader)
    if os.waitpid(helper, 0)[1]:
        raise PermissionError("the system refuses a map of users")


def put(path, text):
    """Write a file of /proc in one go."""
    with open(path, "w") as file:
        file.write(text)


def mount(libc, settings):
    """Everything read-only, but for a small folder of its own; processes of this namespace only."""
    checked(libc.mount(None, b"/", None, PRIVATE, None), "mount")
    if settings["root"]:
        uncover(libc, settings["read"][-1])
    attributes = struct.pack("=QQQQ", READ_ONLY_NOSUID, 0, 0, 0)
    checked(libc.syscall(MOUNT_SETATTR, HERE, b"/", RECURSIVE, attributes, len(attributes)), "mount_setattr")
    options = f"size={settings['disk']},nr_inodes={settings['entries']},mode=1777".encode()
    checked(libc.mount(b"tmpfs", b"/tmp", b"tmpfs", 6, options), "mount of /tmp")
    settings["proc"] = libc.mount(b"proc", b"/proc", b"proc", 15, None) == 0
    checked(libc.sethostname(b"sandbox", 7), "sethostname")
    os.chdir("/tmp")


def uncover(libc, path):
    """Let every user reach a folder that lies behind one of root's alone, such as a Python in /root."""
    parts = path.split("/")
    above = ["/".join(parts[:count]) for count in range(2, len(parts))]
    closed = [folder for folder in above if not os.stat(folder).st_mode & 1]
    if closed:
        folder = os.open(path, os.O_PATH)
        checked(libc.mount(b"tmpfs", closed[0].encode(), b"tmpfs", 6, b"size=64k,mode=755"), "mount")
        os.makedirs(path)
        checked(libc.mount(f"/proc/self/fd/{folder}".encode(), path.encode(), None, BIND, None), "mount")
        os.close(folder)


def landlock_rules(libc, settings):
    """A descriptor of rules: read the system, write in /tmp, nothing else; no TCP, no signal or socket outside."""
    version = checked(libc.syscall(CREATE_RULESET, None, 0, 1), "landlock")
    every = (1 << FILE_RIGHTS.get(version, 16)) - 1
    attributes = struct.pack("=QQQ", every, 3, 3)[: 8 if version < 4 else 16 if version < 6 else 24]
    rules = checked(libc.syscall(CREATE_RULESET, attributes, len(attributes), 0), "landlock_create_ruleset")
    allowed = {path: EXECUTE | READ_FILE | READ_DIR for path in settings["read"]}
    allowed.update({f"/dev/{name}": READ_FILE | WRITE_FILE for name in ("null", "zero", "full", "random", "urandom")})
    allowed["/tmp"] = every
    if settings["proc"]:
        allowed["/proc"] = READ_FILE | READ_DIR
    for path, rights in allowed.items():
        if not os.path.exists(path):
            continue
        folder = os.open(path, os.O_PATH)
        if not os.path.isdir(path):
            rights &= ~READ_DIR
        checked(libc.syscall(ADD_RULE, rules, PATH_BENEATH, struct.pack("=Qi", rights, folder), 0), f"rule of {path}")
        os.close(folder)
    return rules
