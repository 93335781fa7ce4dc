# ruff: noqa: E501 (programs read better in few lines)
"""Programs that attack the host or its resources, for `test_sandbox_attacks`.

`f(2) == 4` is what each is asked for. `{file}`, `{home}`, `{pid}`, `{port}`, `{udp}`, `{unix}`, `{abstract}` are the
host's canaries, `{secret}` is what stands in them (and in an environment variable), `{python}` the host's Python.
"""

from typing import NamedTuple


class Attack(NamedTuple):
    """A program and what may become of its tests."""

    source: str
    ends: tuple[str, ...] = ("passed", "failed", "error", "limit", "timeout")  # statuses that are no success of it
    tests: tuple[str, ...] = ("assert f(2) == 4",)
    timeout: float = 3.0


HONEST = "\ndef f(x): return 2 * x\n"
NOT_PASSED = ("failed", "error", "limit", "timeout")
STOPPED = ("limit", "error", "timeout")


def effect(source, ends=Attack._field_defaults["ends"], **more):
    """An attack at import time, in front of an honest answer: it may pass, but has to have no effect."""
    return Attack(source + HONEST, ends, **more)


def called(body, ends=NOT_PASSED, imports="import os, sys", **more):
    """An attack from inside the function; it does not answer."""
    if ends == ("timeout",):
        more.setdefault("timeout", 1.0)
    lines = "\n".join("    " + line for line in body.splitlines())
    return Attack(f"{imports}\ndef f(x):\n{lines}\n", ends, **more)


TRY = """
def attempt(action):
    try:
        print("GOT", action())
    except BaseException as error:
        print("no", type(error).__name__)
"""

ENDS = {
    "sys_exit_at_import": Attack("import sys\nsys.exit(0)", ("error",)),
    "os_exit_at_import": Attack("import os\nos._exit(0)", ("error",)),
    "sys_exit_in_a_call": called("sys.exit(0)", ("error",)),
    "os_exit_in_a_call": called("os._exit(0)", ("error",)),
    "quit_in_a_call": called("raise SystemExit", ("error",)),
    "exit_by_an_exception_of_its_own": Attack("class E(SystemExit): pass\ndef f(x): raise E(0)", ("error",)),
    "keyboard_interrupt": called("raise KeyboardInterrupt", ("error",)),
    "generator_exit": called("raise GeneratorExit", ("error",)),
    "stop_iteration": called("raise StopIteration", ("error",)),
    "atexit_says_passed": called("import atexit\natexit.register(lambda: os._exit(0))\nreturn 5", ("failed",)),
    "exec_of_true": called("os.execv('/bin/true', ['true'])", ("error",)),
    "abort": called("os.abort()", ("error",)),
    "sigterm_to_itself": called("os.kill(os.getpid(), 15)", ("error", "failed")),
    "sigkill_to_its_group": called("os.killpg(0, 9)", NOT_PASSED),
    "sigkill_to_all": called("os.kill(-1, 9)", NOT_PASSED),
    "sigkill_to_process_one": called("os.kill(1, 9)\nreturn 5", NOT_PASSED),
    "sigstop_to_itself": called("os.kill(os.getpid(), 19)", NOT_PASSED),
    "outlives_its_parent": effect(
        "import ctypes\nprint('no' if ctypes.CDLL(None).prctl(1, 0, 0, 0, 0) == -1 else 'GOT')", ("passed",)),
    "ignores_every_signal": called(
        "for s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n    except (OSError, ValueError): pass\n"
        "while True: pass", ("timeout",), imports="import signal"),
    "catches_everything": called("while True:\n    try:\n        while True: pass\n    except BaseException: pass",
                                 ("timeout",)),
    "sleeps_for_ever": called("import time\ntime.sleep(10**6)", ("timeout",)),
    "loops_at_import": Attack("while True: pass", ("timeout",), timeout=1.0),
    "deep_recursion": called("return f(x)", ("error", "limit")),
    "recursion_beyond_the_stack": called("sys.setrecursionlimit(10**9)\nreturn f(x)", STOPPED),
    "recursion_in_repr": Attack("class R:\n    def __repr__(self): return repr(self)\ndef f(x): return repr(R())",
                                ("error", "limit")),
    "null_pointer": called("import ctypes\nctypes.string_at(0)", ("error",)),
    "bad_bytecode": called("c = f.__code__.replace(co_code=b'\\xfe' * 64)\nexec(c)", NOT_PASSED),
    "closes_every_descriptor": called("os.closerange(0, 4096)\nreturn 4", ("error",)),
    "closes_its_line_and_lives_on": called(
        "os.closerange(3, 64)\ntime.sleep(99)", ("error",), imports="import os, time",
        tests=tuple(f"assert f({number}) == 4" for number in range(4)), timeout=1.0),
    "says_nonsense_and_lives_on": called(
        "for d in range(3, 64):\n    try: os.write(d, b'\\xff' * 64)\n    except OSError: pass\ntime.sleep(99)", ("error",),
        imports="import os, time", tests=tuple(f"assert f({number}) == 4" for number in range(4)), timeout=1.0),
}  # fmt: skip

