"""What the accelerations that change outputs cost in accuracy, and save in forward passes, on the bundled model.

    python tests/benchmarks/fast_decoding.py                      # 4,096 problems; some minutes on two cores
    python tests/benchmarks/fast_decoding.py --model RUN --limit 512

Greedy, in confidence order, the same problems for all; each against one token a step on the same problem.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import typer
from common import console, table

from maskgrpo_cli.config import load
from maskgrpo_cli.config.schema import SamplerConfig
from maskgrpo_cli.engine.devices import make_accelerator
from maskgrpo_cli.engine.generation import generate
from maskgrpo_cli.engine.policy import Policy, load_policy
from maskgrpo_cli.models.denoiser import Denoiser
from maskgrpo_cli.noise import Noise
from maskgrpo_cli.tasks.arithmetic import ARITHMETIC

EXACT = {"name": "low-confidence", "stop_at_end": False}
THRESHOLD = {"name": "confidence-threshold", "threshold": 0.9, "stop_at_end": False}
VARIANTS = {
    "one token a step": EXACT,
    "early exit": EXACT | {"stop_at_end": True},
    "threshold 0.9": THRESHOLD,
    "prefix cache": EXACT | {"cache": "prefix"},
    "dual cache": EXACT | {"cache": "dual"},
    "threshold, early exit": THRESHOLD | {"stop_at_end": True},
    "threshold, early exit, prefix cache": THRESHOLD | {"stop_at_end": True, "cache": "prefix"},
    "threshold, early exit, dual cache": THRESHOLD | {"stop_at_end": True, "cache": "dual"},
}


class Counting(Denoiser):
    """A denoiser that counts the passes of each completion and the tokens that they compute."""

    passes = tokens = 0

    def __call__(self, canvas, positions, memory=None):
        """As the denoiser's."""
        width = canvas.ids.shape[1]
        if memory is not None and memory.window is not None:
            width = memory.window.stop - memory.window.start
        self.passes += len(canvas.ids)
        self.tokens += len(canvas.ids) * width
        return super().__call__(canvas, positions, memory)


@dataclass
class Result:
    """One variant on all problems."""

    right: list[bool]
    passes: float  # of a completion
    tokens: float  # computed for a completion
    seconds: float


def measure(policy: Policy, settings: SamplerConfig, problems) -> Result:
    """Complete and judge the problems."""
    counting = Counting(policy.plain, policy.modality.vocabulary)
    policy.denoiser = lambda guidance: counting
    prompts = policy.modality.encode([problem.messages for problem in problems])
    started = time.perf_counter()
    responses = generate(policy, prompts, settings, Noise((0,), tuple(range(len(prompts)))))
    seconds = time.perf_counter() - started
    completions = policy.modality.decode(responses)
    right = [ARITHMETIC.judge(text, problem).correct for text, problem in zip(completions, problems, strict=True)]
    return Result(right, counting.passes / len(prompts), counting.tokens / len(prompts), seconds)


def main(model: str = "tiny-math", limit: int = 4096, block_length: int = 4) -> None:
    """Measure every variant."""
    config = load("math", {"model.path": model, "device": "cpu"}, "eval")
    policy = load_policy(config, make_accelerator(config), trained=False)
    base = config.evaluation_sampler().model_copy(update={"temperature": 0.0, "block_length": block_length})
    problems = ARITHMETIC.load(None, "test", limit=limit)
    results = {}
    for name, changes in VARIANTS.items():
        results[name] = measure(policy, base.model_copy(update=changes), problems)
    plain = results["one token a step"]
    shown = table(
        f"{model}, {limit} problems, length {base.length}, blocks of {block_length}",
        "", "accuracy", "points", "only it / only exact right", "passes", "fewer", "tokens computed", "fewer",
    )  # fmt: skip
    for name, result in results.items():
        pairs = list(zip(result.right, plain.right, strict=True))
        gained, lost = pairs.count((True, False)), pairs.count((False, True))
        shown.add_row(
            name, f"{sum(result.right) / limit:.2%}", f"{100 * (gained - lost) / limit:+.2f}", f"{gained} / {lost}",
            f"{result.passes:.2f}", f"{plain.passes / result.passes:.1f}x",
            f"{result.tokens:.0f}", f"{plain.tokens / result.tokens:.1f}x",
        )  # fmt: skip
    console.print(shown)


if __name__ == "__main__":
    typer.run(main)
