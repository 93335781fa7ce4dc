"""Speed and memory at LLaDA's vocabulary, against the straightforward implementation beside this file.

    python tests/benchmarks/speed.py                 # everything; about 25 minutes on two cores
    python tests/benchmarks/speed.py rollout memory  # some parts: rollout step memory growth caches

Ours is timed through the engine (`generate`, the GRPO method), not through copies of its code.
"""

from __future__ import annotations

import sys
from functools import partial

import straightforward
import torch
from common import (
    BLOCK,
    COMPLETIONS,
    LENGTH,
    PROMPT,
    STEPS,
    UPDATES,
    VOCABULARY,
    Enough,
    alternate,
    console,
    first_ids,
    make_policy,
    make_prompts,
    matrix_peak,
    rollout_flops,
    sampler,
    table,
)
from growth import growth
from memory import memory
from whole_step import whole_step

from maskgrpo_cli.engine.generation import generate
from maskgrpo_cli.noise import Noise

NOISE = Noise((0,), tuple(range(COMPLETIONS)))


def ours(policy, prompts, stop: int | None = None, **options):
    """A rollout through the engine, or its first `stop` steps; [B, L]."""
    kept = []

    def observe(step: int, steps: int, response) -> None:
        kept[:] = [response]
        if stop is not None and step + 1 >= stop:
            raise Enough

    try:
        return generate(policy, prompts, sampler(**options), NOISE, observe=None if stop is None else observe)
    except Enough:
        return kept[0]


def plain(policy, prompts, stop: int | None = None):
    """The same rollout, straightforwardly; [B, L]."""
    ids, start = first_ids(policy, prompts)
    words = policy.modality.vocabulary
    return straightforward.rollout(
        policy.plain, ids, start, words.mask_id, words.forbidden, STEPS, BLOCK, stop
    )[:, start:]


def rollout() -> None:
    """Denoising steps of both, in alternation, after a check that they write the same tokens."""
    peaks, measured = [], []
    for width, steps, rounds in ((256, 8, 5), (1024, 4, 3)):
        policy, prompts = make_policy(width), make_prompts()
        same = torch.equal(ours(policy, prompts, steps), plain(policy, prompts, steps))
        timed = alternate(
            rounds,
            plain=partial(plain, policy, prompts, steps),
            ours=partial(ours, policy, prompts, steps),
            peak=lambda: peaks.append(matrix_peak()),
        )
        measured.append((width, steps, same, timed["plain"].median / steps, timed["ours"].median / steps))
    result = table(
        f"Rollout: {COMPLETIONS} completions of {LENGTH} tokens after {PROMPT}, {STEPS} steps, blocks of {BLOCK}",
        "width", "steps timed", "straightforward", "ours", "ratio", "same tokens", "of matrix peak",
    )
    for width, steps, same, slow, fast in measured:
        result.add_row(
            str(width), str(steps), f"{slow:.2f} s a step", f"{fast:.3f} s a step", f"{slow / fast:.1f}x",
            "yes" if same else "NO", f"{_flops(width, steps) / fast / max(peaks):.0%}",
        )
    console.print(result)
    console.print(
        f"matrix peak {max(peaks) / 1e9:.0f} GFLOP/s in float32, the best of {len(peaks)} turns in between, "
        f"{torch.get_num_threads()} threads\n", style="dim",
    )


def _flops(width: int, steps: int) -> float:
    """Operations of ours in one of the first `steps` steps of a block, on average."""
    share, rest = divmod(BLOCK, STEPS // (LENGTH // BLOCK))
    revealed = [share + (step < rest) for step in range(steps)]
    masked = [BLOCK - sum(revealed[:step]) for step in range(steps)]
    return sum(rollout_flops(width, COMPLETIONS, PROMPT + LENGTH, asked) for asked in masked) / steps


def caches() -> None:
    """One block of steps and the whole rollout's time at these lengths with the caches, which change the output."""
    result = table(
        f"Caches within a block, width 1024: {COMPLETIONS} completions of {LENGTH} tokens after {PROMPT}, "
        f"{STEPS} steps, blocks of {BLOCK}; two blocks timed",
        "cache", "seconds", "against none",
    )
    policy, prompts = make_policy(1024), make_prompts()
    steps = 2 * STEPS // (LENGTH // BLOCK)
    kinds = {kind: partial(ours, policy, prompts, steps, cache=kind) for kind in ("none", "prefix", "dual")}
    timed = alternate(3, **kinds)
    for kind, seconds in timed.items():
        result.add_row(kind, f"{seconds.median:.2f}", f"{timed['none'].median / seconds.median:.1f}x")
    console.print(result, "")


PARTS = {"rollout": rollout, "step": whole_step, "memory": memory, "growth": growth, "caches": caches}


def main(names: list[str]) -> None:
    """Run the parts that are named, or all."""
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; known: {', '.join(PARTS)}")
    console.print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, vocabulary {VOCABULARY}, "
        f"mu {UPDATES}\n", style="dim",
    )
    for name in names or PARTS:
        PARTS[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
