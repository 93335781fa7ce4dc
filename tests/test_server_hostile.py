"""A reward server among clients that mean no good: slow ones, large ones, garbage, and ten thousand fuzzed requests."""

import json
import random
import socket

import numpy as np
import pytest
from PIL import Image
from reward_servers import HERE, file_of, form, light, picture, plain, png, text

TOKEN = "a token of twenty-odd letters".replace(" ", "-")
HEAD = b"POST /v1/score HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + TOKEN.encode()
JSON = b"\r\nContent-Type: application/json"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    times = {"header_timeout": 1.0, "body_timeout": 1.0, "write_timeout": 1.0}
    with light(folder, ["length", "faulty"], token=TOKEN, limits={"body_bytes": 2**20}, **times) as server:
        server.token = TOKEN
        yield server


@pytest.fixture(autouse=True)
def still_answers(server):
    yield
    assert server.score(text("four"), rewards=["length"]).scores("length") == [4.0]
    assert server.process.poll() is None


def read_all(connection):
    """What a server says until it ends the connection."""
    said = b""
    try:
        while piece := connection.recv(65536):
            said += piece
    except ConnectionResetError:
        pass
    return said


# --- slow clients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [b"", b"POST /v1/sc", HEAD, HEAD + b"\r\n" + b"X-More: 1\r\n" * 5])
def test_headers_that_do_not_end_are_waited_for_a_while(server, start):
    cut = server.metric("maskgrpo_connections_cut_total")
    with server.raw() as connection:
        connection.sendall(start)
        assert read_all(connection) == b""
    assert server.metric("maskgrpo_connections_cut_total") == cut + 1


def test_headers_drop_by_drop_buy_no_time(server):
    with server.raw() as connection:
        connection.sendall(HEAD)
        connection.settimeout(0.05)
        said = None
        while said != b"":
            try:
                connection.sendall(b"\r\nX: 1")
                said = connection.recv(100)
            except TimeoutError:
                continue
            except ConnectionError:
                break


@pytest.mark.parametrize("length", [b"Content-Length: 500", b"Transfer-Encoding: chunked"])
def test_a_body_that_does_not_end_is_refused(server, length):
    with server.raw() as connection:
        start = b"2\r\n{ \r\n" if b"chunked" in length else b"{ "
        connection.sendall(HEAD + JSON + b"\r\n" + length + b"\r\n\r\n" + start)
        assert b" 408 " in read_all(connection).splitlines()[0]
    server.until("maskgrpo_held_bytes", 0)


def test_a_hundred_slow_clients_keep_nobody_away(server):
    slow = [server.raw() for _ in range(100)]
    for index, connection in enumerate(slow):
        connection.sendall((HEAD + JSON + b"\r\nContent-Length: 900\r\n\r\n{")[: None if index % 2 else 20])
    assert server.score(text("four"), rewards=["length"]).scores("length") == [4.0]
    for connection in slow:
        said = read_all(connection)
        assert said == b"" or b" 408 " in said
        connection.close()


def test_who_does_not_take_the_answer_is_left(server):
    cut = server.metric("maskgrpo_connections_cut_total")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        connection.connect(("127.0.0.1", server.port))
        body = json.dumps({"items": [text(id=f"{i:0200d}") for i in range(1000)], "rewards": ["length"]})
        body = body.encode()
        one = HEAD + JSON + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        connection.settimeout(0.2)
        try:
            for _ in range(100):
                connection.sendall(one)
        except (TimeoutError, ConnectionError):
            pass
        server.until("maskgrpo_connections_cut_total", cut + 1)


# --- wrong and large ones ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [None, "", "Bearer", "Bearer ", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", TOKEN,
     "Bearer \xff\xfe", f"bearer{TOKEN}"],
)  # fmt: skip
def test_wrong_tokens_are_refused(server, value):
    headers = {"Content-Type": "application/json", **({} if value is None else {"Authorization": value})}
    connection = server.connect()
    connection.request("POST", "/v1/score", json.dumps({"items": [text()]}), headers)
    response = connection.getresponse()
    assert response.status == 401 and response.headers["www-authenticate"] == "Bearer"
    assert json.loads(response.read())["error"]["field"] == "Authorization"


def test_only_health_and_the_page_need_no_token(server):
    token, server.token = server.token, None
    try:
        answers = {path: server.get(path).status for path in
                   ("/healthz", "/readyz", "/docs", "/openapi.json", "/metrics", "/v1/info", "/other", "//healthz")}
    finally:
        server.token = token
    assert answers == {"/healthz": 200, "/readyz": 200, "/docs": 200, "/openapi.json": 200, "/metrics": 401,
                       "/v1/info": 401, "/other": 401, "//healthz": 401}


