"""`maskgrpo reward-server` as it is called: the rewards of a run to the bit, many clients, its end, and mistakes."""

import json
import logging
import os
import re
import signal
import ssl
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image
from reward_servers import HERE, file_of, form, light, picture, plain, real, text

from maskgrpo_cli.cli import app
from maskgrpo_cli.engine.reward_server import loaded, version_of
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.rewards.format import boxed_format
from maskgrpo_cli.rewards.shapes import shapes
from maskgrpo_cli.server import serve
from maskgrpo_cli.server.logs import JsonLines, Words
from maskgrpo_cli.tasks.shapes import SHAPES


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with real(tmp_path_factory.mktemp("real"), "--reward", "shapes", "--reward", "boxed-format") as server:
        yield server


@pytest.fixture(scope="module")
def drawn():
    """(prompt, picture, columns): right ones, another prompt's, a plain one, and a prompt that is no scene."""
    problems = SHAPES.load(None, "validation", limit=24)
    images = [Image.fromarray(SHAPES.picture(problem)) for problem in problems]
    rows = [(problem.prompt, image, dict(problem.columns)) for problem in problems for image in images[:3]]
    return [*rows, (problems[0].prompt, plain(64, 64), {}), ("no scene at all", images[0], {})]


def test_rewards_are_those_of_the_same_process_to_the_bit(server, drawn):
    prompts, images, _ = zip(*drawn, strict=True)
    here = shapes(prompts=prompts, completions=images)
    assert len(set(here)) > 3 and 1.0 in here and None in here
    there = server.score(*[picture(image, prompt, columns=more) for prompt, image, more in drawn], rewards=["shapes"])
    assert there.scores("shapes") == here  # floats of Python and of JSON are equal only where all 64 bits are
    words = [r"\\boxed{3}", "3", r"\\boxed{", ""]
    there = server.score(*[text(one) for one in words], rewards=["boxed-format"])
    assert there.scores("boxed-format") == boxed_format(prompts=[""] * 4, completions=words)


def test_sixty_four_clients_lose_nothing(server, drawn):
    here = shapes(*list(zip(*drawn, strict=True))[:2])
    connections = [server.connect() for _ in range(64)]

    def client(index):
        scores = []
        for step in range(4):
            chosen = [(index + step + offset) % len(drawn) for offset in range(3)]
            body = {"items": [picture(drawn[one][1], drawn[one][0]) for one in chosen], "rewards": ["shapes"]}
            answer = server.post(body, connection=connections[index])
            assert answer.status == 200, answer.body
            scores.append(answer.scores("shapes") == [here[one] for one in chosen])
        return scores

    with ThreadPoolExecutor(64) as clients:
        answered = list(clients.map(client, range(64)))
    assert answered == [[True] * 4] * 64


def test_the_versions_of_rewards_tell_them_apart(server):
    info = server.get("/v1/info").json
    versions = {reward["name"]: reward["version"] for reward in info["rewards"]}
    assert list(versions) == ["shapes", "boxed-format"] and len(set(versions.values())) == 2
    assert versions["shapes"] == version_of("shapes", {}) != version_of("shapes", {"x": 1})
    assert version_of("own_rewards:letters", {}) != version_of("own_rewards:digits", {})


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_it_finishes_what_it_accepted_and_ends_well(tmp_path, number):
    with light(tmp_path, ["length", "batch"], max_batch=1) as server, ThreadPoolExecutor(4) as clients:
        with server.busy(tmp_path / "flag") as working:
            waiting = [clients.submit(server.score, text("four"), rewards=["length"]) for _ in range(3)]
            server.until("maskgrpo_queue_items", 3)
            server.process.send_signal(number)
            assert server.logged("draining")["requests"] == 4
            assert server.get("/readyz").status == 503 and server.get("/healthz").status == 200
            refused = server.score(text())
            assert refused.status == 503 and refused.error["code"] == "draining" and refused.error["retryable"]
            assert int(refused.headers["retry-after"]) >= 1
        assert working[0].result().scores("batch") == [1]
        assert [one.result().scores("length") for one in waiting] == [[4.0]] * 3
        assert server.process.wait(60) == 0
        assert server.lines()[-1]["event"] == "ended"


def test_a_second_signal_ends_it_at_once(tmp_path):
    with light(tmp_path, ["batch"]) as server, ThreadPoolExecutor(1) as clients:
        waiting = clients.submit(server.score, text(columns={"until": "never"}))
        server.until("maskgrpo_batch_items_count", 1)
        server.process.send_signal(signal.SIGTERM)
        server.logged("draining")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) != 0
        assert waiting.exception() is not None or waiting.result().status == 500


def test_workers_do_not_outlive_a_server_that_was_killed(tmp_path):
    with light(tmp_path, ["batch"]) as server, ThreadPoolExecutor(1) as clients:
        pid = server.logged("worker ready")["pid"]
        clients.submit(server.score, text(columns={"until": "never"}))
        server.until("maskgrpo_batch_items_count", 1)
        server.process.kill()
        server.process.wait()
        while running(pid):
            pass


def running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_it_takes_requests_only_once_it_can_score(tmp_path):
    with light(tmp_path, ["length"], wait=False) as server:
        answer = server.score(text())
        assert (answer.status, answer.error["code"]) == (503, "loading") or answer.status == 200
        server.logged("worker ready")
        assert server.score(text("four")).scores("length") == [4.0] and server.get("/readyz").status == 200


