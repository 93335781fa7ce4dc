"""Run directories as they lie on disk: which run or checkpoint is meant, and what a run noted of itself.

`run.json` says what the run is (command, recipe, when it began); `checkpoints/best` holds the name of the best
checkpoint, as git's HEAD holds that of a branch: a link would be lost on some systems, a copy would cost its size.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from maskgrpo_cli.errors import UserError

NOTE, CHECKPOINTS, BEST, SUMMARY = "run.json", "checkpoints", "best", "summary.json"
LATEST, RUNS = "latest", "runs"
_STEP = re.compile(r"step-(\d{6,})")


@dataclass(frozen=True)
class Place:
    """Where to go on: a run, and one of its checkpoints or None for the newest whole one."""

    run: Path
    checkpoint: Path | None = None


def step_of(folder: Path) -> int | None:
    """The step of a checkpoint's folder, from its name; None for other folders."""
    found = _STEP.fullmatch(folder.name)
    return int(found.group(1)) if found else None


def folder_of(checkpoints: Path, step: int) -> Path:
    """The folder of the checkpoint after `step` optimiser steps."""
    return checkpoints / f"step-{step:06d}"


def checkpoint_folders(checkpoints: Path) -> list[Path]:
    """The folders of checkpoints, whole or not, oldest first."""
    found = checkpoints.iterdir() if checkpoints.is_dir() else ()
    return sorted((path for path in found if step_of(path) is not None and path.is_dir()), key=step_of)


def follow(path: Path) -> Path:
    """`RUN/checkpoints/best` as the folder of the checkpoint that it names; other paths as they are.

    Raises:
        UserError: it names none that is there.
    """
    if path.name != BEST or path.parent.name != CHECKPOINTS or path.is_dir():
        return path
    try:
        name = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"'{path}': this run has no best checkpoint; it is kept where evaluation.every is set"
        ) from error
    folder = path.with_name(name)
    if not _STEP.fullmatch(name) or not folder.is_dir():
        raise UserError(f"'{path}' names the checkpoint '{name[:40]}', which is not there")
    return folder


def run_of(path: Path) -> Path:
    """The run directory that a checkpoint's folder lies in; other paths as they are."""
    inside = path.parent.name == CHECKPOINTS and (step_of(path) is not None or path.name == BEST)
    return path.parent.parent if inside else path


def find(given: str, command: str, busy: Callable[[Path], bool]) -> Place:
    """What `--resume` names: a run directory, one of its checkpoints, or `latest`.

    `latest` is the run of `command` in `runs/` that began last, is not finished and is not `busy` (being written).

    Raises:
        UserError: there is nothing of the kind, or it is a run of another command.
    """
    place = Place(_latest(command, busy)) if given == LATEST else _place(Path(given).expanduser(), given)
    noted = note(place.run).get("command", command)
    if noted != command:
        raise UserError(
            f"{place.run} belongs to a run of maskgrpo {noted}, not {command}\n"
            f"  write: maskgrpo {noted} --resume {given}"
        )
    return place


def _place(path: Path, given: str) -> Place:
    if (path / "config.yaml").is_file():
        return Place(path)
    run = run_of(path)
    if run != path and (run / "config.yaml").is_file():
        folder = follow(path)
        if folder.is_dir():
            return Place(run, folder)
        there = ", ".join(folder.name for folder in checkpoint_folders(run / CHECKPOINTS)) or "none"
        raise UserError(f"--resume: there is no checkpoint '{given}'; in that run there are: {there}")
    raise UserError(
        f"--resume: there is no run in '{given}' (no config.yaml); give a run directory, one of its checkpoints, "
        f"or {LATEST}"
    )


def _latest(command: str, busy: Callable[[Path], bool]) -> Path:
    found = [path for path in Path(RUNS).glob("*") if (path / "config.yaml").is_file()]
    mine = [path for path in found if note(path).get("command") == command]
    open_ = [path for path in mine if not (path / SUMMARY).is_file()]
    idle = [path for path in open_ if not busy(path)]
    if not idle:
        finished, working = len(mine) - len(open_), len(open_)
        raise UserError(
            f"--resume {LATEST}: no {command} run in {RUNS}/ waits to be continued ({finished} finished, "
            f"{working} at work)\n  give a run directory: --resume runs/NAME"
        )
    return max(idle, key=lambda path: (str(note(path).get("started", "")), path.name))


def note(run: Path) -> dict:
    """What a run noted of itself; empty where there is no note, or none that can be read."""
    try:
        found = json.loads((run / NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
