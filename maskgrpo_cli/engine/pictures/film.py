"""How pictures came to be: an animation of the sheet, and a filmstrip of every picture."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image, features

from maskgrpo_cli.engine.pictures.grid import Cell, Section, sheet
from maskgrpo_cli.engine.reporting.trace import thinned
from maskgrpo_cli.errors import UserError

FRAMES = 41  # of an animation at most
STILLS = 8  # of a filmstrip, at most
LARGEST = 256  # pixels of a picture in a film; with more, the sheets of all steps fill the memory
_WHOLE, _QUICKEST, _SLOWEST, _LAST = 4000, 60, 400, 2500  # milliseconds: all steps, one step, and the end


def animation_file(name: str) -> Path:
    """The file that `--trace NAME` asks for; without an ending it is a GIF.

    Raises:
        UserError: its ending names no animation.
    """
    path = Path(name)
    if not path.suffix:
        return path.with_name(f"{path.name}.gif")
    if path.suffix.lower() not in ENCODERS:
        raise UserError(
            f"--trace {name}: pictures come to be in an animation; write a name that ends in "
            f"{', '.join(ENCODERS)}, such as {path.with_suffix('.gif')}"
        )
    if path.suffix.lower() == ".webp" and not features.check("webp"):
        raise UserError(f"--trace {name}: this Pillow was built without WebP; write {path.with_suffix('.gif')}")
    return path


def filmstrip_file(animation: Path) -> Path:
    """Where the filmstrip of an animation lies: `trace.gif` -> `trace-filmstrip.png`."""
    return animation.with_name(f"{animation.stem}-filmstrip.png")


def reduced(picture: Image.Image) -> Image.Image:
    """The picture, no larger than a film shows it."""
    small = picture.copy()
    small.thumbnail((LARGEST, LARGEST), Image.Resampling.BOX)
    return small


def animation(sheets: Sequence[Image.Image], ending: str) -> bytes:
    """An animation of sheets of one size that stays at its end for a while, and begins again."""
    each = min(max(_WHOLE // max(len(sheets), 1), _QUICKEST), _SLOWEST)
    stream = io.BytesIO()
    ENCODERS[ending.lower()](sheets, [each] * (len(sheets) - 1) + [_LAST], stream)
    return stream.getvalue()


def filmstrip(films: Sequence[tuple[str, Sequence[tuple[int, Image.Image]]]], footer: str) -> Image.Image:
    """A row of stills for each picture; a film is its label, and steps with the picture after each."""
    rows = []
    for label, film in films:
        stills = [film[index] for index in thinned(len(film), STILLS)]
        rows.append(Section(label, [[Cell(picture, f"step {step}")] for step, picture in stills]))
    return sheet(rows, footer, columns=STILLS)


def _gif(sheets: Sequence[Image.Image], durations: list[int], stream: io.BytesIO) -> None:
    first, *others = [one.quantize(256, dither=Image.Dither.NONE) for one in sheets]
    first.save(stream, "GIF", save_all=True, append_images=others, duration=durations, loop=0)


def _apng(sheets: Sequence[Image.Image], durations: list[int], stream: io.BytesIO) -> None:
    sheets[0].save(stream, "PNG", save_all=True, append_images=sheets[1:], duration=durations, loop=0)


def _webp(sheets: Sequence[Image.Image], durations: list[int], stream: io.BytesIO) -> None:
    sheets[0].save(
        stream, "WEBP", save_all=True, append_images=sheets[1:], duration=durations, loop=0, lossless=True
    )


ENCODERS: dict[str, Callable[[Sequence[Image.Image], list[int], io.BytesIO], None]] = {
    ".gif": _gif, ".png": _apng, ".apng": _apng, ".webp": _webp,
}  # fmt: skip
