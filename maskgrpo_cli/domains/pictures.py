"""Pictures that lie in files: where one is, what tells it from others, and opening it without trusting it."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image, ImageOps

from maskgrpo_cli.errors import UserError

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm")
READERS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")  # PIL has others, some of which start programs (EPS)
LARGEST = 256 * 2**20  # bytes of one picture's file
TAKE_OUT = "put another in its place, or take it out of the data"


class Reference(Protocol):
    """Where a picture lies; calling it opens the picture."""

    name: str  # short and stable: the same wherever the data lie

    @property
    def place(self) -> str:
        """Where it lies, for people."""

    def read(self) -> bytes:
        """The bytes as they lie there."""

    def identity(self) -> str:
        """Another one once the picture is another: by the file's path, size and time, or by its content."""

    def __call__(self) -> Image.Image:
        """The picture, as `open_picture` gives it."""


@dataclass(frozen=True)
class Stored:
    """A file, or a stretch of one, such as a member of a tar: read in place, never unpacked."""

    path: str
    name: str
    offset: int = 0
    size: int | None = None  # bytes; None: the whole file
    member: str | None = None  # its name in the tar

    @property
    def place(self) -> str:
        """Where it lies, for people."""
        return self.path if self.member is None else f"{self.path}, member {self.member}"

    def read(self, most: int = LARGEST) -> bytes:
        """The bytes. Raises UserError where they are missing, cut off, or more than `most`."""
        try:
            with open(self.path, "rb") as file:
                found = os.fstat(file.fileno())
                size = found.st_size if self.size is None else self.size
                if not stat.S_ISREG(found.st_mode):
                    raise UserError(f"{self.place}: is no file")
                if size > most:
                    raise UserError(f"{self.place}: has {size} bytes; at most {most} are read\n  {TAKE_OUT}")
                file.seek(self.offset)
                raw = file.read(size)
        except OSError as error:
            raise UserError(f"{self.place}: cannot be read: {error.strerror}") from error
        if len(raw) < size:
            raise UserError(f"{self.place}: is cut off; fetch the file again")
        return raw

    def identity(self) -> str:
        """Path, size and time of the file, and the stretch of it."""
        try:
            found = os.stat(self.path)
        except OSError as error:
            raise UserError(f"{self.place}: cannot be read: {error.strerror}") from error
        return f"{os.path.realpath(self.path)} {found.st_size} {found.st_mtime_ns} {self.offset} {self.size}"

    def __call__(self) -> Image.Image:
        """The picture, as `open_picture` gives it."""
        return open_picture(self)

    def __str__(self) -> str:
        return self.name


def open_picture(reference: Reference | Image.Image | str | os.PathLike | Callable) -> Image.Image:
    """A picture as an RGB image, upright as its EXIF data say, on white where it is transparent; a film's first one.

    Args:
        reference: where it lies (a `Reference` or a path), a PIL image, or a function that gives one of these.

    Raises:
        UserError: it is missing, damaged, of an unknown format, or has more pixels than `PIL.Image.MAX_IMAGE_PIXELS`.
    """
    if isinstance(reference, Image.Image):
        return _decoded(lambda: reference, "the picture")
    if isinstance(reference, (str, os.PathLike)):
        reference = Stored(str(Path(reference).expanduser()), Path(reference).name)
    if not hasattr(reference, "read"):
        return open_picture(reference())
    raw = reference.read()
    return _decoded(lambda: Image.open(io.BytesIO(raw), formats=READERS), reference.place)


def _decoded(load: Callable[[], Image.Image], place: str) -> Image.Image:
    most = Image.MAX_IMAGE_PIXELS
    try:
        image = load()
        if most is None or image.width * image.height <= most:
            return as_rgb(image)
        size = f"has {image.width} x {image.height} pixels"
    except Image.DecompressionBombError:  # more than twice as many
        size = "has far too many pixels"
    except Exception as error:  # on damaged bytes PIL's readers raise nearly every kind
        reason = f"its format is none of {', '.join(READERS)}" if "identify" in str(error) else error
        raise UserError(f"{place}: cannot be read as a picture: {reason}\n  {TAKE_OUT}") from error
    raise UserError(f"{place}: {size}; at most {most} are read\n  {TAKE_OUT}")


def as_rgb(image: Image.Image) -> Image.Image:
    """An image turned upright, put on white where it is transparent, with a byte for each colour.

    Raises ValueError for pixels that are floats.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("its pixels are floats")
    if image.mode.startswith("I"):  # 16 bits of grey, which PIL would cut off at 255
        image = Image.fromarray((np.asarray(image).clip(0, 65535) // 256).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
