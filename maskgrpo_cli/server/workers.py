"""The server's side of a worker process: starting it, handing it batches, and noticing when it dies or hangs."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import Executor

from maskgrpo_cli.errors import RunFailed, UserError
from maskgrpo_cli.server import worker
from maskgrpo_cli.server.frames import Answer, Raw, receive_answer, send_batch


class WorkerLost(Exception):
    """The worker process died, or was killed because it took too long."""


class Worker:
    """One worker process. Only one call at a time.

    Args:
        load: makes the rewards, in the process; it must be something that can be sent there.
        pixels: of a picture, at most.
        timeout: seconds after which a batch is given up, and the process killed.
        executor: threads to wait in, at least one for each worker.
    """

    def __init__(self, load: worker.Load, pixels: int, timeout: float, executor: Executor):
        self._load, self._pixels, self._timeout, self._executor = load, pixels, timeout, executor
        self._process = self._connection = None
        self.running = False

    @property
    def pid(self) -> int | None:
        """The process, once it was started."""
        return None if self._process is None else self._process.pid

    async def start(self) -> dict[str, str]:
        """Start a process, anew if need be, and wait until it is ready; gives the versions of its rewards.

        Raises:
            UserError, RunFailed: the rewards cannot be made.
        """
        self.kill()
        context = multiprocessing.get_context("spawn")  # a GPU cannot be used after a fork
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            # not a daemon: rewards may start processes of their own
            target=worker.main, args=(theirs, self._load, self._pixels), name="reward-worker", daemon=False
        )
        self._process.start()
        theirs.close()
        said = await self._wait(self._first_word)
        if "refused" in said:
            raise UserError(said["refused"])
        if "failed" in said:
            raise RunFailed(f"a worker cannot make the rewards\n{said['failed'].rstrip()}")
        self.running = True
        return said["ready"]

    async def score(self, rewards: Sequence[str], samples: Sequence[Raw]) -> Answer:
        """What the rewards say of a batch; raises WorkerLost."""
        clock = asyncio.get_running_loop().call_later(self._timeout, self.kill)
        try:
            return await self._wait(self._exchange, rewards, samples)
        except (EOFError, OSError) as error:
            self.kill()
            raise WorkerLost from error
        finally:
            clock.cancel()

    def kill(self) -> None:
        """End the process at once, if there is one."""
        self.running = False
        if self._process is not None:
            self._process.kill()

    def close(self, patience: float = 2.0) -> None:
        """End the process, which may take this many seconds to leave by itself."""
        if self._process is None:
            return
        self._connection.close()
        if self.running:  # not while it loads, which may take minutes
            self._process.join(patience)
        self.running = False
        self._process.kill()
        self._process.join()

    def _first_word(self) -> dict:
        try:
            return json.loads(self._connection.recv_bytes())
        except (EOFError, OSError):
            self._process.join()
            return {"failed": f"the process ended with exit code {self._process.exitcode}"}

    def _exchange(self, rewards: Sequence[str], samples: Sequence[Raw]) -> Answer:
        send_batch(self._connection, rewards, samples)
        return receive_answer(self._connection)

    async def _wait(self, function, *arguments):
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments)
