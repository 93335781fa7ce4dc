"""What the rollouts of each sampler give GRPO to learn from: reward, spread and diversity within a group.

    python tests/benchmarks/rollout_samplers.py                                  # the recipe's model, both samplers
    python tests/benchmarks/rollout_samplers.py --model RUN --steps 4,8,16 --guidance 0,1.5
    python tests/benchmarks/rollout_samplers.py --samplers maskgit --remask-temperature 0.5,1,4 --prompts 128 --group 16
    python tests/benchmarks/rollout_samplers.py --set model.image_tokenizer=FOLDER --json out.json

Every combination of the values is one row; what is not named is the recipe's. Each draws G completions for the
first N prompts of the validation split, the draws keyed as in an evaluation: rows differ in nothing else.

- reward: mean over all; `right`: share that the task judges entirely right, `-` where it judges nothing
- std: mean over the groups of the rewards' standard deviation (unbiased)
- no spread: share of groups whose rewards are all alike, which teach nothing
- best of G: mean over the groups of the best reward
- Hamming: share of tokens in which two completions of a group differ, mean over all pairs and groups
- distinct: different completions of a group over G, mean over the groups
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import typer
from common import console, table
from torch import Tensor

from maskgrpo_cli.config import load
from maskgrpo_cli.config.schema import Config, SamplerConfig
from maskgrpo_cli.engine import data
from maskgrpo_cli.engine.devices import make_accelerator
from maskgrpo_cli.engine.generation import generate
from maskgrpo_cli.engine.judging import judges
from maskgrpo_cli.engine.modality import modality_of
from maskgrpo_cli.engine.policy import Policy, load_policy
from maskgrpo_cli.engine.scoring import Rewards
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.noise import Noise, Purpose
from maskgrpo_cli.objective import group_mean_std
from maskgrpo_cli.types import Task

COLUMNS = ("reward", "right", "std", "no spread", "best of G", "Hamming", "distinct", "seconds")
AS_SHARE = {"right", "no spread", "Hamming", "distinct"}


def hamming(groups: Tensor) -> Tensor:
    """Share of tokens in which two completions of a group differ, the mean over its pairs; [P, G, L] -> [P]."""
    size = groups.shape[1]
    apart = (groups[:, :, None] != groups[:, None]).float().mean(-1)  # [P, G, G], 0 on the diagonal
    return apart.sum((1, 2)) / (size * (size - 1))


def distinct(groups: Tensor) -> Tensor:
    """Different completions of each group over its size; [P, G, L] -> [P]."""
    return Tensor([len(group.unique(dim=0)) / len(group) for group in groups])


class Measured:
    """A model and the prompts that it is measured on."""

    def __init__(self, config: Config, prompts: int, group: int):
        self.config, self.group = config, group
        self.task: Task = data.find_task(config.task)
        self.policy: Policy = load_policy(
            config, make_accelerator(config), trained=False, modality=modality_of(self.task)
        )
        problems = data.load_problems(config, self.task, "validation", limit=prompts, data=config.evaluation.data)
        kept, encoded = data.encode_prompts(problems, self.policy.modality, config.task, console.print)
        self.problems = [problem for problem in kept for _ in range(group)]
        self.prompts = [ids for ids in encoded for _ in range(group)]
        weights, settings = data.reward_weights(config, self.task), config.task.reward_settings
        self.rewards = Rewards(weights, console.print, settings, self.policy.accelerator.device, config.offline)

    def row(self, settings: SamplerConfig) -> dict[str, float | None]:
        """One setting's numbers, by column."""
        noise = Noise((self.config.seed, 0, 0, Purpose.EVALUATION), tuple(range(len(self.prompts))))
        started = time.perf_counter()
        responses = generate(self.policy, self.prompts, settings, noise)
        seconds = time.perf_counter() - started
        completions = self.policy.modality.decode(responses)
        total = self.rewards(self.problems, completions).total
        spread = group_mean_std(total, self.group)[1].view(-1, self.group)[:, 0]
        right = None
        if judges(self.task):
            pairs = zip(completions, self.problems, strict=True)
            right = sum(self.task.judge(*pair).correct for pair in pairs) / len(completions)
        groups = responses.view(-1, self.group, responses.shape[1])
        numbers = (
            total.nanmean().item(), right, spread.mean().item(), (spread < 1e-6).float().mean().item(),
            total.view(-1, self.group).nan_to_num(float("-inf")).amax(-1).mean().item(),
            hamming(groups).mean().item(), distinct(groups).mean().item(), seconds,
        )  # fmt: skip
        return dict(zip(COLUMNS, numbers, strict=True))


def settings_of(config: Config, given: dict[str, str | None]) -> Iterable[SamplerConfig]:
    """Every combination of the values that are given for keys of `sampler`, with a comma between them."""
    kinds = {"steps": int, "guidance": float, "temperature": float, "remask_temperature": float}
    named = {key: [kinds.get(key, str)(one) for one in text.split(",")] for key, text in given.items() if text}
    for values in itertools.product(*named.values()):
        yield SamplerConfig(**config.sampler.model_dump() | dict(zip(named, values, strict=True)))


def main(
    model: str = "", recipe: str = "text-to-image", samplers: str = "emerge,maskgit", prompts: int = 64,
    group: int = 8, steps: str = "", guidance: str = "", temperature: str = "", schedule: str = "",
    remask_temperature: str = "", seed: int = 0, json_file: str = typer.Option("", "--json"),
    override: list[str] = typer.Option([], "--set"),
) -> None:  # fmt: skip
    """Measure every combination."""
    changes = [f"seed={seed}", "device=cpu", *([f"model.path={model}"] if model else []), *override]
    given = {
        "name": samplers, "steps": steps, "guidance": guidance, "temperature": temperature, "schedule": schedule,
        "remask_temperature": remask_temperature,
    }  # fmt: skip
    if group < 2 or prompts < 1:
        raise typer.BadParameter("write at least 1 for --prompts and 2 for --group")
    config = load(recipe, changes, "eval")
    combinations = list(settings_of(config, given))
    measured = Measured(config, prompts, group)
    keys = [key for key in given if len({getattr(one, key) for one in combinations}) > 1 or key == "name"]
    alike = ", ".join(f"{key} {getattr(combinations[0], key)}" for key in given if key not in keys)
    shown = table(
        f"{config.model.path}: {len(measured.problems) // group} validation prompts x {group}, seed {seed}; {alike}",
        *("sampler" if key == "name" else key for key in keys), *COLUMNS,
    )  # fmt: skip
    rows = []
    for settings in combinations:
        row = measured.row(settings)
        rows.append({key: getattr(settings, key) for key in given} | row)
        shown.add_row(*(str(getattr(settings, key)) for key in keys), *(_text(key, row[key]) for key in COLUMNS))
    console.print(shown)
    if json_file:
        Path(json_file).write_text(json.dumps({"model": config.model.path, "rows": rows}, indent=2) + "\n")


def _text(column: str, value: float | None) -> str:
    if value is None:
        return "-"
    if column in AS_SHARE:
        return f"{value:.1%}"
    return f"{value:.1f}" if column == "seconds" else f"{value:.3f}"


if __name__ == "__main__":
    try:
        typer.run(main)
    except (UserError, ValueError) as error:
        sys.exit(str(error))
