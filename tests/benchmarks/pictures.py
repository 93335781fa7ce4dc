"""One GRPO step on pictures at MMaDA's vocabulary, against the straightforward way beside this file.

    python tests/benchmarks/pictures.py                   # time, gradients and memory; about 15 minutes on two cores
    python tests/benchmarks/pictures.py --parts time      # or memory
    python tests/benchmarks/pictures.py --layers 2 --completions 3 --updates 4 --steps 12

134,656 rows of vocabulary, 1,024 image tokens, captions of 128 places, width 256. A step is the rollout (emerge with
guidance), the old log-probabilities of every mask, and the mu updates with AdamW. Ours runs through the engine
(`generate`, the GRPO method), the other side through `straightforward_pictures.py`; beta is 0, as in the recipe. Memory
is the peak of resident memory of a process of its own, above what it holds with weights, gradients and the
optimiser's state (Linux).
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import straightforward
import straightforward_pictures
import torch
import typer
from common import console, table
from memory import GIB, peak_above
from torch import Tensor
from whole_step import CLIP, Step, settled_optimizer

from maskgrpo_cli.config.schema import Config, EstimatorConfig, ModelConfig, ObjectiveConfig, SamplerConfig, TaskConfig
from maskgrpo_cli.engine.devices import make_accelerator
from maskgrpo_cli.engine.policy import Policy, assemble
from maskgrpo_cli.modalities.layouts import TOKENS
from maskgrpo_cli.models.magvit import MagvitModel
from maskgrpo_cli.models.magvit_config import MagvitConfig, Side
from maskgrpo_cli.models.mmada import MMadaConfig, MMadaModelLM
from maskgrpo_cli.models.tokenizer import build_tokenizer
from maskgrpo_cli.noise import Noise
from maskgrpo_cli.samplers.schedules import cosine

ROWS, WORDS, CODE_BITS, TOKENS_A_PICTURE, CAPTION = 134_656, 126_349, 13, 1024, 126  # MMaDA's
WIDTH, GUIDANCE, MIN_RATIO = 256, 3.5, 0.8
WAYS = ("ours", "sliced", "full")
NAMES = {
    "ours": "ours",
    "sliced": "straightforward, image codes cut out of the full logits (as published)",
    "full": "straightforward, log-softmax over the whole vocabulary",
}


@dataclass(frozen=True)
class Size:
    """What can be asked for."""

    layers: int = 4
    completions: int = 2
    updates: int = 6
    steps: int = 16


def make_policy(layers: int) -> Policy:
    """An MMaDA-shaped policy with fresh weights and the published vocabulary; its image tokenizer never draws."""
    special = [names[0] for names in TOKENS.values()]
    around = len(build_tokenizer((), special))
    odd = ("[odd]",) if (WORDS - around) % 2 else ()  # a word is two tokens, with and without a space before it
    words = build_tokenizer([f"w{number}" for number in range((WORDS - around) // 2)], [*special, *odd])
    assert len(words) == WORDS
    folder = tempfile.mkdtemp(prefix="maskgrpo-benchmark-")
    side = Side(8, (1, 1), (1, 1))
    MagvitModel(MagvitConfig(side, side, codebook_dim=CODE_BITS, group_norm_groups=4)).save(Path(folder))
    config = Config(
        device="cpu", model=ModelConfig(image_tokenizer=folder), task=TaskConfig(max_prompt_length=CAPTION)
    )
    shape = MMadaConfig(
        d_model=WIDTH, n_layers=layers, n_heads=WIDTH // 64, mlp_hidden_size=3 * WIDTH, new_vocab_size=ROWS,
        num_vq_tokens=TOKENS_A_PICTURE, mask_token_id=words.mask_token_id, eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MMadaModelLM(shape)
        model.initialise_small()
    assert model.get_output_embeddings().weight.shape == (ROWS, WIDTH)
    return assemble(model, words, "image", make_accelerator(config), "new", config)


class Ours(Step):
    """The engine's step on pictures; captions of different lengths, so that there are pads."""

    way = "ours"

    def __init__(self, size: Size):
        captions = torch.randint(300, WORDS - 300, (size.completions, CAPTION), generator=torch.manual_seed(0))
        prompts = [row[: 20 + 7 * number].tolist() for number, row in enumerate(captions)]
        draws = SamplerConfig(
            name="emerge", length=TOKENS_A_PICTURE, block_length=TOKENS_A_PICTURE, steps=size.steps, schedule="cosine",
            guidance=GUIDANCE, stop_at_end=False,
        )  # fmt: skip
        super().__init__(
            make_policy(size.layers), prompts, draws, size.updates,
            estimator=EstimatorConfig(name="uniform", min_ratio=MIN_RATIO), objective=ObjectiveConfig(clip_low=CLIP),
        )  # fmt: skip


