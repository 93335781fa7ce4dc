"""Rows of data sets on the Hugging Face hub, through the `datasets` library."""

from __future__ import annotations

import os
import socket
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from maskgrpo_cli.errors import UserError

Result = TypeVar("Result")


@dataclass(frozen=True)
class Hub:
    """A data set on the hub; `train` names another repository for training where the main one only tests."""

    repository: str
    config: str | None = None
    splits: tuple[str, ...] | None = None  # known beforehand; None asks the hub
    train: str | None = None


def splits_of(hub: Hub, task: str, offline: bool) -> tuple[str, ...]:
    """The splits that the data set has. Raises UserError when the hub cannot be asked."""
    if hub.splits is not None:
        return hub.splits
    return _asked(hub.repository, task, offline, lambda datasets: tuple(
        datasets.get_dataset_split_names(hub.repository, hub.config)
    ))


def read_hub(hub: Hub, split: str, task: str, offline: bool) -> Iterable[dict[str, Any]]:
    """The rows of a split, read as they are asked for.

    Raises UserError when they are neither cached nor to be had over the network.
    """
    repository = hub.train if hub.train and split == "train" else hub.repository
    return _asked(repository, task, offline, lambda datasets: datasets.load_dataset(
        repository, hub.config, split=split
    ))


def media_columns(rows: Any) -> dict[str, str]:
    """The columns that hold pictures, sounds or films, with which of them: they are decoded when a row is read."""
    kinds = {name: type(kind).__name__ for name, kind in (getattr(rows, "features", None) or {}).items()}
    return {name: kind for name, kind in kinds.items() if kind in ("Image", "Audio", "Video", "Pdf")}


def _asked(repository: str, task: str, offline: bool, ask: Callable[[Any], Result]) -> Result:
    """The answer of the `datasets` library, whose many errors become one message."""
    import datasets  # slow to import, and not needed for files

    before = datasets.config.HF_HUB_OFFLINE
    offline = offline or before or not _reachable(datasets.config.HF_ENDPOINT)
    datasets.config.HF_HUB_OFFLINE = offline  # without network the library retries for half a minute
    try:
        return ask(datasets)
    except Exception as error:  # of many packages; each means that the data are not to be had
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        if os.path.exists(repository):
            raise UserError(f"{repository}: its .parquet files cannot be read as a data set: {reason}") from error
        raise UserError(
            f"the data set {repository} of the task {task} cannot be loaded"
            + (" (there is no network or offline is set, and it is not in the cache)" if offline else "")
            + f": {reason}\n"
            f"  get it from https://huggingface.co/datasets/{repository} as a .jsonl, .json or .csv file "
            "and pass it as --data FILE, or set task.data in the recipe"
        ) from error
    finally:
        datasets.config.HF_HUB_OFFLINE = before


def _reachable(endpoint: str) -> bool:
    """Whether the hub answers a connection; taken for granted where a proxy stands in between."""
    if urllib.request.getproxies():
        return True
    parts = urlsplit(endpoint)
    try:
        port = parts.port or (80 if parts.scheme == "http" else 443)
        socket.create_connection((parts.hostname or "", port), timeout=5.0).close()
    except OSError:
        return False
    return True
