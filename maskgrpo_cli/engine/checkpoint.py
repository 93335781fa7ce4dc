"""Checkpoints: complete, atomic, and continued from to the bit on the same layout.

`checkpoints/step-000012/` holds the weights (or the adapter) in their public layout, `optimizer.pt`, `method.pt`
(the rollout being reused, among others) and `state.json`, which is written last and holds the size and checksum
of the others. There is no random state: every draw is keyed by what it is for.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError

from maskgrpo_cli.engine.policy import Policy
from maskgrpo_cli.errors import RunFailed, UserError

STATE = "state.json"
_UNREADABLE = (OSError, RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError, SafetensorError)


def folder_of(checkpoints: Path, step: int) -> Path:
    """The folder of the checkpoint after `step` optimiser steps."""
    return checkpoints / f"step-{step:06d}"


def save(
    checkpoints: Path, step: int, policy: Policy, optimizer: torch.optim.Optimizer, state: dict, keep: int
) -> Path:
    """Write a checkpoint whole or not at all, then delete those beyond the newest `keep`.

    A whole one of the same step stays as it is: nothing that decides the run differs.

    Raises:
        RunFailed: the disk is full or not writable; earlier checkpoints are untouched.
    """
    final = folder_of(checkpoints, step)
    if damage(final) is None:
        return final
    partial = final.with_name(f".{final.name}.partial")
    try:
        for left in checkpoints.glob(".step-*.partial"):  # of a process that was killed
            shutil.rmtree(left)
        partial.mkdir(parents=True)
        policy.save(partial)
        torch.save(optimizer.state_dict(), partial / "optimizer.pt")
        torch.save({"state": state, "reference": policy.reference_state()}, partial / "method.pt")
        files = {
            str(path.relative_to(partial)): {"size": path.stat().st_size, "crc32": _checksum(path)}
            for path in sorted(partial.rglob("*"))
            if path.is_file()
        }
        (partial / STATE).write_text(json.dumps({"step": step, "files": files}, indent=1))
        _flush(partial)
        if final.exists():  # damaged
            shutil.rmtree(final)
        os.replace(partial, final)
        _flush_one(checkpoints)
    except (OSError, RuntimeError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise RunFailed(f"checkpoint {final} could not be saved: {error}; earlier ones are untouched") from error
    for old in complete(checkpoints)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def _flush(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        _flush_one(path)


def _flush_one(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _checksum(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            value = zlib.crc32(block, value)
    return value


def complete(checkpoints: Path) -> list[Path]:
    """The checkpoints whose files have the right sizes, oldest first; partial ones are passed over."""
    found = sorted(checkpoints.glob("step-*")) if checkpoints.is_dir() else []
    return [path for path in found if damage(path, contents=False) is None]


def damage(folder: Path, contents: bool = True) -> str | None:
    """What is wrong with a checkpoint: a missing or truncated file, or (`contents`) altered bytes; None if whole."""
    try:
        for name, expected in json.loads((folder / STATE).read_text())["files"].items():
            size = (folder / name).stat().st_size
            if size != expected["size"]:
                return f"{name} has {size} bytes of {expected['size']}"
            if contents and _checksum(folder / name) != expected["crc32"]:
                return f"{name} is damaged"
    except OSError as error:
        return f"{Path(error.filename or STATE).name}: {error.strerror}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{STATE} is damaged"
    return None


def latest(checkpoints: Path, warn: Callable[[str], None]) -> Path:
    """The newest whole checkpoint; `warn` hears of newer ones that are damaged.

    Raises:
        UserError: there is none.
    """
    found = sorted(checkpoints.glob("step-*"), reverse=True) if checkpoints.is_dir() else []
    for folder in found:
        wrong = damage(folder)
        if wrong is None:
            return folder
        warn(f"checkpoint {folder} is passed over: {wrong}")
    raise UserError(f"there is no complete checkpoint in {checkpoints}; start the run anew")


def load(folder: Path, policy: Policy, optimizer: torch.optim.Optimizer) -> tuple[int, dict]:
    """Put weights, optimiser and reference back; returns the step and the `state` that was saved."""
    try:
        policy.restore(folder)
        optimizer.load_state_dict(torch.load(folder / "optimizer.pt", map_location="cpu", weights_only=True))
        rest = torch.load(folder / "method.pt", map_location="cpu", weights_only=True)
        policy.restore_reference(rest["reference"])
        return json.loads((folder / STATE).read_text())["step"], rest["state"]
    except _UNREADABLE as error:
        raise UserError(f"checkpoint {folder} cannot be read: {error}") from error
