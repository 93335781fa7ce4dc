"""What the client of reward servers does besides asking: waits, rests, interruptions, and whom it never asks."""

import socket
import threading
import time

import numpy as np
import pytest
import torch
from own_rewards import letters
from remote_servers import INFO, Local, letters_of, scored, speaks

from maskgrpo_cli.engine.randomness import capture
from maskgrpo_cli.errors import Away, Interrupted, Stopped
from maskgrpo_cli.rewards.remote import exchange
from maskgrpo_cli.rewards.remote.reward import Remote
from maskgrpo_cli.rewards.remote.servers import Server

TEXTS = [f"text {number} {'aeiou'[: number % 6]}" for number in range(30)]
QUICK = {"rest": 0.05, "deadline": 20.0, "connect_timeout": 2.0, "read_timeout": 5.0, "batch_size": 4}


PICTURE = [np.zeros((4, 4, 3), np.uint8)]


def remote(*servers, **settings):
    """A remote reward of these servers, and what it tells."""
    told = []
    urls = [getattr(server, "url", server) for server in servers]
    return Remote(urls, **{**QUICK, "warn": told.append, **settings}), told


def ask(reward, texts=TEXTS):
    return reward([f"prompt {i}" for i in range(len(texts))], texts)


# --- good ones --------------------------------------------------------------------------------------


def test_columns_go_along_where_they_are_plain():
    with Local(speaks()) as one:
        reward, _ = remote(one)
        columns = {"answer": ["1", None], "bad": [float("nan"), object()], "deep": [{"a": [1, 2.5]}, True]}
        reward(["p", "q"], ["a", "b"], **columns)
        assert [item["columns"] for item in one.posted()[0].json()["items"]] == [
            {"answer": "1", "deep": {"a": [1, 2.5]}}, {"answer": None, "deep": True}]
        named, _ = remote(one, columns=["answer"])
        named(["p", "q"], ["a", "b"], **columns)
        assert [item["columns"] for item in one.posted()[1].json()["items"]] == [{"answer": "1"}, {"answer": None}]


def test_a_batch_is_spread_over_all_servers_and_the_free_one_takes_more():
    release = threading.Event()

    def until_the_others_are_done(asked):
        release.wait(20)
        return scored(asked, letters_of(asked))

    def last(asked):
        if len(quick.posted()) == 28:
            release.set()
        return scored(asked, letters_of(asked))

    with Local(speaks(until_the_others_are_done)) as slow, Local(speaks(last)) as quick:
        reward, _ = remote(slow, quick, batch_size=1, concurrency=2, read_timeout=60.0, deadline=60.0)
        assert ask(reward) == letters(None, TEXTS)
        assert (len(slow.posted()), len(quick.posted())) == (2, 28)
        assert slow.most <= 2 and quick.most <= 2  # never more at once than asked for


# --- what passes ------------------------------------------------------------------------------------


def failing_first(times, answer):
    """Speaks version 1, but the first posts get `answer`."""
    left = [times]

    def score(asked):
        if left[0]:
            left[0] -= 1
            return answer
        return speaks()(asked)

    return speaks(score)


def test_retry_after_is_waited_for():
    with Local(failing_first(1, (429, {"Retry-After": "1"}, b""))) as one:
        reward, told = remote(one, concurrency=1)
        started = time.monotonic()
        ask(reward, ["a"])
        assert time.monotonic() - started >= 1.0
        assert told == []  # a busy server is not away


@pytest.mark.parametrize(("value", "seconds"), [
    ("3", 3.0), ("0.5", 0.5), ("-4", 0.0), ("nan", None), ("inf", None), ("soon", None), (None, None),
    ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
])  # fmt: skip
def test_what_retry_after_says(value, seconds):
    assert exchange.retry_after(value) == seconds


def test_a_server_that_drips_is_given_up_in_time():
    def drip(connection):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            connection.sendall(b" ")
            time.sleep(0.05)

    with raw(drip) as url:
        reward, _ = remote(url, protocol="flow-grpo", server="deqa", read_timeout=0.3, deadline=3.0)
        with pytest.raises(Away, match=r"no answer within 0.3 s"):
            ask(reward, PICTURE)


def test_an_interruption_ends_it_at_once_with_nothing_half_done():
    beats = []

    def pulse(done, of, waiting):
        beats.append((done, of, waiting))
        if len(beats) == 3:
            raise Interrupted(2)

    with Local(speaks(pause=90.0)) as one:
        reward, _ = remote(one, pulse=pulse, read_timeout=100.0, deadline=100.0)
        started = time.monotonic()
        with pytest.raises(Interrupted):
            ask(reward)
        assert time.monotonic() - started < 60.0
        assert beats == [(0, 8, None)] * 3


