"""What two evaluations measured beside right and wrong: rewards, by function too, and scores of what is right in part.

Needs no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

from maskgrpo_cli.engine.judging import Judged
from maskgrpo_cli.engine.reporting.statistics import mean_interval, sign_flip

REWARD, SCORE = "reward", "score"
INTERVAL = "95 %, paired bootstrap of the mean over problems"
MOVED = 5  # completions shown for each side
Judgements = Mapping[tuple[str, int], Judged]  # by problem and sample


def asked(results: Mapping) -> dict[str, tuple[float, Mapping]]:
    """The reward functions of an evaluation, as name -> (weight, settings)."""
    task = (results.get("settings") or {}).get("task") or {}
    settings = task.get("reward_settings") or {}
    weights = results.get("reward_weights") or task.get("rewards") or {}
    return {name: (weight, settings.get(name) or {}) for name, weight in weights.items()}


def not_comparable(a: Mapping, b: Mapping) -> dict[str, str]:
    """Measures of two `results` that bear one name and mean something else, with the reason."""
    ours, theirs = asked(a), asked(b)
    found = {
        f"{REWARD}/{name}": "its settings differ"
        for name in ours.keys() & theirs.keys() if ours[name][1] != theirs[name][1]
    }
    if ours != theirs:
        told = [", ".join(f"{name} x {weight:g}" for name, (weight, _) in one.items()) for one in (ours, theirs)]
        found[REWARD] = "the settings of its parts differ" if told[0] == told[1] else f"{told[0]} and {told[1]}"
    return dict(sorted(found.items()))


def measures(a: Judgements, b: Judgements) -> Iterator[tuple[str, Callable[[Judged], float | None]]]:
    """The measures that both sides have: the total reward, each function's, and the score where it is graded."""
    sides = (a.values(), b.values())
    if all(any(_known(item.reward) for item in side) for side in sides):
        yield REWARD, lambda item: item.reward
    ours, theirs = ({name: 1 for item in side for name in item.rewards or ()} for side in sides)
    for name in [one for one in ours if one in theirs]:
        yield f"{REWARD}/{name}", lambda item, name=name: (item.rewards or {}).get(name)
    if any(0 < item.score < 1 for side in sides for item in side):
        yield SCORE, lambda item: item.score if item.counted()[1] else None


def compare(a: Judgements, b: Judgements, left_out: Mapping[str, str]) -> dict[str, dict]:
    """Each measure's means over problems, their difference with interval, and the p-value of a paired permutation."""
    found = {name: _compared(a, b, value) for name, value in measures(a, b) if name not in left_out}
    return {name: row for name, row in found.items() if row is not None}


def _compared(a: Judgements, b: Judgements, value: Callable[[Judged], float | None]) -> dict | None:
    """One measure, on the completions where both sides have it; a problem counts once, whatever its samples."""
    pairs: dict[str, list[tuple[float, float]]] = {}
    for key, item in a.items():
        both = value(item), value(b[key])
        if all(map(_known, both)):
            pairs.setdefault(key[0], []).append(both)
    if not pairs:
        return None
    before, after = ([math.fsum(pair[side] for pair in own) / len(own) for own in pairs.values()] for side in (0, 1))
    gains = [now - then for then, now in zip(before, after, strict=True)]
    return {
        "a": math.fsum(before) / len(before),
        "b": math.fsum(after) / len(after),
        "difference": math.fsum(gains) / len(gains),
        "interval": [*mean_interval(gains)],
        "p_value": sign_flip(gains),
        "test": "paired permutation",
        "problems": len(pairs),
        "unpaired": len(a) - sum(map(len, pairs.values())),  # completions where a side failed
    }


def moved(a: Judgements, b: Judgements) -> dict[str, list[dict]]:
    """The completions whose reward rose and fell most, of either at most five."""
    rows = [
        {"id": item.id, "sample": item.sample, "prompt": item.prompt, "a": item.reward, "b": b[key].reward}
        for key, item in a.items() if _known(item.reward) and _known(b[key].reward)
    ]
    rows.sort(key=lambda row: row["b"] - row["a"])
    return {
        "up": [row for row in reversed(rows) if row["b"] > row["a"]][:MOVED],
        "down": [row for row in rows if row["b"] < row["a"]][:MOVED],
    }


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
