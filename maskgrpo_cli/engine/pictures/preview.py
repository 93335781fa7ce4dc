"""Pictures in a terminal: as pictures where it can show them, as half blocks of colour elsewhere."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence

from PIL import Image
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.text import Text

from maskgrpo_cli.engine.pictures.grid import Cell, Section
from maskgrpo_cli.engine.reporting.text import printable

KITTY, ITERM, BLOCKS = "kitty", "iterm", "blocks"
SHOWN = 12  # pictures in half blocks, at most
WIDEST = 48  # character cells of a picture in half blocks
APART = 2  # character cells between them
CELL = 8  # pixels that a character is wide, about: a sheet is made to fit
_CHUNK = 4096  # bytes of an escape sequence of kitty's protocol
_KITTY_PROGRAMS, _ITERM_PROGRAMS = ("ghostty",), ("iTerm.app", "WezTerm")


def way(console: Console, environment: Mapping[str, str]) -> str | None:
    """How a terminal can show pictures, by what it says of itself: kitty, iterm, blocks, or None for not at all."""
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if not console.is_terminal or console.is_dumb_terminal:
        return None
    if "TMUX" not in environment and not term.startswith(("screen", "tmux")):  # they pass on no pictures
        if "KITTY_WINDOW_ID" in environment or term in ("xterm-kitty", "xterm-ghostty") or program in _KITTY_PROGRAMS:
            return KITTY
        if program in _ITERM_PROGRAMS or environment.get("LC_TERMINAL") == "iTerm2":
            return ITERM
    coloured = console.color_system in ("truecolor", "256") and not console.no_color
    return BLOCKS if coloured and console.encoding.startswith("utf") else None


def show(console: Console, how: str, sheet: Image.Image, sections: Sequence[Section]) -> None:
    """Show the sheet, or in half blocks its pictures one after another."""
    if how == BLOCKS:
        return _show_blocks(console, sections)
    sheet = sheet.copy()
    sheet.thumbnail((console.width * CELL, sheet.height), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    console.file.write({KITTY: kitty, ITERM: iterm}[how](stream.getvalue()) + "\n")
    console.file.flush()


def kitty(png: bytes) -> str:
    """Escape sequences of kitty's graphics protocol that show a PNG at the cursor, without an answer."""
    text = base64.standard_b64encode(png).decode("ascii")
    parts = [text[start : start + _CHUNK] for start in range(0, len(text), _CHUNK)]
    first = ["a=T,f=100,q=2,"] + [""] * (len(parts) - 1)
    more = [1] * (len(parts) - 1) + [0]
    return "".join(
        f"\033_G{head}m={rest};{part}\033\\" for head, rest, part in zip(first, more, parts, strict=True)
    )


def iterm(png: bytes) -> str:
    """The escape sequence of iTerm2 that shows a PNG at the cursor."""
    text = base64.standard_b64encode(png).decode("ascii")
    return f"\033]1337;File=inline=1;size={len(png)};preserveAspectRatio=1:{text}\a"


def half_blocks(picture: Image.Image, width: int) -> list[Text]:
    """A picture in lines of characters that are two pixels each, at most `width` of them wide."""
    if picture.width > width:
        picture = picture.resize((width, max(1, round(picture.height * width / picture.width))), Image.Resampling.BOX)
    picture = picture.convert("RGB")
    pixels, (across, down) = picture.load(), picture.size
    lines = []
    for y in range(0, down, 2):
        line = Text()
        for x in range(across):
            low = Color.from_rgb(*pixels[x, y + 1]) if y + 1 < down else None
            line.append("▀", Style(color=Color.from_rgb(*pixels[x, y]), bgcolor=low))
        lines.append(line)
    return lines


def _show_blocks(console: Console, sections: Sequence[Section]) -> None:
    left = SHOWN
    for section in sections:
        cells = [cell for unit in section.units for cell in unit]
        if left:
            console.print(Text(printable(section.title, " "), style="dim"))
            _show_cells(console, cells[:left], len(section.units[-1]))
        left = max(0, left - len(cells))
    if (count := sum(len(unit) for section in sections for unit in section.units)) > SHOWN:
        console.print(f"and {count - SHOWN} more", style="dim", highlight=False)


def _show_cells(console: Console, cells: Sequence[Cell], together: int) -> None:
    """Cells in rows of as many as there is place for, and of whole units of `together` where one has place."""
    wide = min(cells[0].picture.width, WIDEST, console.width)
    across = max(1, (console.width + APART) // (wide + APART))
    across -= across % together if across > together else 0
    for start in range(0, len(cells), across):
        row = cells[start : start + across]
        for lines in zip(*[half_blocks(cell.picture, wide) for cell in row], strict=True):
            console.print(_beside(lines, wide), no_wrap=True, crop=False)
        console.print(_beside([Text(printable(cell.caption, " "), style="dim") for cell in row], wide))


def _beside(texts: Sequence[Text], wide: int) -> Text:
    """Texts side by side, each `wide` character cells."""
    line = Text()
    for index, text in enumerate(texts):
        part = text.copy()
        part.truncate(wide, overflow="ellipsis", pad=index < len(texts) - 1)
        line.append_text(part).append(" " * APART if index < len(texts) - 1 else "")
    return line
