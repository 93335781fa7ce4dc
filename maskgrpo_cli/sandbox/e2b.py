"""The backend `e2b`: every program on a fresh machine of e2b.dev, by its own client. It needs E2B_API_KEY."""

from __future__ import annotations

import os
import shlex

from ..errors import RunFailed
from .container import START, Container
from .limits import Limits

JOB = "/root/job.json"


class E2b(Container):
    """Machines of the default template, without a network.

    Raises OSError where the client or its key is missing.
    """

    def __init__(self, limits: Limits, workers: int):
        try:
            import e2b
        except ImportError as error:
            raise FileNotFoundError("the client is not installed (pip install 'maskgrpo[e2b]')") from error
        if not os.environ.get("E2B_API_KEY"):
            raise PermissionError("the environment variable E2B_API_KEY is not set")
        super().__init__(limits, workers)
        self.client = e2b

    def execute(self, job: str, seconds: float) -> str:
        """See `Container`."""
        machine = self.client.Sandbox.create(timeout=int(seconds) + 30, allow_internet_access=False)
        try:
            machine.files.write(JOB, job, user="root")
            command = f"python3 -c {shlex.quote(START)} < {JOB}"
            return machine.commands.run(command, user="root", timeout=seconds).stdout
        except self.client.TimeoutException as error:
            raise TimeoutError from error
        except self.client.CommandExitException as error:
            raise ValueError((error.stderr.strip().splitlines() or ["no answer"])[-1]) from error
        except self.client.SandboxException as error:
            raise RunFailed(f"e2b: {error}") from error
        finally:
            machine.kill()
