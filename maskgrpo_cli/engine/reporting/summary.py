"""What a run changed: the table before and after, problems solved now, and what to start next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from maskgrpo_cli.engine.reporting import text
from maskgrpo_cli.engine.reporting.statistics import wilson

HEADERS = ("", "problems", "before", "95 %", "after", "95 %", "points")
FAINT = "dim"


def render(summary: dict[str, Any]) -> RenderableType:
    """The summary for a terminal; every key of `summary` may be missing.

    `evaluations`: [{"name", "before", "after"}] with {"accuracy", "correct", "total", "interval"} or None;
    `rewards`: [{"name", "before", "after"}] with numbers or None;
    `styles`: [{"name", "before", "after"}] with {"share", "accuracy"} or None;
    `solved_now`: [{"prompt", "before", "after", "answer"}];
    `best`, `result`, `stopped_early`, `steps`, `seconds`, `peak_memory_bytes`, `output_dir`, `next_command`.
    """
    blocks: list[RenderableType] = []
    if rows := evaluation_rows(summary):
        blocks.append(_table(HEADERS, rows))
    if rows := reward_rows(summary):
        blocks.append(_table(("", "before", "after", "change"), rows))
    if rows := style_rows(summary):
        blocks.append(_table(("style", "share before", "after", "accuracy before", "after"), rows))
    if problems := summary.get("solved_now"):
        blocks.append(Text("Solved now, not before", style="bold"))
        blocks += [Padding(_solved(problem), (0, 0, 0, 2)) for problem in problems]
    if facts := " · ".join(f"{name} {value}" for name, value in fact_rows(summary)):
        blocks.append(Text(facts, style=FAINT))
    if command := summary.get("next_command"):
        blocks.append(Text("Next: ", style="bold").append(text.printable(command), style="cyan"))
    return Group(*(line for block in blocks for line in (block, Text())))


def plain(summary: dict[str, Any]) -> str:
    """The same as plain text, for pipes and `log.txt`."""
    lines = []
    for name, total, before, interval, after, later, change in evaluation_rows(summary):
        points = f"  {change} points" if change else ""
        lines.append(f"{name}: {before} [{interval}] -> {after} [{later}]{points} on {total} problems")
    lines += [f"{name}: {before} -> {after}  {change}".rstrip() for name, before, after, change in reward_rows(summary)]
    for name, share, share_after, accuracy, accuracy_after in style_rows(summary):
        lines.append(f"style {name}: share {share} -> {share_after}, accuracy {accuracy} -> {accuracy_after}")
    for problem in summary.get("solved_now") or []:
        lines.append(f"solved now: {_line(problem.get('prompt'))}")
        lines += [f"  {key}: {_line(problem.get(key))}" for key in ("before", "after", "answer")]
    lines += [f"{name}: {value}" for name, value in fact_rows(summary)]
    if command := summary.get("next_command"):
        lines.append(f"next: {text.printable(command)}")
    return "\n".join(lines)


def show(summary: dict[str, Any], console: Console | None = None) -> None:
    """Print the summary: the table in a terminal, plain text in a pipe."""
    console = console or Console()
    if console.is_terminal and not console.is_dumb_terminal:
        console.print(render(summary))
    else:
        console.print(plain(summary), markup=False, highlight=False, soft_wrap=True)


def evaluation_rows(summary: dict[str, Any]) -> list[tuple[str, ...]]:
    """(name, problems, before, interval, after, interval, change) of each evaluation, as text."""
    rows = []
    for entry in summary.get("evaluations") or []:
        before, after = entry.get("before"), entry.get("after")
        total = str((after or before or {}).get("total", "-"))
        rows.append((entry["name"], total, *_measured(before), *_measured(after), _change(before, after)))
    return rows


def reward_rows(summary: dict[str, Any]) -> list[tuple[str, ...]]:
    """(name, before, after, change) of each mean reward, as text."""
    rows = []
    for entry in summary.get("rewards") or []:
        before, after = entry.get("before"), entry.get("after")
        known = text.finite(before) and text.finite(after)
        change = f"{after - before:+.3f}" if known else ""
        rows.append((entry["name"], *(f"{v:.3f}" if text.finite(v) else "-" for v in (before, after)), change))
    return rows


def style_rows(summary: dict[str, Any]) -> list[tuple[str, ...]]:
    """(name, share before, after, accuracy before, after) of each style, as text."""
    return [
        (entry["name"], *(
            _percent((entry.get(when) or {}).get(key)) for key in ("share", "accuracy")
            for when in ("before", "after")
        ))
        for entry in summary.get("styles") or []
    ]


def fact_rows(summary: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(name, value) of steps, time, memory and place, as text."""
    forms = (
        ("steps", "steps", str), ("stopped early", "stopped_early", lambda early: "yes" if early else None),
        ("best checkpoint", "best", _best),
        ("result", "result", lambda kept: "the best checkpoint" if kept == "best" else None),
        ("time", "seconds", text.duration),
        ("peak memory", "peak_memory_bytes", text.memory), ("pictures", "pictures", str),
        ("in", "output_dir", str),
    )
    shown = ((name, form(summary[key])) for name, key, form in forms if summary.get(key) is not None)
    return ((name, value) for name, value in shown if value is not None)


def _best(best: dict[str, Any]) -> str:
    value = _percent(best["value"]) if best["metric"] == "accuracy" else text.fixed(best["value"])
    return f"step {best['step']} ({best['metric']} {value} on validation)"


def _measured(result: dict[str, Any] | None) -> tuple[str, str]:
    if not result:
        return "-", "-"
    interval = result.get("interval")
    if interval is None and result.get("total") and text.finite(result["accuracy"]):
        interval = wilson(result.get("correct", result["accuracy"] * result["total"]), result["total"])
    spread = "-" if interval is None else f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"
    return _percent(result["accuracy"]), spread


def _percent(share: float | None) -> str:
    return f"{100 * share:.1f} %" if text.finite(share) else "-"


def _change(before: dict[str, Any] | None, after: dict[str, Any] | None) -> str:
    if not (before and after and text.finite(before["accuracy"]) and text.finite(after["accuracy"])):
        return ""
    return f"{100 * (after['accuracy'] - before['accuracy']):+.1f}"


def _table(headers: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=FAINT)
    for index, header in enumerate(headers):
        table.add_column(header, justify="left" if index == 0 else "right", no_wrap=index > 0)
    for row in rows:
        cells = [Text(text.printable(cell)) for cell in row]
        if headers is HEADERS:
            verdict = "bold green" if row[-1].startswith("+") else "bold yellow"
            styles = ("", FAINT, "", FAINT, "bold", FAINT, verdict)
            for cell, style in zip(cells, styles, strict=True):
                cell.stylize(style)
        table.add_row(*cells)
    return table


def _solved(problem: dict[str, Any]) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, style=FAINT)
    table.add_column()
    table.add_row("problem", Text(_line(problem.get("prompt"))))
    table.add_row("before", Text(_line(problem.get("before")), style="yellow"))
    table.add_row("after", Text(_line(problem.get("after")), style="green"))
    table.add_row("answer", Text(_line(problem.get("answer")), style="bold"))
    return table


def _line(value: Any) -> str:
    return text.printable(str(value if value is not None else "-").strip(), " ⏎ ")
