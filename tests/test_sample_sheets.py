"""Pictures on sheets and in films, what their files say of them, and how a terminal shows them."""

import base64
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from maskgrpo_cli.engine.pictures import film, folder, grid, preview
from maskgrpo_cli.engine.pictures.grid import CLOSE, GAP, MARGIN, Cell, Section, enlarged, factor, sheet
from maskgrpo_cli.engine.pictures.metadata import as_png, repetition
from maskgrpo_cli.errors import UserError


def plain(colour="red", size=(32, 32)):
    return Image.new("RGB", size, colour)


def noise(seed, size=32):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (size, size, 3), dtype=np.uint8))


# --- sheets -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "times"), [(8, 24), (32, 6), (64, 3), (100, 2), (200, 1), (256, 1), (512, 1)])
def test_small_pictures_are_enlarged_by_a_whole_factor(side, times):
    assert factor(side, side) == factor(side, 1) == factor(1, side) == times
    assert enlarged(plain(size=(side, 4))).size == (side * times, 4 * times)


def test_every_pixel_becomes_a_square():
    picture = noise(0)
    pixels = np.asarray(enlarged(picture))
    assert (pixels == np.asarray(picture).repeat(6, 0).repeat(6, 1)).all()
    assert enlarged(plain(size=(256, 256))).size == (256, 256)


@pytest.mark.parametrize(
    ("units", "wide", "columns"),
    [(1, 1, 1), (4, 1, 4), (5, 1, 4), (16, 1, 4), (17, 1, 5), (1, 2, 1), (3, 2, 2), (8, 2, 2), (18, 2, 3)],
)
def test_a_sheet_is_as_wide_as_high(units, wide, columns):
    drawn = sheet([Section("", [[Cell(plain())] * wide] * units)])
    unit = wide * 192 + (wide - 1) * CLOSE
    rows = -(-units // columns)
    assert drawn.width == 2 * MARGIN + max(grid.NARROWEST, columns * unit + (columns - 1) * GAP)
    assert drawn.height == 2 * MARGIN + rows * 192 + (rows - 1) * GAP


def test_where_the_pictures_of_a_sheet_lie():
    a, b, c, d = (noise(seed) for seed in range(4))
    drawn = np.asarray(sheet([Section("", [[Cell(a), Cell(b)], [Cell(c), Cell(d)]])]))
    for index, picture in enumerate((a, b, c, d)):
        x = MARGIN + index // 2 * (2 * 192 + CLOSE + GAP) + index % 2 * (192 + CLOSE)
        assert (drawn[MARGIN : MARGIN + 192, x : x + 192] == np.asarray(enlarged(picture))).all()
    assert tuple(drawn[0, 0]) == grid.PAPER


def test_labels_are_written_around_the_pictures():
    bare = sheet([Section("", [[Cell(plain())]])])
    told = sheet([Section("a red circle", [[Cell(plain(), "seed 0")]])], "tiny-shapes")
    assert told.height > bare.height + grid.TITLE + 2 * grid.CAPTION
    dark = np.asarray(told.convert("L")) < 100
    red = np.asarray(told)[:, MARGIN + 90] == (255, 0, 0)
    top, bottom = red.all(-1).nonzero()[0][[0, -1]]
    assert dark[:top].any() and bottom - top == 191
    faint = np.asarray(told.convert("L")) < 180
    assert faint[bottom + 3 :].any(), "the caption and the footer"


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=120), st.integers(40, 400))
def test_lines_are_never_wider_than_their_place(text, width):
    font = grid._font(12)
    lines = grid.wrapped(text, font, width)
    assert all(font.getlength(line) <= width for line in lines if len(line) > 1)
    shown = grid.legible(grid.printable(text))
    assert "".join("".join(lines).split()) == "".join(shown.split()), "no letter is lost"


