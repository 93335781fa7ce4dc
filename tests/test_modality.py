"""Text: prompts to a canvas, ids to strings, and where an answer ends."""

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from maskgrpo_cli.errors import UserError
from maskgrpo_cli.modalities.text import TextModality, left_padded
from maskgrpo_cli.models.tokenizer import build_tokenizer

TOKENIZER = build_tokenizer(["one", "two", "three"])
IDS = TOKENIZER.get_vocab()
EOT, END, MASK, START = (IDS[f"<|{name}|>"] for name in ("eot_id", "endoftext", "mdm_mask", "startoftext"))
ONE, TWO = IDS["one"], IDS["Ġtwo"]


@pytest.fixture
def text():
    return TextModality(TOKENIZER, MASK, rows=len(TOKENIZER) + 7)


def test_prompts_are_padded_at_the_left():
    ids, mask = left_padded([[1, 2, 3], [4], []], fill=9)
    assert ids.tolist() == [[1, 2, 3], [9, 9, 4], [9, 9, 9]]
    assert mask.int().tolist() == [[1, 1, 1], [0, 0, 1], [0, 0, 0]]


def test_the_canvas(text):
    canvas = text.canvas([[1, 2], [3]], 3)
    assert canvas.ids.tolist() == [[1, 2, MASK, MASK, MASK], [END, 3, MASK, MASK, MASK]]
    assert canvas.attention_mask.int().tolist() == [[1] * 5, [0, 1, 1, 1, 1]]
    assert (canvas.start, canvas.length) == (2, 3)
    without = canvas.unconditional
    assert without.ids.tolist() == [[MASK] * 5, [END, MASK, MASK, MASK, MASK]]  # padding stays padding
    assert torch.equal(without.attention_mask, canvas.attention_mask)


def test_without_padding_there_is_no_mask(text):
    assert text.canvas([[1, 2], [3, 4]], 2).attention_mask is None


def test_rows_of_a_canvas_take_their_mask_and_unconditional_rows(text):
    part = text.canvas([[1, 2], [3], [5, 6]], 2).rows([1, 2])
    assert part.ids[:, :2].tolist() == [[END, 3], [5, 6]]
    assert part.attention_mask.shape == part.unconditional.ids.shape == (2, 4)


def test_what_may_not_be_written(text):
    forbidden = text.vocabulary.forbidden
    assert forbidden.shape == (len(TOKENIZER) + 7,)
    assert forbidden[MASK] and forbidden[len(TOKENIZER) :].all()
    assert forbidden.sum() == 8
    assert (text.vocabulary.first, text.vocabulary.last) == (0, len(TOKENIZER) + 7)


def test_more_tokens_than_rows_are_cut_off():
    assert TextModality(TOKENIZER, 10, rows=50).vocabulary.forbidden.shape == (50,)


@pytest.mark.parametrize(
    ("row", "valid"),
    [
        ([ONE, TWO, ONE, TWO], [1, 1, 1, 1]),  # never ends
        ([ONE, EOT, ONE, TWO], [1, 1, 0, 0]),
        ([ONE, END, EOT, END], [1, 1, 0, 0]),  # whichever comes first, and one of it
        ([END, END, END, END], [1, 0, 0, 0]),  # an empty answer is one token
        ([ONE, ONE, ONE, EOT], [1, 1, 1, 1]),
    ],
)
def test_an_answer_ends_at_its_first_end_token_inclusive(text, row, valid):
    assert text.valid(torch.tensor([row])).int().tolist() == [valid]


def test_decoding_stops_at_the_end(text):
    rows = [[ONE, TWO, EOT, ONE], [END, ONE, ONE, ONE], [ONE, TWO, TWO, TWO]]
    assert text.decode(torch.tensor(rows)) == ["one two", "", "one two two two"]


def test_decoding_keeps_spaces_as_they_were_written(text):
    written = "one , two .  three 's  🙂"
    assert text.decode(text.answers([written], 64)) == [written]


def test_answers_are_ended_padded_and_cut(text):
    ids = text.answers(["one two", "one", "one two two two", ""], 3)
    assert ids.tolist() == [[ONE, TWO, END], [ONE, END, END], [ONE, TWO, TWO], [END, END, END]]


def test_encoding_uses_the_chat_template_and_adds_nothing(text):
    chat = [{"role": "user", "content": " one two "}]
    assert text.encode([chat, chat]) == [[START, ONE, TWO, EOT]] * 2
    assert text.encode([]) == []


def test_encoding_without_a_chat_template_is_plain_text():
    tokenizer = build_tokenizer(["one", "two"])
    tokenizer.chat_template = None
    modality = TextModality(tokenizer, tokenizer.mask_token_id, rows=len(tokenizer))
    turns = [{"role": "system", "content": "one"}, {"role": "user", "content": "two"}]
    assert tokenizer.decode(modality.encode([turns])[0]) == "one\ntwo"


def test_a_trace_shows_each_token_and_what_is_still_masked(text):
    assert text.pieces(torch.tensor([ONE, MASK, TWO])) == ["one", None, " two"]


def test_a_tokenizer_without_an_end_is_refused():
    bare = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    with pytest.raises(UserError, match="no end-of-text token"):
        TextModality(PreTrainedTokenizerFast(tokenizer_object=bare), 1, rows=2)


def test_the_eos_token_of_another_tokenizer_ends_an_answer():
    words = Tokenizer(models.WordLevel({"a": 0, "</s>": 1, "[MASK]": 2}, unk_token="a"))
    modality = TextModality(PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>"), 2, rows=3)
    assert modality.end_ids == (1,) and modality.vocabulary.fill_id == modality.pad_id == 1


def test_an_end_token_that_no_setting_names_is_found_by_its_text():
    words = Tokenizer(models.WordLevel({"a": 0, "<|endoftext|>": 1, "[MASK]": 2}, unk_token="a"))
    modality = TextModality(PreTrainedTokenizerFast(tokenizer_object=words), 2, rows=3)
    assert modality.end_ids == (1,) and modality.vocabulary.fill_id == modality.pad_id == 1
    assert modality.canvas([[0, 0], [0]], 1).ids.tolist() == [[0, 0, 2], [1, 0, 2]]
