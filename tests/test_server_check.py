"""`maskgrpo reward-server --check URL`: what it shows of a server that is well, and how it leaves where one is not."""

import asyncio
import json
import subprocess
import sys

import pytest
from remote_servers import INFO, Local, letters_of, scored, speaks
from reward_servers import HERE, light

from maskgrpo_cli.domains import scoring_protocol as wire
from maskgrpo_cli.engine import reward_check
from maskgrpo_cli.engine.reward_check import sample
from maskgrpo_cli.registry import resolve
from maskgrpo_cli.rewards.remote.exchange import TryLater

LETTERS, AREA = "own_rewards:letters", "own_rewards:area"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    rewards = ["shapes", LETTERS, AREA, "length", "faulty"]
    with light(tmp_path_factory.mktemp("checked"), rewards, max_batch=16) as server:
        yield server


def served(score, names=(LETTERS,)):
    """A server of ours that names these rewards."""
    return Local(speaks(score, {**INFO, "rewards": [{"name": name, "version": "1"} for name in names]}))


def test_the_table_of_a_server_that_is_well(server):
    command = [sys.executable, "-m", "maskgrpo_cli", "reward-server", "--check", f"http://127.0.0.1:{server.port}"]
    done = subprocess.run(
        [*command, "--reward", "shapes", "--reward", LETTERS, "--device", "cpu"],
        capture_output=True, text=True, timeout=180, cwd=HERE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    pictures, texts = done.stdout.splitlines()
    assert pictures.startswith("reward shapes (shapes-1); sample pictures; scored 24 of 24; one alone ")
    assert texts.startswith(f"reward {LETTERS} ({LETTERS}-1); sample texts; scored 8 of 8; one alone ")
    for line in (pictures, texts):
        cells = line.split("; ")
        assert " ms, at most " in cells[3] and cells[4].endswith(" a second") and cells[6] == "agreement the same bits"
        assert all(1 <= int(size) <= 16 for size in cells[5].removeprefix("in batches of ").split(", "))


def test_a_reward_of_ones_own_is_handed_the_same_pictures_here_and_there(server, maskgrpo):
    code, out, error = maskgrpo("reward-server", "--check", f"http://127.0.0.1:{server.port}", "--reward", AREA)
    assert code == 0, out + error
    assert "sample pictures; scored 24 of 24; " in out and out.strip().endswith("agreement the same bits")


def test_a_reward_that_is_not_here_is_not_compared(server, maskgrpo):
    code, out, _ = maskgrpo("reward-server", "--check", f"http://127.0.0.1:{server.port}", "--reward", "length")
    assert code == 0
    assert [line.partition("agreement ")[2].partition(":")[0] for line in out.splitlines()] == ["not compared"] * 2


def test_the_sample_has_right_and_wrong_ones():
    asked = sample()
    for name, kind in {"shapes": "pictures", "math-correct": "texts", "countdown": "texts", "sudoku": "texts",
                       "code-format": "texts"}.items():  # fmt: skip
        found = [
            resolve("reward", name)(
                prompts=[one.prompt], completions=[one.completion], **{k: [v] for k, v in one.columns.items()}
            )[0]
            for one in asked[kind]
        ]
        assert max(found) == 1.0 and min(found) < 1.0, (name, found)


@pytest.mark.parametrize(("shift", "told"), [(1e-5, "within 1e-05"), (0.25, "DIFFERS by up to 0.25")])
def test_scores_that_differ(maskgrpo, shift, told):
    with served(lambda asked: only_texts(asked, lambda one: one + shift)) as local:
        code, out, error = maskgrpo("reward-server", "--check", local.url)
    assert out.strip().endswith(f"agreement {told}")
    assert (code, LETTERS in error) == ((1, True) if shift > 0.1 else (0, False))


def only_texts(asked, change):
    items = asked.json()["items"]
    if "text" not in items[0]["completion"]:
        return scored(asked, [{"error": "no text"}] * len(items))
    return scored(asked, [change(one) for one in letters_of(asked)])


def test_failed_samples_there_alone_are_told(maskgrpo):
    def one_fails(asked):
        status, headers, body = only_texts(asked, lambda one: one)
        answer = json.loads(body)
        answer["rewards"][LETTERS]["scores"][0] = {"error": "out of memory"}
        return status, headers, json.dumps(answer).encode()

    with served(one_fails) as local:
        code, out, _ = maskgrpo("reward-server", "--check", local.url)
    assert code == 1 and "DIFFERS: 4 of 8 have a score only here or only there" in out


@pytest.mark.parametrize(("answer", "code", "told"), [
    (lambda asked: scored(asked, [{"error": "no weights"}] * len(asked.json()["items"])), 1, "not all is well"),
    (lambda asked: scored(asked, [0.5]), 1, "has 1 scores for"),
    (lambda asked: (200, {}, b"<html>"), 1, "its answer is none: "),
    (lambda asked: (500, {}, b"oops"), 1, "status 500: oops"),
    (lambda asked: (307, {"Location": "http://elsewhere/"}, b""), 1, "that is not followed"),
    (lambda asked: None, 1, "does not answer now: "),
    (lambda asked: (401, {}, b""), 1, "it wants a token: name its file, --token-file"),
])  # fmt: skip
def test_a_server_that_is_not_well(maskgrpo, answer, code, told):
    with served(answer) as local:
        found, _, error = maskgrpo("reward-server", "--check", local.url)
    assert found == code and told in error and "Traceback" not in error
    assert len(error.splitlines()) == 1


def test_no_request_is_left_behind_when_another_fails(monkeypatch):
    asked = []

    async def scores(*arguments):
        asked.append(asyncio.current_task())
        if len(asked) > 1:
            await asyncio.sleep(60)
        raise TryLater("too much to do")

    async def together():
        with pytest.raises(TryLater):
            await reward_check._together(None, None, "letters", sample()["texts"], wire.Limits(), None)
        assert len(asked) == reward_check.TOGETHER and all(task.done() for task in asked)

    monkeypatch.setattr(reward_check, "_scores", scores)
    asyncio.run(together())


@pytest.mark.parametrize(("arguments", "told"), [
    (["--check", "ftp://x"], "--check: 'ftp://x' is no address"),
    (["--check", "http://user:secret@127.0.0.1"], "put it in a file and name that, --token-file"),
    (["--check", "{url}", "--reward", "clpi"], "--reward clpi: "),
    (["--check", "{url}", "--port", "80"], "--check reads no --port"),
    (["--check", "{url}", "--device", "cpu,cuda"], "name one device"),
    (["--check", "{url}", "--timeout", "inf"], "--timeout inf"),
    (["--check", "{url}", "--set", "clip.model=x"], "there is no --reward clip here; there are: none"),
    (["--check", "https://127.0.0.1:1", "--tls-cert", __file__], "--tls-cert "),
])  # fmt: skip
def test_mistakes(server, maskgrpo, arguments, told):
    url = f"http://127.0.0.1:{server.port}"
    code, _, error = maskgrpo("reward-server", *(word.format(url=url) for word in arguments))
    assert code == 2 and told in error and "secret" not in error


def test_what_is_no_reward_server_and_what_is_away(maskgrpo):
    with Local(lambda asked: (404, {}, b"")) as local:
        code, _, error = maskgrpo("reward-server", "--check", local.url)
        assert code == 2 and f"{wire.INFO} has status 404: is it the address of a reward server?" in error
    code, _, error = maskgrpo("reward-server", "--check", local.url)
    assert code == 1 and "does not answer now" in error


def test_the_token_is_sent_and_never_shown(maskgrpo, tmp_path):
    token = "x" * 10 + "a-secret-of-ours"
    (tmp_path / "token").write_text(token)
    with Local(lambda asked: (401, {}, asked.headers["Authorization"].encode())) as local:
        code, out, error = maskgrpo("reward-server", "--check", local.url, "--token-file", tmp_path / "token")
    assert local.asked[0].headers["Authorization"] == f"Bearer {token}"
    assert code == 2 and "the token is not the server's" in error and token not in out + error
