"""Which backend is taken, what is said where there is none, and what is left when the caller is killed."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from maskgrpo_cli.errors import UserError
from maskgrpo_cli.sandbox import BACKENDS, make
from maskgrpo_cli.sandbox.container import START, Container
from maskgrpo_cli.sandbox.docker import Docker
from maskgrpo_cli.sandbox.limits import Limits
from maskgrpo_cli.types import Program

DOUBLE = Program(
    "import os\ndef f(x):\n    print(os.getuid())\n    return 2 * x", ("assert f(2) == 4", "assert f(2) == 5")
)
SYSTEM_PYTHON = "/usr/bin/python3"


def test_an_unknown_backend_is_named():
    with pytest.raises(UserError, match="'podman' is no backend; write one of auto, bubblewrap, landlock, docker, e2b"):
        make("podman")
    assert BACKENDS == ("auto", "bubblewrap", "landlock", "docker", "e2b")


def test_without_bwrap_it_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError) as error:
        make("bubblewrap")
    message = str(error.value)
    assert "bwrap is not installed" in message and "apt install bubblewrap" in message and "--unsafe-local" in message


def test_a_bwrap_that_does_not_work_is_not_taken(monkeypatch, tmp_path):
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(UserError, match="No permissions to create new namespace.*user namespaces allowed"):
        make("bubblewrap")


def test_docker_without_client_or_daemon(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="the client `docker` is not installed"):
        make("docker")
    client = tmp_path / "docker"
    client.write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")
    client.chmod(0o755)
    with pytest.raises(UserError, match="Cannot connect to the Docker daemon"):
        make("docker")


def test_docker_runs_without_network_or_privileges(monkeypatch, tmp_path):
    """A stand-in for the client runs what follows the image's name; it needs a root, as a container has one."""
    client = tmp_path / "docker"
    client.write_text("#!/bin/sh\n[ \"$1\" = info ] && exit 0\necho \"$@\" > \"$(dirname \"$0\")/asked\"\n"
                      f"while [ \"$1\" != image ]; do shift; done\nshift 2\nexec {SYSTEM_PYTHON} \"$@\"\n")  # fmt: skip
    client.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    need_root()
    with Docker(Limits(timeout=30), 1, "image") as executor:
        [results] = executor.run([DOUBLE])
    assert [result.status for result in results] == ["passed", "failed"]
    asked = (tmp_path / "asked").read_text()
    for option in ("--network none", "--read-only", "--cap-drop ALL", "--security-opt no-new-privileges", "--rm"):
        assert option in asked


@pytest.mark.skipif(importlib.util.find_spec("e2b") is not None, reason="the client of e2b is installed")
def test_e2b_without_its_client():
    with pytest.raises(UserError, match=r"pip install 'maskgrpo\[e2b\]'"):
        make("e2b")


def need_root():
    if os.geteuid() or not os.path.exists(SYSTEM_PYTHON):
        pytest.skip("only root can run the tests and the program as two other users")


class Here(Container):
    """The machine is this one."""

    python = SYSTEM_PYTHON

    def execute(self, job, seconds):
        done = subprocess.run([self.python, "-c", START], input=job, capture_output=True, text=True, timeout=seconds)
        if done.returncode:
            raise ValueError(done.stderr.strip().splitlines()[-1])
        return done.stdout


def test_another_machine_judges_by_two_other_users():
    need_root()
    with Here(Limits(timeout=30), 1) as executor:
        tests = ("import os\nassert os.getuid() == 65532", "assert f(2) == 4", "while True: pass")
        results, bare = executor.run([Program(DOUBLE.source, tests, timeout=3.0), Program("", ())])
    assert [result.status for result in results] == ["passed", "passed", "timeout"] and bare == []
    assert results[1].stdout == "65533\n"


def test_users_of_guests_come_back():
    need_root()
    try:
        executor = make("bubblewrap", workers=2, timeout=60.0)
    except UserError as error:
        pytest.skip(str(error))
    with executor:
        free = executor.backend.users.free
        whole = len(free)
        executor.run([DOUBLE] * 4)
        assert len(free) == whole - len(executor.testers) and len(set(free)) == len(free)
        free.clear()
        assert [result.status for result in executor.run([DOUBLE])[0]] == ["passed", "failed"]


def test_a_machine_that_answers_nonsense():
    class Broken(Here):
        def execute(self, job, seconds):
            raise ValueError("no such image")

    with Broken(Limits(), 1) as executor:
        [results] = executor.run([DOUBLE])
    assert {(result.status, result.reason) for result in results} == {
        ("error", "the machine of the program answered nonsense: no such image")
    }


KILLED = """
import sys
from maskgrpo_cli.sandbox import make
from maskgrpo_cli.types import Program
source = '''
import ctypes, os, signal, time
ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
for number in (1, 2, 15): signal.signal(number, signal.SIG_IGN)
if os.fork() == 0: os.setsid()
while True: time.sleep(1)
'''
executor = make(sys.argv[1], workers=1)
executor.submit(Program(source, ("assert f(2) == 4",), timeout=600.0))
while not executor.testers: pass
print("ready", flush=True)
input()
"""


def of_the_session(pid: int) -> set[int]:
    """All processes below a process."""
    from maskgrpo_cli.sandbox.usage import tree

    return set(tree(pid)) - {pid}


@pytest.mark.parametrize("backend", ["bubblewrap", "landlock"])
def test_nothing_is_left_when_the_caller_is_killed(backend):
    try:
        make(backend, workers=1).close()
    except UserError as error:
        pytest.skip(str(error))
    caller = subprocess.Popen([sys.executable, "-c", KILLED, backend], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert caller.stdout.readline() == b"ready\n"
    until = time.monotonic() + 30
    while len(of_the_session(caller.pid)) < 5 and time.monotonic() < until:  # bwrap and guest twice, and a child
        time.sleep(0.05)
    guests = of_the_session(caller.pid)
    assert len(guests) >= 5
    os.kill(caller.pid, signal.SIGKILL)
    caller.communicate()
    while any(alive(pid) for pid in guests) and time.monotonic() < until:
        time.sleep(0.05)
    assert not [pid for pid in guests if alive(pid)]


def alive(pid: int) -> bool:
    """Whether a process runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_unsafe_local_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with make(unsafe_local=True, workers=1, timeout=30.0) as executor:
        [[result]] = executor.run([Program("open('x', 'w').write('x')\ndef f(): return 1", ("assert f() == 1",))])
    assert result.status == "passed" and not list(tmp_path.iterdir())
