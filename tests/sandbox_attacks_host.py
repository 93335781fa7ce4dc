# ruff: noqa: E501 (programs read better in few lines)
"""Programs that reach for the host's network and files, and those that forge a verdict, for `test_sandbox_attacks`."""

from sandbox_attacks import NOT_PASSED, TRY, Attack, called, effect

SOCKET = TRY + "import socket\n"

NETWORK = {
    "tcp": effect(SOCKET + "attempt(lambda: socket.create_connection(('127.0.0.1', {port}), 1))", ("passed",)),
    "tcp_by_system_call": effect(
        "import ctypes, struct\nl = ctypes.CDLL(None)\ns = l.socket(2, 1, 0)\n"
        "a = struct.pack('<H', 2) + struct.pack('>H', {port}) + bytes([127, 0, 0, 1]) + bytes(8)\n"
        "print('GOT' if s >= 0 and l.connect(s, a, 16) == 0 else 'no')", ("passed",)),
    "udp": effect(SOCKET + "attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)"
                  ".sendto(b'x', ('127.0.0.1', {udp})))", ("passed",)),
    "unix_socket": effect(SOCKET + "attempt(lambda: socket.socket(socket.AF_UNIX).connect('{unix}'))", ("passed",)),
    "abstract_socket": effect(SOCKET + "attempt(lambda: socket.socket(socket.AF_UNIX).connect('\\0{abstract}'))",
                              ("passed",)),
    "listens": effect(SOCKET + "attempt(lambda: socket.create_server(('', 0)))", ("passed",)),
    "name_lookup": effect(SOCKET + "attempt(lambda: socket.getaddrinfo('localhost', 80, proto=6) and "
                          "socket.create_connection(('localhost', {port}), 1))", ("passed",)),
    "netlink": effect(SOCKET + "attempt(lambda: socket.socket(16, 3, 0))", ("passed",)),
    "raw_packets": effect(SOCKET + "attempt(lambda: socket.socket(17, 3, 0))", ("passed",)),
    "vsock": effect(SOCKET + "attempt(lambda: socket.socket(40, 1, 0).connect((2, 1024)))", ("passed",)),
}  # fmt: skip

