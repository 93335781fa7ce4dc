"""Whether two LaTeX answers mean the same, by math-verify in a process that can be killed."""

from __future__ import annotations

import atexit
import json
import os
import queue
import re
import subprocess
import sys
import threading
from functools import lru_cache

from maskgrpo_cli.domains.latex_worker import WALL_SECONDS

LONGEST = 400  # characters; of MATH's answers the longest has 159
DEEPEST = 12  # nested braces or brackets
START_SECONDS = 120.0

_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); " \
         "from maskgrpo_cli.domains.latex_worker import main; main()"
_HUGE = re.compile(r"\^\s*\{?\s*[-+]?[0-9]{5,}|[0-9]{60,}|[0-9]{4,}\s*!|!\s*!")
_TOWER = re.compile(r"\^[\s{(]*[-+0-9.]+[\s{(]*\^")


def latex_equal(reference: str, candidate: str) -> bool:
    """Whether a candidate means the same as the reference; False for what is broken or takes too long.

    Takes under a second, whatever the texts (the first call also starts the process, some seconds).
    """
    if not (_harmless(reference) and _harmless(candidate)):
        return False
    return _compared(reference, candidate)


@lru_cache(maxsize=50_000)
def _compared(reference: str, candidate: str) -> bool:
    return _CLIENT.ask(reference, candidate)


def _harmless(text: str) -> bool:
    """Whether a text is short, shallow and free of numbers that only serve to keep a computer busy."""
    if len(text) > LONGEST or _HUGE.search(text) or _TOWER.search(text):
        return False
    depth = deepest = 0
    for character in text:
        depth += (character in "{([") - (character in "})]")
        deepest = max(deepest, depth)
    return deepest <= DEEPEST


class _Client:
    """One worker for this process, started when first needed and again when it does not answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._replies: queue.Queue[str] = queue.Queue()
        self._owner = 0

    def ask(self, reference: str, candidate: str) -> bool:
        with self._lock:
            for _ in range(2):  # once more where the worker was gone since the last question
                process = self._running()
                try:
                    assert process.stdin is not None
                    process.stdin.write(json.dumps([reference, candidate]) + "\n")
                    process.stdin.flush()
                    reply = self._replies.get(timeout=WALL_SECONDS + 1.0)
                except queue.Empty:
                    self.stop()
                    return False
                except OSError:
                    reply = ""
                if reply:
                    return reply == "true\n"
                self.stop()
            return False

    def _running(self) -> subprocess.Popen[str]:
        """The live worker of this process: a fork of the process must not share its parent's."""
        if self._process is not None and self._owner == os.getpid() and self._process.poll() is None:
            return self._process
        if self._owner != os.getpid():
            self._process = None
        self.stop()
        self._owner = os.getpid()
        self._replies = queue.Queue()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, json.dumps(sys.path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8",
        )
        threading.Thread(target=_forward, args=(self._process, self._replies), daemon=True).start()
        try:
            started = self._replies.get(timeout=START_SECONDS)
        except queue.Empty:
            started = ""
        if started != "true\n":
            self.stop()
            raise RuntimeError("the process that compares LaTeX does not start; is math-verify installed?")
        return self._process

    def stop(self) -> None:
        """End the worker; the next question starts another."""
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    continue


def _forward(process: subprocess.Popen[str], replies: queue.Queue[str]) -> None:
    """Lines of a worker into a queue, which unlike a pipe can be waited for with a limit everywhere."""
    assert process.stdout is not None
    try:
        for line in process.stdout:
            replies.put(line)
    except ValueError:  # closed by stop()
        return
    finally:
        replies.put("")


_CLIENT = _Client()
atexit.register(_CLIENT.stop)
