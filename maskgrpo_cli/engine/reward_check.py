"""`maskgrpo reward-server --check`: a built-in sample scored at a server and here, and how long it took there."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from PIL import Image

from maskgrpo_cli.cancelling import end
from maskgrpo_cli.domains import scoring_protocol as wire
from maskgrpo_cli.engine.reward_check_view import show
from maskgrpo_cli.engine.reward_server import loaded
from maskgrpo_cli.errors import RunFailed, UserError
from maskgrpo_cli.rewards.remote.adapter import Refused, Sample, Scores, Unscored, clean
from maskgrpo_cli.rewards.remote.exchange import Broken, Terms, TryLater, post
from maskgrpo_cli.rewards.remote.greeting import ask_info
from maskgrpo_cli.rewards.remote.maskgrpo import MaskGrpo
from maskgrpo_cli.rewards.remote.servers import Server, checked_urls
from maskgrpo_cli.tasks.shapes import SHAPES

Settings = Mapping[str, Mapping[str, Any]]
ALONE = 8  # requests of one completion, one after another: the latency
TOGETHER = 4  # requests of several at once: how they are batched
TOLERANCE = 1e-3  # of a score, or of 1 where that is more: other devices and batches round otherwise
OPTIONS = {  # what a recipe calls so is an option here
    "urls: ": "--check: ", "ca_file = ": "--tls-cert ", "its variable, token_env": "its file, --token-file",
    "the variable of its token, token_env": "the file of its token, --token-file",
    "an environment variable and name that, token_env": "a file and name that, --token-file",
    "the authority's file, ca_file": "the file to trust, --tls-cert", "reward = ": "--reward ",
    "task.reward_settings.": "--set ",
}  # fmt: skip


@dataclass(frozen=True)
class Checked:
    """One reward on the completions of one kind."""

    reward: str
    version: str
    kind: str  # pictures or texts
    scores: Scores
    latencies: Sequence[float]  # seconds of requests of one completion
    rate: float  # completions a second, several requests at once
    batches: Sequence[int]  # the sizes of the batches that these were scored in
    agreement: str
    good: bool


def run(
    url: str, names: Sequence[str], settings: Settings, device: str, offline: bool, *, token: str | None,
    ca_file: str | None, timeout: float,
) -> None:
    """Score the sample by the server's rewards, or by those named, and show how it went.

    Args:
        url: of the server.
        names, settings: of rewards at the server, and what they are made with here; none named: all it has.
        device, offline: of the rewards that are made here.
        token, ca_file, timeout: of the requests; seconds.

    Raises:
        UserError: the address, the token or a name is wrong. Exit code 2.
        RunFailed: the server does not answer, or not as it should; a reward scores nothing of the sample, or scores
            otherwise than here. Exit code 1.
    """
    try:
        (address,) = checked_urls([url])
        terms = Terms(read_timeout=timeout, token=token, ca_file=ca_file)
        found = asyncio.run(_checked(Server(address, 1.0), names, settings, device, offline, terms))
    except UserError as error:
        raise UserError(_as_options(str(error))) from error
    except TryLater as error:
        raise RunFailed(f"{address} does not answer now: {_as_options(terms.scrub(str(error)))}") from error
    except (Refused, Broken) as error:
        raise RunFailed(f"{address}: {_as_options(terms.scrub(str(error)))}") from error
    show(address, found)
    if bad := [row.reward for row in found if not row.good]:
        raise RunFailed(f"{address}: not all is well with {', '.join(dict.fromkeys(map(clean, bad)))}; see above")


def sample() -> dict[str, list[Sample]]:
    """Pictures and texts with the columns that the registered rewards read: right ones and wrong ones of each."""
    problems = SHAPES.load(None, "validation", limit=6)
    pictures = [Image.fromarray(SHAPES.picture(problem)) for problem in problems]  # as runs and servers hand them over
    shown = [
        Sample(problem.prompt, picture, dict(problem.columns)) for problem in problems for picture in pictures[:4]
    ]
    grid = "1234341221434321"
    columns = {
        "answer": "12", "solution": grid, "numbers": [3, 4], "target": 12, "puzzle": "0" + grid[1:],
        "tests": ["assert answer == 12"],
    }  # fmt: skip
    words = [
        "<reasoning>3 * 4 is 12</reasoning>\\boxed{12}", "\\boxed{13}", "<answer>3 * 4</answer>",
        f"<answer>{grid}</answer>", "```python\nanswer = 3 * 4\n```", "```python\nanswer = 13\n```", "It is 12.", "",
    ]  # fmt: skip
    return {"pictures": shown, "texts": [Sample("What is 3 * 4?", text, columns) for text in words]}


async def _checked(
    server: Server, names: Sequence[str], settings: Settings, device: str, offline: bool, terms: Terms
) -> list[Checked]:
    async with terms.client(TOGETHER) as client:
        info = await ask_info(client, server, terms)
        if isinstance(info, TryLater):
            raise info
        versions = {reward.name: reward.version for reward in info.rewards}
        if unknown := [name for name in names if name not in versions]:
            known = ", ".join(clean(name, 60) for name in versions) or "none"
            raise UserError(f"reward = {unknown[0]}: {server.url} has no such reward; it has {known}")
        found = []
        for name in names or versions:
            rows = []
            for kind, samples in sample().items():
                scores, batches, seconds = await _together(client, server, name, samples, info.limits, terms)
                if any(isinstance(score, float) for score in scores):
                    latencies = [await _alone(client, server, name, samples[0], terms) for _ in range(ALONE)]
                    agreement, good = _agreement(name, settings.get(name, {}), device, offline, samples, scores)
                    rate = len(samples) / max(seconds, 1e-9)
                    rows.append(
                        Checked(name, versions[name], kind, scores, latencies, rate, batches, agreement, good)
                    )
            found += rows or [Checked(name, versions[name], "none", [], [], 0.0, [], _why(scores), False)]
    return found


def _why(scores: Scores) -> str:
    whys = [score.why for score in scores if isinstance(score, Unscored)]
    return "scores nothing of the sample" + (f": {whys[0]}" if whys else "")


async def _alone(client: httpx.AsyncClient, server: Server, name: str, one: Sample, terms: Terms) -> float:
    started = time.perf_counter()
    await _scores(client, server, name, [one], terms)
    return time.perf_counter() - started


async def _together(
    client: httpx.AsyncClient, server: Server, name: str, samples: Sequence[Sample], limits: wire.Limits, terms: Terms
) -> tuple[Scores, list[int], float]:
    """Scores, sizes of batches, and seconds of requests that are sent at once."""
    size = min(math.ceil(len(samples) / TOGETHER), limits.items, limits.pictures)
    started = time.perf_counter()
    asked = [
        asyncio.ensure_future(_scores(client, server, name, samples[start : start + size], terms))
        for start in range(0, len(samples), size)
    ]
    try:
        answers = await asyncio.gather(*asked)
    finally:
        await end(asked)  # what the first failure leaves would tell of itself when the client is closed
    seconds = time.perf_counter() - started
    return [score for scores, _ in answers for score in scores], [n for _, sizes in answers for n in sizes], seconds


async def _scores(
    client: httpx.AsyncClient, server: Server, name: str, samples: Sequence[Sample], terms: Terms
) -> tuple[Scores, list[int]]:
    adapter = MaskGrpo(name, terms.read_timeout)
    body, ids = adapter.write(samples)
    answer = await post(client, server.url + adapter.path, adapter, body, terms)
    return adapter.read(answer, ids), wire.ScoreResponse.model_validate_json(answer).batches


def _agreement(
    name: str, settings: Mapping[str, Any], device: str, offline: bool, samples: Sequence[Sample], there: Scores
) -> tuple[str, bool]:
    """In words, how a server's scores agree with those of the reward that is made here, and whether they do."""
    try:
        with loaded([name], {name: settings}, device, offline) as made:
            here = [_here(made[name].function, one) for one in samples]
    except (UserError, RunFailed) as error:
        return f"not compared: {clean(str(error), 160)}", True
    pairs = [(a, b) for a, b in zip(here, there, strict=True) if isinstance(a, float) and isinstance(b, float)]
    kinds = [one for one in zip(here, there, strict=True) if type(one[0]) is not type(one[1])]
    far = max((abs(a - b) / max(1.0, abs(a)) for a, b in pairs), default=0.0)
    if kinds:
        return f"DIFFERS: {len(kinds)} of {len(samples)} have a score only here or only there", False
    if far == 0:
        return "the same bits", True
    return (f"within {far:.1g}", True) if far <= TOLERANCE else (f"DIFFERS by up to {far:.3g}", False)


def _here(function: Any, one: Sample) -> float | Unscored | None:
    try:
        columns = {name: [value] for name, value in one.columns.items()}
        (score,) = function(prompts=[one.prompt], completions=[one.completion], **columns)
    except Exception as error:  # a reward of a user's may raise anything; the server says so for the sample, too
        return Unscored(str(error))
    if score is not None and not math.isfinite(score):
        return Unscored(f"it returned {score}")
    return None if score is None else float(score)


def _as_options(text: str) -> str:
    for ours, theirs in OPTIONS.items():
        text = text.replace(ours, theirs)
    return text
