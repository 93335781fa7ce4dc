"""The client of reward servers, against servers that answer right, wrong, late, elsewhere or not at all."""

import asyncio
import json
import pickle
import struct
import threading
import time

import numpy as np
import pytest
from own_rewards import letters
from PIL import Image
from remote_servers import INFO, Local, letters_of, scored, speaks

from maskgrpo_cli.cancelling import end
from maskgrpo_cli.domains import scoring_protocol as wire
from maskgrpo_cli.errors import Away, Stopped, UserError
from maskgrpo_cli.rewards.remote.chat import Chat
from maskgrpo_cli.rewards.remote.reward import Remote

TEXTS = ["banana", "xyz", "", "aeiou", "Über", "a b c"]
QUICK = {"rest": 0.02, "connect_timeout": 2.0, "read_timeout": 5.0, "deadline": 20.0}


def remote(*servers, **settings):
    """A client of these servers, and the sentences that it says."""
    said = []
    urls = [server if isinstance(server, str) else server.url for server in servers]
    return Remote(urls, **{**QUICK, **settings}, warn=said.append), said


def ask(reward, texts=TEXTS):
    return reward(prompts=[f"prompt {index}" for index in range(len(texts))], completions=texts)


# --- as it should be ----------------------------------------------------------------------------------


def test_scores_are_the_rewards_own_in_their_order():
    with Local(speaks()) as one, Local(speaks()) as two:
        reward, said = remote(one, two, batch_size=1)
        assert ask(reward) == letters(None, TEXTS) and said == []
        assert len(one.posted()) + len(two.posted()) == len(TEXTS) and one.posted() and two.posted()
        assert ask(reward, []) == []


def test_pieces_concurrency_and_what_is_divided():
    with Local(speaks(pause=0.1)) as server:
        reward, _ = remote(server, batch_size=2, concurrency=2, divide_by=4)
        assert ask(reward) == [value / 4 for value in letters(None, TEXTS)]
        assert [len(asked.json()["items"]) for asked in server.posted()] == [2, 2, 2] and server.most == 2


def test_a_server_that_takes_little_gets_little():
    small = {**INFO, "limits": {**INFO["limits"], "items": 2}}
    with Local(speaks(info=small)) as server:
        assert ask(remote(server, batch_size=16)[0]) == letters(None, TEXTS)
        assert all(len(asked.json()["items"]) <= 2 for asked in server.posted())


def test_one_that_is_away_is_made_up_for_by_the_other():
    with Local(speaks()) as one, Local(speaks()) as two:
        reward, said = remote(one, two, batch_size=1)
        one.stop()
        assert ask(reward) == letters(None, TEXTS)
        assert len(said) == 1 and said[0].startswith(f"{one.url} does not answer (")
        one.start()
        time.sleep(0.05)
        while not any(f"{one.url} answers again" in text for text in said):
            assert ask(reward) == letters(None, TEXTS)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_or_starting_server_is_asked_again(status):
    answers = iter([(status, {"Retry-After": "0.05"}, b"{}")] * 2)
    with Local(speaks(lambda asked: next(answers, None) or scored(asked, letters_of(asked)))) as server:
        assert ask(remote(server)[0]) == letters(None, TEXTS)
        assert len(server.posted()) == 3


def test_a_server_that_is_busy_for_too_long_says_why():
    with Local(speaks(lambda asked: (429, {}, b"4096 samples wait already"))) as server:
        reward, _ = remote(server, deadline=0.3)
        with pytest.raises(Away, match=r"not answered within 0\.3 s: http.*: status 429: 4096 samples wait already"):
            ask(reward)


def test_what_was_answered_before_an_outage_is_not_asked_again():
    stopped = threading.Event()

    def second_fails(asked):
        if "prompt 0" in asked.body.decode() or stopped.is_set():
            return scored(asked, letters_of(asked))
        return 503, {}, b"{}"

    with Local(speaks(second_fails)) as server:
        reward, _ = remote(server, batch_size=3, deadline=0.5)
        texts, prompts = list(TEXTS), [f"prompt {index}" for index in range(6)]
        with pytest.raises(Away, match=r"1 of 2 requests not answered within 0.5 s: .*status 503"):
            reward(prompts=prompts, completions=texts)
        stopped.set()
        assert reward(prompts=prompts, completions=texts) == letters(None, TEXTS)
        assert sum("prompt 0" in asked.body.decode() for asked in server.posted()) == 1