def test_a_body_without_an_end_is_refused_before_its_end(server):
    with server.raw() as connection:
        connection.sendall(HEAD + JSON + b"\r\nTransfer-Encoding: chunked\r\n\r\n")
        piece = b"10000\r\n" + b" " * 65536 + b"\r\n"
        sent = 0
        try:
            for _ in range(1000):
                connection.sendall(piece)
                sent += 65536
        except ConnectionError:
            pass
        assert sent < 64_000_000
    server.until("maskgrpo_held_bytes", 0)


def test_a_length_beyond_the_limit_is_refused_without_the_body(server):
    with server.raw() as connection:
        connection.sendall(HEAD + JSON + b"\r\nContent-Length: 99999999999\r\n\r\n")
        assert b" 413 " in read_all(connection).splitlines()[0]
    with server.raw() as connection:
        connection.sendall(HEAD + JSON + b"\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n")
        assert b" 400 " in read_all(connection).splitlines()[0]


def test_headers_without_end_are_refused(server):
    with server.raw() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 70_000)
        said = read_all(connection)
        assert said == b"" or b" 400 " in said.splitlines()[0] or b" 431 " in said.splitlines()[0]


@pytest.mark.parametrize("side", [10_000, 2**31 - 1])
def test_a_picture_of_a_hundred_million_pixels_is_refused_by_its_header(server, side):
    bomb = png(side, side, data=bytes(100_010_000) if side == 10_000 else b"")
    for answer in (server.score(picture(bomb)),
                   server.post(*form({"items": [{"prompt": "", "completion": {"part": "p"}}]}, {"p": bomb}))):
        assert answer.status == 422 and f"{side} x {side} pixels" in answer.error["message"]
        assert answer.error["field"].startswith("items[0].completion")


def test_truncated_pictures_are_refused(server):
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    for kind in ("PNG", "JPEG", "WEBP"):
        raw = file_of(Image.fromarray(noise), kind)
        for end in (9, 30, len(raw) // 2, len(raw) - 20):
            answer = server.score(text(), picture(raw[:end]))
            assert answer.status == 422 and answer.error["field"] == "items[1].completion.image", (kind, end)


def test_garbage_on_the_line_ends_only_its_connection(server):
    chance = random.Random(0)
    starts = [b"", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    starts.append(HEAD + JSON + b"\r\n\r\n")
    for index in range(60):
        with server.raw() as connection:
            garbage = starts[index % len(starts)] + chance.randbytes(chance.randrange(400)) + b"\r\n\r\n"
            try:
                connection.sendall(garbage)
                connection.shutdown(socket.SHUT_WR)
                said = read_all(connection)
            except ConnectionError:
                continue
            assert not said or said.startswith(b"HTTP/1.1 4"), said[:100]


def test_bytes_that_would_run_code_are_no_request(server):
    pickled = b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R."  # os.system("true")
    assert server.post(pickled).status == 400
    assert server.post(pickled, {"Content-Type": "application/octet-stream"}).status == 415
    sources = [path.read_text() for path in (HERE.parent / "maskgrpo_cli" / "server").glob("*.py")]
    assert sources and not any("import pickle" in source or "pickle." in source for source in sources)


# --- many ------------------------------------------------------------------------------------------


def hurl(server, count, seed):
    """Requests between right and garbage; gives the statuses."""
    chance, statuses = random.Random(seed), []
    good = {"items": [text(), picture(plain(30, 30)), text(columns={"a": [1, {"b": "c"}]})], "rewards": ["length"]}
    body, headers = form({"items": [{"prompt": "", "completion": {"part": "p"}}]}, {"p": file_of(plain(30, 30))})
    connection = server.connect()
    for _ in range(count):
        raw, more = chance.choice([(json.dumps(good).encode(), {}), (body, headers)])
        raw = bytearray(raw)
        for _ in range(chance.choice([0, 0, 1, 3, 30])):
            at = chance.randrange(len(raw))
            raw[at : at + chance.randrange(4)] = chance.randbytes(chance.randrange(4))
        raw = raw[: chance.choice([None, None, None, chance.randrange(1, len(raw))])]
        try:
            statuses.append(server.post(bytes(raw), more, connection).status)
        except ConnectionError:
            statuses.append(0)
            connection = server.connect()
    return statuses


def test_mutilated_requests_leave_the_memory_as_it_was(server):
    hurl(server, 100, seed=1)
    before = server.memory()
    statuses = hurl(server, 200, seed=2)
    assert {200, 400, 422} <= set(statuses) <= {200, 400, 413, 422}
    assert server.memory() < before + 30 * 2**20


@pytest.mark.slow
def test_ten_thousand_mutilated_requests_leave_the_memory_as_it_was(server):
    hurl(server, 1000, seed=3)
    before = server.memory()
    statuses = hurl(server, 10_000, seed=4)
    assert {200, 400, 422} <= set(statuses) <= {200, 400, 413, 422}
    assert server.memory() < before + 30 * 2**20
