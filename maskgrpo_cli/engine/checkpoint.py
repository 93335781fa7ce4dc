"""Checkpoints: complete, atomic, and continued from to the bit on the same layout.

`checkpoints/step-000012/` holds the weights (or the adapter) in their public layout, `optimizer.pt`, `method.pt`
(the rollout being reused and the states of the global generators, among others) and `state.json`, which is written
last: the recipe, the best evaluation, the time spent, and the size and checksum of every other file. The engine's own
draws need no state: every one is keyed by what it is for. `checkpoints/best` names the best one.
"""

from __future__ import annotations

import json
import os
import pickle
import shlex
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError

from maskgrpo_cli.config.runs import BEST, checkpoint_folders, folder_of, step_of
from maskgrpo_cli.engine.policy import Policy
from maskgrpo_cli.engine.reporting.run_directory import write_whole
from maskgrpo_cli.errors import RunFailed, UserError

STATE = "state.json"
_UNREADABLE = (OSError, RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError, SafetensorError)


def save(
    checkpoints: Path,
    step: int,
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    state: dict,
    about: dict,
    *,
    keep: int,
    best: int | None = None,
) -> Path:
    """Write a checkpoint whole or not at all, note which is the best, and delete all but that and the newest `keep`.

    A whole one of the same step stays as it is: nothing that decides the run differs. Later ones, which a run passed
    over because they are damaged, take nobody's place.

    Args:
        state: plain values and tensors, for `method.pt`.
        about: plain values that are looked at before a model is loaded, for `state.json`.
        best: the step of the best checkpoint so far.

    Raises:
        RunFailed: the disk is full or not writable; earlier checkpoints are untouched.
    """
    final = folder_of(checkpoints, step)
    if damage(final) is not None:
        _write(final, step, policy, optimizer, state, about)
    point(checkpoints, best)
    spared = {folder_of(checkpoints, best)} if best is not None else set()
    for old in [folder for folder in complete(checkpoints) if step_of(folder) <= step][:-keep]:
        if old not in spared:
            shutil.rmtree(old, ignore_errors=True)
    return final


def _write(final: Path, step: int, policy: Policy, optimizer, state: dict, about: dict) -> None:
    partial = final.with_name(f".{final.name}.partial")
    try:
        for left in final.parent.glob(".step-*.partial"):  # of a process that was killed
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
        about = {"step": step, **about, "model": _shape(policy), "files": files}
        (partial / STATE).write_text(json.dumps(about, indent=1))
        _flush(partial)
        if final.exists():  # damaged
            shutil.rmtree(final)
        os.replace(partial, final)
        _flush_one(final.parent)
    except (OSError, RuntimeError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise RunFailed(
            f"checkpoint {final} could not be saved: {error}; earlier ones are untouched\n"
            f"  when there is room again, continue with --resume {shlex.quote(str(final.parent.parent))}"
        ) from error


def point(checkpoints: Path, best: int | None) -> None:
    """Let `best` name the checkpoint after step `best`; nothing, where there is no such checkpoint."""
    if best is not None and folder_of(checkpoints, best).is_dir():
        write_whole(checkpoints / BEST, folder_of(checkpoints, best).name + "\n")
    else:
        (checkpoints / BEST).unlink(missing_ok=True)


def _shape(policy: Policy) -> dict[str, int]:
    """How many numbers a checkpoint of this policy holds; a policy of other numbers cannot take it up."""
    everything = [parameter.numel() for parameter in policy.plain.parameters()]
    return {"parameters": sum(everything), "trained": sum(p.numel() for p in policy.parameters())}


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
    return [path for path in checkpoint_folders(checkpoints) if damage(path, contents=False) is None]


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


def latest(checkpoints: Path, warn: Callable[[str], None]) -> Path | None:
    """The newest whole checkpoint; `warn` hears of newer ones that are damaged. None where none was ever saved.

    Raises:
        UserError: all are damaged.
    """
    found = checkpoint_folders(checkpoints)
    for folder in reversed(found):
        wrong = damage(folder)
        if wrong is None:
            return folder
        warn(f"checkpoint {folder} is passed over: {wrong}")
    if found:
        raise UserError(f"there is no complete checkpoint in {checkpoints}; start the run anew")
    return None


def read_about(folder: Path) -> dict:
    """What `state.json` of a whole checkpoint says."""
    return json.loads((folder / STATE).read_text())


def _restore_optimizer(optimizer: torch.optim.Optimizer, state: dict) -> None:
    """Put the running means back; weight decay, betas and eps stay those of the recipe as it is now."""
    own = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, settings in zip(optimizer.param_groups, own, strict=True):
        group.update(settings)


def load(folder: Path, policy: Policy, optimizer: torch.optim.Optimizer) -> dict:
    """Put weights, optimiser and reference back; returns the `state` that was saved.

    Raises:
        UserError: it is of a model of another shape, or cannot be read.
    """
    try:
        then, now = read_about(folder)["model"], _shape(policy)
        if then != now:
            raise UserError(
                f"checkpoint {folder} holds {then['parameters']:,} parameters, {then['trained']:,} of them trained; "
                f"this recipe's model has {now['parameters']:,} and {now['trained']:,}\n"
                "  such a change cannot be taken up; start a new run, with --model for the weights to begin with"
            )
        policy.restore(folder)
        _restore_optimizer(optimizer, torch.load(folder / "optimizer.pt", map_location="cpu", weights_only=True))
        rest = torch.load(folder / "method.pt", map_location="cpu", weights_only=True)
        policy.restore_reference(rest["reference"])
        return rest["state"]
    except _UNREADABLE as error:
        raise UserError(f"checkpoint {folder} cannot be read: {error}") from error
