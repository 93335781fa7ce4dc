"""The config of `maskgrpo eval`: a recipe's model and evaluation settings, on a benchmark.

An option of `eval` is laid over `evaluation` (`--length` is `evaluation.length`), whose keys win over those
of `sampler` in training too; so a benchmark is run exactly as the evaluations of training run it.
"""

from __future__ import annotations

from collections.abc import Sequence

from maskgrpo_cli.config import recipes, yaml_file
from maskgrpo_cli.config.loading import load
from maskgrpo_cli.config.overrides import Override
from maskgrpo_cli.config.schema import Config, EvaluationConfig


def load_benchmark(recipe: str, benchmark: str, overrides: Sequence[str | Override] = ()) -> Config:
    """The config that evaluates `benchmark`: it is the task, and `sampler` holds the settings in effect.

    The split is test and there are no rewards, unless overrides say otherwise. Raises UserError like `load`.
    """
    task = {"name": benchmark, "split": "test", "limit": None, "rewards": {}}
    first = [Override(f"task.{key}", value, "BENCHMARK") for key, value in task.items()]
    first.append(Override("output_dir", None))  # the recipe's is for training
    if _task_of(recipe) != benchmark:  # another task's columns and files say nothing of this one
        first += [Override("task.columns", {}), Override("evaluation.data", None)]
    return _fold(load(recipe, [*first, *overrides], "eval"))


def _task_of(recipe: str) -> object:
    task = yaml_file.read(recipes.find(recipe)).tree.get("task")
    return task.get("name") if isinstance(task, dict) else None


def _fold(config: Config) -> Config:
    """`evaluation` taken into `sampler` and `task`, and left empty: what is written down is what is run."""
    return config.model_copy(
        update={
            "sampler": config.evaluation_sampler(),
            "task": config.task.model_copy(update={"data": config.evaluation.data}),
            "evaluation": EvaluationConfig(
                temperatures=config.evaluation.temperatures[:1], protocol=config.evaluation.protocol
            ),
        }
    )