PROCESSES = {
    "fork_bomb": called("while True:\n    try: os.fork()\n    except OSError: pass", ("timeout", "limit"), timeout=1.5),
    "fork_bomb_that_sleeps": called(
        "import time\ntry:\n    for _ in range(10**4):\n        if os.fork() == 0: time.sleep(10**6)\n"
        "finally: time.sleep(10**6)", STOPPED, timeout=1.5),
    "forks_past_the_limit": called("for _ in range(200):\n    if os.fork() == 0:\n        import time; time.sleep(99)\n"
                                   "return 4", ("limit", "error")),
    "thread_bomb": called("import threading, time\nfor _ in range(200): threading.Thread(target=time.sleep, args=(99,))"
                          ".start()\nreturn 4", ("limit", "error")),
    "setsid_daemon": effect(
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        "        time.sleep(1)\n        open('{file}', 'w').write('changed')\n        time.sleep(10**6)\n    os._exit(0)"),
    "thread_that_outlives_main": effect(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(10**6,), daemon=False).start()", ("passed",)),
    "shell_in_the_background": effect(
        "import subprocess\nsubprocess.Popen(['sh', '-c', 'trap \"\" HUP TERM INT; sleep 100000 & sleep 100000'],"
        " start_new_session=True)", ("passed",)),
    "zombies": effect("import os\nfor _ in range(8):\n    if os.fork() == 0: os._exit(0)", ("passed",)),
    "child_ignores_all_and_holds_the_output": effect(
        "import os, signal, time\nif os.fork() == 0:\n    for s in (1, 2, 3, 15): signal.signal(s, signal.SIG_IGN)\n"
        "    time.sleep(10**6)", ("passed",)),
    "child_answers_too": effect("import os\nos.fork()", ("passed", "error", "failed")),
    "kills_a_process_of_the_host": effect(TRY + "import os\nattempt(lambda: os.kill({pid}, 9))", ("passed",)),
    "kills_its_parent": effect("import os\nos.kill(os.getppid(), 9)"),
    "kills_every_number": effect(
        TRY + "import os\nfor p in range(3, 70000):\n    if p != os.getpid():\n        try: os.kill(p, 9)\n"
        "        except OSError: pass", timeout=10.0),
    "ptraces_its_parent": effect(
        TRY + "import ctypes, os\nl = ctypes.CDLL(None, use_errno=True)\n"
        "print('GOT' if l.ptrace(16, os.getppid(), 0, 0) == 0 else 'no')", ("passed",)),
    "reads_memory_of_its_parent": effect(
        TRY + "import os\nattempt(lambda: open('/proc/%d/mem' % os.getppid(), 'rb').read(1))", ("passed",)),
    "process_vm_readv": effect(
        "import ctypes, os\nl = ctypes.CDLL(None, use_errno=True)\nb = ctypes.create_string_buffer(8)\n"
        "class V(ctypes.Structure): _fields_ = [('b', ctypes.c_void_p), ('n', ctypes.c_size_t)]\n"
        "v = V(ctypes.addressof(b), 8)\n"
        "print('GOT' if l.process_vm_readv(os.getppid(), ctypes.byref(v), 1, ctypes.byref(v), 1, 0) >= 0 else 'no')",
        ("passed",)),
    "new_user_namespace": effect(
        "import ctypes\nl = ctypes.CDLL(None)\nprint('GOT' if l.unshare(0x10000000) == 0 else 'no')", ("passed",)),
    "clone_into_a_namespace": effect(
        "import ctypes\nl = ctypes.CDLL(None)\nr = l.syscall(56, 0x10000000 | 17, 0, 0, 0, 0)\n"
        "print('no' if r == -1 else 'GOT')", ("passed",)),
    "becomes_root": effect(TRY + "import os\nattempt(lambda: os.setuid(0))", ("passed",)),
    "raises_its_limits": effect(
        TRY + "import resource as r\nfor k in (r.RLIMIT_AS, r.RLIMIT_NPROC, r.RLIMIT_FSIZE, r.RLIMIT_CPU):\n"
        "    attempt(lambda: r.setrlimit(k, (r.RLIM_INFINITY, r.RLIM_INFINITY)))", ("passed",)),
    "real_time_priority": effect(
        TRY + "import os\nattempt(lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50)))\n"
        "attempt(lambda: os.nice(-10))", ("passed",)),
    "loads_a_bpf_program": effect(
        "import ctypes\nb = ctypes.create_string_buffer(128)\n"
        "print('no' if ctypes.CDLL(None).syscall(321, 5, b, 72) == -1 else 'GOT')", ("passed",)),
    "io_uring": effect(
        "import ctypes\nb = ctypes.create_string_buffer(256)\n"
        "print('no' if ctypes.CDLL(None).syscall(425, 8, b) == -1 else 'GOT')", ("passed",)),
    "keyring": effect("import ctypes\nprint('no' if ctypes.CDLL(None).syscall(250, 0, -3, 1) == -1 else 'GOT')",
                      ("passed",)),
    "32_bit_system_calls": effect(
        "import ctypes, mmap\nm = mmap.mmap(-1, 4096, prot=7)\nm.write(b'\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3')\n"
        "a = ctypes.addressof(ctypes.c_char.from_buffer(m))\nprint('GOT', ctypes.CFUNCTYPE(ctypes.c_int)(a)())",
        ("error",)),
}  # fmt: skip