def test_a_title_that_is_too_long_ends_in_dots():
    font = grid._font(17)
    lines = grid.wrapped("word " * 100, font, 100, 3)
    assert len(lines) == 3 and lines[-1].endswith("...") and font.getlength(lines[-1]) <= 100
    assert grid.wrapped("one two", font, 1000, 1) == ["one two"]
    assert grid.wrapped(" \n\n ", font, 100) == []


def test_letters_that_the_font_lacks():
    assert grid.legible("Größe · a") == "Große · a".replace("ß", grid.legible("ß"))
    assert grid.legible("plain") == "plain"


# --- films --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "file"),
    [("film", "film.gif"), ("a/film.gif", "a/film.gif"), ("x.WEBP", "x.WEBP"), ("x.png", "x.png"), ("x.apng",) * 2],
)
def test_the_ending_names_the_animation(name, file):
    assert str(film.animation_file(name)) == file


@pytest.mark.parametrize("name", ["film.html", "film.mp4", "a.b/film.jpeg"])
def test_an_ending_that_is_no_animation(name):
    with pytest.raises(UserError, match=r"ends in \.gif, \.png, \.apng, \.webp, such as .*film\.gif"):
        film.animation_file(name)


@pytest.mark.parametrize("ending", [".gif", ".png", ".apng", ".webp", ".GIF"])
@pytest.mark.parametrize("count", [1, 6])
def test_an_animation_holds_every_sheet_and_stays_at_its_end(ending, count):
    sheets = [noise(seed) for seed in range(count)]
    moving = Image.open(io.BytesIO(film.animation(sheets, ending)))
    assert getattr(moving, "n_frames", 1) == count and moving.size == (32, 32)
    times = []
    for index in range(count):
        moving.seek(index)
        moving.load()
        times.append(moving.info.get("duration"))
        error = np.abs(np.asarray(moving.convert("RGB"), dtype=int) - np.asarray(sheets[index]))
        assert error.mean() < (12 if ending.lower() == ".gif" else 1e-9)  # a GIF has 256 colours
    if count > 1:
        assert times[-1] == 2500 and set(times[:-1]) == {400}


def test_pictures_of_a_film_are_no_larger_than_needed():
    assert film.reduced(plain(size=(512, 256))).size == (256, 128)
    assert film.reduced(noise(0)).tobytes() == noise(0).tobytes()


def test_long_films_are_quick():
    moving = Image.open(io.BytesIO(film.animation([noise(seed, 8) for seed in range(41)], ".webp")))
    moving.load()
    assert moving.info["duration"] == 4000 // 41


def test_a_filmstrip_is_a_row_for_each_picture():
    steps = [(step, plain((step, 0, 0))) for step in range(15)]
    strip = np.asarray(film.filmstrip([("one", steps), ("two", steps[:3])], ""))
    starts = [MARGIN + index * (192 + GAP) + 96 for index in range(8)]
    row = next(y for y in range(len(strip)) if tuple(strip[y, starts[0]]) == (0, 0, 0) and strip[y, starts[7], 0] == 14)
    assert [int(strip[row, x, 0]) for x in starts] == [0, 2, 4, 6, 8, 10, 12, 14]
    assert tuple(strip[-MARGIN - 40, starts[7]]) == grid.PAPER, "the second film is shorter"
    assert str(film.filmstrip_file(film.animation_file("a/b.c.gif"))) == "a/b.c-filmstrip.png"


# --- files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("A red circle, left of it: 2!", "a-red-circle-left-of-it-2"),
        ("../../etc/passwd", "etc-passwd"),
        ("Große Katze", "groe-katze"),
        ("猫", "picture"),
        ("", "picture"),
        ("x" * 100, "x" * 48),
        ("word " * 20, "-".join(["word"] * 9)),
    ],
)
def test_names_of_files(text, name):
    assert folder.slug(text) == name


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "a.png").write_text("mine")
    (tmp_path / "a-2.png").symlink_to("nowhere")
    taken = set()
    assert folder.free(tmp_path / "a.png", taken).name == "a-3.png"
    assert folder.free(tmp_path / "a.png", taken).name == "a-4.png"
    assert folder.free(tmp_path / "b.png", taken).name == "b.png"


