"""Pictures with their labels on one sheet: a section for each prompt, its pictures side by side."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

from maskgrpo_cli.engine.reporting.text import printable

LARGE = 192  # pixels that the longer side of a small picture is enlarged to, or the whole factor next to it
PAPER, INK, FAINT, RIM = (250, 250, 248), (28, 29, 33), (112, 113, 120), (205, 205, 208)
MARGIN, GAP, CLOSE, LEAD = 20, 18, 5, 1.3  # pixels; lines stand LEAD times their height apart
TITLE, CAPTION = 17, 12  # sizes of the letters
NARROWEST = 320  # a sheet leaves this much for its titles
LINES = 8  # of a title; what is longer ends in dots


@dataclass(frozen=True)
class Cell:
    """A picture and what stands below it."""

    picture: Image.Image
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """A title and units of cells; the cells of a unit stand close together in one row."""

    title: str
    units: Sequence[Sequence[Cell]]


def factor(width: int, height: int) -> int:
    """The whole number by which a picture is enlarged, so that its longer side is about 192 pixels; 1 for large ones.

    In whole factors every pixel stays a square.
    """
    return max(1, round(LARGE / max(width, height)))


def enlarged(picture: Image.Image) -> Image.Image:
    """A small picture with every pixel as a square of `factor` pixels."""
    times = factor(*picture.size)
    return picture if times == 1 else picture.resize((picture.width * times, picture.height * times), Image.NEAREST)


def sheet(sections: Sequence[Section], footer: str = "", columns: int | None = None) -> Image.Image:
    """The sections below one another, all their cells of one size.

    Args:
        sections: each with at least one unit; all pictures have one size.
        footer: a line at the end, in small letters.
        columns: units in a row; None: four cells, or about as many as there are rows.
    """
    first = sections[0].units[0]
    wide = max(len(unit) for section in sections for unit in section.units)
    columns = columns or _columns(max(len(section.units) for section in sections), wide)
    times = factor(*first[0].picture.size)
    cell = first[0].picture.width * times
    unit = wide * cell + (wide - 1) * CLOSE
    used = min(columns, max(len(section.units) for section in sections))
    width = max(NARROWEST, used * unit + (used - 1) * GAP)
    planned = [_Planned(section, cell, first[0].picture.height * times, width, unit, used) for section in sections]
    notes = wrapped(footer, _font(CAPTION), width)
    height = sum(plan.height for plan in planned) + GAP * (len(planned) - 1) + _tall(CAPTION, len(notes))
    paper = Image.new("RGB", (width + 2 * MARGIN, height + 2 * MARGIN + (GAP if notes else 0)), PAPER)
    draw, top = ImageDraw.Draw(paper), MARGIN
    for plan in planned:
        plan.onto(paper, draw, top)
        top += plan.height + GAP
    _write(draw, notes, MARGIN, top, CAPTION, FAINT)
    return paper


class _Planned:
    """A section with its lines broken, ready to be drawn."""

    def __init__(self, section: Section, cell: int, tall: int, width: int, unit: int, columns: int):
        self.section, self.cell, self.tall, self.unit, self.columns = section, cell, tall, unit, columns
        self.title = wrapped(section.title, _font(TITLE), width, LINES)
        self.captions = [[wrapped(one.caption, _font(CAPTION), cell) for one in row] for row in section.units]
        lines = max((len(text) for row in self.captions for text in row), default=0)
        self.row = tall + _tall(CAPTION, lines) + (CLOSE if lines else 0)
        rows = math.ceil(len(section.units) / columns)
        self.head = _tall(TITLE, len(self.title)) + (CLOSE if self.title else 0)
        self.height = self.head + rows * self.row + (rows - 1) * GAP

    def onto(self, paper: Image.Image, draw: ImageDraw.ImageDraw, top: int) -> None:
        _write(draw, self.title, MARGIN, top, TITLE, INK)
        for index, cells in enumerate(self.section.units):
            row, column = divmod(index, self.columns)
            y = top + self.head + row * (self.row + GAP)
            for place, one in enumerate(cells):
                x = MARGIN + column * (self.unit + GAP) + place * (self.cell + CLOSE)
                draw.rectangle((x - 1, y - 1, x + self.cell, y + self.tall), outline=RIM)
                paper.paste(enlarged(one.picture), (x, y))
                _write(draw, self.captions[index][place], x, y + self.tall + CLOSE, CAPTION, FAINT)


def wrapped(text: str, font: ImageFont.FreeTypeFont, width: int, most: int | None = None) -> list[str]:
    """`text` broken into lines of at most `width` pixels, between words where there is a place; at most `most`."""
    lines: list[str] = []
    for paragraph in legible(printable(text)).split("\n"):
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}" if line else word
            if font.getlength(longer) <= width:
                line = longer
                continue
            if line:
                lines.append(line)
            *full, line = _pieces(word, font, width)
            lines += full
        if line:
            lines.append(line)
    if most is not None and len(lines) > most:
        last = lines[most - 1]
        while last and font.getlength(f"{last} ...") > width:
            last = last[:-1]
        lines = [*lines[: most - 1], f"{last.rstrip()} ..."]
    return lines


def legible(text: str) -> str:
    """`text` with `o` for `ö` and the like: the font that comes with Pillow has few letters beyond English."""
    plain = (letter if letter.isascii() or _drawn(letter) else unicodedata.normalize("NFKD", letter) for letter in text)
    return "".join(letter for letter in "".join(plain) if not unicodedata.combining(letter))


@lru_cache(maxsize=4096)
def _drawn(letter: str) -> bool:
    """Whether the font has the letter."""
    return bytes(_font(TITLE).getmask(letter)) != bytes(_font(TITLE).getmask("\uffff"))


def _pieces(word: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """A word in pieces that fit, one letter at least each."""
    pieces = [""]
    for letter in word:
        if pieces[-1] and font.getlength(pieces[-1] + letter) > width:
            pieces.append("")
        pieces[-1] += letter
    return pieces


def _columns(units: int, wide: int) -> int:
    return min(units, max(1, 4 // wide, math.ceil(math.sqrt(units / wide))))


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def _tall(size: int, lines: int) -> int:
    return round(lines * size * LEAD)


def _write(draw: ImageDraw.ImageDraw, lines: Sequence[str], x: int, y: int, size: int, ink: tuple[int, ...]) -> None:
    for index, line in enumerate(lines):
        draw.text((x, y + _tall(size, index)), line, font=_font(size), fill=ink)