FILES = {
    "environment": effect("import os\nprint(dict(os.environ))", ("passed",)),
    "environment_of_others": effect(
        "import os\nfor p in os.listdir('/proc'):\n    try: print(open('/proc/%s/environ' % p).read())\n"
        "    except OSError: pass", ("passed",)),
    "command_lines_of_others": effect(
        "import os\nn = [p for p in os.listdir('/proc') if p.isdigit()]\nprint('GOT' if len(n) > 3 else 'no')",
        ("passed",)),
    "home": effect(TRY + "attempt(lambda: open('{home}').read())", ("passed",)),
    "other_files_in_tmp": effect(TRY + "attempt(lambda: open('{file}').read())", ("passed",)),
    "writes_other_files": effect(TRY + "attempt(lambda: open('{file}', 'r+').write('changed'))", ("passed",)),
    "deletes_other_files": effect(TRY + "import os\nattempt(lambda: os.unlink('{file}'))", ("passed",)),
    "deletes_everything": effect("import shutil\nshutil.rmtree('/', ignore_errors=True)"),
    "passwords": effect(TRY + "attempt(lambda: open('/etc/passwd').read())\nattempt(lambda: open('/etc/shadow').read())",
                        ("passed",)),
    "writes_to_the_system": effect(
        TRY + "for p in ('/usr/x', '/x', '/etc/x', '/usr/bin/x', '/dev/x'):\n    attempt(lambda: open(p, 'w'))",
        ("passed",)),
    "writes_to_python": effect(TRY + "import json\nattempt(lambda: open(json.__file__, 'a').write('#'))\n"
                               "attempt(lambda: open('{python}', 'ab'))", ("passed",)),
    "symlink": effect(TRY + "import os\nos.symlink('{file}', '/tmp/link')\nattempt(lambda: open('/tmp/link').read())",
                      ("passed",)),
    "hard_link": effect(TRY + "import os\nattempt(lambda: os.link('{file}', '/tmp/link'))", ("passed",)),
    "root_of_another_process": effect(
        TRY + "import os\nfor p in (1, os.getppid(), 'self'):\n    attempt(lambda: open('/proc/%s/root{file}' % p).read())",
        ("passed",)),
    "folders_above": effect(TRY + "import os\nattempt(lambda: open('../' * 20 + '{file}'[1:]).read())", ("passed",)),
    "chroot": effect(TRY + "import os\nattempt(lambda: os.chroot('/tmp'))", ("passed",)),
    "mount": effect("import ctypes\nl = ctypes.CDLL(None)\n"
                    "print('GOT' if l.mount(b'none', b'/tmp', b'tmpfs', 0, None) == 0 else 'no')\n"
                    "print('GOT' if l.umount2(b'/tmp', 2) == 0 else 'no')", ("passed",)),
    "remount_writable": effect("import ctypes\nprint('GOT' if ctypes.CDLL(None).mount(None, b'/usr', None, 4128, None)"
                               " == 0 else 'no')", ("passed",)),
    "device_node": effect(TRY + "import os, stat\nattempt(lambda: os.mknod('/tmp/d', 0o600 | stat.S_IFBLK,"
                          " os.makedev(254, 0)))", ("passed",)),
    "kernel_settings": effect(
        TRY + "for p in ('/proc/sys/kernel/hostname', '/proc/sys/vm/drop_caches', '/proc/sysrq-trigger',"
        " '/sys/kernel/mm/ksm/run'):\n    attempt(lambda: open(p, 'w').write('1'))", ("passed",)),
    "descriptors_that_were_left_open": effect(
        "import os\nfor d in os.listdir('/proc/self/fd'):\n    try: t = os.readlink('/proc/self/fd/' + d)\n"
        "    except OSError: continue\n    if not t.startswith(('pipe:', 'socket:', '/dev/null', '/proc/')):\n"
        "        print('GOT', t)", ("passed",)),
    "host_name": effect("import os\nprint('no' if os.uname().nodename == 'sandbox' else 'GOT')", ("passed",)),
    "setuid_programs": effect(
        "import subprocess, glob\nfor p in ('/usr/bin/su', '/usr/bin/mount', '/usr/bin/newuidmap'):\n"
        "    try: r = subprocess.run([p, '-c', 'id'], capture_output=True, text=True, timeout=2).stdout\n"
        "    except (OSError, subprocess.SubprocessError): r = ''\n    print('GOT' if 'uid=0' in r else 'no')"),
}  # fmt: skip

WRONG = "\ndef f(x): return 5\n"
SEND = """
import os, json
def say(message):
    data = json.dumps(message).encode()
    for fd in range(256):
        try: os.write(fd, len(data).to_bytes(4, "big") + data)
        except OSError: pass
"""
EQUAL = """
class Equal{base}:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __eq__
    def __hash__(self): return hash(4)
    def __sub__(self, other): return 0
    __rsub__ = __add__ = __radd__ = __mod__ = __xor__ = __sub__
    def __bool__(self): return True
    def __len__(self): return 1
    def __instancecheck__(self, other): return True
    @property
    def __class__(self): return int
"""
EVERY = ("assert f(2) == 4", "assert 4 == f(2)", "assert not (f(2) != 4)", "assert abs(f(2) - 4) < 1e-6",
         "assert f(2) in (4,)", "assert [f(2)] == [4]", "assert f(2) <= 4 <= f(2)", "assert 4 in f(2)",
         "assert {'a': f(2)} == {'a': 4}", "assert f(2) - 4 == 0", "import math\nassert math.isclose(f(2), 4)",
         "import pytest\nassert f(2) == pytest.approx(4)", "assert (f(2), 1) == (4, 1)", "assert f(2) ^ 4 == 0",
         "from solution import f as g\nassert g(2) == 4")  # fmt: skip
CLOSE = ("assert abs(f(2) - 4) < 1e-6", "import math\nassert math.isclose(f(2), 4)",
         "from solution import *\nassert abs(f(2) - 4) < 1e-6", "import solution\nassert abs(solution.f(2) - 4) < 1e-6",
         "from solution import f\nassert sorted([f(2)]) == [4] and sum([f(2)]) == 4 and all([f(2) == 4])",
         "def check(candidate):\n    assert abs(candidate(2) - 4) < 1e-6\ncheck(f)")  # fmt: skip