def test_a_new_folder_is_where_nothing_lies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(folder.time, "strftime", lambda form: "20250102-030405")
    first = folder.new_folder("a red circle")
    assert str(first) == "samples/a-red-circle-20250102-030405"
    first.mkdir(parents=True)
    assert folder.new_folder("a red circle").name == f"{first.name}-2"


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below" / "it"):
        with pytest.raises(UserError, match="--output .*file is no folder"):
            folder.check_writable(path, "--output")
    folder.check_writable(tmp_path / "new" / "one", "--output")
    assert [path.name for path in tmp_path.iterdir()] == ["file"], "a check changes nothing"


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    assert folder.write(tmp_path / "new" / "a", b"1").read_bytes() == b"1"

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder.os, "replace", full)
    with pytest.raises(UserError, match="No space left on device"):
        folder.write(tmp_path / "b", b"2")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "new"]


FACTS = {
    "seed": 3, "sample": 2, "dtype": "float32", "edit": None, "model": {"path": "m", "weights": "abc"},
    "task": {"name": "shapes"}, "sampler": {"name": "emerge", "steps": 4},
}  # fmt: skip


def test_a_picture_says_how_it_was_drawn(tmp_path):
    prompt = 'a "red" circle\nof 猫 \U0001f431'
    picture = noise(1)
    (tmp_path / "a.png").write_bytes(as_png(picture, prompt, FACTS))
    read = Image.open(tmp_path / "a.png")
    assert (np.asarray(read) == np.asarray(picture)).all()
    assert read.text["prompt"] == prompt and json.loads(read.text["maskgrpo"]) == {"prompt": prompt, **FACTS}
    told = repetition(str(tmp_path / "a.png"))
    assert (told.prompt, told.sample, told.weights, told.edited) == (prompt, 2, "abc", None)
    assert told.settings == {
        "seed": 3, "dtype": "float32", "model.path": "m", "task.name": "shapes", "sampler.name": "emerge",
        "sampler.steps": 4,
    }  # fmt: skip


@pytest.mark.parametrize(
    "facts", [{}] + [{**FACTS, **wrong} for wrong in ({"model": "m"}, {"sample": "x"}, {"edit": {}}, {"sampler": 1})]
)
def test_a_picture_that_says_nothing_cannot_be_repeated(tmp_path, facts):
    (tmp_path / "a.png").write_bytes(as_png(plain(), "x", facts))
    with pytest.raises(UserError, match="does not say how it was drawn"):
        repetition(str(tmp_path / "a.png"))


def test_other_pictures_cannot_be_repeated(tmp_path):
    plain().save(tmp_path / "a.jpg")
    plain().save(tmp_path / "b.png")
    for name in ("a.jpg", "b.png"):
        with pytest.raises(UserError, match="does not say how it was drawn"):
            repetition(str(tmp_path / name))


# --- terminals ----------------------------------------------------------------------------------------


def terminal(colours="truecolor", width=80, **more):
    given = {"file": io.StringIO(), "force_terminal": True, "color_system": colours, "width": width, "_environ": {}}
    return Console(**{**given, **more})


@pytest.mark.parametrize(
    ("environment", "way"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM": "xterm-ghostty"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "iterm"),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, "iterm"),
        ({"TERM": "xterm-256color"}, "blocks"),
        ({"TERM": "tmux-256color", "KITTY_WINDOW_ID": "1", "TMUX": "/tmp/x"}, "blocks"),
        ({"TERM": "screen-256color", "LC_TERMINAL": "iTerm2"}, "blocks"),
    ],
)
def test_what_a_terminal_can_show(environment, way):
    assert preview.way(terminal(_environ=environment), environment) == way


