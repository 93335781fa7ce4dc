"""The config of `maskgrpo eval`: a recipe's model and evaluation settings, on a benchmark.

An option of `eval` is laid over `evaluation` (`--temperature` is `evaluation.temperatures`), whose keys win over
those of `sampler` in training too; so a benchmark is run exactly as the evaluations of training run it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from maskgrpo_cli import registry
from maskgrpo_cli.config import recipes, yaml_file
from maskgrpo_cli.config.loading import load
from maskgrpo_cli.config.overrides import Override
from maskgrpo_cli.config.schema import Config, SamplerConfig
from maskgrpo_cli.errors import UserError

BEGUN, GENERATIONS, RESULTS = "evaluation.json", "generations.jsonl", "results.json"
DIFFERENCES = "differences.jsonl"  # between protocols, on text made elsewhere


def load_benchmark(recipe: str, benchmark: str, overrides: Sequence[str | Override] = ()) -> Config:
    """The config that evaluates `benchmark`: it is the task, and `sampler` holds the settings in effect.

    Of a recipe for training the split, the limit and the rewards are left behind (test, no limit, none), and of its
    temperatures all but the first, that of the curve; what an evaluation wrote down is taken as it is. The rewards
    stay where the benchmark cannot tell right from wrong: then they are what is measured. Raises UserError like `load`.
    """
    path = recipes.find(recipe)
    tree = yaml_file.read(path).tree
    task, own = _section(tree, "task"), _section(tree, "evaluation")
    first = [Override("task.name", benchmark, "BENCHMARK"), Override("output_dir", None)]
    if not _is_evaluation(path):
        first += [Override(f"task.{key}", value) for key, value in {"split": "test", "limit": None}.items()]
        if isinstance(own.get("temperatures"), list):
            first.append(Override("evaluation.temperatures", own["temperatures"][:1]))
    same, judges = task.get("name") == benchmark, benchmark not in registry.UNJUDGED
    if not same or (judges and not _is_evaluation(path)):
        first += [Override("task.rewards", {} if judges else None), Override("task.reward_settings", {})]
    if benchmark in registry.SAMPLES:
        first += _drawn_as_published(benchmark, own, _section(tree, "sampler"))
    if not same:  # another task's columns and files say nothing of this one
        first += [Override("task.columns", {}), Override("evaluation.data", None)]
    return _fold(load(recipe, [*first, *overrides], "eval"))


def load_begun(run: str, overrides: Sequence[str | Override] = ()) -> Config:
    """The config that an evaluation wrote down, to continue it in its own directory `run`.

    `overrides` are what has to be said anew each time, such as --unsafe-local.

    Raises:
        UserError: nothing was begun there, or something else than an evaluation.
    """
    folder = Path(run)
    if not (folder / "config.yaml").is_file():
        raise UserError(f"--resume: there is no evaluation in '{run}' (no config.yaml); give its run directory")
    if not (folder / BEGUN).is_file() and not (folder / RESULTS).is_file():
        raise UserError(
            f"--resume: '{run}' is no evaluation (no {BEGUN}, no {RESULTS})\n"
            "  training is continued by maskgrpo grpo --resume, or sft --resume"
        )
    return load(str(folder / "config.yaml"), [*overrides, Override("output_dir", run, "--resume")], "eval")


def _drawn_as_published(benchmark: str, own: dict, sampler: dict) -> Iterator[Override]:
    """As many pictures as the benchmark was published with, drawn as in training: the greedy ones are all alike."""
    if own.get("samples") is None:
        yield Override("evaluation.samples", registry.SAMPLES[benchmark])
    temperature = sampler.get("temperature", SamplerConfig().temperature)
    if own.get("temperatures") is None and isinstance(temperature, int | float):
        yield Override("evaluation.temperatures", [temperature])


def _section(tree: dict, name: str) -> dict:
    section = tree.get(name)
    return section if isinstance(section, dict) else {}


def _is_evaluation(path: Path) -> bool:
    """Whether a recipe is what an evaluation wrote down of itself."""
    return path.name == "config.yaml" and any((path.parent / name).exists() for name in (BEGUN, RESULTS))


def _fold(config: Config) -> Config:
    """`evaluation` taken into `sampler` and `task` as far as that goes: what is written down is what is run."""
    settings, own = config.evaluation_samplers(), config.evaluation
    several = len(own.lengths or ()) > 1  # then `sampler` stays what their steps are scaled from
    left = {"sampler": None, "length": None, "block_length": None, "batch_size": None}
    if not several:
        left |= {"lengths": None, "steps": None}
    return config.model_copy(
        update={
            "sampler": config.evaluation_sampler() if several else settings[0],
            "task": config.task.model_copy(update={"data": own.data}),
            "evaluation": own.model_copy(update=left),
        }
    )
