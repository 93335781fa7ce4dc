"""The files in which the published benchmarks of pictures expect what they score; which files, not their making.

A layout is called with all problems, in the order of the benchmark's file, and the number of pictures of each; it
returns the pages of each problem.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from maskgrpo_cli.errors import UserError
from maskgrpo_cli.types import Problem


@dataclass(frozen=True)
class Page:
    """One file: pictures of one problem in rows, edge to edge, or a text."""

    path: str  # below the layout's folder; the ending says the format
    samples: tuple[int, ...] = ()  # which of the problem's pictures, row by row
    columns: int = 1
    text: str | None = None


Layout = Callable[[Sequence[Problem], int], list[list[Page]]]
DPG_SHEETS = (1, 4)  # pictures that a sheet of DPG-Bench can hold
HPSV2_FOLDERS = {"concept": "concept-art"}  # tag -> folder, where they differ
GENEVAL_FIRST = ("tag", "include", "exclude")


def geneval(problems: Sequence[Problem], samples: int) -> list[list[Page]]:
    """`00000/metadata.jsonl` (the prompt's row), `00000/samples/0000.png ...` and `00000/grid.png`."""
    everyone, columns = tuple(range(samples)), math.ceil(math.sqrt(samples))
    return [
        [
            Page(f"{number:05d}/metadata.jsonl", text=json.dumps(_row(problem)) + "\n"),
            *(Page(f"{number:05d}/samples/{sample:04d}.png", (sample,)) for sample in everyone),
            Page(f"{number:05d}/grid.png", everyone, columns),
        ]
        for number, problem in enumerate(problems)
    ]


def _row(problem: Problem) -> dict:
    """The row as it stood in the file: columns that it lacked are None here, and the scorer would trip over them."""
    columns = problem.columns
    names = [*(name for name in GENEVAL_FIRST if name in columns), *columns]
    return {**{name: columns[name] for name in names if columns[name] is not None}, "prompt": problem.prompt}


def dpg(problems: Sequence[Problem], samples: int) -> list[list[Page]]:
    """`ITEM_ID.png`, two rows of two pictures; with one picture of each prompt that picture."""
    if samples not in DPG_SHEETS:
        raise UserError(f"evaluation.samples = {samples}: a sheet of DPG-Bench holds 4 pictures; write -n 4")
    columns = math.isqrt(samples)
    return [[Page(f"{_name(problem, 'item_id')}.png", tuple(range(samples)), columns)] for problem in problems]


def hpsv2(problems: Sequence[Problem], samples: int) -> list[list[Page]]:
    """`STYLE/00000.jpg ...`, counted within each style."""
    if samples != 1:
        raise UserError(f"evaluation.samples = {samples}: HPSv2 scores one picture of each prompt; write -n 1")
    seen: Counter[str] = Counter()
    pages = []
    for problem in problems:
        tag = _name(problem, "tag")
        style = HPSV2_FOLDERS.get(tag, tag)
        pages.append([Page(f"{style}/{seen[style]:05d}.jpg", (0,))])
        seen[style] += 1
    return pages


def imagereward(problems: Sequence[Problem], samples: int) -> list[list[Page]]:
    """`ID_0.png ID_1.png ...`."""
    return [
        [Page(f"{_name(problem, 'id')}_{sample}.png", (sample,)) for sample in range(samples)] for problem in problems
    ]


def planned(layout: Layout, problems: Sequence[Problem], samples: int) -> dict[str, list[Page]]:
    """The pages of each problem by its id; raises UserError where two would be one file."""
    pages = layout(problems, samples)
    twice = [path for path, count in Counter(page.path for own in pages for page in own).items() if count > 1]
    if twice:
        raise UserError(f"two prompts have the same name, {twice[0]}: their pictures would be one file")
    return {problem.id: own for problem, own in zip(problems, pages, strict=True)}


def _name(problem: Problem, column: str) -> str:
    """A column that names a file or a folder."""
    name = str(problem.columns.get(column, ""))
    if not name or name.startswith(".") or any(sign in '/\\:*?"<>|' or not sign.isprintable() for sign in name):
        raise UserError(f"{problem.id}: the column '{column}' names a file, and '{name}' cannot be one")
    return name
