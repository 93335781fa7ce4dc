"""Opening pictures that nobody vouches for: formats, transparency, turned ones, bombs, damaged files."""

import os
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_files import image, raw
from PIL import Image

from maskgrpo_cli.domains.pictures import Stored, open_picture
from maskgrpo_cli.errors import UserError


def saved(folder, name, picture, **options):
    path = folder / name
    picture.save(path, **options)
    return Stored(str(path), name)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.gif", "a.bmp", "a.tif", "a.ppm"])
def test_every_format_is_opened_as_rgb(tmp_path, name):
    picture = saved(tmp_path, name, image(200))()
    assert (picture.mode, picture.size) == ("RGB", (8, 6))
    assert np.abs(np.array(picture.getpixel((3, 3))) - (200, 10, 20)).max() <= 8


def test_every_way_to_say_where_a_picture_is(tmp_path):
    stored = saved(tmp_path, "a.png", image(7))
    for reference in (stored, stored.path, tmp_path / "a.png", image(7), lambda: stored, lambda: image(7)):
        assert open_picture(reference).getpixel((0, 0)) == (7, 10, 20)
    both = tmp_path / "both"
    both.write_bytes(raw(1) + raw(2))
    second = Stored(str(both), "second", len(raw(1)), len(raw(2)), "x.png")
    assert second().getpixel((0, 0))[0] == 2 and second.place == f"{both}, member x.png" and str(second) == "second"


def test_what_is_transparent_is_white(tmp_path):
    picture = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    picture.putpixel((1, 0), (0, 0, 0, 51))  # a fifth black
    seen = saved(tmp_path, "a.png", picture)()
    assert seen.getpixel((0, 0)) == (255, 255, 255)
    assert np.abs(np.array(seen.getpixel((1, 0))) - 204).max() <= 1
    palette = Image.new("P", (1, 1), 1)
    palette.putpalette([0, 0, 0, 0, 0, 200])
    assert saved(tmp_path, "b.png", palette, transparency=1)().getpixel((0, 0)) == (255, 255, 255)
    assert saved(tmp_path, "c.png", palette)().getpixel((0, 0)) == (0, 0, 200)


def test_grey_of_sixteen_bits_keeps_its_shades(tmp_path):
    deep = Image.fromarray(np.array([[0, 256 * 100, 65535]], dtype=np.uint16))
    assert [p[0] for p in np.asarray(saved(tmp_path, "a.png", deep)())[0]] == [0, 100, 255]
    with pytest.raises(UserError, match="its pixels are floats"):
        saved(tmp_path, "a.tif", Image.new("F", (2, 2), 0.5))()


def test_a_photo_is_turned_upright(tmp_path):
    wide = Image.new("RGB", (20, 10), "red")
    wide.paste((0, 0, 255), (0, 0, 10, 10))  # blue at the left
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    upright = saved(tmp_path, "a.png", wide, exif=exif)()
    assert upright.size == (10, 20) and upright.getpixel((5, 3)) == (0, 0, 255)


@pytest.mark.parametrize("content, reason", [
    (b"", "its format is none of JPEG"), (b"no picture", "its format is none of"), (raw()[:-30], "truncated|broken"),
    (raw(0, "JPEG", (64, 64))[:-40], "truncated"), (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "none of"),
    (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "its format is none of"),
])
def test_damaged_pictures_are_named(tmp_path, content, reason):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.png: cannot be read as a picture: .*({reason}).*\n  put another in its"):
        open_picture(tmp_path / "a.png")


def png_of(width, height):
    """A small file that says it is a large picture."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0" * 9999)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side, message", [
    (10_000, "has 10000 x 10000 pixels; at most 89478485"), (60_000, "has far too many pixels; at most 89478485"),
])
def test_bombs_are_refused_before_they_go_off(tmp_path, side, message):
    (tmp_path / "a.png").write_bytes(png_of(side, side))
    with pytest.raises(UserError, match=rf"a\.png: .*{message}"):
        open_picture(tmp_path / "a.png")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_the_limit_is_pils_own(tmp_path, monkeypatch):
    stored = saved(tmp_path, "a.png", image(1, (10, 10)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 99)
    with pytest.raises(UserError, match="has 10 x 10 pixels; at most 99 are read"):
        stored()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert stored().size == (10, 10)


def test_what_is_missing_no_file_too_large_or_cut_off(tmp_path):
    with pytest.raises(UserError, match=r"gone\.png: cannot be read: No such file"):
        open_picture(tmp_path / "gone.png")
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        open_picture(tmp_path)
    with pytest.raises(UserError, match="/dev/zero: is no file"):
        open_picture("/dev/zero")
    stored = saved(tmp_path, "a.png", image())
    with pytest.raises(UserError, match=r"a\.png: has \d+ bytes; at most 10 are read"):
        stored.read(10)
    with pytest.raises(UserError, match="is cut off; fetch the file again"):
        Stored(stored.path, "a", 50, 10_000).read()


def test_the_identity_follows_path_size_time_and_place(tmp_path):
    stored = saved(tmp_path, "a.png", image(1))
    first = stored.identity()
    assert first == Stored(stored.path, "another name").identity()
    assert first != Stored(stored.path, "a.png", 1, 10).identity() != Stored(stored.path, "a.png", 2, 10).identity()
    os.utime(stored.path, ns=(1, 2))
    assert stored.identity() != first
    saved(tmp_path, "b.png", image(1))
    os.utime(tmp_path / "b.png", ns=(1, 2))
    assert Stored(str(tmp_path / "b.png"), "a.png").identity() != stored.identity()
    with pytest.raises(UserError, match="gone"):
        Stored(str(tmp_path / "gone"), "gone").identity()


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"]), st.data())
def test_no_bytes_make_it_raise_anything_else(kind, data):
    whole = bytearray(raw(9, kind))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))

    class Bytes:
        place = "here"

        def read(self):
            return bytes(whole[:cut] if cut % 3 == 0 else whole)

    try:
        assert open_picture(Bytes()).mode == "RGB"
    except UserError as error:
        assert str(error).startswith("here: ")
