"""A small tokenizer from a list of words: a word is one token, and whatever else there is becomes bytes."""

from __future__ import annotations

from collections.abc import Sequence

SPECIAL = {
    "bos_token": "<|startoftext|>",
    "eos_token": "<|endoftext|>",
    "pad_token": "<|endoftext|>",
    "mask_token": "<|mdm_mask|>",
}
END_OF_TURN = "<|eot_id|>"
# Short on purpose: a prompt of a small model has no tokens to spare for role headers.
CHAT_TEMPLATE = "{{ bos_token }}{% for message in messages %}{{ message['content'] | trim }}<|eot_id|>{% endfor %}"


def build_tokenizer(pieces: Sequence[str], special: Sequence[str] = ()):
    """A fast tokenizer in which each piece, with and without a space before it, is one token.

    Text is read as bytes, so none is lost; the fewest pieces that spell it win. `special` tokens join the usual ones.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [spelled for piece in dict.fromkeys(pieces) for spelled in (piece, f" {piece}")]
    spelt = [as_bytes.pre_tokenize_str(word)[0][0] for word in words]
    longer = [word for word in dict.fromkeys(spelt) if word not in alphabet]
    scores = [(letter, -10.0) for letter in alphabet] + [(word, -10.0) for word in longer]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=0, byte_fallback=False))
    tokenizer.pre_tokenizer, tokenizer.decoder = as_bytes, decoders.ByteLevel()
    others = [token for token in dict.fromkeys([END_OF_TURN, *special]) if token not in SPECIAL.values()]
    tokenizer.add_special_tokens([*dict.fromkeys(SPECIAL.values()), *others])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        clean_up_tokenization_spaces=False,
        additional_special_tokens=others,
        **SPECIAL,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast
