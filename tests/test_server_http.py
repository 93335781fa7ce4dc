"""A reward server over its sockets: answers, refusals that name the field, batches, and what harms no neighbour."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from reward_servers import file_of, form, light, picture, plain, png, text

from maskgrpo_cli.domains.scoring_protocol import ScoreResponse, ServerInfo


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with light(tmp_path_factory.mktemp("server"), max_wait=0.02) as server:
        yield server


def test_texts_and_pictures_are_scored_in_order(server):
    answer = server.score(text("four"), picture(plain(20, 10)), text("", id="mine"), rewards=["length"])
    assert answer.scores("length") == [4.0, 200.0, 0.0]
    response = ScoreResponse.model_validate_json(answer.body)
    assert response.items == ["0", "1", "mine"]
    assert response.rewards["length"].version == "length-1"
    assert response.batches == [3] and list(response.rewards) == ["length"]
    assert 0 <= response.timing.queue_s <= response.timing.total_s


def test_without_names_all_rewards_answer(server):
    assert list(server.score(text()).json["rewards"]) == ["length", "batch", "faulty"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_form_brings_pictures_as_files(server, kind):
    items = [{"prompt": "p", "completion": {"part": name}} for name in ("b", "a")]
    parts = {"a": file_of(plain(3, 3), kind), "b": file_of(plain(4, 4), kind)}
    assert server.post(*form({"items": items, "rewards": ["length"]}, parts)).scores("length") == [16.0, 9.0]


def test_a_request_is_called_as_the_client_calls_it(server):
    answer = server.post({"items": [text()]}, {"X-Request-ID": "run-7.step:3"})
    assert answer.headers["x-request-id"] == answer.json["request_id"] == "run-7.step:3"
    assert server.logged("request", id="run-7.step:3")["items"] == 1
    made_up = server.post({"items": [text()]}, {"X-Request-ID": "two words\x1b[31m"})
    assert made_up.headers["x-request-id"].isalnum()


def test_failures_are_told_by_sample_and_spare_their_neighbours(server):
    asked = [text(prompt=word) for word in ("fine", "nan", "none", "infinite", "fine")]
    fine, nan, none, infinite, last = server.score(*asked, rewards=["faulty"]).scores("faulty")
    assert (fine, none, last) == (1.0, None, 1.0)
    assert nan == {"error": "it returned nan"} and infinite == {"error": "it returned -inf"}
    assert b"NaN" not in server.score(*asked, rewards=["faulty"]).body


def test_a_reward_that_raises_or_miscounts_is_asked_again_sample_by_sample(server):
    fine, bad = server.score(text(prompt="fine"), text(prompt="raise"), rewards=["faulty"]).scores("faulty")
    assert fine == 1.0 and bad == {"error": "ValueError: a sample that the reward does not bear"}
    fine, bad = server.score(text(prompt="fine"), text(prompt="short"), rewards=["faulty"]).scores("faulty")
    assert fine == 1.0 and "returned 0 values for 1" in bad["error"]


def test_requests_of_many_clients_share_batches(server, tmp_path):
    with ThreadPoolExecutor(8) as clients, server.busy(tmp_path / "flag"):
        asked = [clients.submit(server.score, text(), rewards=["batch"]) for _ in range(6)]
        server.until("maskgrpo_queue_items", 6)
        (tmp_path / "flag").touch()
        answers = [one.result() for one in asked]
    assert [answer.scores("batch") for answer in answers] == [[6]] * 6
    assert [answer.json["batches"] for answer in answers] == [[6]] * 6


def test_a_batch_holds_no_more_than_it_may(server):
    answer = server.score(*[text(str(index)) for index in range(70)], rewards=["length", "batch"])
    assert answer.json["batches"] == [32, 32, 6]
    assert answer.scores("length") == [float(len(str(index))) for index in range(70)]
    assert answer.scores("batch") == [32] * 64 + [6] * 6


def test_samples_of_other_columns_are_scored_apart(server):
    answer = server.score(text(), text(columns={"answer": [3, None, {"deep": "x"}]}), text(), rewards=["batch"])
    assert answer.scores("batch") == [2, 1, 2]


def test_a_picture_that_cannot_be_read_harms_nobody_else(server, tmp_path):
    empty = png(64, 64, data=b"")  # which its header does not show
    with ThreadPoolExecutor(8) as clients, server.busy(tmp_path / "flag", "length"):
        bad = clients.submit(server.score, text(), picture(empty), rewards=["length", "batch"])
        good = [clients.submit(server.score, text("four"), rewards=["length", "batch"]) for _ in range(3)]
        server.until("maskgrpo_queue_items", 5)
    assert bad.result().status == 422 and bad.result().error["field"] == "items[1].completion.image"
    assert [one.result().scores("length") for one in good] == [[4.0]] * 3
    assert [one.result().json["batches"] for one in good] == [[5]] * 3


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"", 400, "body"),
        (b"\x80\x04\x95garbage.", 400, "body"),
        (b'{"items": [', 400, "body"),
        (b"[]", 422, "body"),
        ({}, 422, "items"),
        ({"items": []}, 422, "items"),
        ({"items": [text()], "itemz": 1}, 422, "itemz"),
        ({"items": [text()], "version": 2}, 422, "version"),
        ({"items": [text()], "rewards": ["clipp"]}, 422, "rewards"),
        ({"items": [text()], "rewards": ["length", "length"]}, 422, "rewards"),
        ({"items": [text()], "timeout_s": 0}, 422, "timeout_s"),
        ({"items": [text(id="a"), text(id="a")]}, 422, "body"),
        ({"items": [text(), {"prompt": 3, "completion": {"text": ""}}]}, 422, "items[1].prompt"),
        ({"items": [{"prompt": "", "completion": {}}]}, 422, "items[0].completion"),
        ({"items": [{"prompt": "", "completion": {"text": "", "image": ""}}]}, 422, "items[0].completion.image"),
        ({"items": [picture(b"no picture at all")]}, 422, "items[0].completion.image"),
        ({"items": [{"prompt": "", "completion": {"image": "?"}}]}, 422, "items[0].completion.image"),
        ({"items": [{"prompt": "", "completion": {"part": "p"}}]}, 422, "items[0].completion.part"),
        ({"items": [text(columns={"self": 1})]}, 422, "items[0].columns"),
        ({"items": [text(columns={"x": [float("nan")]})]}, 422, "items[0].columns.x"),
    ],
)
def test_a_bad_request_is_refused_by_its_field(server, body, status, field):
    answer = server.post(body)
    assert (answer.status, answer.error["field"]) == (status, field), answer.body
    assert answer.error["retryable"] is False
    assert answer.error["request_id"] == answer.headers["x-request-id"]


def test_forms_that_do_not_add_up_are_refused(server):
    one = {"items": [{"prompt": "", "completion": {"part": "p"}}]}
    raw = file_of(plain())
    assert server.post(*form(one, {"p": raw, "q": raw})).error["field"] == "q"
    assert server.post(*form({"items": one["items"] * 2}, {"p": raw})).error["field"] == "items[1].completion.part"
    body, headers = form(one, {"p": raw})
    assert server.post(body[:-10], headers).status == 400
    assert server.post(body, {"Content-Type": "multipart/form-data"}).error["field"] == "Content-Type"
    assert server.post(body.replace(b'name="request"', b'name="p"'), headers).status == 422


def test_other_types_paths_and_methods_are_refused(server):
    assert server.post(b"items=1", {"Content-Type": "application/x-www-form-urlencoded"}).status == 415
    assert server.post(b"\x80\x04.", {"Content-Type": "application/octet-stream"}).status == 415
    assert server.get("/v1/scores").status == 404 and server.get("/v1/scores").error["code"] == "http"
    assert server.get("/v1/score").status == 405 and server.get("/v1/score").headers["allow"] == "POST"


def test_it_tells_of_itself(server):
    info = ServerInfo.model_validate_json(server.get("/v1/info").body)
    assert [reward.name for reward in info.rewards] == ["length", "batch", "faulty"]
    assert (info.max_batch, info.workers, info.limits.pixels) == (32, 1, 2048 * 2048)
    assert server.get("/healthz").body == b"ok\n" and server.get("/readyz").body == b"ready\n"
    assert "/v1/score" in server.get("/openapi.json").json["paths"]
    assert b"swagger" in server.get("/docs").body


def test_it_counts(server):
    before = server.metric("maskgrpo_scores_total")
    server.score(text(prompt="nan"), text(prompt="none"), rewards=["faulty"])
    assert server.metric("maskgrpo_scores_total") == before + 2
    assert server.metric("maskgrpo_queue_items") == 0 and server.metric("maskgrpo_workers_ready") == 1
    lines = server.get("/metrics").body.decode()
    assert 'maskgrpo_requests_total{path="other",status="404"}' in lines
    assert server.metric("maskgrpo_held_bytes") == 0


def test_a_worker_that_dies_takes_only_the_sample_along_that_killed_it(server, tmp_path):
    lost = server.metric("maskgrpo_workers_lost_total")
    with ThreadPoolExecutor(8) as clients, server.busy(tmp_path / "flag", "faulty"):
        bad = clients.submit(server.score, text(prompt="die"), rewards=["faulty", "batch"])
        good = [clients.submit(server.score, text(), rewards=["faulty", "batch"]) for _ in range(3)]
        server.until("maskgrpo_queue_items", 4)
    assert bad.result().status == 500 and bad.result().error["code"] == "worker-lost"
    assert [one.result().scores("faulty") for one in good] == [[1.0]] * 3
    assert server.metric("maskgrpo_workers_lost_total") == lost + 2
    server.until("maskgrpo_workers_ready", 1)  # meanwhile requests are told that the rewards are being loaded


def test_a_sample_whose_worker_died_by_chance_is_scored_by_the_next(server, tmp_path):
    answer = server.score(text(str(tmp_path / "flag"), prompt="die once"), rewards=["faulty"])
    assert answer.scores("faulty") == [1.0]


def test_a_reward_that_hangs_is_ended_and_the_next_request_answered(tmp_path):
    with light(tmp_path, ["faulty"], batch_timeout=1.0) as server:
        assert server.score(text(prompt="hang"), rewards=["faulty"], timeout_s=0.5).status == 504
        assert server.score(text(prompt="fine"), rewards=["faulty"]).scores("faulty") == [1.0]


def test_who_leaves_is_forgotten(server, tmp_path):
    with server.busy(tmp_path / "flag") as answers:
        leaving = server.connect()
        body = json.dumps({"items": [text()], "rewards": ["batch"]})
        leaving.request("POST", "/v1/score", body, {"Content-Type": "application/json", "X-Request-ID": "leaves"})
        server.until("maskgrpo_queue_items", 1)
        leaving.close()
        assert server.logged("request", id="leaves")["code"] == "client-left"
        server.until("maskgrpo_queue_items", 0)
    assert answers[0].result().status == 200


def test_a_connection_carries_many_requests(server):
    connection = server.connect()
    for index in range(20):
        answer = server.post({"items": [text("x" * index)], "rewards": ["length"]}, connection=connection)
        assert answer.scores("length") == [float(index)]


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    limits = {"body_bytes": 20_000, "items": 4, "pictures": 2, "pixels": 1000, "text": 50, "columns": 2,
              "column_values": 20, "column_text": 400, "column_depth": 3}
    folder = tmp_path_factory.mktemp("narrow")
    with light(folder, limits=limits, queue_items=4, max_batch=1, held_bytes=30_000) as server:
        yield server


@pytest.mark.parametrize(
    ("items", "status", "field"),
    [
        ([text()] * 5, 413, "items"),
        ([picture(plain(5, 5))] * 3, 413, "items"),
        ([picture(plain(40, 26))], 422, "items[0].completion.image"),
        ([picture(plain(5, 5)), text("x" * 51)], 422, "items[1].completion.text"),
        ([text(prompt="x" * 51)], 422, "items[0].prompt"),
        ([text(columns={"a": 1, "b": 2, "c": 3})], 422, "items[0].columns"),
        ([text(columns={"a": list(range(30))})], 422, "items[0].columns.a"),
        ([text(columns={"a": [[1] * 9, [1] * 9]})], 422, "items[0].columns.a"),
        ([text(columns={"a": "x" * 200, "b": {"y" * 100: "z" * 99}})], 422, "items[0].columns.b"),
        ([text(columns={"a": [[[[1]]]]})], 422, "items[0].columns.a"),
    ],
)
def test_each_limit_has_its_refusal(narrow, items, status, field):
    answer = narrow.score(*items)
    assert (answer.status, answer.error["field"]) == (status, field), answer.body


def test_what_is_within_the_limits_is_taken(narrow):
    assert narrow.score(*[text("x" * 50, prompt="x" * 50, columns={"a": [[[1]]], "b": "x" * 50})] * 4).status == 200
    assert narrow.score(picture(plain(40, 25)), picture(plain(1, 1))).scores("length") == [1000.0, 1.0]


def test_a_body_that_is_too_large_is_refused_with_and_without_its_length(narrow):
    body = b" " * 20_001
    told = narrow.post(body)
    assert told.status == 413 and told.error["field"] == "body" and told.headers["connection"] == "close"
    chunks = (b" " * 1000 for _ in range(40))
    untold = narrow.ask("POST", "/v1/score", chunks, {"Content-Type": "application/json"})
    assert untold.status == 413
    assert narrow.post(b" " * 20_000).status == 400


def test_a_full_queue_asks_for_patience(narrow, tmp_path):
    with ThreadPoolExecutor(8) as clients, narrow.busy(tmp_path / "flag"):
        waiting = clients.submit(narrow.score, *[text()] * 4, rewards=["batch"])
        narrow.until("maskgrpo_queue_items", 4)
        refused = narrow.score(text(), rewards=["batch"])
        assert refused.status == 429 and refused.error["code"] == "queue-full" and refused.error["retryable"]
        assert int(refused.headers["retry-after"]) >= 1
    assert waiting.result().status == 200 and narrow.score(text(), rewards=["batch"]).status == 200


def test_bodies_of_all_requests_share_one_memory(narrow):
    held = [narrow.raw() for _ in range(2)]
    head = b"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 19000\r\n\r\n"
    try:
        for connection in held:
            connection.sendall(head + b" " * 14_000)
        narrow.until("maskgrpo_held_bytes", 28_000)
        refused = narrow.post(b" " * 3000)
        assert refused.status == 429 and refused.error["code"] == "memory-full"
    finally:
        for connection in held:
            connection.close()
    narrow.until("maskgrpo_held_bytes", 0)
    assert narrow.score(text()).status == 200


def test_an_answer_that_takes_too_long_is_given_up(narrow, tmp_path):
    with narrow.busy(tmp_path / "flag"):
        answer = narrow.score(text(), rewards=["batch"], timeout_s=0.2)
    assert answer.status == 504 and answer.error["code"] == "deadline" and answer.error["retryable"]
    assert narrow.score(text(), rewards=["batch"]).status == 200


def test_two_workers_score_side_by_side(tmp_path):
    with light(tmp_path, workers=2, max_batch=1) as server:
        server.until("maskgrpo_workers_ready", 2)
        with server.busy(tmp_path / "flag") as answers:  # which both take up work before either is done
            assert server.metric("maskgrpo_queue_items") == 0
        assert [one.result().json["batches"] for one in answers] == [[1], [1]]