def test_it_speaks_tls(tmp_path):
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=tmp_path, capture_output=True,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("no openssl to make a certificate with")
    import http.client

    files = {"tls_cert": str(tmp_path / "cert.pem"), "tls_key": str(tmp_path / "key.pem")}
    with light(tmp_path, ["length"], **files) as server:
        trusted = ssl.create_default_context(cafile=files["tls_cert"])
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=trusted, timeout=60)
        assert server.post({"items": [text("four")]}, connection=connection).scores("length") == [4.0]
        with server.raw() as plain_text:
            plain_text.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert not plain_text.recv(100).startswith(b"HTTP/1.1 200")


# --- mistakes ---------------------------------------------------------------------------------------


def call(*arguments, **environment):
    command = [sys.executable, "-m", "maskgrpo_cli", "reward-server", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=180, cwd=HERE, env=environment)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "--reward shapes"),
        (["--reward", "shapes", "--reward", "shapes"], "given twice"),
        (["--reward", "shapes", "--host", "0.0.0.0"], "token"),
        (["--reward", "shapes", "--host", "256.1.1.1", "--token-file", "{token}"], "cannot listen there"),
        (["--reward", "shapes", "--host", "x" * 70, "--token-file", "{token}"], "cannot listen there"),
        (["--reward", "shapes", "--token-file", "nowhere.txt"], "nowhere.txt"),
        (["--reward", "shapes", "--token-file", "{short}"], "at least 16"),
        (["--reward", "shapes", "--tls-cert", "nowhere.pem"], "nowhere.pem"),
        (["--reward", "shapes", "--tls-cert", "{token}"], "no certificate"),
        (["--reward", "shapes", "--tls-key", "{token}"], "--tls-cert"),
        (["--reward", "shapes", "--device", "gpu"], "'gpu'"),
        (["--reward", "shapes", "--set", "shapes"], "NAME.KEY=VALUE"),
        (["--reward", "shapes", "--set", "clip.model=x"], "no --reward clip"),
        (["--reward", "shapes", "--queue", "10"], "--queue 1024"),
        (["--reward", "shapes", "--timeout", "inf"], "--timeout"),
        (["--reward", "shapes", "--max-body", "inf"], "--max-body"),
    ],
)
def test_a_mistake_is_told_before_anything_is_loaded(tmp_path, monkeypatch, arguments, told):
    monkeypatch.setattr(serve.asyncio, "run", lambda task: pytest.fail("it serves"))
    (tmp_path / "token").write_text("x" * 32)
    (tmp_path / "short").write_text("secret")
    files = {name: str(tmp_path / name) for name in ("token", "short")}
    arguments = [argument.format(**files) for argument in arguments]
    with pytest.raises(UserError, match=re.escape(told)):
        app(["reward-server", "--port", "0", *arguments], standalone_mode=False)


def test_a_port_that_is_taken_is_told(tmp_path):
    with light(tmp_path, ["length"], wait=False) as server:
        done = call("--reward", "shapes", "--port", str(server.port))
    assert done.returncode == 2 and f"--port {server.port}" in done.stderr
    assert done.stdout == "" and "Traceback" not in done.stderr


def test_a_token_that_is_too_weak_is_told_wherever_it_is(monkeypatch):
    monkeypatch.setenv("MASKGRPO_SERVER_TOKEN", "short")
    with pytest.raises(UserError, match="MASKGRPO_SERVER_TOKEN"):
        app(["reward-server", "--reward", "shapes", "--port", "0"], standalone_mode=False)


def test_what_a_worker_refuses_ends_the_server(tmp_path):
    with pytest.raises(AssertionError, match="UserError: the weights are missing"):  # of the server's process
        with light(tmp_path, ["length"], refuse="the weights are missing"):
            pass


@pytest.mark.slow
def test_a_reward_that_cannot_be_made_is_told_as_a_mistake():
    done = call("--reward", "shaeps", "--port", "0", "--device", "cpu")
    assert done.returncode == 2 and "did you mean 'shapes'" in done.stderr and "Traceback" not in done.stderr


def test_a_setting_that_no_reward_reads_is_told_as_the_option_it_was():
    with pytest.raises(UserError, match=re.escape("--set own_rewards:Scaled.facter")):
        loaded(["own_rewards:Scaled"], {"own_rewards:Scaled": {"facter": 2}}, "cpu", True).__enter__()


def test_logs_in_a_pipe_are_lines_of_json(server):
    server.post({"items": [text()], "x\n\x1b[31m": 1}, {"X-Request-ID": "for-the-log"})
    line = server.logged("request", id="for-the-log")
    assert (line["status"], line["path"], line["code"]) == (422, "/v1/score", "invalid")
    assert json.dumps(line["field"]).isascii()
    for raw in server._log.read_text().splitlines():
        json.loads(raw)


def test_logs_in_a_terminal_let_no_stranger_paint():
    record = logging.LogRecord("x", logging.INFO, "", 0, "request", None, None)
    record.fields = {"path": "/\x1b[31m\n", "status": 404, "batches": [1, 2], "id": "a-1"}
    assert Words().format(record) == r'request path="/\u001b[31m\n" status=404 batches="[1, 2]" id=a-1'
    assert json.loads(JsonLines().format(record))["path"] == record.fields["path"]
    assert "\x1b" not in JsonLines().format(record) and "\n" not in JsonLines().format(record)


def test_one_large_picture_is_the_same_as_in_a_form(server):
    problem = SHAPES.problem("validation", 0)
    image = Image.fromarray(SHAPES.picture(problem, side=512))
    body, headers = form({"items": [{"prompt": problem.prompt, "completion": {"part": "0"}}]}, {"0": file_of(image)})
    assert server.post(body, headers).scores("shapes") == [1.0]
    assert server.score(picture(image, problem.prompt)).scores("shapes") == [1.0]