class Plain:
    """The same step straightforwardly; it keeps the model of `ours` for itself, or has a copy of it."""

    def __init__(self, ours: Ours, way: str, alone: bool = False):
        self.ours, self.way, self.updates = ours, way, ours.updates
        self.model, self.optimizer = ours.policy.plain, ours.optimizer
        if not alone:
            self.model = copy.deepcopy(self.model)
            self.optimizer = settled_optimizer(self.model, [*self.model.parameters()], ours.grpo.settings.optimizer)
        self.words = ours.policy.modality.vocabulary
        self.old: list[Tensor] = []
        self.responses: Tensor | None = None

    def sample(self) -> None:
        """The rollout."""
        ours = self.ours
        canvas = ours.policy.modality.canvas(ours.prompts, ours.length)
        noise = Noise((0,), tuple(range(ours.completions)))
        steps = ours.grpo.collector.sampler.steps
        self.responses = straightforward_pictures.emerge(
            self.model, canvas, self.words, noise, cosine, steps, GUIDANCE
        )

    def score(self) -> None:
        """Old log-probabilities, one mask at a time: all at once do not fit."""
        with torch.no_grad():
            self.old = [self._log_probs(number)[0] for number in range(self.updates)]

    def update(self, number: int) -> float:
        """One optimiser step; its loss."""
        self.optimizer.zero_grad(set_to_none=False)
        new, scored = self._log_probs(number)
        old = self.old[number]
        loss = straightforward.loss(new, old, old, self.ours.rollout.advantages, scored, CLIP, 0.0)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def _log_probs(self, number: int) -> tuple[Tensor, Tensor]:
        """Log-probabilities of an update's tokens, and which of them its mask hides, both [B, N]."""
        canvas, copies = self.ours.grpo.estimator.copies(
            self.ours.rollout, number, list(range(self.ours.completions))
        )
        noisy = torch.where(copies[0].mask, self.words.mask_id, canvas.ids)
        return straightforward_pictures.log_probs(self.model, canvas, noisy, self.words, self.way), copies[0].scored


def measure_time(size: Size) -> None:
    """Every phase of all sides, one after the other, and whether the same came out."""
    ours = Ours(size)
    sides = {"ours": ours} | {way: Plain(ours, way) for way in WAYS[1:]}
    seconds: dict[str, dict[str, float]] = {}
    apart, losses = {way: [] for way in WAYS[1:]}, []
    updates = [f"update {number}" for number in range(size.updates)]
    for phase in ("rollout", "old log-probabilities", *updates):
        told = {}
        for way, side in sides.items():
            if phase == "rollout" and way == "full":
                continue  # it is that of `sliced`
            started = time.perf_counter()
            if phase == "rollout":
                side.sample()
            elif phase in updates:
                told[way] = side.update(updates.index(phase))
            else:
                side.score()
            seconds.setdefault(phase, {})[way] = time.perf_counter() - started
        for way in apart if told else ():
            apart[way].append(_apart(sides["ours"].policy.plain, sides[way].model))
            losses.append(abs(told["ours"] - told[way]))
    seconds["rollout"]["full"] = seconds["rollout"]["sliced"]
    every = [seconds.pop(name) for name in updates]
    seconds[f"{size.updates} updates"] = {way: sum(one[way] for one in every) for way in WAYS}
    seconds["whole step"] = {way: sum(phase[way] for phase in seconds.values()) for way in WAYS}
    result = table(
        f"A GRPO step on pictures: {size.completions} completions of {TOKENS_A_PICTURE} image tokens, {size.steps} "
        f"steps with guidance {GUIDANCE}, mu {size.updates}, width {WIDTH}, {size.layers} layers, {ROWS} rows",
        "phase", "ours", "sliced", "ratio", "full", "ratio",
    )  # fmt: skip
    for phase, of in seconds.items():
        ratios = [(f"{of[way]:.1f} s", f"{of[way] / of['ours']:.1f}x") for way in WAYS[1:]]
        result.add_row(phase, f"{of['ours']:.1f} s", *ratios[0], *ratios[1])
    console.print(result)
    for way in WAYS[1:]:
        console.print(f"{way}: {NAMES[way]}", style="dim")
    same = (sides["sliced"].responses == ours.rollout.responses).float().mean()
    first, worst = max(values[0] for values in apart.values()), max(max(values) for values in apart.values())
    console.print(
        f"same image tokens: {same:.2%}; gradients differ by {first:.1e} of their norm at the first update, by at most "
        f"{worst:.1e} at any; losses by at most {max(losses):.1e}\n", style="dim",
    )  # fmt: skip
    if first > 1e-3 or same < 0.99:
        sys.exit("the sides do not compute the same")


