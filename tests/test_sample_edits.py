"""What a picture, a mask and a strength make of an edit."""

import math
import os

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, PngImagePlugin

from maskgrpo_cli.config.schema import Config, SamplerConfig
from maskgrpo_cli.engine.drawing import Request
from maskgrpo_cli.engine.pictures.editing import edit_of, repair_from
from maskgrpo_cli.engine.pictures.reading import kept_tokens, opaque, open_picture
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.samplers.schedules import schedule


def mask(size, *white, mode="L"):
    """A black picture with white boxes: left, top, right, bottom, the last two exclusive."""
    picture = Image.new(mode, size, 0)
    for left, top, right, bottom in white:
        ImageDraw.Draw(picture).rectangle((left, top, right - 1, bottom - 1), fill="white")
    return picture


def kept(found, columns):
    return [[int(value) for value in row] for row in found.view(-1, columns)]


# --- masks --------------------------------------------------------------------------------------------


def test_tokens_that_lie_wholly_in_the_white_stay():
    picture = Image.new("RGB", (8, 8))
    found = kept_tokens(mask((8, 8), (0, 0, 4, 8), (4, 0, 7, 4)), picture, (2, 2))  # the last column is black
    assert kept(found, 2) == [[1, 0], [1, 0]]
    found = kept_tokens(mask((8, 8), (0, 0, 8, 4)), picture, (4, 4))
    assert kept(found, 4) == [[1] * 4, [1] * 4, [0] * 4, [0] * 4]


def test_a_black_pixel_opens_its_token():
    white = mask((8, 8), (0, 0, 8, 8))
    white.putpixel((3, 4), 0)
    assert kept(kept_tokens(white, Image.new("RGB", (8, 8)), (2, 2)), 2) == [[1, 1], [0, 1]]


def test_a_mask_may_be_larger_or_smaller_than_its_picture():
    for size in ((4, 4), (256, 256), (1000, 1000)):
        side = size[0]
        found = kept_tokens(mask(size, (0, 0, side // 2, side)), Image.new("RGB", (64, 64)), (2, 2))
        assert kept(found, 2) == [[1, 0], [1, 0]]
    assert kept_tokens(mask((33, 50), (0, 0, 33, 25)), Image.new("RGB", (65, 100)), (2, 2)).tolist() == [1, 1, 0, 0]


def test_a_token_between_pixels_counts_both():
    found = kept_tokens(mask((3, 3), (0, 0, 2, 3)), Image.new("RGB", (3, 3)), (2, 2))  # each token: 1.5 pixels
    assert kept(found, 2) == [[1, 0], [1, 0]]
    found = kept_tokens(mask((3, 3), (0, 0, 1, 3), (2, 0, 3, 1)), Image.new("RGB", (3, 3)), (3, 3))
    assert kept(found, 3) == [[1, 0, 1], [1, 0, 0], [1, 0, 0]]


def test_a_mask_is_cut_as_its_picture_is():
    wide = Image.new("RGB", (16, 8))  # its middle, columns 4 to 11, is what the model sees
    assert kept(kept_tokens(mask((16, 8), (4, 0, 8, 8)), wide, (2, 2)), 2) == [[1, 0], [1, 0]]
    high = Image.new("RGB", (8, 16))
    assert kept(kept_tokens(mask((8, 16), (0, 8, 8, 12)), high, (2, 2)), 2) == [[0, 0], [1, 1]]
    assert kept(kept_tokens(mask((16, 8), (0, 0, 8, 8)), wide, (1, 2)), 2) == [[1, 0]]


def test_greys_and_transparency_of_a_mask():
    grey = Image.new("L", (4, 4), 127)
    grey.paste(128, (0, 0, 2, 4))
    assert kept(kept_tokens(grey, Image.new("RGB", (4, 4)), (1, 2)), 2) == [[1, 0]]
    clear = Image.new("RGBA", (4, 4), (255, 255, 255, 0))
    clear.paste((255, 255, 255, 255), (0, 0, 2, 4))
    assert kept(kept_tokens(clear, Image.new("RGB", (4, 4)), (1, 2)), 2) == [[1, 0]]
    assert kept(kept_tokens(mask((4, 4), (0, 0, 2, 4)).convert("1"), Image.new("RGB", (4, 4)), (1, 2)), 2) == [[1, 0]]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (mask((8, 9)), "the mask has 8x9 pixels, the picture 64x64"),
        (mask((64, 62), (0, 0, 64, 32)), "of the same shape"),
        (mask((8, 8)), "no token of the picture is kept"),
        (mask((8, 8), (1, 1, 7, 7)), "none of the 2x2 squares"),
        (mask((8, 8), (0, 0, 8, 8)), "keeps the whole picture"),
    ],
)
def test_masks_that_do_not_fit(given, told):
    with pytest.raises(UserError, match=told):
        kept_tokens(given, Image.new("RGB", (64, 64)), (2, 2))


# --- strength -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strength", "name", "steps", "first", "share"),
    [
        (1.0, "cosine", 4, 0, 1.0),  # k: 1, cos 22.5 = .924, cos 45 = .707, cos 67.5 = .383
        (0.95, "cosine", 4, 1, math.cos(math.pi / 8)),
        (0.7, "cosine", 4, 2, math.sqrt(0.5)),
        (0.5, "cosine", 4, 3, math.cos(3 * math.pi / 8)),
        (0.01, "cosine", 4, 3, math.cos(3 * math.pi / 8)),
        (0.3, "linear", 10, 7, 0.3),
        (0.5, "linear", 1, 0, 1.0),
        (0.875, "linear", 4, 0, 1.0),  # as near to 1 as to 0.75: more changes
    ],
)
def test_a_strength_is_the_step_to_begin_at(strength, name, steps, first, share):
    found = repair_from(strength, schedule(name), steps)
    assert found == (first, pytest.approx(share))


