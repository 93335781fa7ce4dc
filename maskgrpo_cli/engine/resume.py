"""Continuing a run: from which checkpoint, whether the recipe is still its own, and what becomes of what came after."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from maskgrpo_cli import config as recipes
from maskgrpo_cli.config.changes import Change, changes, table
from maskgrpo_cli.config.runs import SUMMARY, checkpoint_folders, note, step_of
from maskgrpo_cli.config.schema import Config
from maskgrpo_cli.engine import checkpoint
from maskgrpo_cli.engine.devices import gather_rows
from maskgrpo_cli.engine.policy import ADAPTER, MODEL
from maskgrpo_cli.engine.reporting.run_directory import RunDirectory, write_whole
from maskgrpo_cli.engine.session import Session
from maskgrpo_cli.errors import UserError


@dataclass(frozen=True)
class Resume:
    """How the user wants to continue: a checkpoint's folder or None for the newest whole one; `--force`."""

    checkpoint: Path | None = None
    force: bool = False


@dataclass(frozen=True)
class Start:
    """Where a run goes on: a checkpoint, or None for its beginning, where none had been saved yet."""

    folder: Path | None
    about: dict  # its state.json
    redraw: bool  # whether the recipe has changed in a way that a rollout in use cannot be used up
    remeasure: bool  # whether evaluations are others now, so that the best so far is none
    branches: bool  # whether the run goes another way from here: what came after is to be set aside

    @property
    def step(self) -> int:
        """The optimiser steps that were done there."""
        return self.about.get("step", 0)


def take_up(session: Session, command: str, resume: Resume) -> Start:
    """Choose the checkpoint and compare the recipes; nothing is written before all is loaded: see `settle`.

    The main process decides for all: a checkpoint is read whole to be checked.

    Raises:
        UserError: no whole checkpoint, a run of another command, or a changed recipe without `--force`.
    """
    start, error = None, None
    if session.run:
        try:
            start = _choose(session, command, resume)
        except UserError as mistake:
            error = mistake
    start, error = gather_rows(session.accelerator, [(start, error)])[0]
    if error:
        raise error
    return start


def _choose(session: Session, command: str, resume: Resume) -> Start:
    run, config, reporter = session.run, session.config, session.reporter
    folder = _folder(run, resume, reporter.warn)
    about = checkpoint.read_about(folder) if folder else {}
    if about.get("command", command) != command:
        raise UserError(f"{folder} belongs to a run of maskgrpo {about['command']}, not {command}")
    _, found = _changed(run, about, config, command)
    telling = [change for change in found if not change.harmless]
    forced = resume.force or _accepted(note(run.path), about.get("step", 0), config, command)
    _check(telling, folder or run.path, forced)
    return Start(
        folder,
        about,
        redraw=any(not change.keeps_rollout for change in telling),
        remeasure=any(not change.keeps_measure for change in telling),
        branches=bool(resume.checkpoint or telling),
    )


def settle(session: Session, command: str, start: Start) -> None:
    """Put the run's directory as it was at `start`, and write down a recipe that has changed since.

    Called by the main process when everything is loaded: a continuation that fails before leaves the run as it was.
    """
    run, reporter = session.run, session.reporter
    then, found = _changed(run, start.about, session.config, command)
    if start.branches:
        _set_aside(run, start.step, reporter.say)
    if found:
        _write_down(run, session.config, start.step, then, found)
        reporter.say("the recipe changed here:\n" + table(found))


def _changed(run: RunDirectory, about: dict, config: Config, command: str) -> tuple[dict, list[Change]]:
    """The recipe as it was at a checkpoint, or at the beginning of the run, and what differs now."""
    then = about.get("recipe") or note(run.path).get("recipe") or {}
    return then, changes(then, config, command) if then else []


def _folder(run: RunDirectory, resume: Resume, warn) -> Path | None:
    if resume.checkpoint is None:
        return checkpoint.latest(run.checkpoints, warn)
    if wrong := checkpoint.damage(resume.checkpoint):
        whole = ", ".join(folder.name for folder in checkpoint.complete(run.checkpoints)) or "none"
        raise UserError(f"checkpoint {resume.checkpoint} is damaged: {wrong}\n  whole ones in this run: {whole}")
    return run.checkpoints / resume.checkpoint.name


def _check(telling: list[Change], origin: Path, allowed: bool) -> None:
    impossible = [change for change in telling if change.impossible]
    if impossible:
        reasons = dict.fromkeys(f"{change.key}: {change.impossible}" for change in impossible)
        raise UserError(
            f"{origin} cannot be taken up with another recipe:\n{table(impossible)}\n  "
            + "\n  ".join(reasons)
            + "\n  leave this as it was, or start a new run, with --model for the weights to begin with"
        )
    if telling and not allowed:
        raise UserError(
            f"the recipe is not the one that {origin} was made with:\n{table(telling)}\n"
            "  add --force to go on from there with the recipe as it is now, or undo the change"
        )


def _accepted(noted: dict, step: int, config: Config, command: str) -> bool:
    """Whether this very change was forced before, and no checkpoint has been saved since."""
    forced = noted.get("forced") or {}
    if forced.get("step") != step:
        return False
    return all(change.harmless for change in changes(forced.get("recipe", {}), config, command))


def _set_aside(run: RunDirectory, step: int, say) -> None:
    """The run goes another way from `step`: what it had done since is kept, out of its way."""
    later = [folder for folder in checkpoint_folders(run.checkpoints) if step_of(folder) > step]
    if later:
        later += [path for name in (MODEL, ADAPTER, SUMMARY) if (path := run.path / name).exists()]
    aside = run.set_aside(step, later)
    run.rewind(step)  # completions go there when the method says which
    if later or aside.exists():
        say(f"what came after step {step} lies in {aside} now; delete it when you do not need it")


def _write_down(run: RunDirectory, config: Config, step: int, then: dict, found: list[Change]) -> None:
    """config.yaml says what is run from now on; the recipe before a change that tells stays beside it."""
    path = run.path / "config.yaml"
    if any(not change.harmless for change in found):
        with contextlib.suppress(ValueError):  # of another version: state.json still has it
            before = recipes.dump(Config.model_validate(then))
            write_whole(path.with_name(f"config.before-step-{step:06d}.yaml"), before)
        run.note(forced={"step": step, "recipe": config.model_dump(mode="json")})
    write_whole(path, recipes.dump(config))
