"""Text made elsewhere for problems that are known by their ids: `task_id, generation`, several of each for pass@k."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from maskgrpo_cli.config.schema import Config
from maskgrpo_cli.engine.generations_rows import Generation, names_in
from maskgrpo_cli.engine.judging import Judged
from maskgrpo_cli.engine.reporting.statistics import pass_at_k, share_interval
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.tasks.files import read_placed_rows
from maskgrpo_cli.types import Problem, Task

PASSES = (1, 10, 100)  # the k of the paper; those are reported that the completions of every problem allow
COLUMNS = {
    "task_id": ("id", "question_id"),
    "generation": ("generations", "completion", "response", "output", "solution"),
}


def read(config: Config, file: str, task: Task) -> tuple[list[Generation], list[Problem]]:
    """The first `task.limit` rows of a file with their problems, and all problems of the split.

    Raises:
        UserError: a column is missing, or a row names no problem of the split.
    """
    limit = config.task.limit
    placed = list(islice(read_placed_rows(file), limit))
    names = names_in(file, list(placed[0][1]), config.task.columns, COLUMNS)
    problems = task.load(config.task.data, config.task.split, offline=config.offline)
    by_id = {problem.id: problem for problem in problems}
    made: dict[str, int] = {}
    rows = []
    for where, row in placed:
        key, text = (_cell(where, row, names[column]) for column in COLUMNS)
        if not isinstance(text, str):
            raise UserError(f"{where}: the column '{names['generation']}' is {text!s:.40}, not a text")
        problem = by_id.get(str(key)) or by_id.get(str(key).rpartition("/")[2])
        if problem is None:
            some = ", ".join([*by_id][:3])
            raise UserError(
                f"{where}: there is no problem '{key}' in the split '{config.task.split}' of {task.name}; its problems "
                f"are {some}, ... ({len(by_id)})"
            )
        rows.append(Generation(where, problem, text, made.get(problem.id, 0)))
        made[problem.id] = made.get(problem.id, 0) + 1
    return rows, problems


def _cell(where: str, row: Mapping[str, Any], name: str) -> Any:
    if row.get(name) is None:
        raise UserError(f"{where}: has no '{name}'; it has: {', '.join(row)}")
    return row[name]


def measured(judged: Sequence[Judged], problems: Sequence[Problem]) -> dict:
    """What results.json says besides: how many problems were attempted, and the unbiased pass@k over those."""
    counts: dict[str, list[int]] = {}
    for item in judged:
        found = counts.setdefault(item.id, [0, 0])
        found[0] += item.correct
        found[1] += 1
    fewest = min(made for _, made in counts.values())
    passes = sorted({k for k in PASSES if k <= fewest} | {fewest})
    return {
        "problems": {"count": len(problems), "attempted": len(counts)},
        "samples": fewest,
        "pass_at": {str(k): _pass_at(counts, k, fewest) for k in passes},
    }


def _pass_at(counts: Mapping[str, Sequence[int]], k: int, fewest: int) -> dict:
    values = [pass_at_k(made, right, k) for right, made in counts.values()]
    interval = share_interval([value * fewest for value in values], [fewest] * len(values))
    return {"value": sum(values) / len(values), "interval": list(interval)}
