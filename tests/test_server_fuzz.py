"""The reward server's OpenAPI schema held against the server, by schemathesis."""

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from reward_servers import light, text

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is missing: pip install 'maskgrpo[dev]'")
from schemathesis import GenerationMode  # noqa: E402
from schemathesis.checks import load_all_checks  # noqa: E402
from schemathesis.specs.openapi.checks import positive_data_acceptance  # noqa: E402

load_all_checks()
# a schema can say that a text is base64 or the name of a part, not that it is a picture
EXCLUDED = [positive_data_acceptance]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with light(tmp_path_factory.mktemp("fuzzed"), ["length"], max_wait=0.0) as server:
        yield server


def allow_time(body):
    """With hardly any time a 504 would be right."""
    if isinstance(body, dict):
        allow_time(body.get("request"))
        if isinstance(body.get("timeout_s"), float) and body["timeout_s"] > 0:
            body["timeout_s"] += 60


def fuzz(server, examples):
    """Requests by the schema and against it, for every operation; gives how many there were."""
    schema = schemathesis.openapi.from_dict(server.get("/openapi.json").json)
    count, statuses = 0, set()
    for found in schema.get_all_operations():
        operation = found.ok()
        share = examples if operation.path == "/v1/score" else max(5, examples // 20)
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            if mode is GenerationMode.NEGATIVE and operation.method == "get":
                continue  # there is nothing to get wrong

            @seed(7)
            @settings(max_examples=share, deadline=None, database=None, phases=[Phase.generate],
                      suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy(generation_mode=mode))
            def run(case):
                nonlocal count
                allow_time(case.body)
                response = case.call(base_url=f"http://127.0.0.1:{server.port}")
                case.validate_response(response, excluded_checks=EXCLUDED)
                count += 1
                if case.operation.path == "/v1/score":
                    statuses.add(response.status_code)

            run()
    assert {200, 422} <= statuses <= {200, 400, 413, 415, 422}
    return count


def check(server, examples, least):
    fuzz(server, 20)
    before = server.memory()
    assert fuzz(server, examples) >= least
    assert server.memory() < before + 30 * 2**20
    assert server.score(text("four")).scores("length") == [4.0]


def test_the_server_keeps_its_schema(server):
    check(server, 80, 160)


@pytest.mark.slow
def test_the_server_keeps_its_schema_ten_thousand_times(server):
    check(server, 5000, 10_000)
