"""MMaDA's sequences, against golden ones and by their properties."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import GOLDEN, table, tensors

from maskgrpo_cli.errors import UserError
from maskgrpo_cli.modalities import layouts
from maskgrpo_cli.modalities.layouts import IGNORED
from maskgrpo_cli.models.loading import load_tokenizer
from maskgrpo_cli.models.tokenizer import build_tokenizer

FACTS, EXPECTED = table("mmada/prompting"), tensors("mmada/prompting")
TOKENIZER = load_tokenizer(GOLDEN / "mmada")
SPECIAL = layouts.special_ids(TOKENIZER)
T, N, MASK = FACTS["max_text_len_arg"], FACTS["num_vq_tokens"], FACTS["mask_id"]


def ids_of(texts) -> list[list[int]]:
    return [TOKENIZER.encode(text, add_special_tokens=False) for text in texts]


def same(actual: torch.Tensor, name: str) -> None:
    assert torch.equal(actual.long(), EXPECTED[name].long()), name


def check(rows: layouts.Rows, name: str, prompt: bool = True) -> None:
    same(rows.ids, f"{name}.ids")
    same(rows.labels, f"{name}.labels")
    if prompt:
        same(rows.prompt, f"{name}.prompt_mask")


def test_special_ids_are_the_tokenizers():
    names = {"pad": "[iPAD]", "bos": "<|startoftext|>", "eos": "<|endoftext|>", "end_header": "<|end_header_id|>"}
    for role, index in vars(SPECIAL).items():
        assert index == FACTS["special_ids"][names.get(role, f"<|{role}|>")], role


def test_generation_with_and_without_a_caption():
    masks = torch.full((2, N), MASK)
    for name, texts in (("cond", ids_of(FACTS["texts"])), ("uncond", [[], []])):
        ids, mask = layouts.text_to_image(texts, masks, SPECIAL, T)
        same(ids, f"t2i_gen.{name}_ids")
        same(mask, f"t2i_gen.{name}_mask")


def test_a_long_caption_loses_its_end():
    ids, mask = layouts.text_to_image(ids_of([FACTS["long_text"]]), torch.full((1, N), MASK), SPECIAL, T)
    same(ids, "t2i_gen.long_ids")
    same(mask, "t2i_gen.long_mask")


@pytest.mark.parametrize("name", ["nodrop", "drop_all", "drop_half"])
def test_text_to_image_training(name):
    uniform = EXPECTED.get(f"t2i_train.{name}.uniform", torch.full((4,), 0.9))
    texts = ids_of(FACTS["t2i_train_texts"])
    texts = layouts.drop_conditions(texts, uniform, FACTS["t2i_train"]["cond_dropout_prob"][name])
    image, labels = EXPECTED["t2i_train.image_ids_in"], EXPECTED["t2i_train.image_labels_in"]
    rows = layouts.text_to_image_training(texts, image, labels, SPECIAL, T)
    check(rows, f"t2i_train.{name}", prompt=False)
    same(rows.attention_mask, f"t2i_train.{name}.mask")
    assert (~rows.prompt).nonzero()[:, 1].unique().tolist() == list(range(T + 2, T + 2 + N))  # the picture alone


def test_text_alone():
    rows = layouts.language(ids_of(FACTS["lm_texts"]), SPECIAL, FACTS["lm_max_seq_len"])
    check(rows, "lm", prompt=False)
    same(rows.attention_mask, "lm.mask")


def test_chats_are_asked_up_to_their_last_header():
    check(layouts.language(ids_of(FACTS["lm_chat_texts"]), SPECIAL, FACTS["lm_max_seq_len"]), "lm_chat")


def test_understanding():
    texts = ids_of(FACTS["mmu_texts"])
    check(layouts.understanding(EXPECTED["mmu.image_ids"], texts, SPECIAL, T), "mmu")
    asked = layouts.understanding_prompt(EXPECTED["mmu.image_ids"], SPECIAL)
    assert torch.equal(asked, EXPECTED["mmu.ids"][:, : N + 3])


def test_reasoning_before_an_image():
    check(layouts.reasoning_to_image(ids_of(FACTS["r2i_texts"]), EXPECTED["r2i.image_ids"], SPECIAL, T), "r2i")


words = st.lists(st.integers(1, 79), max_size=20)


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(words, min_size=1, max_size=4), length=st.integers(2, 16), tokens=st.integers(1, 9))
def test_a_picture_always_stands_in_the_same_place(texts, length, tokens):
    image = torch.arange(120, 120 + tokens).expand(len(texts), tokens)
    ids, mask = layouts.text_to_image(texts, image, SPECIAL, length)
    assert ids.shape == mask.shape == (len(texts), length + 1 + tokens + 2)
    assert torch.equal(ids[:, length + 2 : -1], image)
    assert (ids[:, length] == SPECIAL.eos).all() and (ids[:, length + 1] == SPECIAL.soi).all()
    assert (ids[:, -1] == SPECIAL.eoi).all()
    assert torch.equal(mask, ids != SPECIAL.pad)
    assert ((ids == SPECIAL.t2i).sum(1) == 1).all() and ((ids == SPECIAL.bos).sum(1) == 1).all()
    for row, text in zip(ids, texts, strict=True):
        shown = row[row.tolist().index(SPECIAL.bos) + 1 : length].tolist()
        assert shown == text[: length - 2]


@settings(max_examples=40, deadline=None)
@given(texts=st.lists(words, min_size=1, max_size=4), length=st.integers(2, 16))
def test_texts_beside_pictures_have_a_fixed_length_and_an_end(texts, length):
    image = torch.full((len(texts), 4), 130)
    seen, drawn = layouts.understanding(image, texts, SPECIAL, length), layouts.reasoning_to_image(
        texts, image, SPECIAL, length
    )
    assert seen.ids.shape == drawn.ids.shape == (len(texts), length + 7)
    assert (seen.ids[:, -1] == SPECIAL.eos).all() and (drawn.ids[:, length] == SPECIAL.eos).all()
    assert (seen.labels[:, :7] == IGNORED).all()


def test_bos_is_not_written_twice():
    ids, _ = layouts.captions([[SPECIAL.bos, 3, 6], [3, 6]], SPECIAL, 6)
    assert torch.equal(ids[0], ids[1])


def test_conditions_are_dropped_below_the_probability_only():
    texts, uniform = [[1], [2], [3]], torch.tensor([0.0, 0.1, 0.0999])
    assert layouts.drop_conditions(texts, uniform, 0.1) == [[], [2], []]
    assert layouts.drop_conditions(texts, uniform, 0.0) == texts


def test_the_published_tokenizer_calls_them_reserved():
    """LLaDA's tokenizer has no token <|soi|>; MMaDA gave the reserved ones their meaning."""
    reserved = [f"<|reserved_token_{number}|>" for number in (0, 1, 4, 5, 9, 10)]
    tokenizer = build_tokenizer([], ["<|end_header_id|>", *reserved])
    known, special = tokenizer.get_vocab(), layouts.special_ids(tokenizer)
    found = [special.soi, special.eoi, special.t2i, special.mmu, special.pad, special.r2i]
    assert found == [known[token] for token in reserved]


def test_missing_tokens_are_named():
    tokenizer = build_tokenizer([], ["<|soi|>", "<|eoi|>", "<|t2i|>", "<|mmu|>", "<|end_header_id|>"])
    with pytest.raises(UserError) as told:
        layouts.special_ids(tokenizer)
    assert str(told.value) == (
        "the tokenizer has no token [iPAD] or <|reserved_token_9|>, <|r2i|> or <|reserved_token_10|>; pictures need it"
    )