# --- options ------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8), "red").save("a.png")
    mask((8, 8), (0, 0, 4, 8)).save("m.png")
    return tmp_path


def request(**more):
    sampler = SamplerConfig(name="emerge", length=4, steps=4, block_length=4, schedule="cosine")
    return Request(Config(sampler=sampler), ["x"], 1, **more)


def test_edits(files):
    assert edit_of(request()) is None
    simple = edit_of(request(edit="a.png", keep="m.png"))
    assert (simple.mode, simple.repair_from, simple.facts()) == ("simple", 0, {"picture": "a.png", "mask": "m.png"})
    drawn = edit_of(request(edit="a.png", strength=0.7))
    assert (drawn.mode, drawn.repair_from, drawn.mask) == ("prob-remask", 2, None)
    assert drawn.facts() == {
        "picture": "a.png", "strength": 0.7, "mode": "prob-remask", "repair_from": 2, "hidden_share": 0.7071,
    }  # fmt: skip
    assert edit_of(request(edit="a.png", strength=1.0, mode="flow-remask")).mode == "flow-remask"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"edit": "a.png"}, "--edit a.png: say what may change: --keep MASK .* or --strength X"),
        ({"keep": "m.png"}, "--keep m.png: name the picture to edit too"),
        ({"strength": 0.5}, "--strength 0.5: name the picture"),
        ({"mode": "prob-remask"}, "--mode prob-remask: name the picture"),
        ({"edit": "a.png", "keep": "m.png", "strength": 0.5}, "--keep m.png and --strength 0.5: write one of them"),
        ({"edit": "a.png", "strength": 0.0}, "--strength 0: write a number above 0, up to 1"),
        ({"edit": "a.png", "strength": 1.01}, "--strength 1.01: write a number"),
        ({"edit": "a.png", "strength": math.nan}, "--strength nan: write a number"),
        ({"edit": "a.png", "keep": "m.png", "mode": "flow-remask"}, "a mask says itself what changes"),
        ({"edit": "a.png", "strength": 0.5, "mode": "simple"}, "--mode simple: write prob-remask or flow-remask"),
        ({"edit": "a.png", "strength": 0.5, "compare": "maskgit"}, "--compare maskgit: an edit has no second sampler"),
        ({"edit": "none.png", "strength": 0.5}, "--edit none.png: there is no such file"),
        ({"edit": "a.png", "keep": "none.png"}, "--keep none.png: there is no such file"),
        ({"edit": ".", "strength": 0.5}, "there is no such file"),
    ],
)
def test_edits_that_make_no_sense(files, options, told):
    with pytest.raises(UserError, match=told):
        edit_of(request(**options))


# --- files --------------------------------------------------------------------------------------------


def test_files_that_hold_no_whole_picture(files):
    whole = (files / "a.png").read_bytes()
    large = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    large.save("b.jpg")
    large.save("b.png")
    cases = {
        "text.png": b"not a picture",
        "empty.png": b"",
        "head.png": whole[:20],
        "half.png": (files / "b.png").read_bytes()[:3000],
        "half.jpg": (files / "b.jpg").read_bytes()[:600],
        "wrong.png": whole[:40] + b"\0\0\0\0" + whole[44:],
        "page.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EOF\n",
    }
    for name, content in cases.items():
        (files / name).write_bytes(content)
        with pytest.raises(UserError, match=f"--edit {name}: (this is no picture|the picture cannot be read)"):
            open_picture(files.joinpath(name).relative_to(files), "--edit")


