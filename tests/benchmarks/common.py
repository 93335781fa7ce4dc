"""What the benchmarks share: the models, the prompts, timing in alternation, and tables."""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from maskgrpo_cli.config.schema import Architecture, Config, SamplerConfig
from maskgrpo_cli.engine.devices import make_accelerator
from maskgrpo_cli.engine.fresh import new_policy
from maskgrpo_cli.engine.policy import Policy

VOCABULARY = 126_464  # LLaDA's
PROMPT, LENGTH, STEPS, BLOCK, COMPLETIONS, UPDATES, LAYERS = 128, 256, 128, 16, 6, 12, 4
console = Console(highlight=False, width=None if sys.stdout.isatty() else 180)


def make_policy(width: int) -> Policy:
    """A LLaDA-shaped policy with the published vocabulary and proportions, four layers and fresh weights."""
    letters_and_special = 256 + 4
    pieces = [f"w{number}" for number in range((VOCABULARY - letters_and_special) // 2)]
    shape = Architecture(
        d_model=width, n_layers=LAYERS, n_heads=width // 64, mlp_hidden_size=3 * width, rope_theta=500_000.0
    )
    policy = new_policy(shape, pieces, 0, make_accelerator(Config(device="cpu")))
    assert policy.plain.config.embedding_size == VOCABULARY
    with torch.no_grad():  # sharper attention and larger updates: fresh weights would write one token everywhere
        for name, weight in policy.plain.named_parameters():
            if name.endswith(("q_proj.weight", "k_proj.weight")):
                weight.mul_(2.0)
            elif "blocks" in name and name.endswith(("attn_out.weight", "ff_out.weight")):
                weight.mul_((2 * LAYERS) ** 0.5)
    return policy


def make_prompts(count: int = COMPLETIONS, length: int = PROMPT) -> list[list[int]]:
    """Prompts of ordinary tokens, all of them different, so that greedy completions differ too."""
    drawn = torch.randint(300, VOCABULARY - 300, (count, length), generator=torch.Generator().manual_seed(0))
    return drawn.tolist()


def sampler(steps: int = STEPS, length: int = LENGTH, **more) -> SamplerConfig:
    """The published sampler settings, greedy."""
    return SamplerConfig(
        name=more.pop("name", "low-confidence"), length=length, steps=steps, block_length=BLOCK, temperature=0.0,
        stop_at_end=False, **more,
    )


class Enough(Exception):
    """Ends a rollout that is only timed for some of its steps."""


@dataclass
class Timed:
    """Seconds of one thing in each round."""

    name: str
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Seconds."""
        return statistics.median(self.seconds)


def alternate(rounds: int, **things: Callable[[], object]) -> dict[str, Timed]:
    """Run the things in turn, `rounds` times after one unmeasured turn of each; noise then hits all alike."""
    timed = {name: Timed(name) for name in things}
    for round in range(rounds + 1):
        for name, thing in things.items():
            gc.collect()
            started = time.perf_counter()
            thing()
            if round:
                timed[name].seconds.append(time.perf_counter() - started)
    return timed


def table(title: str, *headings: str) -> Table:
    """An empty table below its title, which is printed at once."""
    console.print(title, soft_wrap=True)
    result = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for number, heading in enumerate(headings):
        result.add_column(heading, justify="left" if number == 0 else "right", no_wrap=True)
    return result


def matrix_peak(rounds: int = 7) -> float:
    """The largest FLOP/s of float32 matrix products of the sizes that a width of 1024 has."""
    best = 0.0
    for rows, inner, columns in ((2304, 1024, 1024), (2304, 1024, 3072), (2048, 2048, 2048), (2304, 1024, 8192)):
        a, b = torch.randn(rows, inner), torch.randn(columns, inner)
        seconds = []
        for _ in range(rounds):
            started = time.perf_counter()
            torch.nn.functional.linear(a, b)
            seconds.append(time.perf_counter() - started)
        best = max(best, 2 * rows * inner * columns / min(seconds))
    return best


def rollout_flops(width: int, batch: int, sequence: int, asked: int, columns: int | None = None) -> float:
    """Floating point operations of one denoising pass of ours, matrix products and attention only.

    Every block but the last works on `columns` (default: all of the sequence); the last one computes keys and
    values there and the rest at the `asked` positions, and so does the head.
    """
    mlp = 3 * width
    columns = sequence if columns is None else columns
    per_token = 2 * (4 * width * width + 3 * width * mlp)
    keys_values = 2 * 2 * width * width
    attention = 4 * width * sequence  # per query: scores and their use
    blocks = (LAYERS - 1) * columns * (per_token + attention)
    last = columns * keys_values + asked * (per_token - keys_values + attention)
    return batch * (blocks + last + asked * 2 * width * VOCABULARY)


def first_ids(policy: Policy, prompts: list[list[int]], length: int = LENGTH) -> tuple[Tensor, int]:
    """The ids [B, S] that a rollout starts from, and where the response starts."""
    canvas = policy.modality.canvas(prompts, length)
    return canvas.ids, canvas.start
