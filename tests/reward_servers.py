"""Reward servers of tests, as processes of their own, and a client that takes nothing off their hands."""

import base64
import contextlib
import http.client
import io
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from PIL import Image

HERE = Path(__file__).parent
PATIENCE = 180  # seconds; the machine may be busy
LIGHT = """
import json, sys
from served_rewards import loads
from maskgrpo_cli.domains.scoring_protocol import Limits
from maskgrpo_cli.server.options import Options
from maskgrpo_cli.server.serve import run
if __name__ == "__main__":
    said = json.loads(sys.argv[1])
    rewards = loads(said.pop("rewards"), said.pop("workers"), said.pop("refuse", ""))
    run(rewards, Options(**{"port": 0, **said, "limits": Limits(**said.pop("limits", {}))}))
"""


class Answer(NamedTuple):
    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.json["error"]

    def scores(self, name):
        assert self.status == 200, self.body
        return self.json["rewards"][name]["scores"]


class Server:
    """A server process; `url`, `log` and requests to it."""

    def __init__(self, process, log):
        self.process, self._log, self.token = process, Path(log), None
        self.port = int(self.logged("listening")["url"].rpartition(":")[2])

    def lines(self):
        return [json.loads(line) for line in self._log.read_text().splitlines() if line.startswith("{")]

    def logged(self, event, **fields):
        """The first line of the log about an event, waited for."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            for line in self.lines():
                if line["event"] == event and fields.items() <= line.items():
                    return line
            assert self.process.poll() is None, self._log.read_text()
            time.sleep(0.05)
        raise AssertionError(f"no {event} in {self._log.read_text()}")

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def raw(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def ask(self, method, path, body=None, headers=None, connection=None):
        """One request; on a connection of its own unless one is given."""
        own = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        kept = contextlib.nullcontext(connection) if connection else contextlib.closing(self.connect())
        with kept as connection:
            connection.request(method, path, body, {**own, **(headers or {})})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def get(self, path, **headers):
        return self.ask("GET", path, headers=headers)

    def post(self, body, headers=None, connection=None):
        """A JSON body, or bytes as they are, to /v1/score."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **(headers or {})}
        return self.ask("POST", "/v1/score", raw, headers, connection)

    def score(self, *items, **more):
        return self.post({"items": list(items), **more})

    def metric(self, name):
        """The sum of a metric over its labels."""
        lines = self.get("/metrics").body.decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.split("{")[0].split(" ")[0] == name)

    def until(self, name, value):
        """Wait until a metric has a value."""
        end = time.monotonic() + PATIENCE
        while self.metric(name) != value:
            assert time.monotonic() < end, f"{name} is {self.metric(name)}, not {value}"
            time.sleep(0.02)

    @contextlib.contextmanager
    def busy(self, flag, *rewards):
        """All of its workers work until the context ends; `flag` is a file to be made then. Gives their answers."""
        done, workers = self.metric("maskgrpo_batch_items_count"), int(self.metric("maskgrpo_workers_ready"))
        answers = []
        with ThreadPoolExecutor(workers) as clients:
            for index in range(workers):
                item = text(columns={"until": str(flag)})
                answers.append(clients.submit(self.score, item, rewards=["batch", *rewards]))
                while self.metric("maskgrpo_batch_items_count") != done + index + 1:
                    assert not answers[-1].done(), answers[-1].result()
            try:
                yield answers
            finally:
                Path(flag).touch()

    def memory(self):
        """Bytes that it and its workers hold of memory of their own."""
        pids = [self.process.pid, *(line["pid"] for line in self.lines() if line["event"] == "worker ready")]
        found = [Path(f"/proc/{pid}/statm") for pid in pids]
        return sum(int(path.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") for path in found if path.exists())

    def end(self, number=signal.SIGTERM):
        """Its exit code, once told to end."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@contextlib.contextmanager
def started(command, folder, name="server", wait=True, **environment):
    """A server of this command, ready; killed at the end if need be."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE), **environment}
    log = Path(folder) / f"{name}.log"
    with log.open("wb") as errors:
        process = subprocess.Popen([sys.executable, *command], stderr=errors, env=environment, cwd=HERE)
    try:
        server = Server(process, log)
        if wait:
            server.logged("worker ready")
        yield server
    finally:
        process.kill()
        process.wait()


def light(folder, rewards=("length", "batch", "faulty"), workers=1, wait=True, name="light", **options):
    """A server of the rewards of `served_rewards`, which starts without torch."""
    said = {"rewards": list(rewards), "workers": workers, **options}
    return started(["-c", LIGHT, json.dumps(said)], folder, name, wait)


def real(folder, *arguments, wait=True, **environment):
    """`maskgrpo reward-server` with these arguments, on a free port."""
    command = ["-m", "maskgrpo_cli", "reward-server", "--port", "0", "--device", "cpu", *arguments]
    return started(command, folder, "real", wait, **environment)


def text(words="two words", prompt="a prompt", **more):
    return {"prompt": prompt, "completion": {"text": words}, **more}


def picture(image, prompt="a red circle", kind="PNG", **more):
    raw = image if isinstance(image, bytes) else file_of(image, kind)
    return {"prompt": prompt, "completion": {"image": base64.b64encode(raw).decode()}, **more}


def file_of(image, kind="PNG", **options):
    held = io.BytesIO()
    image.save(held, kind, **options)
    return held.getvalue()


def plain(width=20, height=10, colour="red"):
    return Image.new("RGB", (width, height), colour)


def form(request, parts, boundary="xyz"):
    """Body and header of a multipart form: the JSON, and files by name."""
    pieces = [("request", "application/json", json.dumps(request).encode())]
    pieces += [(name, "image/png", raw) for name, raw in parts.items()]
    body = b"".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n'
        f"Content-Type: {kind}\r\n\r\n".encode() + raw + b"\r\n"
        for name, kind, raw in pieces
    )
    return body + f"--{boundary}--\r\n".encode(), {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, *more, data=b""):
    """A PNG of grey pixels as its header says; `more` are chunks before the pixels `data`."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
