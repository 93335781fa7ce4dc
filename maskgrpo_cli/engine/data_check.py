"""`maskgrpo data check`: whether the reference solutions of a data set are right by its own tests. Needs no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from maskgrpo_cli import registry
from maskgrpo_cli.config.schema import Config
from maskgrpo_cli.engine.executors import Executing, LazyExecutor
from maskgrpo_cli.engine.judging import judges, verdicts
from maskgrpo_cli.engine.reporting.counted import counted
from maskgrpo_cli.engine.reporting.run_directory import to_json
from maskgrpo_cli.errors import RunFailed, UserError
from maskgrpo_cli.tasks.files import is_file
from maskgrpo_cli.types import Problem, Task, Verdict

PASSED, NO_REFERENCE, WRONG = "passed", "no reference", "wrong"


@dataclass(frozen=True)
class Checked:
    """What became of one row."""

    id: str
    status: str
    reason: str = ""

    @property
    def bad(self) -> bool:
        """Whether nothing can be right here."""
        return self.status not in (PASSED, NO_REFERENCE)


def run(config: Config, split: str | None, output: str | None) -> None:
    """Judge the reference of every row, and tell of those that are not right.

    Raises:
        UserError: the file, or the place of the output, is mistaken, or the task cannot judge.
        RunFailed: there are rows whose reference is not right.
    """
    task, settings = registry.resolve("task", config.task.name), config.task
    if not judges(task):
        raise UserError(f"--task {settings.name}: nothing is right or wrong in it, so that there is nothing to check")
    if output is not None and not Path(output).expanduser().absolute().parent.is_dir():
        raise UserError(f"--output {output}: there is no such folder")
    whole = settings.data is not None and is_file(settings.data)
    split = split or ("all" if whole else "train")
    problems = task.load(
        settings.data, split, columns=settings.columns, limit=settings.limit, offline=config.offline
    )
    with counted(f"check · {settings.name}") as watch, LazyExecutor(config.sandbox, watch=watch) as executor:
        rows = check(task, problems, executor)
    if output is not None:
        _write(Path(output).expanduser(), rows)
    show(rows)
    bad = sum(row.bad for row in rows)
    if bad:
        raise RunFailed(f"{bad} of {len(rows)} rows have tests that cannot pass")


def check(task: Task, problems: Sequence[Problem], executor: Executing) -> list[Checked]:
    """What becomes of the reference of each problem; one that ran out of time gets a second chance, alone."""
    reference = getattr(task, "reference", lambda problem: problem.target)
    answers = [reference(problem) for problem in problems]
    known = [place for place, answer in enumerate(answers) if answer is not None]
    asked, given = [problems[place] for place in known], [answers[place] for place in known]
    found = verdicts(task, asked, given, executor=executor)
    for place, verdict in enumerate(found):
        if verdict.status == "timeout":
            (found[place],) = verdicts(task, [asked[place]], [given[place]], executor=executor)
    judged = dict(zip(known, found, strict=True))
    return [_checked(problem, judged.get(place)) for place, problem in enumerate(problems)]


def _checked(problem: Problem, verdict: Verdict | None) -> Checked:
    if verdict is None:
        return Checked(problem.id, NO_REFERENCE, "the row has no solution that could be run")
    if verdict.correct:
        return Checked(problem.id, PASSED)
    return Checked(problem.id, verdict.status or WRONG, verdict.reason)


def _write(path: Path, rows: Sequence[Checked]) -> None:
    try:
        path.write_text("".join(to_json(asdict(row)) + "\n" for row in rows), encoding="utf-8")
    except OSError as error:
        raise RunFailed(f"{path} cannot be written: {error.strerror}") from error


def show(rows: Sequence[Checked]) -> None:
    """The rows that are not right, and how many there are of each kind: a table in a terminal, lines in a pipe."""
    console, bad = Console(), [row for row in rows if row.bad]
    if console.is_terminal and bad:
        table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
        for heading in ("id", "status", "reason"):
            table.add_column(heading)
        for row in bad:
            table.add_row(Text(row.id), Text(row.status, "red"), Text(row.reason))
        console.print(table)
    for row in () if console.is_terminal else bad:
        typer.echo(f"{row.id}\t{row.status}\t{row.reason}")  # rich would turn tabs into spaces
    counts = Counter(row.status for row in rows)
    said = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    console.print(f"{len(rows)} rows: {said}", soft_wrap=True, highlight=False, markup=False)
    if counts[NO_REFERENCE] == len(rows):
        console.print("no row has a reference solution: whether its tests can pass is not known", soft_wrap=True)