def test_a_picture_too_large_to_be_one(files, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 16)
    with pytest.raises(UserError, match="the picture cannot be read: .*decompression bomb"):
        open_picture(files / "a.png", "--edit")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(files):
    (files / "a.png").chmod(0)
    with pytest.raises(UserError, match="--edit .*a.png: Permission denied"):
        open_picture(files / "a.png", "--edit")


def test_pictures_are_turned_upright(files):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn a quarter
    Image.new("RGB", (8, 4)).save("turned.jpg", exif=exif)
    assert open_picture(files / "turned.jpg", "--edit").size == (4, 8)


def test_what_a_file_says_survives_its_reading(files):
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt("prompt", "猫")
    Image.new("RGB", (4, 4)).save("told.png", pnginfo=chunks)
    assert open_picture(files / "told.png", "--like").text == {"prompt": "猫"}


def test_transparency_shows_the_ground():
    clear = Image.new("RGBA", (1, 1), (255, 0, 0, 0))
    assert opaque(clear, "white").getpixel((0, 0)) == (255, 255, 255)
    assert opaque(clear, "black").getpixel((0, 0)) == (0, 0, 0)
    assert opaque(Image.new("RGB", (1, 1), (1, 2, 3)), "white").getpixel((0, 0)) == (1, 2, 3)
    palette = Image.new("P", (1, 1), 0)
    palette.info["transparency"] = 0
    assert opaque(palette, "white").getpixel((0, 0)) == (255, 255, 255)


# --- tokens -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    from tiny_pictures import policy_of, save_tiny_pictures

    return policy_of(save_tiny_pictures(tmp_path_factory.mktemp("pictures")))


def drawn(policy, edit, count=3):
    """Tokens before, and after the edit of `count` samples."""
    from maskgrpo_cli.engine.generation import generate
    from maskgrpo_cli.noise import Noise

    settings = SamplerConfig(name="emerge", length=64, steps=6, block_length=64, schedule="cosine")
    begun = edit.begin(policy.modality, 64)
    noise = Noise((0,), tuple(range(count)))
    frames = []
    after = generate(
        policy, [[]] * count, settings, noise, observe=lambda *seen: frames.append(seen[2]), sampler=begun.sampler
    )
    return begun, after, frames


def test_what_a_mask_keeps_is_kept_to_the_token(policy, files):
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (32, 32, 3), dtype=np.uint8)).save("a.png")
    mask((32, 32), (0, 0, 18, 32)).save("m.png")
    edit = edit_of(request(edit="a.png", keep="m.png"))
    begun, after, frames = drawn(policy, edit)
    tokens = policy.modality.answers([edit.picture], 64)[0]
    stays = torch.arange(64) % 8 < 4  # 18 pixels are 4 tokens and a half
    assert torch.equal(begun.tokens[stays], tokens[stays])
    assert (begun.tokens[~stays] == policy.modality.vocabulary.mask_id).all()
    assert (after[:, stays] == tokens[stays]).all() and len(frames) == 6
    assert (after[:, ~stays] != tokens[~stays]).any()
    assert [cell.caption for cell in begun.cells] == ["given, as tokens", "kept"]


@pytest.mark.parametrize("mode", ["prob-remask", "flow-remask"])
def test_a_strength_hides_its_share(policy, files, mode):
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (32, 32, 3), dtype=np.uint8)).save("a.png")
    edit = edit_of(
        Request(
            Config(sampler=SamplerConfig(name="emerge", length=64, steps=6, block_length=64, schedule="cosine")),
            ["x"], 1, edit="a.png", strength=0.5, mode=mode,
        )
    )  # fmt: skip
    assert edit.repair_from == 4 and edit.share == pytest.approx(0.5)
    begun, after, frames = drawn(policy, edit, 8)
    assert len(frames) == 2, "steps 4 and 5 of 6"
    hidden = (frames[0] == policy.modality.vocabulary.mask_id) | (frames[0] != begun.tokens)
    assert 0.3 < hidden.float().mean() <= 0.55
    assert (after == begun.tokens).float().mean() > 0.4
    assert [cell.caption for cell in begun.cells] == ["given, as tokens"]