def test_terminals_without_pictures():
    environment = {"TERM": "xterm-kitty"}
    assert preview.way(Console(file=io.StringIO(), force_terminal=False), environment) is None
    assert preview.way(terminal(_environ={"TERM": "dumb"}), {"TERM": "dumb"}) is None
    for colours in (None, "standard"):
        assert preview.way(terminal(colours), {"TERM": "xterm"}) is None
    assert preview.way(terminal(no_color=True), {"TERM": "xterm-256color"}) is None
    latin = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    assert preview.way(terminal(file=latin), {"TERM": "xterm-256color"}) is None


@pytest.mark.parametrize("size", [1, 3072, 3073, 10000])
def test_kittys_escape_sequences(size):
    png = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    parts = preview.kitty(png).split("\033\\")
    assert parts.pop() == ""
    heads, texts = zip(*(part.removeprefix("\033_G").split(";") for part in parts), strict=True)
    assert base64.standard_b64decode("".join(texts)) == png
    assert all(len(text) <= 4096 for text in texts)
    assert [head[-1] for head in heads] == ["1"] * (len(heads) - 1) + ["0"]
    assert heads[0].startswith("a=T,f=100") and set(heads[1:-1]) <= {"m=1"}


def test_iterms_escape_sequence():
    head, _, rest = preview.iterm(b"some bytes").partition(":")
    assert head.startswith("\033]1337;File=inline=1;size=10;")
    assert base64.standard_b64decode(rest.removesuffix("\a")) == b"some bytes"


def test_a_sheet_is_sent_at_the_width_of_the_terminal():
    console = terminal(width=50)
    preview.show(console, "iterm", plain(size=(800, 600)), [])
    sent = console.file.getvalue().partition(":")[2].strip().removesuffix("\a")
    assert Image.open(io.BytesIO(base64.standard_b64decode(sent))).size == (400, 300)


def test_half_blocks_are_two_pixels_each():
    picture = Image.new("RGB", (2, 3))
    for index in range(6):
        picture.putpixel((index % 2, index // 2), (index, 0, 0))
    lines = preview.half_blocks(picture, 10)
    assert [line.plain for line in lines] == ["▀▀", "▀▀"]
    found = [[(span.style.color, span.style.bgcolor) for span in line.spans] for line in lines]
    reds = [[(top.triplet.red, low.triplet.red if low else None) for top, low in line] for line in found]
    assert reds == [[(0, 2), (1, 3)], [(4, None), (5, None)]]


def test_large_pictures_are_made_smaller():
    lines = preview.half_blocks(plain(size=(512, 256)), 40)
    assert len(lines) == 10 and {len(line.plain) for line in lines} == {40}


@pytest.mark.parametrize(("width", "across"), [(32, 1), (66, 2), (80, 2), (100, 3)])
def test_half_blocks_stand_side_by_side(width, across):
    console = terminal(width=width)
    preview.show(console, "blocks", plain(), [Section("p\x1b[2J", [[Cell(plain(), "one")]] * 4)])
    text = console.file.getvalue()
    assert "\x1b[2J" not in text, "a prompt cannot steer the terminal"
    lines = [line for line in text.splitlines() if "▀" in line]
    assert len(lines) == 16 * -(-4 // across)
    assert lines[0].count("▀") == 32 * across


def test_what_is_compared_stays_side_by_side():
    console = terminal(width=110)  # three would have place
    preview.show(console, "blocks", plain(), [Section("p", [[Cell(plain(), "one"), Cell(plain(), "two")]] * 2)])
    captions = [line for line in console.file.getvalue().splitlines() if "one" in line]
    assert len(captions) == 2 and all("two" in line for line in captions)


def test_a_preview_shows_the_first_twelve():
    console = terminal(width=40)
    sections = [Section(name, [[Cell(plain(size=(4, 4)), "c")]] * 8) for name in "abc"]
    preview.show(console, "blocks", plain(), sections)
    text = console.file.getvalue()
    assert text.count("▀") == 12 * 8 and "and 12 more" in text
