"""What the backends share that run a whole program with its tests on another machine: a job in, results out, as JSON.

There the tests run as one user and the program as another, each program on a machine of its own that is thrown away.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path

from ..types import Program, TestResult
from .executor import Pool
from .limits import Limits

PACKAGE = Path(__file__).parent.parent
FILES = ("errors.py", "types.py", "sandbox/backends.py", "sandbox/bundle.py", "sandbox/executor.py",
         "sandbox/inside.py", "sandbox/limits.py", "sandbox/pair.py", "sandbox/streams.py", "sandbox/unsafe_local.py",
         "sandbox/usage.py")  # fmt: skip
START = """
import json, os, sys, tempfile
job = json.load(sys.stdin)
folder = tempfile.mkdtemp()
for name, text in job.pop("files").items():
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    open(path, "w").write(text)
sys.path.insert(0, folder)
from maskgrpo_cli.sandbox.inside import main
main(job)
"""
SPARE = 60.0  # seconds to start a machine and to stop it


@functools.cache
def files() -> dict[str, str]:
    """The sources that the other machine needs, by path."""
    names = [*FILES, *(f"sandbox/guest/{path.name}" for path in (PACKAGE / "sandbox/guest").glob("*.py"))]
    found = {f"maskgrpo_cli/{name}": (PACKAGE / name).read_text() for name in names}
    return {**found, "maskgrpo_cli/__init__.py": "", "maskgrpo_cli/sandbox/__init__.py": ""}


class Container(Pool):
    """Programs on other machines; `execute` is what differs."""

    def __init__(self, limits: Limits, workers: int):
        super().__init__(workers)
        self.limits = limits

    def judge(self, program: Program) -> list[TestResult]:
        """The results of one program."""
        if not program.tests:
            return []
        timeout = self.limits.timeout if program.timeout is None else program.timeout
        asked = {"program": dataclasses.asdict(program), "limits": dataclasses.asdict(self.limits), "files": files()}
        try:
            text = self.execute(json.dumps(asked), 2 * timeout * len(program.tests) + SPARE)
            return [TestResult(**result) for result in json.loads(text)]
        except TimeoutError:
            return [TestResult("timeout", "the machine of the program did not answer")] * len(program.tests)
        except ValueError as error:
            return [TestResult("error", f"the machine of the program answered nonsense: {error}")] * len(program.tests)

    def execute(self, job: str, seconds: float) -> str:
        """Run START on a fresh machine with the job on stdin; what it writes. Raises TimeoutError."""
        raise NotImplementedError
