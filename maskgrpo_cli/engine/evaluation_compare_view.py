"""How a comparison of two evaluations is shown: a table in a terminal, a line each in a pipe."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from maskgrpo_cli.engine.reporting.text import printable

WIDTH = 48  # characters of a value that is shown


def show(result: Mapping) -> None:
    """Both accuracies, the difference with its interval and p-value, what else differs, and what changed."""
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
        name, counts = _setting(row), row["counts"]
        found.append(
            f"{result['benchmark']} {name}: accuracy A {_share(row['a'])}, B {_share(row['b'])}, B - A "
            f"{_points(row['difference'])} ({_range(row['interval'])}), p = {_p(row['p_value'])} ({row['test']})"
        )
        for k, entry in row["pass_at"].items():
            found.append(
                f"{result['benchmark']} {name}: pass@{k} A {entry['a']:.1%}, B {entry['b']:.1%}, B - A "
                f"{_points(entry['difference'])} ({_range(entry['interval'])}), p = {_p(entry['p_value'])} "
                f"({entry['test']})"
            )
        found.append(
            f"{result['benchmark']} {name}: {_counted(result)} both right {counts['both']}, only A {counts['only_a']}, "
            f"only B {counts['only_b']}, neither {counts['neither']}"
        )
        for side, title in (("only_b", "only B is right"), ("only_a", "only A is right")):
            found += [f"{title}: {_changed(entry, result)}" for entry in row["changed"][side]]
    return found


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
        p = _p(row["p_value"])
        table.add_row(f"accuracy, {_setting(row)}", _share(row["a"]), _share(row["b"]),
                      f"[bold]{_points(row['difference'])}[/]", _range(row["interval"]), p)
        for k, entry in row["pass_at"].items():
            table.add_row(f"pass@{k}, {_setting(row)}", f"{entry['a']:.1%}", f"{entry['b']:.1%}",
                          f"[bold]{_points(entry['difference'])}[/]", _range(entry["interval"]), _p(entry["p_value"]))
    console.print(table)
    console.print()
    counted = _table(_counted(result), "both right", "only A", "only B", "neither")
    for row in result["results"]:
        counted.add_row(_setting(row), *(str(row["counts"][key]) for key in ("both", "only_a", "only_b", "neither")))
    console.print(counted)
    console.print()
    for row in result["results"]:
        for side, title, colour in (("only_b", "only B is right", "green"), ("only_a", "only A is right", "red")):
            for entry in row["changed"][side]:
                console.print(f"[{colour}]{title}[/] {escape(_changed(entry, result))}", highlight=False)
    for entry in result["left_out"]:
        console.print(f"left out: {escape(entry)}", style="dim", highlight=False)
    tests = " and ".join(sorted({row["test"] for row in result["results"]}))
    console.print(f"p: {tests}; 95 %: Newcombe's interval for paired shares", style="dim", highlight=False)


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


def _p(value: float) -> str:
    return f"{value:.2g}" if value >= 0.001 else f"{value:.1e}"


def _changed(entry: Mapping, result: Mapping) -> str:
    sample = f" sample {entry['sample']}" if result["samples"] > 1 else ""
    reference = entry["reference"]
    if isinstance(reference, Mapping) and "answer" in reference:
        reference = reference["answer"]
    return f"{entry['id']}{sample}: A {short(entry['a'])}, B {short(entry['b'])}, reference {short(reference)}"
