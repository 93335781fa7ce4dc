"""What the user sees of judged generations: the accuracy, and where the protocols do not agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from maskgrpo_cli.config.evaluation import DIFFERENCES
from maskgrpo_cli.types import Verdict

if TYPE_CHECKING:
    from maskgrpo_cli.engine.generations import Difference

SHOWN = 5  # differences; all of them are in the file


def show(results: Mapping, found: Sequence[Difference], uncounted: Sequence[str], directory: Path) -> None:
    """The accuracy and the first differences: tables in a terminal, plain lines in a pipe; warnings on stderr."""
    if uncounted:
        more = f" and {len(uncounted) - 3} more" if len(uncounted) > 3 else ""
        Console(stderr=True).print(
            f"warning: {len(uncounted)} of {results['rows']} rows have no ground truth and are not counted: "
            f"{'; '.join(uncounted[:3])}{more}",
            soft_wrap=True, highlight=False, markup=False,
        )
    if (seen := results.get("problems")) and seen["attempted"] < seen["count"]:
        Console(stderr=True).print(
            f"warning: the file has text for {seen['attempted']} of the {seen['count']} problems; what is measured are "
            "those alone",
            soft_wrap=True, highlight=False, markup=False,
        )
    console = Console()
    for part in _table(results, found) if console.is_terminal else _lines(results, found):
        console.print(part, soft_wrap=isinstance(part, str), highlight=False, markup=False)
    if found:
        console.print(f"all differences ({len(found)}): {directory / DIFFERENCES}", style="dim", soft_wrap=True,
                      highlight=False, markup=False)
    console.print(f"{results['seconds']:.1f} s, results in {directory}", style="dim", soft_wrap=True, highlight=False,
                  markup=False)


def _lines(results: Mapping, found: Sequence[Difference]) -> list[str]:
    name, protocol = results["benchmark"], results["protocol"]
    lines = [f"{name} by {protocol}: accuracy {_accuracy(results)}, 95 % {_interval(results)}"]
    for k, one in results.get("pass_at", {}).items():
        lines.append(f"{name} by {protocol}: pass@{k} {one['value']:.2%}, 95 % {_interval(one)}")
    for other, seen in results["protocols"].items():
        if other != protocol:
            lines.append(f"{name} by {other}: accuracy {_accuracy(seen)}, 95 % {_interval(seen)}")
    for item in found[:SHOWN]:
        outcomes = ", ".join(f"{by} {_outcome(verdict)}" for by, verdict in item.verdicts.items())
        lines.append(f"  {item.generation.problem.id}: {outcomes}: {item.reason}")
    return lines


def _table(results: Mapping, found: Sequence[Difference]) -> list[Table]:
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("benchmark", "protocol", "accuracy", "95 %"):
        table.add_column(heading, no_wrap=True)
    chosen = results["protocol"]
    for name in (chosen, *(name for name in results["protocols"] if name != chosen)):
        seen = results["protocols"][name]
        style = "bold" if name == chosen else "dim"
        table.add_row(results["benchmark"], name, Text(_accuracy(seen), style), _interval(seen))
    for k, one in results.get("pass_at", {}).items():
        table.add_row("", f"pass@{k}", Text(f"{one['value']:.2%}", "bold"), _interval(one))
    if not found:
        return [table]
    list_of = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("differs", *found[0].verdicts, "why"):
        list_of.add_column(heading)
    for item in found[:SHOWN]:
        outcomes = [_outcome(verdict) for verdict in item.verdicts.values()]
        list_of.add_row(Text(item.generation.problem.id), *outcomes, Text(item.reason))
    return [table, list_of]


def _accuracy(seen: Mapping) -> str:
    if seen["accuracy"] is None:
        return "- (nothing is counted)"
    unit = "" if seen["unit"] == "completions" else f" {seen['unit']}"
    return f"{seen['accuracy']:.2%} ({seen['correct']}/{seen['total']}{unit})"


def _interval(seen: Mapping) -> str:
    if seen["interval"] is None:
        return "-"
    low, high = seen["interval"]
    return f"{low:.1%} to {high:.1%}"


def _outcome(verdict: Verdict) -> str:
    if not verdict.counts:
        return "not counted"
    if verdict.correct or verdict.score == 0.0:
        return "right" if verdict.correct else "wrong"
    return f"{verdict.score:.0%} right"