ENDED = ("assert all(map(lambda x: f(x) == 2 * x, [1, 2]))", "assert not [y for y in map(f, [1, 2]) if y != 4]",
         "for y in map(f, [1, 2]):\n    assert y == 4")  # fmt: skip
YES = """
class Yes:
    def __getattr__(self, name):
        if name.startswith('__'): raise AttributeError(name)
        return lambda *a: True
"""
ASKED = ("assert f(2).startswith('a')", "assert f(2).isdigit()", "assert f(2).issubset({1})")

VERDICTS = {
    "prints_the_marker_of_success": Attack("print('passed', '1 passed', 'OK', 'PASSED')" + WRONG, ("failed",)),
    "says_the_verdict_on_every_descriptor": Attack(
        SEND + "say(['verdict', 0, 'passed', '']); say(['end'])" + WRONG, NOT_PASSED),
    "says_the_verdict_in_a_call": Attack(
        SEND + "def f(x):\n    say(['verdict', 0, 'passed', ''])\n    say(['end'])\n    return 5", NOT_PASSED),
    "answers_before_it_is_asked": Attack(SEND + "say(['ok', {{}}])" + WRONG, NOT_PASSED),
    "nonsense_on_the_line": Attack("import os\ndef f(x):\n    for d in range(3, 64):\n        try: os.write(d, b'\\xff' * 64)"
                                   "\n        except OSError: pass\n    return 4", ("error",)),
    "hands_over_eval": Attack(SEND + "def f(x):\n    say(['ok', {{'library': ['builtins', 'eval']}}, []])\n    return 5",
                              NOT_PASSED, ("assert f(2)('4') == 4", "assert f(2) == 4")),
    "hands_over_a_module": Attack(SEND + "def f(x):\n    say(['ok', {{'module': 'os'}}, []])\n    return 5", NOT_PASSED),
    "hands_over_a_tag_of_its_own": Attack(SEND + "def f(x):\n    say(['ok', {{'own': 0}}, []])\n    return 5", NOT_PASSED),
    "changes_what_it_was_not_given": Attack(
        SEND + "def f(x):\n    say(['ok', 5, [[7, [1]], ['names', 4]]])\n    return 5", NOT_PASSED),
    "always_equal_object": Attack(EQUAL.format(base="") + "def f(x): return Equal()", NOT_PASSED, EVERY),
    "always_equal_integer": Attack(EQUAL.format(base="(int)") + "def f(x): return Equal(5)", NOT_PASSED, EVERY),
    "always_equal_list": Attack(EQUAL.format(base="(list)") + "def f(x): return Equal([5])", NOT_PASSED, EVERY),
    "always_equal_text": Attack(EQUAL.format(base="(str)") + "def f(x): return Equal('5')", NOT_PASSED, EVERY),
    "the_function_is_an_always_equal_class": Attack(
        EQUAL.format(base="") + "class f(Equal):\n    def __init__(self, x): pass\nF = f", NOT_PASSED, EVERY),
    "the_function_is_an_always_equal_object": Attack(
        EQUAL.format(base="") + "class C(Equal):\n    def __call__(self, x): return self\nf = C()", NOT_PASSED, EVERY),
    "always_equal_by_a_metaclass": Attack(
        "class M(type):\n    def __eq__(self, other): return True\n    __hash__ = type.__hash__\n"
        "class C(metaclass=M): pass\ndef f(x): return C", NOT_PASSED, EVERY[:4]),
    "always_equal_function": Attack("import unittest.mock\ndef f(x): return unittest.mock.ANY", NOT_PASSED, EVERY[:4], 10.0),
    "magic_mock": Attack("import unittest.mock\nf = unittest.mock.MagicMock()", NOT_PASSED, EVERY[:4], 10.0),
    "patched_builtins": Attack(
        "import builtins\nfor n in ('abs', 'all', 'any', 'len', 'sorted', 'sum', 'isinstance', 'round'):\n"
        "    setattr(builtins, n, lambda *a, **k: 0)" + WRONG, NOT_PASSED, CLOSE),
    "patched_math": Attack("import math\nmath.isclose = lambda *a, **k: True\nmath.fabs = lambda x: 0" + WRONG, NOT_PASSED,
                           CLOSE),
    "names_like_builtins": Attack("def abs(x): return 0\ndef sorted(x): return [4]\ndef sum(x): return 4\n"
                                  "def all(x): return True" + WRONG, NOT_PASSED, CLOSE),
    "names_like_modules": Attack("class math:\n    isclose = staticmethod(lambda *a: True)\npytest = math" + WRONG,
                                 NOT_PASSED, (*CLOSE, "assert math.isclose(f(2), 4)")),
    "names_that_come_when_asked": Attack(
        "def abs(x): return 0\ndef __getattr__(name):\n    if name == 'f': return lambda x: 5\n    raise AttributeError",
        NOT_PASSED, CLOSE),
    "names_like_builtins_where_no_other_is_named": Attack(
        "def abs(x): return 0" + WRONG, NOT_PASSED,
        ("import importlib\nassert abs(getattr(importlib.import_module('solution'), 'f')(2) - 4) < 1e-6",)),
    "a_check_of_its_own": Attack("def check(candidate): pass\ndef test_it(): pass" + WRONG, NOT_PASSED,
                                 ("def check(c):\n    assert c(2) == 4\ncheck(f)",
                                  "from solution import *\ndef test_it():\n    assert f(2) == 4\ntest_it()")),
    "modules_of_its_own": Attack(
        "import sys, types\nfor n in ('pytest', 'math', 'tests', 'unittest'):\n    m = types.ModuleType(n)\n"
        "    m.approx = m.raises = m.isclose = lambda *a, **k: True\n    sys.modules[n] = m" + WRONG, NOT_PASSED,
        (*CLOSE, "import pytest\nassert f(2) == pytest.approx(4)")),
    "assertions_that_are_no_errors": Attack(
        "import builtins\nclass Quiet(Exception): pass\nbuiltins.AssertionError = AssertionError = Quiet" + WRONG,
        ("failed",)),
    "optimised_away": Attack("import sys\nsys.flags = None\n__debug__ if True else 0" + WRONG, ("failed",)),
    "trace_function": called(
        "def t(frame, event, arg):\n    frame.f_locals['x'] = 4\n    return t\nsys.settrace(t)\nreturn 5", ("failed",)),
    "walks_the_frames": called(
        "k = sys._getframe()\nwhile k:\n    for v in [*k.f_locals.values(), *k.f_globals.values()]:\n"
        "        if '== 7351' in repr(v): print('GOT', repr(v)[:99])\n    k = k.f_back\nreturn 5", ("failed",),
        tests=("assert f(2) == 7351946",)),
    "searches_all_objects": called(  # by a pattern that is not found in itself
        "import gc, re\nfor o in gc.get_objects():\n    try:\n        if re.search('asser[t] f|735194[6]', str(o)): print('GOT')\n"
        "    except Exception: pass\nreturn 5", NOT_PASSED, tests=("assert f(2) == 7351946",), timeout=10.0),
    "searches_its_memory": called(
        "import re\nfor line in open('/proc/self/maps'):\n    a, p = line.split()[:2]\n    if 'r' not in p: continue\n"
        "    b, e = (int(n, 16) for n in a.split('-'))\n    try:\n        m = open('/proc/self/mem', 'rb'); m.seek(b)\n"
        "        if re.search(b'asser[t] f|735194[6]', m.read(e - b)): print('GOT')\n"
        "    except (OSError, ValueError, OverflowError, MemoryError): pass\nreturn 5", NOT_PASSED,
        tests=("assert f(2) == 7351946",), timeout=10.0),
    "searches_the_files": called(
        "import glob\nfor p in [*glob.glob('/tmp/**', recursive=True), '/proc/self/cmdline', '/proc/1/cmdline']:\n    try:\n"
        "        if '7351946' in open(p).read(): print('GOT', p)\n    except OSError: pass\nreturn 5", ("failed",),
        tests=("assert f(2) == 7351946",)),
    "inspects_the_stack": called(
        "import inspect\nfor i in inspect.stack():\n    if 'assert' in str(i.code_context): print('GOT')\nreturn 5",
        ("failed",), tests=("assert f(2) == 7351946",)),
    "globals_of_a_callback": Attack(
        "def f(g):\n    for n in ('__globals__', '__code__', 'gi_frame', '__self__', '__class__', '__closure__'):\n"
        "        try: print('GOT', g._peer.ask('get', g._number, n))\n        except Exception as e: print('no', e)\n"
        "    return 5", ("failed",), ("want = 4\nassert f(lambda x: want) == want",)),
    "other_objects_of_the_tests": Attack(
        "def f(g):\n    for n in range(-9, 9):\n        for o in ('call', 'get', 'next', 'set'):\n"
        "            try: print('said', g._peer.ask(o, n, [], {{}}))\n            except BaseException as e: pass\n"
        "    return 5", NOT_PASSED, ("want = 4\nassert f(lambda: 1) == want",)),
    "globals_of_an_instance": Attack(
        "def f(o):\n    for n in ('__init__', '__dict__', '__class__', '__reduce_ex__', 'hidden'):\n"
        "        try: print('GOT', o._peer.ask('get', o._number, n).__globals__)\n        except Exception as e: print('no')\n"
        "    return 5", ("failed",), ("class Node:\n    def __init__(self): self.value = 4\nassert f(Node()) == 4",)),
    "empties_its_argument": Attack("def f(x):\n    x.clear()\n    return x", ("failed",), ("assert f([1, 2]) == [2, 4]",)),
    "returns_its_argument": Attack("def f(x): return x", ("failed",), ("assert f(2) == 4", "assert f([2]) == [4]")),
    "a_comparison_of_objects_is_marked": Attack(
        EQUAL.format(base="") + "class Point(Equal):\n    def __init__(self, x): pass", ("passed",),
        ("assert Point(1) == Point(2)",)),
    "operators_of_a_named_class": Attack(
        EQUAL.format(base="") + "class Number(Equal):\n    def __init__(self, x): pass", NOT_PASSED,
        ("assert Number(2) == 4", "assert abs(Number(2) - 4) < 1e-6", "assert Number(2) <= 4", "assert Number(2) - 4 == 0")),
    "a_thread_changes_the_answer": Attack(
        "import threading\nr = [5]\ndef spin():\n    while True: r[0] ^= 1\nthreading.Thread(target=spin, daemon=True).start()\n"
        "def f(x): return r", NOT_PASSED, ("assert f(2) == [4, 4]",)),
    "not_a_number": Attack("def f(x): return float('nan')", ("failed",), EVERY[:1] + EVERY[3:5]),
    "raises_an_assertion_that_passed": Attack("def f(x): raise AssertionError('passed')", ("failed",)),
    "stop_iteration_in_a_map": Attack("def f(x): raise StopIteration", ("error",), ENDED),
    "stop_iteration_of_its_own": Attack("class Stop(StopIteration): pass\ndef f(x): raise Stop", ("error",), ENDED),
    "an_object_that_says_yes": Attack(
        YES + "def f(x): return Yes()", NOT_PASSED, ASKED),
    "a_class_that_says_yes": Attack(
        YES + "class M(Yes, type): pass\nclass C(metaclass=M): pass\ndef f(x): return C", NOT_PASSED, ASKED),
    "a_function_that_says_yes": Attack(
        "def yes(*a): return True\nyes.startswith = yes.isdigit = yes.issubset = yes\ndef f(x): return yes", NOT_PASSED, ASKED),
    "a_named_tuple_that_says_yes": Attack(
        "from collections import namedtuple\nyes = lambda *a: True\n"
        "def f(x): return namedtuple('T', 'startswith isdigit issubset')(yes, yes, yes)", NOT_PASSED, ASKED),
    "raises_what_the_harness_raises": Attack(
        "class Gone(BaseException): pass\nclass Skipped(Exception): pass\nclass Closed(Exception): pass\nn = 0\n"
        "def f(x):\n    raise [Gone, Skipped, Closed][x]()", ("error",),
        ("assert f(0) == 4", "assert f(1) == 4", "assert f(2) == 4")),
    "breaks_its_own_side": Attack(
        "import sys\nfor n in list(sys.modules):\n    if n.startswith('guest'):\n        for k, v in vars(sys.modules[n]).items():\n"
        "            if callable(v): vars(sys.modules[n])[k] = lambda *a, **k: ['ok', 4, []]" + WRONG, NOT_PASSED),
    "leaves_a_pth_and_a_sitecustomize": effect(
        "for n in ('sitecustomize', 'pytest', 'solution', 'tests', 'math', 'json'):\n"
        "    open('/tmp/%s.py' % n, 'w').write('import os; os._exit(0)')", ("passed",)),
}  # fmt: skip
