"""How a comparison of two evaluations is shown: a table in a terminal, a line each in a pipe."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from maskgrpo_cli.engine.reporting.text import printable

WIDTH = 48  # characters of a value that is shown
CHANGES = (("only_b", "only B is right"), ("only_a", "only A is right"))
MOVES = (("up", "more reward", "green"), ("down", "less reward", "red"))


def show(result: Mapping) -> None:
    """What both measured, the difference with its interval and p-value, what else differs, and what changed."""
    console = Console()
    if console.is_terminal:
        _show_table(console, result)
    else:
        for line in lines(result):
            console.print(line, soft_wrap=True, highlight=False, markup=False)


def lines(result: Mapping) -> list[str]:
    """The comparison as plain lines."""
    found = [f"A: {result['a']}", f"B: {result['b']}"]
    found += [f"differs: {name}: A {short(a)}, B {short(b)}" for name, (a, b) in result["differs"].items()]
    found += [f"left out: {entry}" for entry in result["left_out"]]
    for row in result["results"]:
        start = f"{result['benchmark']} {_setting(row)}:"
        found += [f"{start} {line}" for line in _judged_lines(result, row)]
        for measure, entry in row["measures"].items():
            found.append(
                f"{start} {measure} A {_number(entry['a'])}, B {_number(entry['b'])}, B - A "
                f"{entry['difference']:+.4g} ({_span(entry['interval'])}), p = {_p(entry['p_value'])} "
                f"({entry['test']}){_unpaired(entry)}"
            )
        for side, title in CHANGES:
            found += [f"{title}: {_changed(entry, result)}" for entry in row.get("changed", {}).get(side, ())]
        for side, title, _ in MOVES:
            found += [f"{title}: {_moved(entry, result)}" for entry in row.get("moved", {}).get(side, ())]
    return found


def _judged_lines(result: Mapping, row: Mapping) -> list[str]:
    """The accuracies, pass@k and counts of a setting where something is judged."""
    if "counts" not in row:
        return []
    counts = row["counts"]
    found = [
        f"accuracy A {_share(row['a'])}, B {_share(row['b'])}, B - A {_points(row['difference'])} "
        f"({_range(row['interval'])}), p = {_p(row['p_value'])} ({row['test']})"
    ]
    found += [
        f"pass@{k} A {entry['a']:.1%}, B {entry['b']:.1%}, B - A {_points(entry['difference'])} "
        f"({_range(entry['interval'])}), p = {_p(entry['p_value'])} ({entry['test']})"
        for k, entry in row["pass_at"].items()
    ]
    return [
        *found,
        f"{_counted(result)} both right {counts['both']}, only A {counts['only_a']}, only B {counts['only_b']}, "
        f"neither {counts['neither']}",
    ]


def _show_table(console: Console, result: Mapping) -> None:
    for side in ("a", "b"):
        console.print(f"[bold]{side.upper()}[/] {escape(result[side])}", highlight=False, soft_wrap=True)
    if result["differs"]:
        table = _table("differs", "A", "B")
        for name, (a, b) in result["differs"].items():
            table.add_row(name, escape(short(a)), escape(short(b)))
        console.print()
        console.print(table)
    console.print()
    table = _table("", "A", "B", "B - A", "95 %", "p")
    for row in result["results"]:
        for name, *cells in _measured(row):
            table.add_row(f"{name}, {_setting(row)}", *cells)
    console.print(table)
    console.print()
    judged = [row for row in result["results"] if "counts" in row]
    if judged:
        counted = _table(_counted(result), "both right", "only A", "only B", "neither")
        for row in judged:
            cells = (str(row["counts"][key]) for key in ("both", "only_a", "only_b", "neither"))
            counted.add_row(_setting(row), *cells)
        console.print(counted)
        console.print()
    for row in result["results"]:
        for (side, title), colour in zip(CHANGES, ("green", "red"), strict=True):
            for entry in row.get("changed", {}).get(side, ()):
                console.print(f"[{colour}]{title}[/] {escape(_changed(entry, result))}", highlight=False)
        for side, title, colour in MOVES:
            for entry in row.get("moved", {}).get(side, ()):
                console.print(f"[{colour}]{title}[/] {escape(_moved(entry, result))}", highlight=False)
    for entry in result["left_out"]:
        console.print(f"left out: {escape(entry)}", style="dim", highlight=False)
    tests = [row["test"] for row in judged] + [one["test"] for row in result["results"] for one in _all(row)]
    ways = ["Newcombe's interval for paired shares"] if judged else []
    ways += ["of rewards and scores a paired bootstrap"] if any(row["measures"] for row in result["results"]) else []
    told = f"p: {' and '.join(sorted(set(tests)))}; 95 %: {', '.join(ways)}"
    console.print(told, style="dim", highlight=False)


def _all(row: Mapping) -> list[Mapping]:
    return [*row.get("pass_at", {}).values(), *row["measures"].values()]


def _measured(row: Mapping) -> list[tuple[str, ...]]:
    """(name, A, B, difference, interval, p) of everything that a setting measured."""
    found = []
    if "counts" in row:
        difference = f"[bold]{_points(row['difference'])}[/]"
        found.append(("accuracy", _share(row["a"]), _share(row["b"]), difference, _range(row["interval"]),
                      _p(row["p_value"])))
    for k, entry in row.get("pass_at", {}).items():
        found.append((f"pass@{k}", f"{entry['a']:.1%}", f"{entry['b']:.1%}",
                      f"[bold]{_points(entry['difference'])}[/]", _range(entry["interval"]), _p(entry["p_value"])))
    for name, entry in row["measures"].items():
        found.append((escape(name), _number(entry["a"]), _number(entry["b"]), f"[bold]{entry['difference']:+.4g}[/]",
                      _span(entry["interval"]), _p(entry["p_value"]) + _unpaired(entry)))
    return found


def _table(*headings: str) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading)
    return table


def short(value: object) -> str:
    """A value on one line, cut when long."""
    text = printable(str(value), " ")
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"


def _setting(row: Mapping) -> str:
    parts = []
    for name, form in (("temperature", "T={}"), ("length", "length {}")):
        value = row[name]
        values = value if isinstance(value, list) else [value]
        parts.append(form.format(" and ".join(f"{one:g}" for one in values)))
    return " ".join(parts)


def _counted(result: Mapping) -> str:
    return "problems:" if result["samples"] == 1 else f"completions ({result['samples']} a problem):"


def _share(side: Mapping) -> str:
    return f"{side['accuracy']:.1%} ({side['correct']}/{side['total']})"


def _points(difference: float) -> str:
    return f"{100 * difference:+.1f} points"


def _range(interval: list[float]) -> str:
    return f"{100 * interval[0]:+.1f} to {100 * interval[1]:+.1f}"


def _number(value: float) -> str:
    return f"{value:.4g}"


def _span(interval: list[float]) -> str:
    return f"{interval[0]:+.4g} to {interval[1]:+.4g}"


def _unpaired(entry: Mapping) -> str:
    count = entry["unpaired"]
    return f", without {count} completion{'s' * (count > 1)} that one side could not score" if count else ""


def _p(value: float) -> str:
    return f"{value:.2g}" if value >= 0.001 else f"{value:.1e}"


def _moved(entry: Mapping, result: Mapping) -> str:
    return f"{_which(entry, result)}: A {entry['a']:.4g}, B {entry['b']:.4g}, {short(entry['prompt'])}"


def _which(entry: Mapping, result: Mapping) -> str:
    return f"{entry['id']} sample {entry['sample']}" if result["samples"] > 1 else entry["id"]


def _changed(entry: Mapping, result: Mapping) -> str:
    reference = entry["reference"]
    if isinstance(reference, Mapping) and "answer" in reference:
        reference = reference["answer"]
    return f"{_which(entry, result)}: A {short(entry['a'])}, B {short(entry['b'])}, reference {short(reference)}"
