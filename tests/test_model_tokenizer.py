"""The small tokenizer: words where it has them, bytes for everything else, and never a loss."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskgrpo_cli.models.loading import load_tokenizer
from maskgrpo_cli.models.tokenizer import build_tokenizer

PIECES = ["Tom", "apples", "<reasoning>", "</reasoning>", "\\boxed{", "}", "12", "1", "2", "+", "Tom"]
CHIPS = ["Tom", " ", "1", "2", "apples", "\n", "<", "0x41>", "é", "\0", "🙂", "<|eot_id|>", "<|", "\\boxed"]
TOKENIZER = build_tokenizer(PIECES)


def ids(text: str) -> list[int]:
    return TOKENIZER.encode(text, add_special_tokens=False)


def back(tokens: list[int]) -> str:
    return TOKENIZER.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False)


@settings(max_examples=300, deadline=None)
@given(st.text() | st.lists(st.sampled_from(CHIPS)).map("".join))
def test_any_text_comes_back(text):
    assert back(ids(text)) == text


@pytest.mark.parametrize(
    "text",
    ["<0x41>", "<0xFF>", "a\x00b\x7f\x1b", "  two  spaces ", "\r\n\t", "🙂👩‍👩‍👧", "naïve ſ ﬁ",
     "", "\u202eright to left", " don't , do it .", "<unk>", "Ġ Ċ ▁", "\ufeffmark"],
)
def test_odd_text_comes_back(text):
    assert back(ids(text)) == text


def test_words_are_one_token_with_and_without_a_space():
    for piece in ("Tom", "apples", "<reasoning>", "</reasoning>", "\\boxed{", "12", "+"):
        assert len(ids(piece)) == len(ids(f" {piece}")) == 1, piece
    assert len(ids("Tom apples 12")) == 3
    assert len(ids("<reasoning>1+2</reasoning>\\boxed{12}")) == 8


def test_the_fewest_pieces_win_and_the_rest_becomes_bytes():
    assert len(ids("12")) == 1 and len(ids("121")) == 2
    assert len(ids("🙂")) == 4  # four bytes of UTF-8


def test_special_tokens():
    vocabulary = TOKENIZER.get_vocab()
    assert TOKENIZER.bos_token == "<|startoftext|>"
    assert TOKENIZER.eos_token == TOKENIZER.pad_token == "<|endoftext|>"
    assert TOKENIZER.mask_token == "<|mdm_mask|>"
    for token in ("<|startoftext|>", "<|endoftext|>", "<|mdm_mask|>", "<|eot_id|>"):
        assert ids(token) == [vocabulary[token]]
    assert len(set(vocabulary.values())) == len(TOKENIZER) == max(vocabulary.values()) + 1
    assert len(TOKENIZER) == 256 + 4 + sum(len(piece) > 1 for piece in set(PIECES)) + len(set(PIECES))


def test_the_chat_template():
    turns = [
        {"role": "user", "content": "  Tom has 12 apples. "},
        {"role": "assistant", "content": "12"},
        {"role": "user", "content": "1+2"},
    ]
    text = TOKENIZER.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert text == "<|startoftext|>Tom has 12 apples.<|eot_id|>12<|eot_id|>1+2<|eot_id|>"


def test_it_reads_back_from_its_folder(tmp_path):
    TOKENIZER.save_pretrained(tmp_path)
    again = load_tokenizer(tmp_path)
    text = "<reasoning>Tom 🙂 <0x41></reasoning>"
    assert again.encode(text, add_special_tokens=False) == ids(text)
    assert again.chat_template == TOKENIZER.chat_template
    assert again.mask_token_id == TOKENIZER.mask_token_id and again.get_vocab() == TOKENIZER.get_vocab()


def test_it_does_not_depend_on_repeats_and_can_be_bare():
    assert build_tokenizer(PIECES[:-1]).get_vocab() == TOKENIZER.get_vocab()
    bare = build_tokenizer([])
    assert len(bare) == 256 + 4 and len(bare.encode("ab é")) == 5
