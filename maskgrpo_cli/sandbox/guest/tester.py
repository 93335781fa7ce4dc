"""The tests' side of a sandbox: one process that waits, and forks for every program whose tests are to be run.

It runs in a sandbox of its own, for tests come from data sets; but it never runs a line of the program. It reaches the
program through `remote`, and says on a channel which the program has no end of what became of each test.
"""

import array
import gc
import os
import resource
import shutil
import signal
import socket
import sys

from . import wire
from .confine import confine
from .remote import Gone, Remote
from .tests import Suite
from .values import PURE

JOB, CLEAN = b"j", b"c"


def main():
    """`tester FD LIMITS`: fork for each job that comes with the descriptors of its two channels."""
    control_fd = int(sys.argv[1])
    confine(wire.loads(sys.argv[2]), {control_fd})
    control = socket.socket(fileno=control_fd)
    for name in sorted(PURE):  # once, for all forks
        __import__(name)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    gc.disable()  # a collection in a fork would copy every page
    gc.freeze()
    control.send(b"r")
    while True:
        word, ancillary, _, _ = control.recvmsg(1, socket.CMSG_SPACE(8))
        if word == JOB:
            fds = array.array("i")
            fds.frombytes(ancillary[0][2][:8])
            if os.fork() == 0:
                gc.enable()
                control.close()
                work(*fds)
            for fd in fds:
                os.close(fd)
        elif word == CLEAN:
            control.send(b"k" if clean() else b"d")
        else:
            os._exit(0)


def clean():
    """Reap the children and empty the folder; whether nothing is left of what they started."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
        return False  # a child still runs
    except ChildProcessError:
        pass
    folder = os.environ["HOME"]
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        shutil.rmtree(path, ignore_errors=True) if os.path.isdir(path) else os.unlink(path)
    mine = {str(os.getpid()), str(os.getppid()), "1"}
    return os.environ.get("ALONE") != "1" or all(name in mine for name in os.listdir("/proc") if name.isdigit())


def work(program, verdicts):
    """Run the tests of one job, in a process of its own; never returns."""
    try:
        job = wire.receive(verdicts)
        resource.setrlimit(resource.RLIMIT_CPU, (job["seconds"], job["seconds"]))
        Session(program, verdicts).run(job)
    except wire.Closed:
        os._exit(0)
    os._exit(0)


class Session:
    """The tests of one program, in order, up to the end of that program."""

    def __init__(self, program, verdicts):
        self.verdicts = verdicts
        self.remote = Remote(program)

    def say(self, *message):
        """Tell the host."""
        wire.send(self.verdicts, message)

    def lose(self, index, why):
        """Tell the host that the program is gone, and wait until it has looked why."""
        self.say("lost", index, why)
        wire.exactly(self.verdicts, 1)

    def run(self, job):
        """Load the program, then judge test after test."""
        first = job["tests"][0][0]
        self.say("start", first)
        try:
            suite = Suite(self.remote, job)
        except Gone as error:
            return self.lose(first, str(error))
        if suite.broken:
            return self.say("broken", *suite.broken)
        self.say("loaded")
        for index, test in job["tests"]:
            if index != first:
                self.say("start", index)
            status, reason = suite.judge(test)
            if self.remote.gone:
                return self.lose(index, self.remote.gone)
            self.say("verdict", index, status, reason)
            wire.exactly(self.verdicts, 1)  # the host has taken what this test printed
        return self.say("end")
