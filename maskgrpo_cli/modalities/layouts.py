"""How MMaDA (arXiv 2505.15809) lays texts and pictures out in one sequence: pure functions over token ids.

Shapes: B rows, T text length, N image tokens, S = T + N + 3 sequence. Texts are lists of ids without special
tokens, pictures are [B, N] ids. Every special id comes from the tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from maskgrpo_cli.errors import UserError
from maskgrpo_cli.modalities.text import left_padded

IGNORED = -100  # the label of what no loss counts

# The token of each special id, and the reserved token of LLaDA's tokenizer whose place MMaDA gave it.
TOKENS = {
    "bos": ("<|startoftext|>", None),
    "eos": ("<|endoftext|>", None),
    "end_header": ("<|end_header_id|>", None),
    "soi": ("<|soi|>", "<|reserved_token_0|>"),
    "eoi": ("<|eoi|>", "<|reserved_token_1|>"),
    "t2i": ("<|t2i|>", "<|reserved_token_4|>"),
    "mmu": ("<|mmu|>", "<|reserved_token_5|>"),
    "pad": ("[iPAD]", "<|reserved_token_9|>"),
    "r2i": ("<|r2i|>", "<|reserved_token_10|>"),
}


@dataclass(frozen=True)
class SpecialIds:
    """The ids of the tokens that a layout is made with."""

    bos: int
    eos: int
    end_header: int  # the last one ends what is asked
    soi: int  # start and end of a picture
    eoi: int
    t2i: int  # tasks: text to image, understanding, reasoning before an image
    mmu: int
    r2i: int
    pad: int  # left of a caption


def special_ids(tokenizer) -> SpecialIds:
    """The special ids of a tokenizer, by the text of their tokens.

    Raises:
        UserError: the tokenizer lacks some of the tokens.
    """
    known = tokenizer.get_vocab()
    found = {role: next((known[name] for name in names if name in known), None) for role, names in TOKENS.items()}
    if missing := [" or ".join(filter(None, TOKENS[role])) for role, index in found.items() if index is None]:
        raise UserError(f"the tokenizer has no token {', '.join(missing)}; pictures need it")
    return SpecialIds(**found)


@dataclass(frozen=True)
class Rows:
    """Sequences to train on, all [B, S]."""

    ids: Tensor  # int64
    attention_mask: Tensor  # bool, False on padding
    labels: Tensor  # int64, IGNORED where no loss is wanted
    prompt: Tensor  # bool: what is given and never masked


# --- text to image ------------------------------------------------------------------------------------


def captions(texts: Sequence[Sequence[int]], special: SpecialIds, text_length: int) -> tuple[Tensor, Tensor]:
    """Ids and mask [B, T + 1] of `[pad ...] t2i bos text eos`; a text that is too long loses its end."""
    rows = []
    for text in texts:
        row = [special.t2i, *_begun(text, special), special.eos]
        rows.append(row if len(row) <= text_length + 1 else [*row[:text_length], special.eos])
    return left_padded(rows, special.pad, text_length + 1)


def text_to_image(
    texts: Sequence[Sequence[int]], image_ids: Tensor, special: SpecialIds, text_length: int
) -> tuple[Tensor, Tensor]:
    """Ids and mask [B, S] of `[pad ...] t2i bos text eos soi picture eoi`; an empty text is the unconditional one."""
    segment, mask = captions(texts, special, text_length)
    ids = torch.cat([segment, _framed(image_ids, special)], dim=1)
    return ids, torch.cat([mask, torch.ones(len(mask), image_ids.shape[1] + 2, dtype=torch.bool)], dim=1)


def drop_conditions(texts: Sequence[Sequence[int]], uniform: Tensor, probability: float) -> list[Sequence[int]]:
    """The texts, each replaced by the empty one where its uniform [B] is below `probability`."""
    return [[] if drawn < probability else text for text, drawn in zip(texts, uniform.tolist(), strict=True)]


def text_to_image_training(
    texts: Sequence[Sequence[int]], image_ids: Tensor, image_labels: Tensor, special: SpecialIds, text_length: int
) -> Rows:
    """Sequences to train pictures on.

    Args:
        texts: captions, some of them dropped (`drop_conditions`).
        image_ids: [B, N] partly masked; image_labels: [B, N], IGNORED where not masked.

    Returns:
        labels hold the text and the frame of the picture too, as published; the loss counts masked image tokens only.
    """
    ids, mask = text_to_image(texts, image_ids, special, text_length)
    text = slice(0, text_length + 1)
    labels = torch.cat(
        [ids[:, text].masked_fill(~mask[:, text], IGNORED), _framed(image_labels, special)],
        dim=1,
    )
    prompt = torch.ones_like(mask)
    prompt[:, text_length + 2 : -1] = False
    return Rows(ids, mask, labels, prompt)


# --- text, understanding, reasoning -------------------------------------------------------------------


def language(texts: Sequence[Sequence[int]], special: SpecialIds, length: int) -> Rows:
    """`bos text eos ...` filled with eos to `length`, or cut without one; what is asked ends at the last header."""
    ids = _filled([[*_begun(text, special), special.eos][:length] for text in texts], special.eos, length)
    return Rows(ids, _all(ids), ids, _asked(ids, special))


def understanding(image_ids: Tensor, texts: Sequence[Sequence[int]], special: SpecialIds, text_length: int) -> Rows:
    """`mmu soi picture eoi bos text eos ...`, filled with eos to T text tokens; the picture is given."""
    picture = understanding_prompt(image_ids, special)
    text = _answer(texts, special, text_length)
    ids = torch.cat([picture, text], dim=1)
    labels = torch.cat([torch.full_like(picture, IGNORED), text], dim=1)
    return Rows(ids, _all(ids), labels, torch.cat([_all(picture), _asked(text, special)], dim=1))


def understanding_prompt(image_ids: Tensor, special: SpecialIds) -> Tensor:
    """`mmu soi picture eoi` [B, N + 3]: what stands before the text when a picture is asked about."""
    return torch.cat([torch.full((len(image_ids), 1), special.mmu), _framed(image_ids, special)], dim=1)


def reasoning_to_image(
    texts: Sequence[Sequence[int]], image_ids: Tensor, special: SpecialIds, text_length: int
) -> Rows:
    """`r2i bos text eos ... soi picture eoi`, the text filled with eos to T; a text without a header is all given."""
    task, text = torch.full((len(image_ids), 1), special.r2i), _answer(texts, special, text_length)
    asked = _asked(text, special)
    asked |= ~asked.any(dim=1, keepdim=True)
    picture = torch.zeros(len(image_ids), image_ids.shape[1] + 2, dtype=torch.bool)
    picture[:, [0, -1]] = True  # the frame of the picture
    ids = torch.cat([task, text, _framed(image_ids, special)], dim=1)
    return Rows(ids, _all(ids), ids, torch.cat([_all(task), asked, picture], dim=1))


# --- pieces -------------------------------------------------------------------------------------------


def _begun(text: Sequence[int], special: SpecialIds) -> list[int]:
    return list(text) if text and text[0] == special.bos else [special.bos, *text]


def _answer(texts: Sequence[Sequence[int]], special: SpecialIds, length: int) -> Tensor:
    """`bos text eos ...` [B, T]; a text that is too long keeps an eos at its end."""
    rows = [[*_begun(text, special)[: length - 1], special.eos] for text in texts]
    return _filled(rows, special.eos, length)


def _framed(image_ids: Tensor, special: SpecialIds) -> Tensor:
    ends = torch.tensor([special.soi, special.eoi]).expand(len(image_ids), 2)
    return torch.cat([ends[:, :1], image_ids.cpu(), ends[:, 1:]], dim=1)


def _filled(rows: Sequence[Sequence[int]], fill: int, width: int) -> Tensor:
    ids = torch.full((len(rows), width), fill)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row)
    return ids


def _all(ids: Tensor) -> Tensor:
    return torch.ones_like(ids, dtype=torch.bool)


def _asked(ids: Tensor, special: SpecialIds) -> Tensor:
    """[B, L] bool: True through the last header, nowhere without one."""
    return (ids == special.end_header).flip(1).cumsum(1).flip(1) > 0