def test_the_pulse_says_that_it_waits():
    beats = []
    with Local(speaks()) as one:
        reward, _ = remote(one, deadline=0.5, pulse=lambda *beat: beats.append(beat))
        one.stop()
        with pytest.raises(Away):
            ask(reward)
    assert beats[-1][:2] == (0, 8) and beats[-1][2].startswith(f"{one.url}: ")


def test_the_global_generators_are_left_alone():
    before = capture()
    with Local(failing_first(4, (503, {}, b""))) as one:
        ask(remote(one)[0])
    after = capture()
    assert before["python"] == after["python"] and before["numpy"] == after["numpy"]
    assert torch.equal(before["torch"], after["torch"])


def test_rests_grow_to_a_minute_and_differ():
    rests = []
    for _ in range(40):
        server = Server("http://a", 1.0)
        for failure in range(9):
            server.until = 0.0
            server.fail("gone")
            low, high = min(2**failure, 60) * 0.5, min(2**failure, 60)
            assert low - 0.1 <= server.waits <= high
        rests.append(server.waits)
    assert len(set(rests)) > 30
    together = Server("http://a", 1.0)
    together.fail("gone")
    together.fail("gone")
    assert together.failures == 1  # one outage, however many requests were on their way


# --- what is an error -------------------------------------------------------------------------------


def test_a_redirect_is_not_followed():
    with Local(speaks()) as target:
        with Local(speaks(lambda asked: (307, {"Location": f"{target.url}/v1/score"}, b""))) as one:
            with pytest.raises(Stopped, match="not followed"):
                ask(remote(one)[0], ["a"])
        assert target.asked == []


def test_an_endless_answer_is_cut_off(monkeypatch):
    monkeypatch.setattr(exchange, "LARGEST", 100_000)
    sent = [0]

    def endless(connection):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"4000\r\n" + b" " * 0x4000 + b"\r\n")
            sent[0] += 0x4000

    with raw(endless) as url:
        reward, _ = remote(url, protocol="flow-grpo", server="deqa")
        with pytest.raises(Stopped, match="its answer has more than 100000 bytes"):
            ask(reward, PICTURE)
        assert sent[0] < 50 * 2**20


def test_neither_proxies_nor_netrc_are_asked(monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    for name, value in {"HTTP_PROXY": "http://127.0.0.1:9", "ALL_PROXY": "http://127.0.0.1:9", "HOME": str(tmp_path),
                        "NETRC": str(tmp_path / ".netrc"), "NO_PROXY": ""}.items():
        monkeypatch.setenv(name, value)
    with Local(speaks()) as one:
        assert ask(remote(one)[0]) == letters(None, TEXTS)
        assert all("Authorization" not in asked.headers for asked in one.asked)


# --- before the first batch -------------------------------------------------------------------------


def test_a_server_that_is_not_there_yet_is_told_of_and_waited_for():
    with Local(speaks()) as one:
        one.stop()
        reward, told = remote(one, reward="letters")
        assert len(told) == 1 and told[0].startswith(f"{one.url} does not answer yet (")
        threading.Timer(0.5, one.start).start()
        assert ask(reward) == letters(None, TEXTS)


def test_versions_that_differ_and_limits():
    other = INFO | {"rewards": [{"name": "letters", "version": "2"}], "limits": INFO["limits"] | {"items": 3}}
    with Local(speaks()) as one, Local(speaks(info=other)) as two:
        reward, told = remote(one, two)
        assert reward.batch_size == 3
        assert len(told) == 1 and f"{one.url} 1, {two.url} 2" in told[0]


class raw:
    """A server of bare sockets on loopback: `behave(connection)` for every connection. Its URL."""

    def __init__(self, behave):
        self.behave = behave

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.serve, daemon=True).start()
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.one, args=(connection,), daemon=True).start()

    def one(self, connection):
        with connection:
            try:
                self.behave(connection)
            except OSError:
                pass

    def __exit__(self, *exception):
        self.listener.close()


@pytest.mark.parametrize("garbage", [b"SSH-2.0-OpenSSH_9.6\r\n", b"\x16\x03\x01", b"HTTP/1.1 999999 \xff\r\n\r\n",
                                     b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", b""])  # fmt: skip
def test_what_speaks_no_http_is_away_with_the_reason(garbage):
    with raw(lambda connection: (connection.recv(65536), connection.sendall(garbage))) as url:
        reward, _ = remote(url, protocol="flow-grpo", server="deqa", deadline=0.3)
        with pytest.raises(Away, match=url):
            ask(reward, PICTURE)
