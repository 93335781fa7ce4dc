"""How time and memory grow with length, group size and mu, at a width of 256."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from functools import partial

from common import COMPLETIONS, LENGTH, PROMPT, Enough, console, sampler, table
from memory import GIB, peak_above
from whole_step import Ours

from maskgrpo_cli.engine.generation import generate
from maskgrpo_cli.noise import Noise

STEPS_TIMED = 4


def growth() -> None:
    """One table for each of the three."""
    few = 3  # updates, where mu is not what grows
    lengths, groups, updates = (128, 256, 512, 1024), (3, 6, 12), (3, 6, 12)
    _table(
        f"length (mu {few})",
        [(length, COMPLETIONS, few, length) for length in lengths],
        "a pass grows faster than linearly, as every token attends to every other (4 d S^2 beside 26 d^2 S a layer, "
        f"S = {PROMPT} + length), and a rollout is that times its steps, which are as many as half the tokens; scores "
        "and updates grow with S the same way, memory with the activations of S tokens",
    )
    _table(f"group size (mu {few})", [(group, group, few, LENGTH) for group in groups], "nothing is more than linear")
    _table(
        "mu",
        [(number, COMPLETIONS, number, LENGTH) for number in updates],
        "scores and updates are linear in mu; memory does not depend on it, as one mask is scored at a time",
    )


def _table(name: str, cases: list[tuple[int, int, int, int]], note: str) -> None:
    headings = ("pass", "rollout", "old and reference", "updates", "peak memory")
    result = table(f"Cost against {name}", name.partition(" (")[0], *headings)
    rows = []
    for value, group, updates, length in cases:
        ours = Ours(256, group, updates, length)
        ours.given_completions()
        one_pass = _rollout_pass(ours)
        seconds = {}
        peak = peak_above(partial(_score_and_update, ours, seconds)) if sys.platform == "linux" else math.nan
        rows.append((value, one_pass, one_pass * length / 2, seconds["score"], seconds["update"] * updates, peak / GIB))
        result.add_row(str(value), *(f"{seconds:.2f} s" for seconds in rows[-1][1:-1]), f"{rows[-1][-1]:.2f} GiB")
    first, last = rows[0], rows[-1]
    powers = [math.log(b / a) / math.log(last[0] / first[0]) for a, b in zip(first[1:], last[1:], strict=True)]
    what = name.partition(" (")[0]
    result.add_row("grows as", *(f"{what} ^ {power:.2f}" for power in powers), style="dim")
    console.print(result)
    console.print(f"{note}\n", style="dim")


def _score_and_update(ours: Ours, seconds: dict[str, float]) -> None:
    """Scores and one update, with what each takes."""
    seconds["score"] = _seconds(ours.score)
    seconds["update"] = _seconds(lambda: ours.update(ours.updates - 1))


def _seconds(thing: Callable[[], object]) -> float:
    started = time.perf_counter()
    thing()
    return time.perf_counter() - started


def _rollout_pass(ours: Ours) -> float:
    """Seconds of a denoising step, the mean of a few."""

    def stop(step: int, steps: int, response) -> None:
        if step + 1 == STEPS_TIMED:
            raise Enough

    def run() -> None:
        noise = Noise((0,), tuple(range(ours.completions)))
        try:
            generate(ours.policy, ours.prompts, sampler(ours.length // 2, ours.length), noise, observe=stop)
        except Enough:
            return

    run()
    return _seconds(run) / STEPS_TIMED
