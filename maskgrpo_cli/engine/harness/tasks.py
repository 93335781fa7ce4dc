"""Our benchmarks as tasks of lm-evaluation-harness; its YAML files in `assets/lm_eval` name these functions.

The harness asks for problems, prompt and verdict: all three are those of `maskgrpo eval`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datasets import Dataset

from maskgrpo_cli import registry
from maskgrpo_cli.types import Problem


def problems(
    benchmark: str,
    data: str | None = None,
    columns: Mapping[str, str] | None = None,
    offline: bool = False,
    **_model_args: object,
) -> dict[str, Dataset]:
    """The benchmark's test split, from a file, a hub id or its own source.

    Args:
        benchmark: a task's name; the YAML file says it.
        data, columns: as `task.data` and `task.columns` of a recipe; `--metadata` says them.
        offline: taken from model_args, which the harness passes on, all of them.
    """
    found = registry.resolve("task", benchmark).load(data, "test", columns=columns, limit=None, offline=offline)
    rows = [
        {
            "id": problem.id,
            "benchmark": benchmark,
            "prompt": problem.prompt,
            "columns": dict(problem.columns),
            "target": problem.target or "",
        }
        for problem in found
    ]
    return {"test": Dataset.from_list(rows)}


def verdict(doc: Mapping[str, Any], results: list[str]) -> dict[str, float]:
    """The task's own verdict on a completion."""
    turn = {"role": "user", "content": doc["prompt"]}
    problem = Problem(doc["id"], (turn,), doc["columns"], doc["target"] or None)
    judged = registry.resolve("task", doc["benchmark"]).judge(results[0], problem)
    return {"accuracy": float(judged.correct), "score": judged.score}