def _apart(one: torch.nn.Module, other: torch.nn.Module) -> float:
    """The norm of the difference of two models' gradients over the norm of one."""
    pairs = [(a.grad, b.grad) for a, b in zip(one.parameters(), other.parameters(), strict=True)]
    difference = sum((a - b).double().square().sum() for a, b in pairs)
    return (difference / sum(b.double().square().sum() for _, b in pairs)).sqrt().item()


def measure_memory(size: Size) -> None:
    """The peak of each side in a process of its own."""
    if sys.platform != "linux":
        console.print("memory: measured on Linux only\n", style="yellow")
        return
    peaks = {}
    for way in WAYS:
        asked = [value for key, number in asdict(size).items() for value in (f"--{key}", str(number))]
        command = [sys.executable, __file__, "--only", way, *asked]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        peaks[way] = json.loads(told.splitlines()[-1])
    result = table(
        f"Peak memory above weights, gradients and optimiser state, {size.completions} completions at once",
        "phase", "ours", "sliced", "ratio", "full", "ratio",
    )  # fmt: skip
    for phase in peaks["ours"]:
        of = {way: peaks[way][phase] for way in WAYS}
        ratios = [(f"{of[way] / GIB:.2f} GiB", f"{of[way] / of['ours']:.1f}x") for way in WAYS[1:]]
        result.add_row(phase, f"{of['ours'] / GIB:.2f} GiB", *ratios[0], *ratios[1])
    console.print(result)
    one = straightforward.logit_bytes(size.completions, CAPTION + TOKENS_A_PICTURE + 5, ROWS)
    console.print(f"by calculation: one copy of the full logits is {one / GIB:.2f} GiB\n", style="dim")


def peaks_of(way: str, size: Size) -> dict[str, int]:
    """Bytes of each phase of one side, measured in this process; two denoising steps and two masks have the peak."""
    ours = Ours(Size(size.layers, size.completions, 2, 2))
    side = ours if way == "ours" else Plain(ours, way, alone=True)
    peaks = {"rollout": peak_above(side.sample)}
    if way != "ours":  # what is scored is the same on all sides
        ours._take(side.responses)
    peaks["old log-probabilities"] = peak_above(side.score)
    peaks["update"] = max(peak_above(lambda number=number: side.update(number)) for number in (0, 1))
    return peaks | {"whole step": max(peaks.values())}


def main(
    parts: str = "time,memory", layers: int = 4, completions: int = 2, updates: int = 6, steps: int = 16,
    only: str = typer.Option("", hidden=True),
) -> None:  # fmt: skip
    """Measure; `parts` are named with a comma between them."""
    size = Size(layers, completions, updates, steps)
    if only:
        typer.echo(json.dumps(peaks_of(only, size)))
        return
    known = {"time": measure_time, "memory": measure_memory}
    if unknown := set(parts.split(",")) - set(known):
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    console.print(f"torch {torch.__version__}, {torch.get_num_threads()} threads\n", style="dim")
    for part in parts.split(","):
        known[part](size)


if __name__ == "__main__":
    typer.run(main)
