"""Named attacks on the default sandbox: no effect on the host, no forged pass, no harm to a neighbour, nothing left."""

import ctypes
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from sandbox_attacks import ENDS, FLOODS, PROCESSES, Attack
from sandbox_attacks_host import FILES, NETWORK, VERDICTS

from maskgrpo_cli.errors import UserError
from maskgrpo_cli.sandbox import make
from maskgrpo_cli.sandbox.usage import tree
from maskgrpo_cli.types import Program

GROUPS = {
    "ends": ENDS, "processes": PROCESSES, "floods": FLOODS, "network": NETWORK, "files": FILES, "verdicts": VERDICTS,
}  # fmt: skip
ATTACKS = {f"{group}-{name}": attack for group, attacks in GROUPS.items() for name, attack in attacks.items()}
SECRET = "canary-7f3a91"
NEIGHBOUR = Program(
    "def g(x): return x * x", ("assert g(3) == 9", "assert g(3) == 8", "assert g(-1) == 1"), timeout=60.0
)
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER: whatever loses its parent comes to this process, so that it is seen


class Host:
    """What an attack could touch."""

    def __init__(self, folder: Path):
        self.before = tree(os.getpid())
        self.file = folder / "canary"
        self.home = Path.home() / f".canary-{os.getpid()}"
        for path in (self.file, self.home):
            path.write_text(SECRET)
        self.process = subprocess.Popen(["sleep", "100000"])
        self.python = Path(os.path.realpath(sys.executable))
        self.size = self.python.stat().st_size
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.unix, self.abstract = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        self.unix.bind(str(folder / "socket"))
        self.abstract.bind(f"\0maskgrpo-canary-{os.getpid()}")
        for listener in (self.unix, self.abstract):
            listener.listen()
        for one in (self.tcp, self.udp, self.unix, self.abstract):
            one.setblocking(False)
        self.places = {
            "{file}": str(self.file), "{home}": str(self.home), "{pid}": str(self.process.pid),
            "{python}": str(self.python), "{port}": str(self.tcp.getsockname()[1]),
            "{udp}": str(self.udp.getsockname()[1]),
            "{unix}": str(folder / "socket"), "{abstract}": f"maskgrpo-canary-{os.getpid()}",
            "{{": "{", "}}": "}",
        }  # fmt: skip

    def aimed(self, source: str) -> str:
        for place, value in self.places.items():
            source = source.replace(place, value)
        return source

    def check(self):
        assert self.file.read_text() == SECRET and self.home.read_text() == SECRET
        assert self.file.stat().st_nlink == 1
        assert self.process.poll() is None, "the canary process was killed"
        assert self.python.stat().st_size == self.size
        for listener in (self.tcp, self.unix, self.abstract):
            with pytest.raises(BlockingIOError):
                listener.accept()
        with pytest.raises(BlockingIOError):
            self.udp.recv(1)

    def close(self):
        self.process.kill()
        self.process.wait()
        self.home.unlink()
        for one in (self.tcp, self.udp, self.unix, self.abstract):
            one.close()


@pytest.fixture(scope="module")
def host():
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    os.environ["MASKGRPO_CANARY"] = SECRET
    folder = Path(tempfile.mkdtemp(prefix="maskgrpo-canary-", dir="/tmp"))  # where a program would look for it
    made = Host(folder)
    yield made
    made.close()
    shutil.rmtree(folder)
    del os.environ["MASKGRPO_CANARY"]
    ctypes.CDLL(None).prctl(SUBREAPER, 0, 0, 0, 0)


BACKENDS = ["bubblewrap", pytest.param("landlock", marks=pytest.mark.slow)]


def sandbox(backend: str, **options):
    try:
        return make(backend, **options)
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module", params=BACKENDS)
def executor(host, request):
    with sandbox(request.param, workers=2, memory=256, timeout=60.0) as made:
        made.run([NEIGHBOUR] * 2)
        yield made
        left = {pid for tester in made.testers for pid in tree(tester.process.pid)}
    assert not left & set(tree(os.getpid()))


def left_over(executor, host) -> set[int]:
    """Processes below this one, orphans and zombies too, that are neither the canary nor the tests' own.

    What other tests of this process keep running, such as the worker that compares LaTeX, was there before.
    """
    known = {os.getpid(), host.process.pid, *host.before}
    if getattr(executor.backend, "users", None):
        known.add(executor.backend.users.guard.pid)
    known.update(pid for tester in executor.testers for pid in tree(tester.process.pid))
    return set(tree(os.getpid())) - known


def waits(attack: Attack) -> bool:
    return "timeout" in attack.ends and attack.ends != Attack._field_defaults["ends"] and "failed" not in attack.ends


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if waits(ATTACKS[name]) else []) for name in ATTACKS]
)
def test_attack(name, executor, host):
    attack = ATTACKS[name]
    program = Program(host.aimed(attack.source), attack.tests, timeout=attack.timeout)
    results, neighbour = executor.run([program, NEIGHBOUR])
    assert [result.status for result in neighbour] == ["passed", "failed", "passed"], neighbour
    printed = "".join(result.stdout + result.stderr for result in results)
    assert {result.status for result in results} <= set(attack.ends), results
    assert "GOT" not in printed and SECRET not in printed, printed
    assert all(len(result.stdout) <= 4096 and len(result.stderr) <= 4096 for result in results)
    host.check()
    assert not left_over(executor, host)


def test_at_least_sixty_attacks_have_a_name():
    assert len(ATTACKS) >= 60


def test_a_daemon_is_gone_before_it_can_act(executor, host):
    source = (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(1)\n"
        f"    open('/tmp/x', 'w').write('late')\n    os.kill({os.getpid()}, 10)\ndef f(x): return 2 * x"
    )
    [[result]] = executor.run([Program(source, ("assert f(2) == 4",))])
    assert result.status == "passed" and not left_over(executor, host)
    time.sleep(1.2)
    host.check()


def test_processes_are_counted_for_each_program(executor):
    hog = (
        "import os, time\ndef f(x):\n    for _ in range(14):\n        try:\n"
        "            if os.fork() == 0: time.sleep(99)\n        except OSError: pass\n    time.sleep(1)"
    )
    threads = (
        "import threading, time\ndef f(x):\n    time.sleep(0.4)\n"
        "    made = [threading.Thread(target=time.sleep, args=(0.1,)) for _ in range(x)]\n"
        "    for one in made: one.start()\n    return x"
    )
    _, [honest] = executor.run([Program(hog, ("f(1)",)), Program(threads, ("assert f(2) == 2",))])
    assert honest.status == "passed", honest


def test_nothing_of_a_program_is_there_for_the_next(executor):
    leave = "open('/tmp/left', 'w').write('x')\nimport os\nos.environ['LEFT'] = 'x'\ndef f(x): return 2 * x"
    look = "import os\ndef f(x): return os.listdir('/tmp'), 'LEFT' in os.environ"
    programs = [Program(leave, ("assert f(2) == 4",)), Program(look, ("assert f(2) == ([], False)",))] * 3
    assert {result.status for results in executor.run(programs) for result in results} == {"passed"}


@pytest.mark.parametrize("backend", BACKENDS)
def test_closing_stops_what_runs(backend, host):
    before = set(tree(os.getpid()))
    made = sandbox(backend, workers=1, timeout=600.0)
    future = made.submit(Program("while True: pass", ("assert f(2) == 4",)))
    while not made.testers:
        time.sleep(0.01)
    closer = threading.Thread(target=made.close)
    closer.start()
    closer.join(30)
    assert not closer.is_alive() and future.exception() is not None
    assert set(tree(os.getpid())) <= before
