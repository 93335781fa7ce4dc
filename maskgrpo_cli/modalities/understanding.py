"""Questions about pictures: a picture and a question to a canvas of text, ids to answers (MMaDA, arXiv 2505.15809)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from maskgrpo_cli.errors import UserError
from maskgrpo_cli.modalities.image import ImageTokenizer, as_pixels
from maskgrpo_cli.modalities.layouts import special_ids, understanding_prompt
from maskgrpo_cli.modalities.text import TextModality


class UnderstandingModality(TextModality):
    """`mmu soi picture eoi question`, then an answer as in text; a turn's picture, or its codes [N], is its `picture`.

    Args:
        tokenizer, mask_id, rows: as for `TextModality`.
        pictures: turns pictures into codes.
        picture_tokens: N, the tokens of one picture, a square number.
        batch_size: pictures that the image tokenizer sees at once.

    Raises:
        UserError: the tokenizer lacks tokens that pictures need, or N is no square.
    """

    def __init__(
        self,
        tokenizer,
        mask_id: int,
        rows: int,
        *,
        pictures: ImageTokenizer,
        picture_tokens: int = 1024,
        batch_size: int = 4,
    ):
        super().__init__(tokenizer, mask_id, rows)
        self.pictures, self.special, self.batch_size = pictures, special_ids(tokenizer), batch_size
        side = round(picture_tokens**0.5)
        if side**2 != picture_tokens:
            raise UserError(f"config.json: num_vq_tokens = {picture_tokens}: pictures to be asked about are squares")
        self.size = (side * pictures.factor,) * 2
        self.picture_tokens, self.prompt_overhead = picture_tokens, picture_tokens + 3  # mmu, soi, the codes, eoi

    def encode(self, chats: Sequence[Sequence[Mapping[str, Any]]]) -> list[list[int]]:
        """Prompt ids of chats; the last picture of each stands before its text.

        Raises:
            UserError: a chat has no picture.
        """
        prompts: list[list[int]] = []
        for start in range(0, len(chats), self.batch_size):
            some = chats[start : start + self.batch_size]
            codes = self._codes([_picture(chat) for chat in some])
            before = understanding_prompt(codes + len(self.tokenizer), self.special)
            for picture, text in zip(before.tolist(), super().encode(some), strict=True):
                begun = text if text[:1] == [self.special.bos] else [self.special.bos, *text]
                prompts.append(picture + begun)
        return prompts

    def _codes(self, given: Sequence[Any]) -> Tensor:
        """Codes [B, N] of pictures, of which some may be codes [N] already."""
        pixels = [as_pixels(one, self.size) for one in given if not isinstance(one, Tensor)]
        made = iter(self.pictures.encode(torch.stack(pixels)).cpu() if pixels else ())
        return torch.stack([one if isinstance(one, Tensor) else next(made) for one in given])

    def cut(self, prompt: list[int], length: int) -> list[int]:
        """The picture, and the end of the question."""
        return prompt[: self.prompt_overhead] + prompt[self.prompt_overhead :][self.prompt_overhead - length :]


def _picture(chat: Sequence[Mapping[str, Any]]):
    found = [turn["picture"] for turn in chat if turn.get("picture") is not None]
    if not found:
        raise UserError(f"the question '{chat[-1]['content'][:60]}' has no picture; give it one, or use a text task")
    return found[-1]() if callable(found[-1]) else found[-1]
