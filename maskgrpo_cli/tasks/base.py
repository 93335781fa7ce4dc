"""A task whose problems are the rows of a table: a file of the user's, or a data set of the hub."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from maskgrpo_cli.errors import UserError
from maskgrpo_cli.tasks.files import is_file, read_rows
from maskgrpo_cli.tasks.hub import Hub, media_columns, read_hub, splits_of
from maskgrpo_cli.tasks.splits import chosen_split, is_in_split
from maskgrpo_cli.types import DEFAULT_PROTOCOL, Judge, Problem, Published, Verdict

Row = Mapping[str, Any]
Built = tuple[str, dict[str, Any], "str | None"]
"""What a task makes of a row: the user's message, the columns for rewards, a worked completion or None."""


@dataclass(frozen=True)
class TableTask:
    """Prompt, reference and verdict of a task over rows; see `maskgrpo_cli.types.Task`.

    `needed` maps each column of the task to the other names that published data give it; `build` reads
    a row with the task's column names; `verdict` judges a completion by the columns that rewards see, and
    `published` holds the ways of judging of publications, by name. Where rows have the column `key`, it is the
    problems' id, as published; `in_split` says which rows of a source that holds several splits are of one.
    """

    name: str
    rewards: Mapping[str, float]
    needed: Mapping[str, tuple[str, ...]]
    build: Callable[[Row], Built]
    verdict: Judge
    hub: Hub | None = None
    optional: tuple[str, ...] = field(default=())  # columns passed on where the data have them
    others: bool = False  # whether every further column is passed on too
    modality: str = "text"  # what answers are
    judges: bool = True  # False: nothing is right or wrong, only rewards measure
    published: Mapping[str, Published] = field(default_factory=dict)
    unpack: Callable[[str, Any], Row] | None = None  # question, ground truth -> row, of text made elsewhere
    key: str | None = None
    shots_split: str = "train"  # where worked examples are taken from
    in_split: Callable[[Row, str], bool] = lambda row, split: True

    def load(
        self, data: str | None, split: str, *, columns: Mapping[str, str] | None = None,
        limit: int | None = None, offline: bool = False, seed: int = 0,
    ) -> list[Problem]:
        """The first `limit` problems of a split, in the order of the source (`seed` changes nothing here).

        A file is taken whole, whatever `split` says. A hub data set without a `validation` split lends a
        twentieth of its training rows, chosen by a hash of their content, which `train` then leaves out.
        Raises UserError for missing files, columns or network, unreadable rows and empty data.
        """
        where, source = self._rows(data, split, offline)
        chosen = ((number, row) for number, row in enumerate(source, start=1) if self.in_split(row, split))
        numbered = list(islice(chosen, limit))
        rows = [row for _, row in numbered]
        names = self._names(where, rows, columns or {})
        further = other_columns(rows, names.values()) if self.others else [{}] * len(rows)
        problems = []
        for place, ((number, row), other) in enumerate(zip(numbered, further, strict=True)):
            problem = self._problem(f"{where}, row {number}", f"{split}-{place}", row, names)
            key = row.get(names.get(self.key, ""))
            own = problem.id if key is None else str(key)
            problems.append(replace(problem, id=own, columns={**other, **problem.columns}))
        if not problems:
            raise UserError(f"{where} holds no problems for the task {self.name} in the split '{split}'")
        return problems

    @property
    def protocols(self) -> dict[str, Judge]:
        """The ways of judging, by name: the task's own first."""
        return {DEFAULT_PROTOCOL: self.verdict, **{name: way.judge for name, way in self.published.items()}}

    def judge(self, completion: str, problem: Problem, protocol: str = DEFAULT_PROTOCOL) -> Verdict:
        """The evaluation verdict on one completion, by one of `protocols`."""
        return self.protocols[protocol](completion, problem.columns)

    def difference(self, completion: str, problem: Problem, protocol: str, own: Verdict, other: Verdict) -> str:
        """Why the verdict by `protocol` is another than the task's own, in words."""
        return self.published[protocol].why(completion, problem.columns, own, other)

    def restore(self, question: str, ground_truth: Any, key: str) -> Problem:
        """The problem of a row of text made elsewhere; see `maskgrpo_cli.types.Task`.

        Raises UserError naming a column that is missing, ValueError for what is no ground truth of the task.
        """
        if isinstance(ground_truth, float) and ground_truth.is_integer():
            ground_truth = int(ground_truth)  # 18.0 is written 18
        if isinstance(ground_truth, Mapping):
            row: Row = {"question": question, **ground_truth}
        elif self.unpack is not None:
            row = self.unpack(question, ground_truth)
        else:
            row = {"question": question, "answer": ground_truth}
        where = f"the ground truth of {key}"
        names = self._names(where, [row], {})
        if any(row[name] is None for name in names.values()):
            columns: dict[str, Any] = dict.fromkeys(names)
        else:
            columns = self._problem(where, key, row, names).columns
        return Problem(f"{self.name}-{key}", ({"role": "user", "content": question},), columns)

    def style(self, completion: str) -> str | None:
        """None: this task tells no styles apart."""
        return None

    def _rows(self, data: str | None, split: str, offline: bool) -> tuple[str, Iterable[Row]]:
        if data is not None and is_file(data):
            return data, read_rows(data)
        if data is None and self.hub is None:
            raise UserError(
                f"the task {self.name} has no data set of its own: pass a file with columns "
                f"{', '.join(self.needed)} as --data FILE, or set task.data in the recipe"
            )
        hub = self.hub_of(data)
        have = splits_of(hub, self.name, offline)
        rows = read_hub(hub, chosen_split(split, have, hub.repository), self.name, offline)
        if media := media_columns(rows):
            rows = rows.remove_columns([*media])  # no prompt needs them, and every row's would be decoded
        return hub.repository, (row for row in rows if is_in_split(row, split, have))

    def hub_of(self, data: str | None) -> Hub:
        """The data set of the hub that `data` names: the task's own unless it names another."""
        return self.hub if self.hub and data in (None, self.hub.repository) else Hub(data or "")

    def _names(self, where: str, rows: list[Row], columns: Mapping[str, str]) -> dict[str, str]:
        """The task's column -> the column of these rows: by the user's mapping, by name or by an alias."""
        found = list(rows[0]) if rows else []
        allowed = [*self.needed, *self.optional]
        for column in columns:
            if column not in allowed:
                raise UserError(f"task.columns.{column}: the task {self.name} has no such column; "
                                f"its columns: {', '.join(allowed)}")
        names = {}
        for column in allowed if rows else ():
            candidates = [columns[column]] if column in columns else [column, *self.needed.get(column, ())]
            name = next((name for name in candidates if name in found), None)
            if name is not None:
                names[column] = name
            elif column in self.needed or column in columns:
                raise UserError(
                    f"{where} has no column '{candidates[0]}', which the task {self.name} needs; it has: "
                    f"{', '.join(found)}\n  name it in the recipe, task.columns: {{{column}: YOUR COLUMN}}"
                )
        return names

    def _problem(self, where: str, key: str, row: Row, names: Mapping[str, str]) -> Problem:
        for column, name in names.items():
            if row.get(name) is None and column in self.needed:
                raise UserError(f"{where}: the column '{name}' is empty")
        try:
            message, columns, target = self.build({column: row.get(name) for column, name in names.items()})
        except (TypeError, ValueError) as error:
            raise UserError(f"{where}: cannot be read as a problem of {self.name}: {error}") from error
        return Problem(f"{self.name}-{key}", ({"role": "user", "content": message},), columns, target)


def other_columns(rows: Sequence[Row], used: Iterable[str]) -> list[dict[str, Any]]:
    """What further columns hold, the same names for every row: None where a row lacks one.

    What is no JSON becomes text. Left out are the names under which rewards get prompts and completions.
    """
    left_out = {*used, "prompts", "completions"}
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in left_out]
    plain = (str, int, float, bool, list, dict, type(None))
    return [
        {name: value if isinstance(value := row.get(name), plain) else str(value) for name in names} for row in rows
    ]
