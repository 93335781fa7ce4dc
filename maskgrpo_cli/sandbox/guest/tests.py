"""How the text of one test becomes a verdict, with the names of the program at hand."""

import builtins
import errno
import os
import sys
import types

from . import stand_in
from .remote import Gone, RemoteModule

RESERVED = set(dir(builtins)) | set(sys.stdlib_module_names)
FULL = {errno.EFBIG, errno.ENOSPC, errno.EAGAIN, errno.EMFILE, errno.ENOMEM, errno.EDQUOT}


class Suite:
    """The names that tests see: their own set-up's, then the program's."""

    def __init__(self, remote, job):
        self.remote = remote
        self.broken = None
        self.text = ""
        self.names = {}
        self.module, self.asked, self.before = job["module"], job["asked"], job["setup"]
        self.setup = {"__name__": "tests", "__builtins__": builtins}
        os.chdir(os.environ["HOME"])
        sys.modules["pytest"] = stand_in.module()
        try:
            self.names = remote.load(job["source"], self.module)
            sys.modules[self.module] = RemoteModule(self.module, remote, self.public)
            exec(compile(self.before, "setup.py", "exec"), self.with_names(self.before, self.setup, setup=True))
        except Gone:
            raise
        except BaseException as error:
            self.broken = self.verdict(error)

    def with_names(self, source, namespace, setup=False):
        """The namespace with the program's names under it, as far as they may stand there.

        The name of a builtin or of a standard module is never the program's, unless it is what was asked for:
        otherwise a program could put its own `abs` or `math` under the test's feet.
        """
        used = names_in(compile(source, "test.py", "exec"))
        for name, form in self.names.items():
            if name not in used or name in namespace:
                continue
            if name in RESERVED and form != {"module": name} and (setup or name != self.asked):
                continue
            value = self.remote.named(name, form)
            if value is not None or form is None:
                namespace[name] = value
        return namespace

    def public(self):
        """The names that `import *` takes: none of a builtin or a standard module, none that cannot cross."""
        named = {name: form for name, form in self.names.items() if not name.startswith("_") and name not in RESERVED}
        return [name for name, form in named.items() if form is None or self.remote.named(name, form) is not None]

    def judge(self, test):
        """(status, reason) of one test."""
        self.remote.answered_for_itself = False
        self.remote.may_stop = "StopIteration" in self.before + test
        self.text = test
        try:
            namespace = self.with_names(test, dict(self.setup))
            exec(compile(test, "test.py", "exec"), namespace)
        except BaseException as error:
            return self.verdict(error)
        return "passed", "objects of the program compared themselves" if self.remote.answered_for_itself else ""

    def verdict(self, error):
        """(status, reason) of what a test raised."""
        if isinstance(error, Gone):
            return "error", str(error)
        reason = f"{type(error).__name__}: {error}".strip(": \n")[:500]
        if isinstance(error, stand_in.Skipped):
            return "error", f"the test skipped itself: {reason}"
        if isinstance(error, AssertionError):
            line = "" if str(error) else self.line(error)
            return "failed", f"{reason}: {line}" if line else reason
        full = isinstance(error, OSError) and error.errno in FULL
        if isinstance(error, MemoryError) or full or "can't start new thread" in reason:
            return "limit", reason
        return "error", reason

    def line(self, error):
        """The line of the test in which it was raised."""
        number, trace = 0, error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == "test.py":
                number = trace.tb_lineno
            trace = trace.tb_next
        lines = self.text.splitlines()
        return lines[number - 1].strip()[:300] if 0 < number <= len(lines) else ""


def names_in(code):
    """Every name that a code object reads from its globals, those of inner functions too."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= names_in(constant)
    return found
