"""The directory of a run: config, metrics, completions, log, checkpoints and summary."""

from __future__ import annotations

import contextlib
import importlib.metadata
import itertools
import json
import math
import os
import platform
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from maskgrpo_cli.config.runs import CHECKPOINTS, NOTE, SUMMARY, note
from maskgrpo_cli.engine.lock import RunLock
from maskgrpo_cli.engine.whole_file import replace_whole
from maskgrpo_cli.errors import RunFailed, UserError

SET_ASIDE = "set-aside"
PACKAGES = ("maskgrpo", "torch", "transformers", "accelerate", "peft")


class RunDirectory:
    """Writes the files of one run below `path`; when a call returns, a killed process loses nothing of it.

    `config.yaml`, `run.json`, `metrics.jsonl` (one object per optimiser step), `completions.jsonl`, `log.txt`,
    `summary.json`, `checkpoints/`. Without `create` it appends to a run that is there already.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.aside: Path | None = None  # where `rewind` puts what it takes back; None: it is made again, the same

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / CHECKPOINTS

    @contextlib.contextmanager
    def claimed(self):
        """Make the folder where it is missing, and keep every other process from writing to it meanwhile.

        Raises:
            UserError: another process is writing this run, or the place is not writable.
        """
        self._make(self.path)
        lock = RunLock(self.path)
        try:
            if killed := lock.take():
                self.log(f"{killed} was writing this run and ended without a word")
            yield
        finally:
            lock.release()
            with contextlib.suppress(OSError):
                self.path.rmdir()  # only where nothing is in it: the run could not start

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"the run directory {self.path} cannot be written: {error.strerror}\n"
                "  choose another --output-dir"
            ) from error

    def create(self, config_yaml: str) -> RunDirectory:
        """Make the folder and write the resolved config; raises UserError where a run lies there already."""
        for name in ("config.yaml", "metrics.jsonl"):
            if (self.path / name).exists():
                raise UserError(
                    f"{self.path} already holds a run (it has a {name})\n"
                    "  choose another --output-dir, or remove that folder first"
                )
        self._make(self.checkpoints)
        try:
            (self.path / "config.yaml").write_text(config_yaml, encoding="utf-8")
        except OSError as error:
            raise UserError(
                f"the run directory {self.path} cannot be written: {error.strerror}\n"
                "  choose another --output-dir"
            ) from error
        return self

    def discard(self) -> None:
        """Take back what `create` made, of a run that could not start; whatever else is there stays."""
        for name in ("config.yaml", "log.txt", NOTE):
            (self.path / name).unlink(missing_ok=True)
        for folder in (self.checkpoints, self.path):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def metrics(self, row: dict[str, Any]) -> None:
        """Append the metrics of one optimiser step; NaN and infinities become null."""
        self._append("metrics.jsonl", to_json(row) + "\n")

    def rewind(self, step: int) -> None:
        """Take back the metrics of steps after `step`, which a resumed run takes again."""
        self._rewind("metrics.jsonl", "step", step)

    def rewind_completions(self, rollout: int) -> None:
        """Take back the completions of rollouts after `rollout`, which a resumed run draws again."""
        self._rewind("completions.jsonl", "rollout", rollout)

    def _rewind(self, name: str, key: str, last: int) -> None:
        path = self.path / name
        if path.is_file():
            # split at \n only: a completion may hold other line separators, which JSON does not escape
            lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
            later = "".join(f"{line}\n" for line in lines if line and _number(line, key) > last)
            if later and self.aside:
                write_whole(self.aside / name, later)
            write_whole(path, "".join(f"{line}\n" for line in lines if line and _number(line, key) <= last))

    def set_aside(self, step: int, later: list[Path]) -> Path:
        """Move `later` (checkpoints, results) out of the way of a run that goes back to `step` on another path.

        The metrics and completions that `rewind` takes back from here on go there as well.
        """
        folder = self.path / SET_ASIDE / f"after-step-{step:06d}"
        candidates = itertools.chain([folder], (folder.with_name(f"{folder.name}-{n}") for n in itertools.count(2)))
        self.aside = next(candidate for candidate in candidates if not candidate.exists())
        try:
            for path in later:
                self.aside.mkdir(parents=True, exist_ok=True)
                os.replace(path, self.aside / path.name)
        except OSError as error:
            raise RunFailed(f"{path} cannot be set aside: {error.strerror}") from error
        return self.aside

    def note(self, **values: Any) -> None:
        """Write `values` into what the run notes of itself (run.json), beside what is there."""
        write_whole(self.path / NOTE, to_json({**note(self.path), **values}, indent=1) + "\n")

    def completions(self, rows: list[dict[str, Any]]) -> None:
        """Append completions, one object per line."""
        self._append("completions.jsonl", "".join(to_json(row) + "\n" for row in rows))

    def log(self, text: str) -> None:
        """Append a message to the log; a time stamp stands before its first line."""
        stamp = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        first, *rest = text.splitlines() or [""]
        self._append("log.txt", "\n".join([f"{stamp}  {first}", *(f"    {line}" for line in rest)]) + "\n")

    def summary(self, summary: dict[str, Any]) -> None:
        """Write the summary; a reader sees the old file or the new one, never half of it."""
        write_whole(self.path / SUMMARY, to_json(summary, indent=2) + "\n")

    def _append(self, name: str, text: str) -> None:
        path = self.path / name
        try:
            # A lone surrogate (half a character from a byte-level tokenizer) becomes \udcXX, valid in JSON.
            with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
        except OSError as error:
            raise RunFailed(f"{path} cannot be written: {error.strerror}") from error


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader, or a process that comes after a crash, sees the old one or the new one.

    Raises:
        RunFailed: the disk is full or not writable; the old file is untouched.
    """
    try:
        # A lone surrogate (half a character from a byte-level tokenizer) becomes \udcXX, valid in JSON.
        replace_whole(path, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise RunFailed(f"{path} cannot be written: {error.strerror}") from error


def _number(line: str, key: str) -> float:
    """A number of a line of JSON; infinite for a line that a crash cut short."""
    try:
        return json.loads(line)[key]
    except (ValueError, KeyError, TypeError):
        return float("inf")


def to_json(value: Any, indent: int | None = None) -> str:
    """Strictly valid JSON: NaN and infinities become null, numpy and torch scalars plain numbers."""
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, indent=indent)


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):  # a numpy or torch scalar or array
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int)):
        return value
    return str(value)


def environment() -> dict[str, str | None]:
    """Versions of the packages that decide a result, of Python and the platform, and the commit; never fails.

    A package that is not installed, and the commit of an installation without a checkout, are None.
    """
    versions = {name: _version(name) for name in PACKAGES}
    return {
        **versions, "python": platform.python_version(), "platform": platform.platform(), "commit": _commit(),
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():  # installed, and perhaps inside somebody else's checkout
        return None
    try:
        result = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"],
            capture_output=True, text=True, timeout=5, check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip() or None


def peak_memory_bytes(device: Any) -> int | None:
    """The most memory used so far: on CUDA what torch allocated there, elsewhere the process's resident set.

    None where the platform does not tell (Windows).
    """
    if str(device).startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes on macOS, KiB on Linux
