"""The denoising of completions, step by step: in the terminal and as a page that needs no network.

A frame holds the tokens of one completion at one moment, None where it is still masked.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from maskgrpo_cli.engine.reporting.text import printable
from maskgrpo_cli.errors import UserError

Frame = Sequence["str | None"]

ROWS = 32  # frames that the terminal shows at most
STILLS = 8  # frames of the filmstrip


def show_trace(frames: Sequence[Frame], console: Console) -> None:
    """Print one completion as a table of steps; what a step revealed is highlighted.

    A long trace is thinned evenly to 32 rows; highlighted is then all that came since the row above.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("step", justify="right", style="dim", no_wrap=True)
    table.add_column("masks", justify="right", style="dim", no_wrap=True)
    table.add_column("text", overflow="fold")
    before: Frame = ()
    for index in thinned(len(frames), ROWS):
        masks = sum(token is None for token in frames[index])
        table.add_row(str(index), str(masks), _row(frames[index], before))
        before = frames[index]
    console.print(table)


def _row(frame: Frame, before: Frame) -> Text:
    row = Text()
    for position, token in enumerate(frame):
        if token is None:
            row.append("░", style="dim")
            continue
        new = bool(before) and before[position] != token
        row.append(printable(token, "⏎"), style="bold black on green" if new else "")
    return row


def thinned(count: int, most: int) -> list[int]:
    """At most `most` indices out of `count`, evenly spread, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(index * (count - 1) / (most - 1)) for index in range(most)]


def write_html(
    path: Path, prompt: str, frames_per_completion: Sequence[Sequence[Frame]], settings: dict[str, Any]
) -> None:
    """Write a self-contained page that steps through the denoising of each completion.

    Each token is a chip coloured by the step that revealed it. Without JavaScript the page shows the final
    text and a filmstrip. Raises UserError where `path` cannot be written.
    """
    steps = max((len(frames) - 1 for frames in frames_per_completion), default=0)
    page = Template(files("maskgrpo_cli.engine.reporting").joinpath("trace.html").read_text(encoding="utf-8"))
    content = page.substitute(
        prompt=html.escape(prompt),
        settings="".join(
            f"<div><dt>{html.escape(str(name))}</dt><dd>{html.escape(str(value))}</dd></div>"
            for name, value in settings.items()
        ),
        steps=steps,
        completions="\n".join(
            _completion(number, frames) for number, frames in enumerate(frames_per_completion, 1)
        ),
        changes=_script_json([changes(frames) for frames in frames_per_completion]),
    )
    try:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Half a character from a byte-level tokenizer is no valid UTF-8.
        path.write_text(content, encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"the trace {path} cannot be written: {error.strerror}") from error


def changes(frames: Sequence[Frame]) -> list[list[list[Any]]]:
    """For each frame its differences from the one before, [position, token or None]; the first from masks."""
    before: Frame = [None] * len(frames[0]) if frames else []
    result = []
    for frame in frames:
        pairs = enumerate(zip(frame, before, strict=True))
        result.append([[position, now] for position, (now, then) in pairs if now != then])
        before = frame
    return result


def revealed(frames: Sequence[Frame]) -> list[int | None]:
    """The step at which each token of the last frame took its place; None where a mask is left."""
    steps: list[int | None] = [None] * (len(frames[0]) if frames else 0)
    for step, changed in enumerate(changes(frames)):
        for position, token in changed:
            steps[position] = None if token is None else step
    return steps


def _script_json(value: Any) -> str:
    """JSON that may stand in a script element: no `<` is left that could close it."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _completion(number: int, frames: Sequence[Frame]) -> str:
    born = revealed(frames)
    final = frames[-1] if frames else []
    stills = "".join(
        f'<li><span class="when">step {index}</span><div class="text">{_chips(frames[index], born, frames)}'
        "</div></li>"
        for index in thinned(len(frames), STILLS)
    )
    return (
        f'<section><h2>Completion {number}</h2><div class="text live">{_chips(final, born, frames)}</div>'
        f"<details open><summary>Filmstrip</summary><ol>{stills}</ol></details></section>"
    )


def _chips(frame: Frame, born: Sequence[int | None], frames: Sequence[Frame]) -> str:
    return "".join(_chip(token, born[position], len(frames) - 1) for position, token in enumerate(frame))


def _chip(token: str | None, step: int | None, last: int) -> str:
    if token is None:
        return '<i class="m"></i>'
    when = "" if step is None else f' style="--t:{step / max(last, 1):.3f}" title="step {step}"'
    shown = html.escape(printable(token, "⏎"))
    broken = "<br>" if "\n" in token else ""
    return f"<i{when}>{shown}</i>{broken}"
