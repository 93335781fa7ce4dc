"""The live view: one panel that is redrawn while a run trains."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from maskgrpo_cli.engine.reporting.display import Recorder
from maskgrpo_cli.engine.reporting.progress import Progress
from maskgrpo_cli.engine.reporting.run_directory import RunDirectory
from maskgrpo_cli.engine.reporting.text import curve, duration, finite, fixed, number, printable

REDRAWS = 2  # a second; one takes about 4 ms
GOOD, FAINT = "green", "dim"  # a theme may paint bright black in the colour of its ground
PHASES = {"rollout": "cyan", "score": "magenta", "update": "green", "evaluate": "yellow"}
METRICS = (
    ("loss", "loss"), ("kl", "kl"), ("clip ratio", "clip_ratio"), ("entropy", "entropy"),
    ("mask ratio", "mask_ratio"), ("grad norm", "grad_norm"), ("lr", "lr"), ("length", "completion_length"),
    ("zero std", "zero_std"),
)


class LiveView(Recorder):
    """Progress, reward and accuracy curves, metrics, time per phase and a sample completion in one panel.

    A thread redraws it; the training thread only leaves its numbers.
    """

    def __init__(
        self, run: RunDirectory | None, progress: Progress, stream: TextIO | None = None,
        console: Console | None = None,
    ) -> None:
        super().__init__(run, progress)
        self.console = console or Console(file=stream)
        self._live = Live(
            get_renderable=self.render, console=self.console, refresh_per_second=REDRAWS,
            redirect_stderr=sys.stderr.isatty(),  # a redirected standard error stays where the user put it
        )

    def say(self, text: str) -> None:
        """Print the text above the panel."""
        self._log(text)
        self.console.print(Text(printable(text)))

    def warn(self, text: str) -> None:
        """Print the text above the panel, in yellow."""
        self._log(f"warning: {text}")
        self.console.print(Text(f"warning: {printable(text)}", style="yellow"))

    def render(self) -> Panel:
        """The panel for the size that the terminal has now; what matters least goes first when it is low."""
        progress = self.progress
        width = max(self.console.width - 4, 8)
        room = self.console.height - 3  # the border, and the line below
        top = heading(progress, width)
        tall = 2 if room >= 20 else 1
        blocks = [charts(progress, width, tall), metrics(progress, width), shares(progress, width)]
        lines = list(top)
        for block in blocks:
            if block and len(lines) + 1 < room:
                lines += [Text(), *block[: room - len(lines) - 1]]
        lines += sample(progress, self.console, width, room - len(lines))
        title = Text(printable(progress.title, " "), style="bold")
        subtitle = Text(str(self.run.path), style=FAINT) if self.run else None
        return Panel(
            Group(*lines), title=title, title_align="left", subtitle=subtitle, subtitle_align="right",
            border_style=FAINT, padding=(0, 1),
        )

    def __enter__(self) -> LiveView:
        self._live.start(refresh=True)
        return self

    def __exit__(self, *exception: object) -> None:
        self.progress.phase = None
        try:
            self._release()
        finally:
            self._live.stop()


# --- blocks: each a list of lines that fit `width` cells ---------------------------------------------


def heading(progress: Progress, width: int) -> list[Text]:
    """The bar over all steps, and the bar of the phase at work."""
    lines = []
    if progress.total:
        left = "" if progress.left is None else f"  ETA {duration(progress.left)}"
        if progress.done >= progress.total:
            left = ""
        label = f"step {progress.done}/{progress.total}"
        note = f"{duration(progress.elapsed)}{left}"
        lines.append(bar(label, progress.done / progress.total, note, width, GOOD))
    if progress.phase and progress.done < (progress.total or 1):
        name, done, total = progress.phase
        note = f"{done}/{total}" + ("" if progress.total else f"  {duration(progress.elapsed)}")
        lines.append(bar(printable(name, " "), done / max(total, 1), note, width, PHASES.get(name, "blue")))
    elif not lines:
        lines.append(fit(Text(duration(progress.elapsed)), width))
    return lines


def bar(label: str, share: float, note: str, width: int, colour: str) -> Text:
    """`label ━━━━━━──── note` over the whole width."""
    label, note = f"{label:<14} ", f" {note:>17}"
    cells = max(width - len(label) - len(note), 0)
    full = round(min(max(share, 0.0), 1.0) * cells)
    line = Text(label, style="bold" if colour == GOOD else "")
    line.append("━" * full, style=colour).append("━" * (cells - full), style=FAINT).append(note)
    return fit(line, width)


def charts(progress: Progress, width: int, rows: int) -> list[Text]:
    """Reward (or loss where there is none) and accuracy: the value now and its curve with its ends.

    The curves grow with the bar above them, so that all read along one axis.
    """
    curves, row, lines = progress.curves, progress.row, []

    def chart(name: str, now: str, note: str, colour: str, form: Callable[[float], str]) -> list[Text]:
        points = curves[name].values
        values = [value for value in points if finite(value)]
        if not values:
            return []
        head = Text(f"{name:<9} ").append(now, style="bold").append(note, style=FAINT)
        head.pad_right(max(26 - head.cell_len, 1))
        ends = f" {form(min(values))} to {form(max(values))}" if width >= 60 else ""
        room = width - head.cell_len - len(ends)
        share = min(curves[name].count / max(progress.total, 1), 1)
        drawn = curve(points, math.ceil(room * share), rows)
        lines = [Text(" " * head.cell_len).append(line, style=colour) for line in drawn]
        lines[-1] = head.append(drawn[-1], style=colour).append(ends, style=FAINT)
        return [fit(line, width) for line in lines]

    if "reward" in row:
        spread = f" ±{row['reward_std']:.2f}" if finite(row.get("reward_std")) else ""
        lines += chart("reward", fixed(row["reward"]), spread, "cyan", fixed)
    elif "loss" in row:
        lines += chart("loss", number(row["loss"]), "", "cyan", number)
    if progress.accuracies:
        first, *later = progress.accuracies
        since = f" from {fixed(first)}" if later else ""
        lines += [Text()] * (rows > 1 and len(lines) > 0)
        lines += chart("accuracy", fixed(progress.accuracies[-1]), since, GOOD, fixed)
    return lines


def metrics(progress: Progress, width: int) -> list[Text]:
    """The other numbers of the latest step in columns, then single rewards and styles."""
    row = progress.row
    shown = [(label, row[key]) for label, key in METRICS if row.get(key) is not None]
    if "reward" not in row:
        shown = [entry for entry in shown if entry[0] != "loss"]  # has its curve
    columns = max(width // 24, 1)
    lines = []
    for start in range(0, len(shown), columns):
        line = Text()
        for label, value in shown[start : start + columns]:
            line.append(f"{label:<11}", style=FAINT).append(f"{number(value):<13}")
        lines.append(fit(line, width))
    return lines + named(row, "reward/", "rewards", width) + named(row, "style/", "styles", width)


def named(row: dict, prefix: str, label: str, width: int) -> list[Text]:
    """The metrics below a prefix on one line."""
    line = Text(f"{label:<11}", style=FAINT)
    entries = [(key[len(prefix):], value) for key, value in row.items() if key.startswith(prefix)]
    for name, value in entries:
        line.append(f"{printable(name, ' ')} ", style=FAINT).append(f"{fixed(value)}   ", style="default")
    return [fit(line, width)] if entries else []


def shares(progress: Progress, width: int) -> list[Text]:
    """How the time of the latest step divides into its phases, as one coloured bar and in words; the pace."""
    row = progress.row
    times = {key[5:]: row[key] for key in row if key.startswith("time/") and finite(row[key])}
    whole, passed = sum(times.values()), 0.0
    line, words = Text(), Text()
    for name, seconds in times.items():
        colour, passed = PHASES.get(name, "blue"), passed + seconds
        line.append("▄" * (round(passed / whole * width) - len(line)) if whole else "", style=colour)
        words.append("■ ", style=colour).append(f"{name} {seconds / whole if whole else 0:.0%}  ")
    if progress.pace:
        words.append(f"{number(progress.pace)} s/step  ", style=FAINT)
    if row.get("tokens_per_second") is not None:
        words.append(f"{number(row['tokens_per_second'])} tokens/s", style=FAINT)
    return ([line] if line else []) + ([fit(words, width)] if words else [])


def sample(progress: Progress, console: Console, width: int, room: int) -> list[Text]:
    """A prompt and its completion, cut to the lines that are left."""
    if not progress.sample or room < 4:
        return []
    prompt, completion, reward = progress.sample
    rule = Text("── sample, reward ", style=FAINT).append(fixed(reward), style="bold")
    rule.append(" " + "─" * max(width - rule.cell_len - 1, 0), style=FAINT)
    question = fit(Text(printable(prompt, " "), style=FAINT), width)
    answer = Text(printable(completion, "⏎ "))
    wrapped = list(answer.wrap(console, width, overflow="fold"))
    return [Text(), fit(rule, width), question, *wrapped[: min(room - 3, 5)]]


def fit(line: Text, width: int) -> Text:
    """One line that never wraps: cut with an ellipsis at `width` cells."""
    line.no_wrap = True
    line.truncate(width, overflow="ellipsis")
    return line