def test_failed_and_not_applicable_samples_are_no_zeros():
    answer = [{"error": "out of\x1b[31m memory"}, None, 0.5]
    with Local(speaks(lambda asked: scored(asked, answer))) as server:
        reward, said = remote(server)
        failed, none, half = ask(reward, TEXTS[:3])
        assert failed != failed and none is None and half == 0.5
        assert said == ["a sample has no score: out of [31m memory"]


def test_the_token_is_sent_and_never_told(monkeypatch):
    monkeypatch.setenv("OUR_TOKEN", "a-secret-of-ours")
    with Local(speaks(lambda asked: (400, {}, asked.headers["Authorization"].encode()))) as server:
        reward, _ = remote(server, token_env="OUR_TOKEN")
        with pytest.raises(Stopped) as caught:
            ask(reward)
        assert server.asked[-1].headers["Authorization"] == "Bearer a-secret-of-ours"
    assert "Bearer ***" in str(caught.value) and "secret" not in repr(reward.asking.terms)


# --- broken and hostile servers -----------------------------------------------------------------------


def changed(**changes):
    return lambda asked: scored(asked, letters_of(asked), **changes)


def raw(*scores):
    """An answer whose scores are written as they are: NaN is no JSON, but many programs write it."""

    def answer(asked):
        status, headers, body = scored(asked, ["@"] * len(asked.json()["items"]))
        return status, headers, body.replace(json.dumps(["@"] * 6).encode(), f"[{', '.join(scores)}]".encode())

    return answer


