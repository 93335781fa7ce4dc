"""The backend `docker`: every program in a fresh container without a network, by docker's own client."""

from __future__ import annotations

import shutil
import subprocess
import uuid

from .container import START, Container
from .limits import Limits

IMAGE = "python:3.11-slim"


class Docker(Container):
    """Containers of an image with Python 3.10 or newer.

    Raises OSError where the client is missing, or the daemon does not answer it.
    """

    def __init__(self, limits: Limits, workers: int, image: str = IMAGE):
        self.path = shutil.which("docker")
        if self.path is None:
            raise FileNotFoundError("the client `docker` is not installed")
        asked = subprocess.run([self.path, "info"], capture_output=True, text=True)
        if asked.returncode:
            raise PermissionError((asked.stderr.strip().splitlines() or ["docker info failed"])[-1])
        super().__init__(limits, workers)
        self.image = image

    def options(self, name: str) -> list[str]:
        """The options of `docker run`."""
        limits = self.limits
        return [
            "--rm", "--interactive", "--init", "--name", name, "--network", "none", "--read-only", "--ipc", "none",
            "--tmpfs", f"/tmp:rw,nosuid,nodev,size={2 * limits.disk}m,nr_inodes={limits.entries},mode=1777",
            "--memory", f"{2 * limits.memory}m", "--memory-swap", f"{2 * limits.memory}m",
            "--pids-limit", str(4 * limits.processes + 16), "--cpus", "1", "--user", "0:0", "--hostname", "sandbox",
            "--cap-drop", "ALL", "--cap-add", "SETUID", "--cap-add", "SETGID", "--cap-add", "KILL",
            "--cap-add", "CHOWN", "--cap-add", "DAC_OVERRIDE", "--security-opt", "no-new-privileges",
        ]  # fmt: skip

    def execute(self, job: str, seconds: float) -> str:
        """See `Container`."""
        name = f"maskgrpo-{uuid.uuid4().hex}"
        command = [self.path, "run", *self.options(name), self.image, "python3", "-c", START]
        try:
            done = subprocess.run(command, input=job, capture_output=True, text=True, timeout=seconds)
        except subprocess.TimeoutExpired as error:
            subprocess.run([self.path, "rm", "--force", name], capture_output=True)
            raise TimeoutError from error
        if done.returncode:
            raise ValueError((done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1])
        return done.stdout