FLOODS = {
    "memory_in_one_piece": called("return len(bytearray(8 << 30))", ("limit", "error")),
    "memory_bit_by_bit": called("l = []\nwhile True: l.append(bytearray(1 << 20))", ("limit", "error"), timeout=10.0),
    "memory_of_many_processes": called(
        "import time\nfor _ in range(8): os.fork()\nb = bytearray(300 << 20)\n"
        "for i in range(0, len(b), 4096): b[i] = 1\ntime.sleep(99)", ("limit", "error", "timeout"), timeout=10.0),
    "shared_memory": called(
        "import mmap\nl = []\nwhile True:\n    m = mmap.mmap(-1, 64 << 20)\n    m.write(b'x' * (64 << 20))\n"
        "    l.append(m)", ("limit", "error"), timeout=10.0),
    "memfd": effect(TRY + "import os\nattempt(lambda: os.memfd_create('x'))", ("passed",)),
    "system_v_shared_memory": effect(
        "import ctypes\nprint('no' if ctypes.CDLL(None).shmget(0, 1 << 30, 0o1600) == -1 else 'GOT')", ("passed",)),
    "dev_shm": effect(TRY + "attempt(lambda: open('/dev/shm/x', 'wb').write(b'x'))", ("passed",)),
    "one_big_file": called("with open('/tmp/x', 'wb') as o:\n    while True: o.write(b'x' * (1 << 20))",
                           ("limit", "error")),
    "many_files": called("for i in range(10**6):\n    with open('/tmp/%d' % i, 'wb') as o: o.write(b'x' * 50000)",
                         ("limit", "error", "timeout"), timeout=10.0),
    "empty_files": called("i = 0\nwhile True:\n    i += 1\n    os.close(os.open('/tmp/%d' % i, os.O_CREAT))",
                          ("limit", "error"), timeout=20.0),
    "empty_files_behind_a_zombie": called(
        "if os.fork() == 0: os._exit(0)\ni = 0\nwhile True:\n    i += 1\n    os.close(os.open('/tmp/%d' % i, os.O_CREAT))",
        ("limit", "error"), timeout=3.0),
    "nested_folders": called("os.chdir('/tmp')\nwhile True:\n    os.mkdir('a')\n    os.chdir('a')", ("limit", "error"),
                             timeout=20.0),
    "open_files": called("l = []\nwhile True: l.append(open('/dev/null'))", ("limit", "error")),
    "stdout": called("while True: print('x' * 10**5)", ("limit",), timeout=10.0),
    "stderr": called("while True: os.write(2, b'x' * 10**5)", ("limit",), timeout=10.0),
    "stdout_of_a_child": effect("import os\nif os.fork() == 0:\n    while True: os.write(1, b'x' * 10**5)"),
    "stdin": called("return input()", ("error",)),
    "a_result_too_long": called("return 'x' * (100 << 20)", NOT_PASSED),
    "a_result_too_deep": called("l = []\nfor _ in range(10**5): l = [l]\nreturn l", ("error",)),
    "a_result_that_holds_itself": called("l = []\nl.append(l)\nreturn l", ("error",)),
    "a_result_without_end": Attack("import itertools\ndef f(x): return itertools.count()", STOPPED,
                                   ("assert list(f(2)) == [4]",)),
    "huge_integer": called("return 10 ** 10 ** 9", STOPPED, timeout=1.5),
    "huge_integer_as_text": called("sys.set_int_max_str_digits(0)\nreturn len(str(10 ** 10**7))", STOPPED, timeout=1.5),
    "huge_integer_returned": called("return 1 << (1 << 25)", NOT_PASSED),
    "redos": called("import re\nreturn re.match('(a+)+$', 'a' * 60 + 'b')", ("timeout",)),
    "an_exception_too_long": called("raise ValueError('x' * (64 << 20))", STOPPED),
    "many_callbacks": Attack("def f(g):\n    while True: g(1)", ("timeout",), ("assert f(lambda x: x) == 4",), 1.0),
    "cpu_of_many_processes": called("for _ in range(3): os.fork()\nwhile True: pass", ("timeout", "limit"), timeout=1.5),
}  # fmt: skip
