"""The files of an evaluation: what was begun, what was made so far, and the results. Needs no torch.

`generations.jsonl` grows by a batch at a time, and with several processes each writes a part of its own, so that
whatever ends the process costs at most one batch. `evaluation.json` says what was begun, until `results.json` does.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from maskgrpo_cli.config.evaluation import BEGUN, GENERATIONS, RESULTS
from maskgrpo_cli.engine.judging import Judged
from maskgrpo_cli.engine.reporting.run_directory import to_json, write_whole
from maskgrpo_cli.errors import RunFailed, UserError

Key = tuple[float, int, int, str]  # temperature, length, sample, problem
NAMES = {field.name for field in fields(Judged)}


@dataclass
class Begun:
    """What an evaluation noted when it began, to be continued as it was."""

    config: str  # the hash of config.yaml
    processes: int
    seconds: float = 0.0  # spent so far
    identity: dict | None = None

    @classmethod
    def of(cls, directory: Path, processes: int) -> Begun:
        """The note of an evaluation that begins with the config.yaml that lies there."""
        return cls(_hash(directory / "config.yaml"), processes)

    @classmethod
    def read(cls, directory: Path, processes: int) -> Begun:
        """The note in a directory; raises UserError where it no longer holds."""
        try:
            begun = cls(**json.loads((directory / BEGUN).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise UserError(f"{directory / BEGUN} is damaged ({error}); {_again(directory)}") from error
        if begun.config != _hash(directory / "config.yaml"):
            raise UserError(
                f"{directory / 'config.yaml'} was changed since the evaluation began; put it back, or "
                f"{_again(directory)}"
            )
        if begun.processes != processes:
            raise UserError(
                f"the evaluation in {directory} was begun by {begun.processes} processes; now there are {processes}\n"
                f"  continue it with as many: accelerate launch --num_processes {begun.processes} -m maskgrpo_cli eval "
                f"--resume {directory}"
            )
        return begun

    def check(self, identity: Mapping, directory: Path) -> None:
        """Raises UserError where what would be measured now is not what the evaluation began with."""
        then, now = self.identity, json.loads(to_json(identity))
        if then is None:
            return
        for name, what in (("problems", "the problems"), ("prompt", "the prompts"), ("shots", "the examples"),
                           ("model", "the model's weights or chat template")):
            if then.get(name) != now[name]:
                raise UserError(
                    f"{what} are not those that the evaluation in {directory} began with: {_changed(then, now, name)}\n"
                    f"  put them back, or {_again(directory)}"
                )

    def write(self, directory: Path) -> None:
        """Write the note, whole or not at all."""
        write_whole(directory / BEGUN, to_json(asdict(self), indent=2) + "\n")


def _changed(then: Mapping, now: Mapping, name: str) -> str:
    before, after = then.get(name) or {}, now[name]
    keys = [key for key in after if before.get(key) != after[key]]
    return ", ".join(f"{name}.{key} was {_short(before.get(key))}, now {_short(after[key])}" for key in keys)


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def _again(directory: Path) -> str:
    return f"begin again in another directory (--recipe {directory} takes its settings)"


def _hash(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


# --- generations ----------------------------------------------------------------------------------------


def part(directory: Path, process: int, processes: int) -> Path:
    """The file that a process writes to as it goes."""
    return directory / (GENERATIONS if processes == 1 else f"generations.{process}-of-{processes}.jsonl")


def append(path: Path, batch: Sequence[Judged]) -> None:
    """Add results to a file of JSON lines."""
    try:
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(lines(batch))
    except OSError as error:
        raise RunFailed(f"{path} cannot be written: {error.strerror}; what it holds is kept for --resume") from error


def lines(judged: Sequence[Judged]) -> str:
    """Results as JSON lines."""
    return "".join(to_json(asdict(item)) + "\n" for item in judged)


def read(path: Path) -> list[Judged]:
    """The results in a file of JSON lines, less a last line that was cut short.

    Raises:
        UserError: a line is no result, or the file cannot be read.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    *whole, _ = raw.split(b"\n")
    return [_parse(line, path, number) for number, line in enumerate(whole, start=1)]


def _parse(line: bytes, path: Path, number: int) -> Judged:
    try:
        row = json.loads(line)
        if not isinstance(row, dict) or set(row) - NAMES or type(row.get("correct")) is not bool:
            raise ValueError("not a result")
        return Judged(**row)
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}, line {number}: is damaged ({error}); evaluate again in another directory") from error


def key_of(item: Judged) -> Key:
    """Which of an evaluation's completions a result is."""
    return item.temperature, item.length, item.sample, item.id


def _named(key: Key) -> str:
    temperature, length, sample, problem = key
    return f"{problem} (sample {sample}, temperature {temperature}, length {length})"


def kept(path: Path, expected: Sequence[Sequence[Key]]) -> list[Judged]:
    """The results of whole batches in a part file, which is cut back to them.

    A batch that was half written is made anew as a whole: its completions see each other's padding, which may move
    the last bit of a logit.

    Args:
        expected: the keys of every batch, in the order of the work.
    """
    if not path.exists():
        return []
    found = read(path)
    for item, key in zip(found, (key for batch in expected for key in batch), strict=False):
        if key_of(item) != key:
            raise UserError(
                f"{path} holds {_named(key_of(item))} where {_named(key)} belongs: it was edited; "
                "evaluate again in another directory"
            )
    whole = 0
    for batch in expected:
        if whole + len(batch) > len(found):
            break
        whole += len(batch)
    os.truncate(path, sum(len(line) + 1 for line in path.read_bytes().split(b"\n")[:whole]))
    return found[:whole]


def finish(directory: Path, results: Mapping, judged: Sequence[Judged], processes: int) -> None:
    """Write `results.json`, and `generations.jsonl` where the processes wrote parts; take away what it was made of."""
    if processes > 1:
        write_whole(directory / GENERATIONS, lines(judged))
    write_whole(directory / RESULTS, to_json(results, indent=2) + "\n")
    tidy(directory, processes)


def tidy(directory: Path, processes: int) -> None:
    """Take away what only an unfinished evaluation needs."""
    (directory / BEGUN).unlink(missing_ok=True)
    for left in directory.glob(".*.json*.tmp"):  # of a process that was killed while it wrote a note
        left.unlink(missing_ok=True)
    for process in range(processes if processes > 1 else 0):
        part(directory, process, processes).unlink(missing_ok=True)
