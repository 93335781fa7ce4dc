"""Pictures that the user names: read with care, and what a mask says of the tokens of a picture."""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from maskgrpo_cli.errors import UserError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")  # Pillow's others may start programs (EPS)
_TooLarge = Image.DecompressionBombError
WHITE = 128  # from here on a grey is white


def open_picture(path: Path, option: str) -> Image.Image:
    """The picture in a file, read whole and turned upright; `option` is what named it.

    Raises:
        UserError: there is no such file, or no picture in it, or half of one.
    """
    if os.path.isdir(path) or not os.path.exists(path):
        raise UserError(f"{option} {path}: there is no such file; name a picture ({', '.join(FORMATS)})")
    try:
        with Image.open(path, formats=FORMATS) as picture:
            picture.load()
            upright = ImageOps.exif_transpose(picture)
            upright.info = picture.info
            if hasattr(picture, "text"):
                upright.text = picture.text
            return upright
    except UnidentifiedImageError as error:
        raise UserError(f"{option} {path}: this is no picture; write {', '.join(FORMATS)}") from error
    except PermissionError as error:
        raise UserError(f"{option} {path}: {error.strerror}") from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, _TooLarge) as error:
        raise UserError(f"{option} {path}: the picture cannot be read: {str(error) or type(error).__name__}") from error


def opaque(picture: Image.Image, ground: str) -> Image.Image:
    """An RGB picture with what is transparent in the colour of the ground."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    paper = Image.new("RGBA", picture.size, ground)
    paper.alpha_composite(picture.convert("RGBA"))
    return paper.convert("RGB")


def kept_tokens(mask: Image.Image, picture: Image.Image, shape: tuple[int, int]) -> Tensor:
    """[N] bool: the tokens, row by row, that lie wholly in the white of a mask.

    The mask is laid over the picture as it was given, and cut about its middle as the picture is. Grey counts as
    white from the middle on, what is transparent as black.

    Args:
        mask, picture: of one aspect ratio.
        shape: rows and columns of tokens.

    Raises:
        UserError: the mask has another aspect ratio, or keeps all of the picture, or nothing.
    """
    (wide, high), (width, height) = mask.size, picture.size
    if abs(wide * height - high * width) >= max(width, height):  # less than a pixel is rounding
        raise UserError(
            f"--keep: the mask has {wide}x{high} pixels, the picture {width}x{height}: write a mask of the same "
            "shape, such as one of the same size"
        )
    white = np.asarray(opaque(mask, "black").convert("L")) >= WHITE
    rows, columns = shape
    across, down = _cut(wide, high, columns / rows)
    x, y = _edges(across, columns), _edges(down, rows)
    kept = [[bool(white[top:low, left:right].all()) for left, right in x] for top, low in y]
    found = torch.tensor(kept).flatten()
    if not found.any():
        raise UserError(
            f"--keep: no token of the picture is kept: none of the {rows}x{columns} squares that it is made of lies "
            "wholly in the white of the mask; make it larger, or draw a new picture without --edit"
        )
    if found.all():
        raise UserError("--keep: the mask keeps the whole picture; paint black what is to be drawn anew")
    return found


def _cut(width: int, height: int, ratio: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """From where to where a picture is seen, across and down, when it is cut about its middle to a ratio."""
    if width / height >= ratio:
        rest = (width - ratio * height) / 2
        return (rest, width - rest), (0.0, float(height))
    rest = (height - width / ratio) / 2
    return (0.0, float(width)), (rest, height - rest)


def _edges(seen: tuple[float, float], count: int) -> list[tuple[int, int]]:
    """The pixels, from and to, that each of `count` equal parts touches by more than a hair."""
    first, step = seen[0], (seen[1] - seen[0]) / count
    places = [(first + step * index, first + step * (index + 1)) for index in range(count)]
    return [(math.floor(start + 1e-6), math.ceil(end - 1e-6)) for start, end in places]
