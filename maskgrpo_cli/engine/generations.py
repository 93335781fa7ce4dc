"""`maskgrpo eval BENCHMARK --generations FILE`: judge text made elsewhere. Needs no model and no torch."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskgrpo_cli import config as recipes
from maskgrpo_cli import registry
from maskgrpo_cli.config.evaluation import DIFFERENCES, GENERATIONS, RESULTS
from maskgrpo_cli.config.schema import Config
from maskgrpo_cli.engine import generations_keyed, generations_report
from maskgrpo_cli.engine.evaluation_files import lines
from maskgrpo_cli.engine.executors import LazyExecutor
from maskgrpo_cli.engine.generations_rows import Generation, read
from maskgrpo_cli.engine.judging import Judged, check_protocol, protocols, record, tally, verdicts
from maskgrpo_cli.engine.reporting.counted import counted
from maskgrpo_cli.engine.reporting.run_directory import RunDirectory, environment, to_json
from maskgrpo_cli.errors import RunFailed, UserError
from maskgrpo_cli.types import DEFAULT_PROTOCOL, Problem, Task, Verdict

Verdicts = Mapping[str, Sequence[Verdict]]  # by protocol, in the order of the rows

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
    rows, problems = rows_of(config, file, task)
    asked, texts = [row.problem for row in rows], [row.text for row in rows]
    with counted(f"eval · {config.task.name}") as watch, LazyExecutor(config.sandbox, watch=watch) as executor:
        given = {name: verdicts(task, asked, texts, name, executor) for name in protocols(task)}
    judged = {name: judged_by(task, rows, those) for name, those in given.items()}
    found = differences(task, rows, given)
    uncounted = [row.where for row, verdict in zip(rows, given[protocol], strict=True) if not verdict.counts]
    results = {
        "benchmark": config.task.name,
        "generations": file,
        "protocol": protocol,
        **tally(judged[protocol]),
        **(generations_keyed.measured(judged[protocol], problems) if problems else {}),
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


def rows_of(config: Config, file: str, task: Task) -> tuple[list[Generation], list[Problem]]:
    """The rows of a file and, where they name their problems by ids, all problems of the split (else none)."""
    if getattr(task, "key", None):
        return generations_keyed.read(config, file, task)
    if config.task.data is not None:
        raise UserError(f"--data: the rows of {file} say what was asked in {task.name} themselves; leave it out")
    return read(file, task, config.task.columns, config.task.limit), []


def judged_by(task: Task, rows: Sequence[Generation], verdicts: Sequence[Verdict]) -> list[Judged]:
    """The rows with the verdicts on them."""
    judged = [record(task, row.problem, row.text, verdict) for row, verdict in zip(rows, verdicts, strict=True)]
    for item, row in zip(judged, rows, strict=True):
        item.sample = row.sample
    return judged


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
