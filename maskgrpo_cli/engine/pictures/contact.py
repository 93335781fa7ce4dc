"""A page with every picture of an evaluation: its prompt, the verdict on it and why. It needs no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from maskgrpo_cli.engine.evaluation_results import measures
from maskgrpo_cli.engine.judging import Judged
from maskgrpo_cli.engine.reporting.run_directory import write_whole
from maskgrpo_cli.engine.reporting.text import printable

NAME = "contact.html"
SHOWN = 176  # pixels that a picture is wide on the page, 11rem
STYLE = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.1rem; margin-top: 2.5rem; } h3 { font-size: 1rem; margin: 0 0 .5rem; }
.problems { display: flex; flex-wrap: wrap; gap: 1.6rem 1.2rem; }
section { width: min(100%, calc(var(--pictures) * 12rem - 1rem)); }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; width: 11rem; }
img { width: 11rem; height: auto; display: block; border-radius: 4px; }
.small img { image-rendering: pixelated; }
figcaption { font-size: .8rem; margin-top: .3rem; opacity: .85; }
.right b { color: #1a8f4c; } .wrong b { color: #c2542d; }
"""


def write(folder: Path, results: Mapping, judged: Sequence[Sequence[Judged]]) -> None:
    """Write `contact.html` into a run directory; its pictures are links to those that lie there.

    Args:
        results: what results.json says.
        judged: the results of each of its rows, whose completions are files below `folder`.
    """
    try:
        with Image.open(folder / judged[0][0].completion) as first:
            small = max(first.size) < SHOWN
    except OSError:  # a picture that somebody took away before the evaluation went on
        small = False
    write_whole(folder / NAME, page(results, judged, small))


def page(results: Mapping, judged: Sequence[Sequence[Judged]], small: bool = False) -> str:
    """The page as HTML; `small` pictures are enlarged with every pixel as a square."""
    title = _text(f"{results['benchmark']} · {results['model']['path']}")
    parts = [
        "<!doctype html>", '<html lang="en">', '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">', f"<title>{title}</title>", f"<style>{STYLE}</style>",
        f'<body class="{"small" if small else ""}">', f"<h1>{title}</h1>",
    ]  # fmt: skip
    for row, items in zip(results["results"], judged, strict=True):
        said = ", ".join(f"{name} {value}" + (f" ({more})" if more else "") for name, value, _, more in measures(row))
        parts.append(f"<h2>T={row['temperature']:g}, {row['steps']} steps: {_text(said)}</h2>")
        parts.append('<div class="problems">')
        by_problem: dict[str, list[Judged]] = {}
        for item in items:
            by_problem.setdefault(item.id, []).append(item)
        for own in by_problem.values():
            parts += [f'<section style="--pictures: {len(own)}">', f"<h3>{_text(own[0].prompt)}</h3>"]
            parts += ['<div class="pictures">', *map(_figure, own), "</div>", "</section>"]
        parts.append("</div>")
    return "\n".join([*parts, "</body>", "</html>", ""])


def _figure(item: Judged) -> str:
    link, counted = quote(item.completion), item.counted()[1] > 0
    kind = ("right" if item.correct else "wrong") if counted else ""
    words = [f"<b>{kind} {item.score:.2f}</b>"] if counted else []
    words += [f"reward {item.reward:.3f}"] if item.reward is not None else []
    words += [_text(item.reason)] if counted and item.reason else []
    return (
        f'<figure class="{kind}"><a href="{link}"><img src="{link}" loading="lazy" alt="{_text(item.prompt)}"></a>'
        f"<figcaption>{' · '.join(words)}</figcaption></figure>"
    )


def _text(value: str) -> str:
    return escape(printable(value, " "))
