"""Checkpoints: complete, atomic, and continued from to the bit on the same layout.

`checkpoints/step-000012/` holds the weights (or the adapter) in their public layout, `optimizer.pt`, `method.pt`
(the rollout being reused, among others) and `state.json`, which is written last. There is no random state:
every draw is keyed by what it is for.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import torch

from maskgrpo_cli.engine.policy import Policy
from maskgrpo_cli.errors import RunFailed, UserError

STATE = "state.json"


def folder_of(checkpoints: Path, step: int) -> Path:
    """The folder of the checkpoint after `step` optimiser steps."""
    return checkpoints / f"step-{step:06d}"


def save(checkpoints: Path, step: int, policy: Policy, optimizer: torch.optim.Optimizer, method: dict, keep: int) -> Path:
    """Write a checkpoint whole or not at all, then delete those beyond the newest `keep`.

    Raises:
        RunFailed: the disk is full or not writable; earlier checkpoints are untouched.
    """
    final = folder_of(checkpoints, step)
    partial = final.with_name(f".{final.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        policy.save(partial)
        torch.save(optimizer.state_dict(), partial / "optimizer.pt")
        torch.save({"method": method, "reference": policy.reference_state()}, partial / "method.pt")
        sizes = {str(path.relative_to(partial)): path.stat().st_size for path in partial.rglob("*") if path.is_file()}
        (partial / STATE).write_text(json.dumps({"step": step, "files": sizes}, indent=1))
        _flush(partial)
        if final.exists():
            shutil.rmtree(final)
        os.replace(partial, final)
    except (OSError, RuntimeError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise RunFailed(f"checkpoint {final} could not be saved: {error}") from error
    for old in complete(checkpoints)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def _flush(folder: Path) -> None:
    for path in [*(p for p in folder.rglob("*") if p.is_file()), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def complete(checkpoints: Path) -> list[Path]:
    """The whole checkpoints, oldest first; damaged or partial ones are passed over."""
    found = sorted(checkpoints.glob("step-*")) if checkpoints.is_dir() else []
    return [path for path in found if _whole(path)]


def _whole(folder: Path) -> bool:
    try:
        files = json.loads((folder / STATE).read_text())["files"]
        return all((folder / name).stat().st_size == size for name, size in files.items())
    except (OSError, ValueError, KeyError):
        return False


def latest(checkpoints: Path) -> Path:
    """The newest whole checkpoint; raises UserError when there is none."""
    found = complete(checkpoints)
    if not found:
        raise UserError(f"there is no complete checkpoint in {checkpoints}; start the run anew")
    return found[-1]


def load(folder: Path, policy: Policy, optimizer: torch.optim.Optimizer) -> tuple[int, dict]:
    """Put weights, optimiser and reference back; returns the step and the method's state."""
    try:
        policy.restore(folder)
        optimizer.load_state_dict(torch.load(folder / "optimizer.pt", map_location="cpu", weights_only=True))
        rest = torch.load(folder / "method.pt", map_location="cpu", weights_only=True)
        policy.restore_reference(rest["reference"])
        return json.loads((folder / STATE).read_text())["step"], rest["method"]
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise UserError(f"checkpoint {folder} cannot be read: {error}") from error
