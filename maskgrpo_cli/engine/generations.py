"""`maskgrpo eval BENCHMARK --generations FILE`: judge text made elsewhere. Needs no model and no torch."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from maskgrpo_cli import config as recipes
from maskgrpo_cli import registry
from maskgrpo_cli.config.evaluation import DIFFERENCES, GENERATIONS, RESULTS
from maskgrpo_cli.config.schema import Config
from maskgrpo_cli.engine import generations_report
from maskgrpo_cli.engine.evaluation_files import lines
from maskgrpo_cli.engine.executors import LazyExecutor
from maskgrpo_cli.engine.judging import Judged, check_protocol, protocols, record, tally, verdicts
from maskgrpo_cli.engine.reporting.run_directory import RunDirectory, environment, to_json
from maskgrpo_cli.errors import RunFailed, UserError
from maskgrpo_cli.tasks.files import read_placed_rows
from maskgrpo_cli.types import DEFAULT_PROTOCOL, Problem, Task, Verdict

Verdicts = Mapping[str, Sequence[Verdict]]  # by protocol, in the order of the rows

COLUMNS = {  # the layout's columns, and the other names that they are found under
    "question": ("prompt", "problem", "input"),
    "generation": ("generations", "completion", "response", "output"),
    "ground_truth": ("reference", "answer", "target"),
}


@dataclass(frozen=True)
class Generation:
    """One row: where it stands, its problem, and the text."""

    where: str
    problem: Problem
    text: str


@dataclass(frozen=True)
class Difference:
    """A row on which two protocols do not agree, and why."""

    generation: Generation
    verdicts: Mapping[str, Verdict]  # by protocol: the task's own, and the other
    reason: str

    def as_row(self) -> dict[str, Any]:
        """The row of differences.jsonl."""
        problem = self.generation.problem
        return {
            "id": problem.id,
            "question": problem.prompt,
            "reference": dict(problem.columns),
            **{
                name: {"answer": verdict.answer, "correct": verdict.correct, "score": verdict.score}
                for name, verdict in self.verdicts.items()
            },
            "reason": self.reason,
        }


def run(config: Config, file: str) -> None:
    """Judge the rows of a file; leaves results.json, generations.jsonl and differences.jsonl in `output_dir`."""
    started = time.perf_counter()
    task, protocol = registry.resolve("task", config.task.name), config.evaluation.protocol
    check_protocol(task, protocol)
    rows = read(file, task, config.task.columns, config.task.limit)
    asked, texts = [row.problem for row in rows], [row.text for row in rows]
    with LazyExecutor(config.sandbox) as executor:
        given = {name: verdicts(task, asked, texts, name, executor) for name in protocols(task)}
    judged = {name: judged_by(task, rows, those) for name, those in given.items()}
    found = differences(task, rows, given)
    uncounted = [row.where for row, verdict in zip(rows, given[protocol], strict=True) if not verdict.counts]
    results = {
        "benchmark": config.task.name,
        "generations": file,
        "protocol": protocol,
        **tally(judged[protocol]),
        "rows": len(rows),
        "without_ground_truth": len(uncounted),
        "protocols": {name: tally(items) for name, items in judged.items()},
        "differences": len(found),
        "seconds": time.perf_counter() - started,
        "environment": environment(),
    }
    directory = Path(config.output_dir)
    RunDirectory(directory).create(recipes.dump(config)).checkpoints.rmdir()
    write(directory, results, judged[protocol], found)
    generations_report.show(results, found, uncounted, directory)


def read(file: str, task: Task, columns: Mapping[str, str], limit: int | None) -> list[Generation]:
    """The first `limit` rows of a file.

    Args:
        columns: names of the layout's columns in the file, where they are others.

    Raises:
        UserError: the task cannot be judged this way, a column is missing, or a row is no problem of the task.
    """
    if not hasattr(task, "restore"):
        raise UserError(
            f"the task {task.name} cannot judge text made elsewhere: it lacks the method "
            "restore(question, ground_truth, key)"
        )
    placed = list(islice(read_placed_rows(file), limit))
    names = _names(file, list(placed[0][1]), columns)
    return [_row(task, where, row, names, number) for number, (where, row) in enumerate(placed)]


def _names(file: str, found: Sequence[str], columns: Mapping[str, str]) -> dict[str, str]:
    """Column of the layout -> column of the file."""
    for column in columns:
        if column not in COLUMNS:
            known = ", ".join(COLUMNS)
            raise UserError(f"task.columns.{column}: generations have no such column; write one of: {known}")
    names = {}
    for column, others in COLUMNS.items():
        candidates = (columns[column],) if column in columns else (column, *others)
        name = next((name for name in candidates if name in found), None)
        if name is None:
            raise UserError(
                f"{file} has no column '{candidates[0]}'; it has: {', '.join(found)}\n"
                f"  name it: --set 'task.columns={{{column}: YOUR COLUMN}}'"
            )
        names[column] = name
    return names


def _row(task: Task, where: str, row: Mapping[str, Any], names: Mapping[str, str], number: int) -> Generation:
    missing = [name for name in names.values() if name not in row]
    if missing:
        raise UserError(f"{where}: has no column '{missing[0]}'; it has: {', '.join(row)}")
    question, text, truth = (row[names[column]] for column in COLUMNS)
    for column, value in (("question", question), ("generation", text)):
        if not isinstance(value, str):
            raise UserError(f"{where}: the column '{names[column]}' is {value!s:.40}, not a text")
    if truth == "" or (isinstance(truth, float) and not math.isfinite(truth)):  # as CSV and pandas write nothing
        truth = None
    key = row.get("id")
    try:
        problem = task.restore(question, truth, str(number))
    except (ValueError, TypeError, UserError) as error:
        column = names["ground_truth"]
        raise UserError(f"{where}: the column '{column}' is no ground truth of {task.name}: {error}") from error
    if isinstance(key, str) and key:
        problem = Problem(key, problem.messages, problem.columns)
    return Generation(where, problem, text)


def judged_by(task: Task, rows: Sequence[Generation], verdicts: Sequence[Verdict]) -> list[Judged]:
    """The rows with the verdicts on them."""
    return [record(task, row.problem, row.text, verdict) for row, verdict in zip(rows, verdicts, strict=True)]


def differences(task: Task, rows: Sequence[Generation], verdicts: Verdicts) -> list[Difference]:
    """The rows on which another protocol of the task does not agree with its own, in their order."""
    found = []
    for place, row in enumerate(rows):
        own = verdicts[DEFAULT_PROTOCOL][place]
        for name, others in verdicts.items():
            other = others[place]
            if _outcome(own) != _outcome(other):
                reason = task.difference(row.text, row.problem, name, own, other)
                found.append(Difference(row, {DEFAULT_PROTOCOL: own, name: other}, reason))
    return found


def _outcome(verdict: Verdict) -> tuple[bool, float, bool]:
    return verdict.correct, verdict.score, verdict.counts


def write(directory: Path, results: Mapping, judged: Sequence[Judged], found: Sequence[Difference]) -> None:
    """The files of the result; raises RunFailed where the disk does not take them."""
    texts = {
        GENERATIONS: lines(judged),
        DIFFERENCES: "".join(to_json(item.as_row()) + "\n" for item in found),
        RESULTS: to_json(results, indent=2) + "\n",
    }
    for name, text in texts.items():
        try:
            (directory / name).write_text(text, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise RunFailed(f"{directory / name} cannot be written: {error.strerror}") from error
