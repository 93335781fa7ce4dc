"""Pictures as a modality: captions to a canvas, image tokens to pictures and back."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import GOLDEN, table, tensors
from PIL import Image

from maskgrpo_cli import registry
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.modalities.image import STILL_MASKED, ImageModality, as_bytes, as_pixels, file_name
from maskgrpo_cli.models.loading import load_tokenizer
from maskgrpo_cli.models.magvit import MagvitModel
from maskgrpo_cli.models.magvit_config import MagvitConfig, Side

FACTS, GOLD = table("mmada/prompting"), tensors("mmada/prompting")
TOKENIZER = load_tokenizer(GOLDEN / "mmada")
FIRST, MASK, N, T = FACTS["image_token_offset"], FACTS["mask_id"], FACTS["num_vq_tokens"], FACTS["max_text_len_arg"]


class Shades:
    """An image tokenizer whose code is the shade of a square of 2 x 2 pixels: code k is grey 4 k."""

    factor, codebook_size = 2, 64

    def __init__(self):
        self.batches = []

    def encode(self, images):
        return ((images[:, 0, ::2, ::2] + 1) * 127.5 / 4).round().long().flatten(1)

    def decode(self, codes, shape):
        self.batches.append(len(codes))
        pixels = codes.view(-1, 1, *shape).expand(-1, 3, -1, -1) * 4 / 127.5 - 1
        return pixels.repeat_interleave(2, 2).repeat_interleave(2, 3)


def image(**more) -> ImageModality:
    given = {"pictures": Shades(), "text_length": T} | more
    return ImageModality(TOKENIZER, MASK, 192, **given)


def chats(*texts):
    return [[{"role": "user", "content": text}] for text in texts]


# --- prompts ------------------------------------------------------------------------------------------


def test_the_canvas_is_the_golden_one_with_its_unconditional():
    modality = image()
    canvas = modality.canvas(modality.encode(chats(*FACTS["texts"])), N)
    for part, name in ((canvas, "cond"), (canvas.unconditional, "uncond")):
        assert torch.equal(part.ids, GOLD[f"t2i_gen.{name}_ids"])
        assert torch.equal(part.attention_mask, GOLD[f"t2i_gen.{name}_mask"].bool())
        assert (part.start, part.length) == (FACTS["text_segment_len"] + 1, N)
        assert (part.response == MASK).all()
    assert (canvas.ids[:, -1] == modality.special.eoi).all(), "the end of the picture is no part of the response"


def test_the_vocabulary_is_the_slice_of_image_codes():
    vocabulary = image().vocabulary
    assert (vocabulary.first, vocabulary.last, vocabulary.mask_id) == (FIRST, FIRST + 64, MASK)
    assert vocabulary.forbidden is None and vocabulary.end_ids == () and vocabulary.fill_id is None


def test_captions_are_plain_text():
    modality = image()
    assert modality.render([[{"role": "system", "content": "red"}, {"role": "user", "content": "cat"}]]) == ["red\ncat"]
    assert modality.encode(chats("a red cat")) == [[1, 3, 6]]
    assert modality.encode([]) == []


def test_rows_and_devices_of_a_canvas():
    part = image().canvas([[1], [2], [3, 4]], N).rows([2])
    assert part.ids.shape == part.unconditional.attention_mask.shape == (1, T + N + 3)
    assert part.to("cpu").response.shape == (1, N)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(1, 79), max_size=T + 4), min_size=1, max_size=3), st.sampled_from([1, 4, 9]))
def test_only_captions_tell_a_canvas_from_its_unconditional(prompts, length):
    modality = image()
    canvas = modality.canvas(prompts, length)
    without = modality.canvas([[]] * len(prompts), length)
    assert torch.equal(canvas.unconditional.ids, without.ids)
    assert torch.equal(canvas.unconditional.attention_mask, without.attention_mask)
    told = canvas.ids[:, : canvas.start][canvas.attention_mask[:, : canvas.start]].tolist()
    cut = [prompt[: modality.longest_prompt] for prompt in prompts]
    special = modality.special
    assert told == [
        index for text in cut for index in (special.t2i, special.bos, *text, special.eos, special.soi)
    ]


@pytest.mark.parametrize(("shape", "length"), [(None, 15), (None, 0), ((2, 8), 15), ((4, 4), 15)])
def test_a_number_of_tokens_that_is_no_picture_is_refused(shape, length):
    with pytest.raises(UserError, match=f"a picture of {length} image tokens: write"):
        image(shape=shape).canvas([[1]], length)


def test_an_image_tokenizer_of_another_model_is_refused():
    with pytest.raises(UserError, match="64 codes, but the model has 182 embedding rows, 119 of them for text"):
        ImageModality(TOKENIZER, MASK, 182, pictures=Shades())
    assert ImageModality(TOKENIZER, MASK, 183, pictures=Shades()).vocabulary.last == 183


def test_a_text_length_without_place_is_refused():
    with pytest.raises(UserError, match="leaves no place for a caption"):
        image(text_length=1)


def test_the_registry_finds_it():
    assert registry.resolve("modality", "image") is ImageModality


# --- pictures -----------------------------------------------------------------------------------------


def test_tokens_become_pixels_row_by_row():
    ids = FIRST + torch.tensor([[0, 1, 2, 3, 4, 63]])
    (picture,) = image(shape=(2, 3)).decode(ids)
    assert picture.size == (6, 4) and picture.mode == "RGB"
    assert np.asarray(picture)[::2, ::2, 1].tolist() == [[0, 4, 8], [12, 16, 252]]


def test_what_is_still_masked_is_grey():
    ids = torch.tensor([[FIRST + 63, MASK, FIRST + 64, FIRST]])
    (picture,) = image().decode(ids)
    expected = [[252, STILL_MASKED], [STILL_MASKED, 0]]
    assert np.asarray(picture)[::2, ::2, 0].tolist() == expected
    assert np.asarray(picture)[1::2, 1::2, 2].tolist() == expected


@pytest.mark.parametrize(("count", "batches"), [(1, [1]), (4, [4]), (5, [4, 1])])
def test_pictures_are_decoded_in_batches(count, batches):
    modality = image(batch_size=4)
    ids = FIRST + torch.arange(count)[:, None].expand(count, 4)
    pictures = modality.decode(ids)
    assert [np.asarray(picture)[0, 0, 0] for picture in pictures] == [4 * index for index in range(count)]
    assert modality.pictures.batches == batches


def test_pictures_become_tokens_and_come_back():
    modality = image(shape=(2, 3), batch_size=2)
    ids = FIRST + torch.tensor([[0, 10, 20, 30, 40, 50], [5, 5, 5, 60, 60, 60], [1, 2, 3, 4, 5, 6]])
    assert torch.equal(modality.answers(modality.decode(ids), 6), ids)
    assert modality.answers([], 6).shape == (0, 6)


def test_pictures_of_other_sizes_are_scaled_and_cut_about_their_middle():
    wide = np.zeros((10, 30, 3), dtype=np.uint8)
    wide[:, 10:20] = 200  # the middle third, which a square keeps
    pixels = as_pixels(Image.fromarray(wide), (4, 4))
    shades = (pixels + 1) * 127.5  # the filter looks a little beyond the cut
    torch.testing.assert_close(shades[:, :, 1:3], torch.full((3, 4, 2), 200.0), atol=10, rtol=0)
    assert shades.min() > 150
    assert as_pixels(Image.new("L", (7, 5), 255), (4, 2)).shape == (3, 2, 4)
    assert as_pixels(Image.new("RGBA", (4, 4), (255, 0, 0, 255)), (4, 4))[:, 0, 0].tolist() == [1, -1, -1]


def test_pixels_are_rounded_and_clamped():
    x = torch.tensor([-3.0, -1.0, 0.0, 1.0, 1.01, 2 * 100.4 / 255 - 1]).view(1, 1, 1, 6).expand(1, 3, 1, 6)
    assert as_bytes(x)[0, 0, :, 0].tolist() == [0, 0, 128, 255, 255, 100]


def test_every_image_token_counts():
    response = torch.tensor([[FIRST, MASK, FIRST + 3]])
    assert image().valid(response).all() and image().valid(response).shape == (1, 3)


def test_a_trace_shows_codes_and_masks():
    assert image().pieces(torch.tensor([FIRST, MASK, FIRST + 63])) == ["0", None, "63"]


def test_the_tokenizer_model_draws_what_it_decodes():
    side = Side(4, (1, 1), (1, 1))
    model = MagvitModel(MagvitConfig(side, side, codebook_dim=6, group_norm_groups=2)).eval()
    modality = image(pictures=model)
    ids = FIRST + torch.randint(64, (3, N), generator=torch.Generator().manual_seed(0))
    pictures = modality.decode(ids)
    expected = ((model.decode(ids - FIRST, (4, 4)) + 1) * 127.5).clamp(0, 255)
    for picture, pixels in zip(pictures, expected, strict=True):
        assert np.abs(np.asarray(picture).transpose(2, 0, 1) - pixels.numpy()).max() <= 0.5 + 1e-3
    read = modality.answers(pictures, N)
    assert ((read >= FIRST) & (read < FIRST + 64)).all()


# --- files ----------------------------------------------------------------------------------------------


@given(st.lists(st.text(max_size=80), min_size=2, max_size=2, unique=True))
def test_two_names_never_share_a_file(names):
    one, other = map(file_name, names)
    assert one != other and all(len(name) <= 60 and set(name).isdisjoint("/\\: \0") for name in (one, other))


def test_a_plain_name_stays_and_an_odd_one_is_marked():
    assert file_name("geneval-test-0-1") == "geneval-test-0-1"
    assert file_name("a/b").startswith("a_b-") and file_name("a/b") != file_name("a_b") != file_name("a b")
