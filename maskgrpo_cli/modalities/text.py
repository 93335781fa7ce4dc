"""Text: chat turns to a canvas, ids to strings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from maskgrpo_cli.errors import UserError
from maskgrpo_cli.types import Canvas, Vocabulary

END_TOKENS = ("<|eot_id|>", "<|endoftext|>")


def left_padded(rows: Sequence[Sequence[int]], fill: int, width: int | None = None) -> tuple[Tensor, Tensor]:
    """Ids [B, P] and mask [B, P], each row at the right; P is `width`, or the longest row's."""
    width = max(len(row) for row in rows) if width is None else width
    ids = torch.full((len(rows), width), fill)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for index, row in enumerate(rows):
        if row:
            ids[index, width - len(row) :] = torch.tensor(row)
            mask[index, width - len(row) :] = True
    return ids, mask


class TextModality:
    """The text side of a model: its tokenizer, chat template and what it may write.

    Args:
        tokenizer: a fast tokenizer.
        mask_id: the mask token.
        rows: embedding rows, of which ids without a token are never generated.
    """

    supervision, saves_files, prompt_overhead = "text", False, 0

    def __init__(self, tokenizer, mask_id: int, rows: int):
        self.tokenizer = tokenizer
        known = tokenizer.get_vocab()
        self.end_ids = tuple(sorted({known[token] for token in (*END_TOKENS, tokenizer.eos_token) if token in known}))
        if not self.end_ids:
            raise UserError("the tokenizer has no end-of-text token (<|endoftext|>, <|eot_id|> or eos_token)")
        named = (tokenizer.pad_token_id, tokenizer.eos_token_id)  # None where the tokenizer's settings name none
        self.pad_id = next(index for index in (*named, *self.end_ids) if index is not None)
        forbidden = torch.ones(rows, dtype=torch.bool)
        forbidden[torch.tensor([index for index in known.values() if index < rows])] = False
        forbidden[mask_id] = True
        self.vocabulary = Vocabulary(
            mask_id=mask_id,
            first=0,
            last=rows,
            forbidden=forbidden,
            end_ids=self.end_ids,
            fill_id=tokenizer.eos_token_id if tokenizer.eos_token_id is not None else self.end_ids[0],
        )

    def encode(self, chats: Sequence[Sequence[Mapping[str, str]]]) -> list[list[int]]:
        """Prompt ids of chats, as `render` writes them."""
        return self.tokenizer(self.render(chats), add_special_tokens=False)["input_ids"] if chats else []

    def render(self, chats: Sequence[Sequence[Mapping[str, str]]]) -> list[str]:
        """The text that the model sees of chats: through the checkpoint's template; without one, the plain text."""
        if not self.tokenizer.chat_template:
            return ["\n".join(message["content"] for message in chat) for chat in chats]
        return self.tokenizer.apply_chat_template(
            [list(chat) for chat in chats], tokenize=False, add_generation_prompt=True
        )

    def cut(self, prompt: list[int], length: int) -> list[int]:
        """The last `length` tokens of a prompt that is too long: what is asked stands at its end."""
        return prompt[-length:]

    def without_condition(self, prompt: list[int]) -> list[int]:
        """The prompt itself: text is not trained without one."""
        return prompt

    def canvas(self, prompts: Sequence[Sequence[int]], length: int) -> Canvas:
        """Left-padded prompts and `length` masks; the unconditional canvas has its prompt masked out."""
        mask_id = self.vocabulary.mask_id
        ids, mask = left_padded(prompts, self.pad_id)
        response = torch.full((len(prompts), length), mask_id)
        visible = torch.cat([mask, torch.ones_like(response, dtype=torch.bool)], dim=1)
        attention = None if bool(visible.all()) else visible
        without = torch.cat([torch.where(mask, mask_id, ids), response], dim=1)
        return Canvas(
            torch.cat([ids, response], dim=1),
            attention,
            ids.shape[1],
            length,
            Canvas(without, attention, ids.shape[1], length),
        )

    def answers(self, completions: Sequence[str], length: int) -> Tensor:
        """Answer ids [B, L], ended and padded with the end token; an answer that does not fit is cut."""
        end = self.vocabulary.fill_id
        rows = [[*self.tokenizer.encode(text, add_special_tokens=False), end][:length] for text in completions]
        ids = torch.full((len(rows), length), end)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row)
        return ids

    def missing(self, answers: Tensor) -> Tensor:
        """[B] bool: answers [B, L] that were cut, and so have no end."""
        return answers[:, -1] != self.vocabulary.fill_id

    def valid(self, response: Tensor) -> Tensor:
        """[B, L] bool: True up to and including the first end token of each row."""
        ended = torch.isin(response, torch.tensor(self.end_ids, device=response.device))
        return (ended.cumsum(-1) - ended.int()) == 0

    def decode(self, response: Tensor) -> list[str]:
        """The answers as text, up to their first end token."""
        kept = self.valid(response) & ~torch.isin(response, torch.tensor(self.end_ids, device=response.device))
        return [
            self.tokenizer.decode(row[keep].tolist(), skip_special_tokens=True, clean_up_tokenization_spaces=False)
            for row, keep in zip(response.cpu(), kept.cpu(), strict=True)
        ]

    def written(self, completion: str, folder: Path | None, name: str) -> str:
        """The text itself."""
        return completion

    def pieces(self, row: Tensor) -> list[str | None]:
        """The text of each token of one response [L], None where it is still masked; for traces."""
        return [None if index == self.vocabulary.mask_id else self.tokenizer.decode([index]) for index in row.tolist()]
