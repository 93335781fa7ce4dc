"""Small reward servers on loopback for the tests of `remote`: what they answer is up to the test."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from maskgrpo_cli.domains import scoring_protocol as wire


class Asked(NamedTuple):
    """A request that came."""

    method: str
    path: str
    headers: dict
    body: bytes

    def json(self):
        return json.loads(self.body)


class Local:
    """A server on a port of its own: `answer(asked)` gives (status, headers, body), or None to hang up.

    `stop` ends it and frees the port, `start` has it there again.
    """

    def __init__(self, answer, port=0):
        self.answer, self.asked, self.port = answer, [], port
        self.at_once, self.most = 0, 0
        self.server = None
        self.start()

    def start(self):
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *words):
                pass

            def respond(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                asked = Asked(self.command, self.path, dict(self.headers), body)
                outer.asked.append(asked)
                outer.at_once += 1
                outer.most = max(outer.most, outer.at_once)
                try:
                    given = outer.answer(asked)
                    if given is None:
                        self.close_connection = True
                        return
                    status, headers, text = given
                    self.send_response(status)
                    for name, value in {"Content-Length": len(text), **headers}.items():
                        self.send_header(name, str(value))
                    self.end_headers()
                    self.wfile.write(text)
                except OSError:  # the client has gone
                    self.close_connection = True
                finally:
                    outer.at_once -= 1

            do_GET = do_POST = respond

        class Quiet(ThreadingHTTPServer):
            daemon_threads, block_on_close = True, False

            def handle_error(self, *words):
                pass

        self.server = Quiet(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def posted(self):
        return [asked for asked in self.asked if asked.method == "POST"]

    def stop(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.stop()


INFO = {
    "version": 1, "server": "test", "rewards": [{"name": "letters", "version": "1"}],
    "limits": wire.Limits().model_dump(), "max_batch": 8, "max_wait_s": 0.0, "workers": 1, "queue_items": 100,
}  # fmt: skip


def scored(asked, scores, **changes):
    """The answer of version 1 to a request, with these scores of its items."""
    request = asked.json()
    ids = [item["id"] for item in request["items"]]
    name = (request["rewards"] or ["letters"])[0]
    answer = {
        "version": 1, "request_id": "r", "items": ids, "rewards": {name: {"version": "1", "scores": scores}},
        "timing": {"queue_s": 0.0, "score_s": 0.0, "total_s": 0.0}, "batches": [len(ids)],
    }  # fmt: skip
    return 200, {}, json.dumps({**answer, **changes}).encode()


def letters_of(asked):
    """The reward own_rewards.letters of a request's texts, with the very function."""
    from own_rewards import letters

    return letters(None, [item["completion"]["text"] for item in asked.json()["items"]])


def speaks(score=lambda asked: scored(asked, letters_of(asked)), info=INFO, pause=0.0):
    """An `answer` that speaks version 1; `score(asked)` answers what is to be scored."""

    def answer(asked):
        if asked.path == wire.INFO:
            return 200, {}, json.dumps(info).encode()
        if asked.path == wire.READY:
            return 200, {}, b"{}"
        time.sleep(pause)
        return score(asked)

    return answer
