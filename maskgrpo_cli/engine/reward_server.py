"""Rewards by name for the reward server, made in its worker processes. The server itself needs no torch."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from maskgrpo_cli import __version__, registry
from maskgrpo_cli.domains.scoring_protocol import Limits
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.server.options import Options
from maskgrpo_cli.server.serve import run as serve
from maskgrpo_cli.server.worker import Loaded

__all__ = ["Limits", "Options", "run"]  # what the command line needs, which imports the engine alone
Settings = Mapping[str, Mapping[str, Any]]


def run(
    names: Sequence[str], settings: Settings, devices: Sequence[str], workers: int, offline: bool, options: Options
) -> None:
    """Serve rewards until told to end.

    Args:
        names: of the rewards, registered or module.path:attribute.
        settings: name -> the arguments of its constructor.
        devices: where they compute.
        workers: processes for each device.
        offline: never ask the network for weights.
        options: of the server.

    Raises:
        UserError: a reward, a setting, a device or an option is wrong.
    """
    loads = [
        functools.partial(loaded, tuple(names), dict(settings), device, offline)
        for _ in range(workers)
        for device in devices
    ]
    serve(loads, options)


@contextlib.contextmanager
def loaded(names: Sequence[str], settings: Settings, device: str, offline: bool) -> Iterator[dict[str, Loaded]]:
    """The rewards of these names on a device (`auto`: a GPU where there is one), with their versions.

    Programs that a reward runs are isolated as a run's are by default.
    """
    from maskgrpo_cli.config.sandbox import SandboxConfig
    from maskgrpo_cli.engine.executors import LazyExecutor
    from maskgrpo_cli.engine.scoring import make

    with LazyExecutor(SandboxConfig()) as executor:
        try:
            functions = make(names, settings, executor, device=_device(device), offline=offline)
        except UserError as error:  # what a recipe calls so is an option here
            raise UserError(str(error).replace("task.reward_settings.", "--set ")) from error
        yield {
            name: Loaded(function, version_of(name, settings.get(name, {})))
            for name, function in zip(names, functions, strict=True)
        }


def version_of(name: str, settings: Mapping[str, Any]) -> str:
    """Twelve digits that are others once the package, a user's module or the settings of a reward are others."""
    known = [name, __version__, json.dumps(settings, sort_keys=True, default=str)]
    digest = hashlib.sha256("\0".join(known).encode())
    if name not in registry.TABLES["reward"]:
        found = importlib.util.find_spec(name.partition(":")[0])
        if found is not None and found.origin and Path(found.origin).is_file():
            digest.update(Path(found.origin).read_bytes())
    return digest.hexdigest()[:12]


def _device(name: str) -> str:
    import torch

    if name == "cpu":
        return name
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    from maskgrpo_cli.engine.devices import check_device

    kind, _, number = name.partition(":")
    check_device(kind)
    if kind == "cuda" and number and int(number) >= torch.cuda.device_count():
        raise UserError(f"--device {name}: there are {torch.cuda.device_count()} GPUs, counted from 0")
    return name
