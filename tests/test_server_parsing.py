"""Requests and pictures before anything is scored: sizes from headers, damage, bombs, paths of fields."""

import io
import json
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from reward_servers import chunk, file_of, form, picture, plain, png, text

from maskgrpo_cli.domains.scoring_protocol import Limits
from maskgrpo_cli.server import pictures
from maskgrpo_cli.server.parsing import STRUCTURE, parse, path_of, read_form
from maskgrpo_cli.server.pictures import NotAPicture, check_size, decode, size_of
from maskgrpo_cli.server.refusals import Refused

MOST = 2048 * 2048


@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    kind=st.sampled_from([("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True}), ("WEBP", {}),
                          ("WEBP", {"lossless": True}), ("WEBP", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"})]),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_the_size_is_that_of_the_picture(width, height, kind):
    raw = file_of(plain(width, height), kind[0], **kind[1])
    assert size_of(raw) == (width, height)
    assert decode(raw, MOST).size == (width, height)


STARTS = [b"", b"\x89PNG\r\n\x1a\n", *(b"RIFF\0\0\0\0WEBPVP8" + kind for kind in (b"X", b" ", b"L")), b"\xff\xd8\xff",
          b"\xff\xd8\xff\xe0\0\x10JFIF"]  # fmt: skip


@given(st.binary(max_size=60), st.sampled_from(STARTS))
@settings(max_examples=300, deadline=None)
def test_garbage_is_no_picture_and_no_crash(rest, start):
    try:
        width, height = size_of(start + rest)
    except NotAPicture:
        pass
    else:
        assert width >= 0 and height >= 0
        with pytest.raises(NotAPicture):
            decode(start + rest, MOST)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_that_was_cut_off_is_refused_wherever(kind):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    raw = file_of(Image.fromarray(noise), kind)
    for end in [*range(0, len(raw) - 1, max(1, len(raw) // 40)), len(raw) - 1]:
        with pytest.raises(NotAPicture):
            decode(raw[:end], MOST)


def test_pixels_are_the_same_to_the_bit():
    noise = np.random.default_rng(1).integers(0, 256, (33, 47, 3), dtype=np.uint8)
    for raw in (file_of(Image.fromarray(noise)), file_of(Image.fromarray(noise), "WEBP", lossless=True)):
        assert (np.asarray(decode(raw, MOST)) == noise).all()


def test_other_formats_are_refused():
    for kind in ("GIF", "BMP", "TIFF", "PPM"):
        with pytest.raises(NotAPicture, match="not a PNG, JPEG or WebP"):
            size_of(file_of(plain(), kind))


def test_the_limit_of_pixels_is_one_of_area():
    check_size((2048, 2048), MOST)
    check_size((MOST, 1), MOST)
    for size in ((2048, 2049), (MOST + 1, 1), (0, 5), (5, 0)):
        with pytest.raises(NotAPicture):
            check_size(size, MOST)


def test_a_bomb_is_refused_by_its_header():
    bomb = png(10_000, 10_000, data=bytes(10_000))  # a header says it, whatever follows
    assert len(bomb) < 200 and size_of(bomb) == (10_000, 10_000)
    with pytest.raises(NotAPicture, match="10000 x 10000 pixels"):
        decode(bomb, MOST)


def test_a_second_header_cannot_make_a_picture_larger():
    second = chunk(b"IHDR", struct.pack(">IIBBBBB", 9000, 9000, 8, 0, 0, 0, 0))
    with pytest.raises(NotAPicture, match="9000 x 9000"):
        decode(png(4, 4, second, data=bytes(20)), MOST)


def test_texts_in_a_picture_are_not_unpacked_without_end(monkeypatch):
    from PIL import PngImagePlugin

    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_MEMORY", PngImagePlugin.MAX_TEXT_MEMORY)
    pictures.limit_reading()
    words = [chunk(b"zTXt", b"key%d\0\0" % index + zlib.compress(bytes(1_000_000))) for index in range(8)]
    with pytest.raises(NotAPicture, match="memory"):
        decode(png(4, 4, *words, data=bytes(20)), MOST)
    single = chunk(b"zTXt", b"key\0\0" + zlib.compress(bytes(5_000_000)))
    with pytest.raises(NotAPicture, match="too large"):
        decode(png(4, 4, single, data=bytes(20)), MOST)
    assert decode(png(4, 4, words[0], data=bytes(20)), MOST).info == {}


def test_a_jpeg_of_endless_scans_is_refused():
    raw = file_of(plain(64, 64), "JPEG", progressive=True)
    scans = raw.index(b"\xff\xda")
    with pytest.raises(NotAPicture, match="scans"):
        size_of(raw[:scans] + raw[scans:-2] * 65)


def test_pictures_are_upright_and_on_white():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned to the right
    assert decode(file_of(plain(20, 10), exif=exif.tobytes()), MOST).size == (10, 20)
    clear = Image.new("RGBA", (2, 2), (255, 0, 0, 0))
    assert decode(file_of(clear), MOST).getpixel((0, 0)) == (255, 255, 255)
    assert decode(file_of(Image.new("P", (2, 2))), MOST).mode == "RGB"
    film = io.BytesIO()
    plain(5, 5).save(film, "PNG", save_all=True, append_images=[plain(5, 5, "blue")])
    assert decode(film.getvalue(), MOST).getpixel((0, 0)) == (255, 0, 0)


def test_paths_read_as_they_were_written():
    assert path_of(()) == "body"
    assert path_of(("items", 3, "completion", "image", "image")) == "items[3].completion.image"
    assert path_of(("items", 3, "completion")) == "items[3].completion"
    assert path_of(("items", 0, "columns", "text")) == "items[0].columns.text"


def test_rewards_come_in_the_order_of_the_server():
    body = json.dumps({"items": [text(id="x"), text()], "rewards": ["b", "a"], "timeout_s": 1000}).encode()
    parsed = parse(body, "application/json; charset=utf-8", Limits(), ["a", "c", "b"])
    assert parsed.rewards == ["a", "b"] and parsed.ids == ["x", "1"] and parsed.timeout == Limits().timeout_s
    assert parsed.paths == ["items[0].completion.text", "items[1].completion.text"]


@given(st.dictionaries(st.text("abcdefgh", min_size=1, max_size=8), st.binary(max_size=80), max_size=6))
@settings(max_examples=60, deadline=None)
def test_a_form_is_read_as_it_was_written(parts):
    parts.pop("request", None)
    body, headers = form({"a": 1}, parts, "long boundary 0123456789 that no part holds")
    read = read_form(body, headers["Content-Type"].replace("=long", '="long') + '"', 10)
    assert read == {"request": b'{"a": 1}', **parts}


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_garbage_is_refused_and_no_crash(body):
    for kind in ("application/json", "multipart/form-data; boundary=xyz"):
        with pytest.raises(Refused) as refused:
            parse(body, kind, Limits(), ["a"])
        assert 400 <= refused.value.status < 500


def test_numbers_nobody_can_hold_are_refused():
    for number in ("1e999", "-1e999", "NaN", "Infinity", "9" * 5000):
        item = json.dumps(text(columns={"x": "HERE"})).replace('"HERE"', f"[{number}]")
        with pytest.raises(Refused) as refused:
            parse(f'{{"items": [{item}]}}'.encode(), "application/json", Limits(), ["a"])
        assert refused.value.status in (400, 422)


def test_a_picture_in_the_request_is_its_file():
    raw = file_of(plain(3, 3))
    body = json.dumps({"items": [picture(raw)]}).encode()
    assert parse(body, "application/json", Limits(), ["a"]).samples[0].completion == raw


def test_a_request_of_millions_of_lists_is_refused_before_they_are_made():
    item = json.dumps(text(columns={"x": "HERE"})).replace('"HERE"', "[" + "[]," * STRUCTURE + "0]")
    with pytest.raises(Refused) as refused:
        parse(f'{{"items": [{item}]}}'.encode(), "application/json", Limits(), ["a"])
    assert (refused.value.status, refused.value.code) == (413, "too-many-values")


MANY = 100_000
ONE = '{"prompt": "", "completion": {"text": ""}'


@pytest.mark.parametrize(("body", "field"), [
    ('{"items": [' + "{}," * MANY + "{}]}", "items"),
    ('{"items": [' + ONE + '}], "rewards": [' + '"",' * MANY + '""]}', "rewards"),
    ("{" + "".join(f'"{index}": 0,' for index in range(MANY)) + '"items": []}', "body"),
    ('{"items": [' + ONE + "".join(f',"{index}": 0' for index in range(MANY)) + "}]}", "items[0]"),
    ('{"items": [' + ONE + ', "columns": {' + '"": 0,' * MANY + '"a": 0}}]}', "items[0].columns"),
    ('{"items": [' + ONE + ', "columns": {' + ",".join(f'"{index:0201}": 0' for index in range(MANY // 10)) + "}}]}",
     "items[0].columns"),
])  # fmt: skip
def test_a_million_mistakes_are_one(body, field):
    """Each costs a thousand times its bytes, once it is written out as one."""
    tracemalloc.start()
    with pytest.raises(Refused) as refused:
        parse(body.encode(), "application/json", Limits(), ["a"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refused.value.field == field and refused.value.status in (413, 422)
    assert peak < 40 * 2**20 and len(refused.value.message) < 200
