"""The results of an evaluation: what results.json says, and what the user sees. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from maskgrpo_cli.config.schema import SamplerConfig
from maskgrpo_cli.engine.judging import Judged, tally
from maskgrpo_cli.engine.reporting.statistics import pass_at_k, share_interval

UNJUDGED = "nothing is judged right or wrong"
INTERVAL = "95 %, Wilson's score interval at the effective number of problems"


def row(settings: SamplerConfig, judged: Sequence[Judged], samples: int, passes: Sequence[int]) -> dict:
    """One row of `results`: a setting and what was measured with it, with pass@k for every k of `passes`.

    Where nothing is counted there is no accuracy, interval, score and pass@k; the mean reward is what remains.
    """
    measured = tally(judged)
    right: dict[str, int] = {}
    for item in judged:
        right[item.id] = right.get(item.id, 0) + item.correct
    return {
        "temperature": settings.temperature,
        "length": settings.length,
        "steps": settings.steps,
        "samples": samples,
        "completions": len(judged),
        **measured,
        "graded": any(0 < item.score < 1 for item in judged),
        "pass_at": {str(k): pass_at([*right.values()], samples, k) for k in (passes if measured["total"] else ())},
    }


def pass_at(right: Sequence[int], samples: int, k: int) -> dict:
    """The mean over problems of the unbiased pass@k, with its interval; `right` of `samples` in each problem."""
    values = [pass_at_k(samples, count, k) for count in right]
    interval = share_interval([value * samples for value in values], [samples] * len(values))
    return {"value": sum(values) / len(values), "interval": list(interval)}


def show(results: Mapping, directory: Path) -> None:
    """The rows as a table in a terminal, as a line each in a pipe."""
    console = Console()
    rows = results["results"]
    place = f"{results['seconds']:.1f} s, results in {directory}"
    if folders := results.get("layout"):
        where = ", ".join(str(directory / folder) for folder in folders)
        place += f", pictures for the scorer of {results['benchmark']} in {where}"
    if console.is_terminal:
        console.print(table(results, rows))
        console.print(place, style="dim", highlight=False, soft_wrap=True)
        return
    lines = [_line(results, entry, several=len(rows) > 1) for entry in rows]
    for line in [*lines, place] if len(lines) > 1 else [f"{lines[0]}, {place}"]:
        console.print(line, soft_wrap=True, highlight=False)


def _line(results: Mapping, entry: Mapping, several: bool) -> str:
    setting = f" T={entry['temperature']:g} length {entry['length']}" if several else ""
    said = []
    for name, value, interval, counted in measures(entry):
        if name == "accuracy":
            said.append(f"accuracy {value} ({counted}), 95 % {interval}")
        else:
            said.append(f"{name} {value}" + (f" ({interval or counted})" if interval or counted else ""))
    return f"{results['benchmark']}{setting}: {', '.join(said)}"


def measures(entry: Mapping) -> list[tuple[str, str, str, str]]:
    """(name, value, interval, what is counted) of what a row says, as text, the most telling first.

    The accuracy, the score where answers are right in part, pass@k, and the mean reward where rewards were asked for,
    with that of each function where there are several.
    """
    found, reward = [], entry.get("reward")
    if entry["accuracy"] is not None:
        found.append(
            ("accuracy", f"{entry['accuracy']:.1%}", _interval(entry), f"{entry['correct']}/{entry['total']}")
        )
        if entry.get("graded"):
            found.append(("score", f"{entry['score']:.3f}", "", ""))
        found += [(f"pass@{k}", f"{one['value']:.1%}", _interval(one), "") for k, one in _passes(entry).items()]
    if reward is not None:
        found.append(("reward", f"{reward:.3f}", "", ""))
    parts = {name: value for name, value in (entry.get("rewards") or {}).items() if value is not None}
    if len(parts) > 1:  # the only one says what the whole does
        found += [(f"reward/{name}", f"{value:.3f}", "", "") for name, value in parts.items()]
    if entry["accuracy"] is None:
        made = f"{entry['completions']} {entry['unit']}"
        first = ("made", made, "", UNJUDGED) if reward is None else (*found[0][:3], f"{made}, {UNJUDGED}")
        found = [first, *found[1:]]
    return found


def _passes(entry: Mapping) -> dict:
    """The pass@k that say more than the accuracy does."""
    whole = entry["unit"] == "completions"
    return {k: found for k, found in entry["pass_at"].items() if not (whole and k == "1")}


def table(results: Mapping, rows: Sequence[Mapping]) -> Table:
    """A line per setting, and below it one per pass@k: so it fits 80 columns however many there are."""
    shown = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    several = len(rows) > 1
    alone = all([name for name, *_ in measures(entry)] == ["accuracy"] for entry in rows)
    settings = ["T", "length", "steps"] if several else []
    for heading in ["benchmark", *settings, *(["accuracy"] if alone else ["", ""]), "95 %", "correct"]:
        shown.add_column(heading)
    for place, entry in enumerate(rows):
        which = [f"{entry['temperature']:g}", str(entry["length"]), str(entry["steps"])] if several else []
        for number, (name, value, interval, correct) in enumerate(measures(entry)):
            first = [results["benchmark"] if place == number == 0 else ""]
            first += which if number == 0 else [""] * len(which)
            shown.add_row(*first, *([] if alone else [name]), f"[bold]{value}[/]", interval, correct)
    return shown


def _interval(found: Mapping) -> str:
    low, high = found["interval"]
    return f"{low:.1%} to {high:.1%}"
