"""Pictures that strangers send: how large they say they are, before anything is decoded, and decoding them."""

from __future__ import annotations

import io
import struct

from PIL import Image, PngImagePlugin

from maskgrpo_cli.domains.pictures import as_rgb
from maskgrpo_cli.domains.scoring_protocol import FORMATS

SCANS = 64
"""Passes over a progressive JPEG; encoders make about ten, and every further one costs as much as a whole picture."""
TEXT = 4 * 2**20
"""Bytes of compressed text within a PNG that are unpacked at most."""
CUT = "it is cut off"
KINDS = "a PNG, JPEG or WebP file"


class NotAPicture(ValueError):
    """What was sent is no picture that is taken; the message says why."""


def size_of(raw: bytes) -> tuple[int, int]:
    """Width and height as the header of a file says, nothing decoded.

    Raises:
        NotAPicture: it is none of PNG, JPEG and WebP, or its header or its end is cut off.
    """
    try:
        if raw.startswith(b"\x89PNG\r\n\x1a\n"):
            return _size_of_png(raw)
        if raw.startswith(b"RIFF") and raw[8:12] == b"WEBP":
            return _size_of_webp(raw)
        if raw.startswith(b"\xff\xd8"):
            return _size_of_jpeg(raw)
    except (struct.error, IndexError) as error:
        raise NotAPicture("its header is cut off") from error
    raise NotAPicture(f"it is not {KINDS}")


def _size_of_png(raw: bytes) -> tuple[int, int]:
    if raw[12:16] != b"IHDR":
        raise NotAPicture("it is a PNG without a header")
    if b"IEND\xaeB`\x82" not in raw:
        raise NotAPicture(CUT)
    return struct.unpack_from(">II", raw, 16)


def _size_of_webp(raw: bytes) -> tuple[int, int]:
    kind = raw[12:16]
    if struct.unpack_from("<I", raw, 4)[0] + 8 > len(raw):
        raise NotAPicture(CUT)
    if kind == b"VP8X":
        width, height = (int.from_bytes(raw[at : at + 3].ljust(3, b"\0"), "little") for at in (24, 27))
        return width + 1, height + 1
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", raw, 21)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", raw, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise NotAPicture("it is a WebP without a header")


def _size_of_jpeg(raw: bytes) -> tuple[int, int]:
    if raw.count(b"\xff\xda") > SCANS:
        raise NotAPicture(f"it is a JPEG of more than {SCANS} scans")
    if b"\xff\xd9" not in raw:
        raise NotAPicture(CUT)
    at = 2
    while True:
        while raw[at] == 0xFF:  # markers begin with any number of these
            at += 1
        marker = raw[at]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a frame, of whatever kind
            height, width = struct.unpack_from(">HH", raw, at + 4)
            return width, height
        if marker in (0xD9, 0xDA):
            raise NotAPicture("it is a JPEG without a frame")
        at += 1
        if not (marker == 1 or 0xD0 <= marker <= 0xD7):
            at += max(2, struct.unpack_from(">H", raw, at)[0])


def check_size(size: tuple[int, int], pixels: int) -> None:
    """Raises NotAPicture for a picture without pixels, or with more than `pixels`."""
    width, height = size
    if width < 1 or height < 1:
        raise NotAPicture(f"it is {width} wide and {height} high")
    if width * height > pixels:
        raise NotAPicture(f"it has {width} x {height} pixels; at most {pixels} are taken")


def limit_reading() -> None:
    """Bound what PIL unpacks besides pixels, in this whole process."""
    PngImagePlugin.MAX_TEXT_MEMORY = TEXT


def decode(raw: bytes, pixels: int) -> Image.Image:
    """The RGB picture of a file, upright as its EXIF data say, on white where it is transparent.

    Raises:
        NotAPicture: it is damaged, of another format, or has more than `pixels`.
    """
    check_size(size_of(raw), pixels)
    try:
        image = Image.open(io.BytesIO(raw), formats=FORMATS)
        size = image.size
    except Exception as error:  # on damaged bytes PIL's readers raise nearly every kind
        raise NotAPicture(f"it cannot be read: {_short(error)}") from error
    check_size(size, pixels)  # a later header may say another size than the first
    try:
        image = as_rgb(image)
    except Exception as error:
        raise NotAPicture(f"it cannot be read: {_short(error)}") from error
    image.info.clear()  # texts and profiles, which may be large
    return image


def _short(error: Exception) -> str:
    text = "it is no such file" if "BytesIO" in str(error) else str(error)
    return text[:200] or type(error).__name__
