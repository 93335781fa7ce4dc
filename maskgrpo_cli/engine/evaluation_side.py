"""One finished evaluation, read back and checked to add up. Needs no torch."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from maskgrpo_cli.config.evaluation import BEGUN, GENERATIONS, RESULTS
from maskgrpo_cli.engine import evaluation_files
from maskgrpo_cli.engine.judging import Judged, tally
from maskgrpo_cli.errors import UserError

Setting = tuple[float, int]  # temperature and length


@dataclass
class Side:
    """One finished evaluation."""

    name: str
    results: dict
    rows: dict[Setting, dict]  # the rows of `results`
    judged: dict[Setting, dict[tuple[str, int], Judged]]  # by problem and sample

    @property
    def samples(self) -> int:
        """Completions of each problem."""
        return next(iter(self.rows.values()))["samples"]


def read(path: str) -> Side:
    """A finished evaluation from its run directory or its results.json, checked to add up."""
    given = Path(path)
    folder = given.parent if given.name == RESULTS else given
    results = _results(path, folder)
    if "generations" in results:
        raise UserError(
            f"{path} judged text made elsewhere: it does not say what was asked and how, so that it has no pairs; "
            "compare two evaluations of models"
        )
    rows, judged = {}, {}
    try:
        for row in results["results"]:
            rows[float(row["temperature"]), int(row["length"])] = row
        count, samples = int(results["problems"]["count"]), int(results["results"][0]["samples"])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise UserError(
            f"{folder / RESULTS} does not say what was asked and how (no {error}): it is damaged, or was written by an "
            "earlier version; evaluate again"
        ) from error
    for item in evaluation_files.read(folder / GENERATIONS):
        judged.setdefault((item.temperature, item.length), {})[item.id, item.sample] = item
    for setting, row in rows.items():
        found = judged.get(setting, {})
        counted = tally([*found.values()]) if found else {"correct": 0, "total": 0, "reward": None}
        if len(found) != count * samples or (counted["correct"], counted["total"]) != (row["correct"], row["total"]):
            raise UserError(
                f"{folder / GENERATIONS} does not add up to {RESULTS}: {counted['correct']}/{counted['total']} and not "
                f"{row['correct']}/{row['total']} at {named(setting)}; one was edited or cut: evaluate again"
            )
        if not _alike(counted["reward"], row.get("reward")):
            raise UserError(
                f"{folder / GENERATIONS} does not add up to {RESULTS}: a mean reward of {counted['reward']} and not "
                f"{row.get('reward')} at {named(setting)}; one was edited: evaluate again"
            )
    return Side(path, results, rows, judged)


def _alike(one: float | None, other: float | None) -> bool:
    return one == other if one is None or other is None else math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)


def _results(path: str, folder: Path) -> dict:
    if not (folder / RESULTS).is_file():
        if (folder / BEGUN).is_file():
            raise UserError(f"{path} is not finished; finish it: maskgrpo eval --resume {folder}")
        if (folder / "config.yaml").is_file():
            raise UserError(f"{path} is a training run; evaluate it first: maskgrpo eval BENCHMARK --model {folder}")
        raise UserError(f"{path}: there is no evaluation (no {RESULTS}); give a run directory of maskgrpo eval")
    try:
        results = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
        if not isinstance(results, dict):
            raise ValueError("no object")
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / RESULTS} is damaged ({error}); evaluate again") from error
    return results


def named(setting: Setting) -> str:
    """A setting in words."""
    return f"temperature {setting[0]:g}, length {setting[1]}"