BROKEN = {
    "no JSON": (lambda asked: (200, {}, b"<html>hello"), "its answer is none: Invalid JSON"),
    "nothing": (lambda asked: (200, {}, b""), "its answer is none: Invalid JSON"),
    "a list": (lambda asked: (200, {}, b"[]"), "its answer is none: "),
    "deep JSON": (lambda asked: (200, {}, b"[" * 4_000), "its answer is none: "),
    "too few scores": (lambda asked: scored(asked, [0.5]), "has 1 scores for 6 items"),
    "too many scores": (lambda asked: scored(asked, [0.5] * 7), "has 7 scores for 6 items"),
    "too few items": (changed(items=["a"], rewards={"letters": {"version": "1", "scores": [1.0]}}),
                      "it answered for 1 completions; 6 were sent"),
    "another order": (lambda asked: scored(asked, letters_of(asked),
                                           items=[item["id"] for item in asked.json()["items"]][::-1]),
                      "not in the order"),
    "another reward": (changed(rewards={"clip": {"version": "1", "scores": [1.0] * 6}}), "the scores of: clip"),
    "NaN": (raw(*["NaN"] * 6), "its answer is none: "),
    "infinite": (raw(*["1e999"] * 6), "its answer is none: "),
    "text": (lambda asked: scored(asked, ["1.0"] * 6), "its answer is none: "),
    "true": (lambda asked: scored(asked, [True] * 6), "its answer is none: "),
    "another version": (changed(version="2"), "its answer is none: version"),
    "a million mistakes": (raw("[]," * 999_999 + "[]"), "more than 4800 commas and brackets"),
    "a redirect": (lambda asked: (307, {"Location": "http://elsewhere/"}, b""),
                   "it sends the request on to http://elsewhere/ (status 307); that is not followed"),
    "a redirect to nowhere": (lambda asked: (307, {"Location": "http://elsewhere/\x1b"}, b""), "that is not followed"),
    "refused": (lambda asked: (422, {}, b"no \x1b[31m such field"), "status 422: no [31m such field"),
    "no token": (lambda asked: (403, {}, b""), "it wants a token: name its variable, token_env"),
    "500": (lambda asked: (500, {}, b"Traceback"), "status 500: Traceback; it fails at the request"),
    "packed": (lambda asked: (200, {"Content-Encoding": "gzip"}, b"x"), "its answer is packed"),
    "endless": (lambda asked: (200, {}, b" " * (16 * 2**20 + 1)), "more than 16777216 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_server_is_one_clear_error(name):
    answer, told = BROKEN[name]
    with Local(speaks(answer)) as server:
        reward, _ = remote(server, reward="letters")
        with pytest.raises(Stopped) as caught:
            ask(reward)
        assert str(caught.value).startswith(f"{server.url}: ") and told in str(caught.value)
        assert len(str(caught.value)) < 500 and str(caught.value).isprintable()
        assert len(server.posted()) == 1  # nothing that means nothing is asked twice


@pytest.mark.parametrize(("fails", "tried"), [(2, 3), (9, 3)])
def test_published_servers_may_fail_at_a_request_twice(fails, tried):
    """They answer every mishap with 500, one that passes too; so their own client asks again after it."""
    answers = [(500, {}, b"Traceback\n  CUDA out of memory\n")] * fails + [
        (200, {}, pickle.dumps({"scores": [0.25, 0.5]}))
    ]
    with Local(lambda asked: answers.pop(0)) as local:
        reward, said = remote(local, protocol="flow-grpo", server="hpsv3")
        if fails < tried:
            assert reward(prompts=["", ""], completions=pictures()) == [0.25, 0.5]
        else:
            with pytest.raises(Stopped, match="status 500: CUDA out of memory; it fails at the request"):
                reward(prompts=["", ""], completions=pictures())
        assert len(local.posted()) == tried
        assert said == [f"{local.url} failed at a request (status 500: CUDA out of memory) and is asked again"] * 2


def test_a_request_that_one_server_breaks_at_goes_to_the_other():
    with Local(speaks(lambda asked: (500, {}, b""))) as bad, Local(speaks()) as good:
        reward, _ = remote(bad, good, batch_size=2)
        assert ask(reward) == letters(None, TEXTS) and bad.posted()


@pytest.mark.parametrize(("answer", "told"), [
    (lambda asked: None, "Server disconnected"),
    (lambda asked: time.sleep(1) or scored(asked, letters_of(asked)), "no answer within 0.2 s"),
    (lambda asked: (200, {"Content-Length": 1000}, b"{"), "no answer within 0.2 s"),
    (lambda asked: (503, {}, b"starting"), "status 503: starting"),
])  # fmt: skip
def test_a_server_that_hangs_or_hangs_up_is_away(answer, told):
    with Local(speaks(answer)) as server:
        reward, said = remote(server, read_timeout=0.2, deadline=0.7)
        with pytest.raises(Away) as caught:
            ask(reward)
        assert "1 of 1 requests not answered within 0.7 s" in str(caught.value) and told in str(caught.value)
        assert said[0].startswith("no server answers; trying again: ")


@pytest.mark.parametrize(("answer", "told"), [
    (lambda asked: (404, {}, b""), "is it the address of a reward server?"),
    (lambda asked: (200, {}, b"{}"), "is not that of a reward server, version 1"),
    (lambda asked: (200, {}, json.dumps({**INFO, "version": 2, "new": 1}).encode()), "is not that of a reward server"),
    (lambda asked: (200, {}, b'{"rewards": [' + b"0," * 1_000_000 + b"0]}"), "more than 10000 commas and brackets"),
    (lambda asked: (401, {}, b""), "it wants a token (status 401); name the variable"),
    (speaks(info={**INFO, "rewards": [{"name": "clip", "version": "1"}]}), "has no such reward; it has clip"),
])  # fmt: skip
def test_another_server_is_a_mistake_told_at_once(answer, told):
    with Local(answer) as server, pytest.raises(UserError) as caught:
        remote(server, reward="letters")
    assert told in str(caught.value) and server.url in str(caught.value)


# --- flow-grpo ----------------------------------------------------------------------------------------


def pictures(count=2):
    return [Image.new("RGB", (8, 8), (40 * index, 0, 0)) for index in range(count)]


@pytest.mark.parametrize(("server", "given", "columns"), [
    ("deqa", {"outputs": [0.25, 0.5]}, {"images"}),
    ("hpsv3", {"scores": [0.25, 0.5]}, {"images", "prompts"}),
    ("unified-reward", {"scores": (0.25, 0.5), "more": b"x"}, {"images", "prompts"}),
    ("geneval", {"scores": [0.25, 0.5], "rewards": [1.0, 0.0]}, {"images", "meta_datas", "only_strict"}),
])  # fmt: skip
def test_the_published_servers_protocol(server, given, columns):
    with Local(lambda asked: (200, {}, pickle.dumps(given))) as local:
        reward, _ = remote(local, protocol="flow-grpo", server=server, divide_by=0.5)
        found = reward(prompts=["a cat", "a dog"], completions=pictures(), tag=["one", "two"])
        assert found == [0.5, 1.0]
        sent = pickle.loads(local.posted()[0].body)  # ours
    assert set(sent) == columns and all(jpeg[:3] == b"\xff\xd8\xff" for jpeg in sent["images"])
    assert sent.get("prompts", ["a cat", "a dog"]) == ["a cat", "a dog"]
    assert sent.get("meta_datas", [None])[0] in (None, {"tag": "one", "prompt": "a cat"})


@pytest.mark.parametrize(("answer", "told"), [
    (pickle.dumps({"scores": [0.5]}), "scores holds 1 scores for 2 completions"),
    (pickle.dumps({"scores": [0.5, float("nan")]}), "scores[1] is nan"),
    (pickle.dumps({"scores": [0.5, None]}), "scores[1] is None, not a number"),
    (pickle.dumps({"scores": {0: 1.0}}), "scores is an object, not a list"),
    (pickle.dumps({"error": "no"}), "its answer has no 'scores'; it has: error"),
    (pickle.dumps([0.5, 0.5]), "its answer is a list, not a dict"),
    (pickle.dumps({"scores": np.array([[0.5], [0.5]])}), "scores is a ndarray, not a list"),
    (pickle.dumps({"scores": np.array(["a", "b"])}).replace(b"a\0\0\0", b"\xff" * 4), "scores is a ndarray"),  # no text
    (b"cos\nsystem\n(S'touch TOUCHED'\ntR.", "it asks for os.system"),
    (b"\x80\x05\x96" + struct.pack("<Q", 2**62) + b"a.", "its answer is not read"),
])  # fmt: skip
def test_pickles_that_are_no_scores_run_nothing(answer, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Local(lambda asked: (200, {}, answer)) as local:
        reward, _ = remote(local, protocol="flow-grpo", server="hpsv3")
        with pytest.raises(Stopped) as caught:
            reward(prompts=["", ""], completions=pictures())
    assert told in str(caught.value) and not list(tmp_path.iterdir())


# --- openai-chat --------------------------------------------------------------------------------------


def says(text):
    return lambda asked: (200, {}, json.dumps({"choices": [{"message": {"content": text}}]}).encode())


@pytest.mark.parametrize(("text", "score"), [
    ("The cat is fine.\nFinal Score: 4", 4.0), ("Final Score: **3.5**", 3.5), ("Final Score:2\nFinal Score: 5", 2.0),
    ("**Final Score:**\n4", 4.0),
    ("Final Score: 6", None), ("Final Score: 0.5", None), ("five of five", None), ("", None), (None, None),
])  # fmt: skip
def test_a_judges_score(text, score):
    with Local(says(text)) as local:
        reward, said = remote(local.url + "/v1", protocol="openai-chat", model="judge-7b")
        (found,) = reward(prompts=["a {completion} cat"], completions=pictures(1))
        assert found == score if score is not None else found != found
        assert bool(said) == (score is None)
        (asked,) = local.posted()
    body = asked.json()
    image, question = body["messages"][0]["content"]
    assert asked.path == "/v1/chat/completions" and (body["model"], body["temperature"]) == ("judge-7b", 0)
    assert image["image_url"]["url"].startswith("data:image/png;base64,")
    assert question["text"].endswith("Text Caption: [a {completion} cat]")


def test_a_judge_that_writes_spaces_only_is_read_at_once():
    started = time.process_time()
    assert Chat("j").score("Final Score:" + 30_000 * " ").why == "the judge named no score: 'Final Score:'"
    assert time.process_time() - started < 5  # else it takes twenty seconds


def test_a_judge_of_texts_with_a_question_of_ones_own():
    with Local(says("I give it 7/10")) as local:
        reward, _ = remote(local.url + "/v1", protocol="openai-chat", model="j", low=0, high=10,
                           question="{prompt} -> {completion}?", pattern=r"(\d+)/10", divide_by=10)  # fmt: skip
        assert reward(prompts=["2 + 2", "{completion}"], completions=["4", "{prompt}"]) == [0.7, 0.7]
        sent = {asked.json()["messages"][0]["content"][0]["text"] for asked in local.posted()}
    assert sent == {"2 + 2 -> 4?", "{completion} -> {prompt}?"}


@pytest.mark.parametrize(("body", "told"), [
    (b"no", "its answer is no JSON"), (b"{}", "no chat completion"), (b'{"choices": []}', "no chat completion"),
    (b'{"choices": [{"message": {"content": 4}}]}', "is 4, not text"), (b"[" * 100_000, "its answer is no JSON"),
])  # fmt: skip
def test_what_is_no_chat_completion(body, told):
    with Local(lambda asked: (200, {}, body)) as local:
        reward, _ = remote(local, protocol="openai-chat", model="j")
        with pytest.raises(Stopped, match=told):
            reward(prompts=["p"], completions=["c"])


def test_an_address_without_its_version_is_told():
    with Local(lambda asked: (404, {}, b'{"detail":"Not Found"}')) as local:
        reward, _ = remote(local, protocol="openai-chat", model="j")
        with pytest.raises(Stopped, match=r"status 404: .*Not Found.* ends as OpenAI's does, in /v1"):
            reward(prompts=["p"], completions=["c"])


def test_the_endpoints_complaint_is_told():
    with Local(lambda asked: (404, {}, b'{"error": {"message": "no model j"}}')) as local:
        reward, _ = remote(local, protocol="openai-chat", model="j")
        with pytest.raises(Stopped, match="status 404: no model j"):
            reward(prompts=["p"], completions=["c"])


# --- settings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("settings", "told"), [
    ({"urls": []}, "urls = []"), ({"urls": "ftp://x"}, "is no address"), ({"urls": "http://a:b@x"}, "holds a password"),
    ({"urls": ["http://x", "http://x/"]}, "stands there twice"), ({"urls": "http://x?q=1"}, "a query or a fragment"),
    ({"protocol": "grpc"}, "write one of maskgrpo, flow-grpo, openai-chat"),
    ({"when_away": "zero"}, "write one of wait, leave-out, stop"), ({"divide_by": 0}, "a number other than 0"),
    ({"token_env": "NOT_SET_AT_ALL"}, "is not set"), ({"batch_size": 0}, "at least 1"), ({"deadline": -1}, "above 0"),
    ({"model": "j"}, "is a setting of protocol openai-chat"), ({"protocol": "openai-chat"}, "model: openai-chat needs"),
    ({"protocol": "openai-chat", "model": "j", "pattern": "("}, "no regular expression"),
    ({"protocol": "openai-chat", "model": "j", "pattern": "x"}, "in parentheses"),
    ({"protocol": "openai-chat", "model": "j", "low": 5}, "below high"),
    ({"protocol": "flow-grpo"}, "server: write one of geneval, deqa, hpsv3, unified-reward"),
    ({"protocol": "flow-grpo", "server": "deqa", "answer": "scores"}, "write one of outputs"),
])  # fmt: skip
def test_mistakes_in_settings(settings, told):
    with pytest.raises(UserError) as caught:
        Remote(**{"urls": "http://127.0.0.1:1", **settings})
    assert told in str(caught.value)


def test_a_server_that_was_away_is_asked_whether_it_is_ready_first():
    with Local(speaks()) as server:
        reward, _ = remote(server)
        server.stop()
        reward.asking.deadline = 0.3
        with pytest.raises(Away):
            ask(reward)
        server.start()
        reward.asking.deadline = 20.0
        assert ask(reward) == letters(None, TEXTS)
        assert [asked.path for asked in server.asked] == [wire.INFO, wire.READY, wire.SCORE]


def test_a_swallowed_cancellation_does_not_hang():
    """As before Python 3.12, where an answer comes in the very moment in which the deadline passes."""
    swallowed = []

    async def deaf():
        while len(swallowed) < 2:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                swallowed.append(True)
        await asyncio.sleep(60)

    async def run():
        tasks = [asyncio.ensure_future(deaf()), asyncio.ensure_future(asyncio.sleep(60))]
        await asyncio.sleep(0)
        await asyncio.wait_for(end(tasks), 10)
        return [task.cancelled() for task in tasks]

    assert asyncio.run(run()) == [True, True] and len(swallowed) == 2
