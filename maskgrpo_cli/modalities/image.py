"""Pictures: captions to a canvas of image tokens, ids to pictures.

Shapes: B pictures, N image tokens, h x w rows and columns of tokens, H x W pixels.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from maskgrpo_cli.errors import RunFailed, UserError
from maskgrpo_cli.modalities.layouts import special_ids, text_to_image
from maskgrpo_cli.types import Canvas, Vocabulary

LONGEST_NAME = 48  # letters, of up to four bytes each, of a saved picture's name
STILL_MASKED = 128  # the grey of what has no image token yet


class ImageTokenizer(Protocol):
    """An image tokenizer as the modality sees it."""

    factor: int  # pixels of a token's side
    codebook_size: int

    def encode(self, images: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] in [-1, 1] -> codes [B, N], row by row."""

    def decode(self, codes: Tensor, shape: tuple[int, int]) -> Tensor:
        """Codes [B, N] -> pictures [B, 3, H, W] about [-1, 1]."""


class ImageModality:
    """The image side of a model: its prompt layout, its slice of the vocabulary and the image tokenizer.

    Image code k is the token with id k + length of the text tokenizer.

    Args:
        tokenizer: a fast tokenizer with the tokens of `layouts.TOKENS`.
        mask_id: the mask token.
        rows: embedding rows, among which the image codes must lie.
        pictures: turns codes into pictures and back.
        text_length: T; a caption with its special tokens takes T + 1 places.
        shape: rows and columns of image tokens; None: as many rows as columns.
        batch_size: pictures that the image tokenizer sees at once.

    Raises:
        UserError: tokens are missing, or the codes do not fit in the embedding.
    """

    supervision, saves_files, prompt_overhead = "image", True, 0  # the canvas adds what stands around a caption

    def __init__(
        self,
        tokenizer,
        mask_id: int,
        rows: int,
        *,
        pictures: ImageTokenizer,
        text_length: int = 128,
        shape: tuple[int, int] | None = None,
        batch_size: int = 4,
    ):
        self.tokenizer, self.pictures = tokenizer, pictures
        self.special, self.pad_id, self.end_ids = special_ids(tokenizer), special_ids(tokenizer).pad, ()
        if text_length < 2:
            raise UserError(f"a text length of {text_length} leaves no place for a caption; write at least 3")
        self.text_length, self.shape, self.batch_size = text_length, shape, batch_size
        first, last = len(tokenizer), len(tokenizer) + pictures.codebook_size
        if last > rows:
            raise UserError(
                f"the image tokenizer has {pictures.codebook_size} codes, but the model has {rows} embedding rows, "
                f"{first} of them for text: they do not belong together"
            )
        self.vocabulary = Vocabulary(mask_id=mask_id, first=first, last=last, forbidden=None)

    @property
    def longest_prompt(self) -> int:
        """Caption tokens that are not cut: T + 1 places less the task token, the start and the end."""
        return self.text_length - 2

    # --- prompts to a canvas ----------------------------------------------------------------------

    def encode(self, chats: Sequence[Sequence[Mapping[str, str]]]) -> list[list[int]]:
        """Caption ids of chats, without special tokens; the canvas adds them."""
        return self.tokenizer(self.render(chats), add_special_tokens=False)["input_ids"] if chats else []

    def render(self, chats: Sequence[Sequence[Mapping[str, str]]]) -> list[str]:
        """The captions: what the chats say, without a chat template."""
        return ["\n".join(message["content"] for message in chat) for chat in chats]

    def cut(self, prompt: list[int], length: int) -> list[int]:
        """The first `length` tokens of a caption that is too long."""
        return prompt[:length]

    def without_condition(self, prompt: list[int]) -> list[int]:
        """The empty caption."""
        return []

    def canvas(self, prompts: Sequence[Sequence[int]], length: int) -> Canvas:
        """`[pads] t2i bos caption eos soi` `length` masks `eoi`; the unconditional canvas has an empty caption.

        Raises:
            UserError: `length` image tokens are no picture of this shape.
        """
        self.shape_of(length)
        masks = torch.full((len(prompts), length), self.vocabulary.mask_id)
        start = self.text_length + 2  # behind the text segment and soi
        with_caption, without = (
            text_to_image(texts, masks, self.special, self.text_length) for texts in (prompts, [[]] * len(prompts))
        )
        return Canvas(*with_caption, start, length, Canvas(*without, start, length))

    def shape_of(self, length: int) -> tuple[int, int]:
        """Rows and columns of a picture of `length` image tokens.

        Raises:
            UserError: it is not a picture of this modality's shape, or no square.
        """
        side = round(length**0.5)
        rows, columns = self.shape or (side, side)
        if rows * columns != length or not length:
            wanted = f"{rows} rows of {columns}" if self.shape else "a square number, such as 64 or 1024"
            raise UserError(f"a picture of {length} image tokens: write {wanted}")
        return rows, columns

    # --- responses --------------------------------------------------------------------------------

    def missing(self, answers: Tensor) -> Tensor:
        """[B] bool: False, every picture is whole."""
        return torch.zeros(len(answers), dtype=torch.bool)

    def valid(self, response: Tensor) -> Tensor:
        """[B, N] bool: every image token belongs to the picture."""
        return torch.ones_like(response, dtype=torch.bool)

    def decode(self, response: Tensor) -> list[Image.Image]:
        """The pictures of image token ids [B, N]; what is no image token, such as a mask, is grey."""
        shape = self.shape_of(response.shape[1])
        codes = response - self.vocabulary.first
        known = (codes >= 0) & (codes < self.pictures.codebook_size)
        drawn = []
        for part, seen in zip(codes.split(self.batch_size), known.split(self.batch_size), strict=True):
            pixels = as_bytes(self.pictures.decode(torch.where(seen, part, 0), shape))
            visible = seen.view(-1, *shape).cpu()
            for side in (1, 2):
                visible = visible.repeat_interleave(self.pictures.factor, dim=side)
            drawn.extend(torch.where(visible[..., None], pixels, STILL_MASKED).numpy())
        return [Image.fromarray(pixels) for pixels in drawn]

    def answers(self, pictures: Sequence[Image.Image], length: int) -> Tensor:
        """Image token ids [B, N] of pictures, each scaled and cut about its middle to the size of `length` tokens."""
        rows, columns = self.shape_of(length)
        size = (columns * self.pictures.factor, rows * self.pictures.factor)
        codes = [torch.empty(0, length, dtype=torch.int64)]
        for start in range(0, len(pictures), self.batch_size):
            part = [pictures[index] for index in range(start, min(start + self.batch_size, len(pictures)))]
            codes.append(self.pictures.encode(torch.stack([as_pixels(picture, size) for picture in part])).cpu())
        return torch.cat(codes) + self.vocabulary.first

    def written(self, completion: Image.Image, folder: Path | None, name: str) -> str:
        """`FOLDER/name.png`, the last part of the folder and the file, where the picture was saved; else its size.

        A name that no file can have everywhere, such as one with `/`, has `_` in those places and ends in a hash of
        the whole name, so that two names never share a file.
        """
        if folder is None:
            return f"a picture of {completion.width}x{completion.height} pixels"
        name = file_name(name)
        partial, whole = folder / f".{name}.{os.getpid()}.tmp", folder / f"{name}.png"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            completion.save(partial, "PNG")
            os.replace(partial, whole)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise RunFailed(f"{whole} cannot be written: {error.strerror}") from error
        return f"{folder.name}/{whole.name}"

    def pieces(self, row: Tensor) -> list[str | None]:
        """The code of each image token of one response [N], None where it is still masked; for traces."""
        first, mask_id = self.vocabulary.first, self.vocabulary.mask_id
        return [None if index == mask_id else str(index - first) for index in row.tolist()]


def file_name(name: str) -> str:
    """A name as that of a file: letters, digits, `_`, `.` and `-` stay; what had to change ends in a hash of it."""
    plain = re.sub(r"[^\w.-]", "_", name)[:LONGEST_NAME]
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:10]}"


def as_bytes(images: Tensor) -> Tensor:
    """Pictures [B, 3, H, W] in [-1, 1] -> [B, H, W, 3] uint8 on the CPU: round(255 (x + 1) / 2)."""
    return ((images.float() + 1) * 127.5).clamp(0, 255).round().byte().permute(0, 2, 3, 1).cpu()


def as_pixels(picture: Image.Image | np.ndarray, size: tuple[int, int]) -> Tensor:
    """A picture (PIL, or uint8 [H, W, 3]) -> [3, H, W] in [-1, 1], scaled (bicubic) and cut about its middle.

    Args:
        size: width and height.
    """
    whole = picture if isinstance(picture, Image.Image) else Image.fromarray(np.asarray(picture))
    fitted = ImageOps.fit(whole.convert("RGB"), size, Image.Resampling.BICUBIC)
    return torch.from_numpy(np.asarray(fitted, dtype=np.float32)).permute(2, 0, 1) / 127.5 - 1
