"""Pictures of any kind and size as arrays of one size, and connected areas in them, many pictures at once.

Shapes: B pictures, N pixels a side.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

SIDE = 32
"""What pictures are read at: the larger are averaged down to it, which also quiets their noise."""
SMALLEST = 16


def as_array(picture: Any) -> np.ndarray:
    """A picture as [H, W, 3] float32 in 0..1: a PIL image, an array of uint8 or floats in [-1, 1], or a tensor.

    Raises ValueError for other shapes and types, and for pictures smaller than 16 pixels. What is not finite
    counts as black.
    """
    if hasattr(picture, "convert"):
        picture = picture.convert("RGB")
    elif hasattr(picture, "detach"):
        picture = picture.detach().cpu()
        picture = picture.float() if picture.is_floating_point() else picture
    array = np.asarray(picture)
    if array.ndim != 3 or array.shape[2] != 3 or min(array.shape[:2]) < SMALLEST:
        raise ValueError(f"a picture is [H, W, 3] and at least {SMALLEST} pixels wide, not of shape {array.shape}")
    if array.dtype == np.uint8:
        return array.astype(np.float32) / 255
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"a picture is uint8 or of floats in [-1, 1], not {array.dtype}")
    clean = np.nan_to_num(array.astype(np.float32), nan=-1.0, posinf=1.0, neginf=-1.0)
    return np.clip((clean + 1) / 2, 0.0, 1.0)


def stacked(pictures: Sequence[Any]) -> np.ndarray:
    """[B, N, N, 3]: every picture at the size at which they are read, on a square of its own ground."""
    return np.stack([_resized(as_array(picture)) for picture in pictures])


def ground_of(picture: np.ndarray) -> np.ndarray:
    """[..., 3]: the median colour of the edge pixels of pictures [..., H, W, 3]."""
    rim = [picture[..., 0, :, :], picture[..., -1, :, :], picture[..., 1:-1, 0, :], picture[..., 1:-1, -1, :]]
    return np.median(np.concatenate(rim, axis=-2), axis=-2)


def neighbours(field: np.ndarray, fill: float) -> np.ndarray:
    """[4, ..., N, N]: the values above, below, left and right of each pixel of [..., N, N]; `fill` outside."""
    around = np.full((4, *field.shape), fill, dtype=field.dtype)
    around[0, ..., 1:, :] = field[..., :-1, :]
    around[1, ..., :-1, :] = field[..., 1:, :]
    around[2, ..., :, 1:] = field[..., :, :-1]
    around[3, ..., :, :-1] = field[..., :, 1:]
    return around


def blocks(field: np.ndarray) -> np.ndarray:
    """The sum over the 3x3 pixels around each, of [B, N, N, C]."""
    padded = np.pad(field, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]


def connected(classes: np.ndarray) -> np.ndarray:
    """[B, N, N]: for each pixel of a class >= 0 the number of its connected area, counted from 0 over all
    pictures; -1 where the class is negative. Neighbours above, below, left and right connect.
    """
    place = np.arange(classes.size).reshape(classes.shape)
    joined = (neighbours(classes, -1) == classes) & (classes >= 0)
    root = np.where(classes >= 0, place, -1)
    while True:  # the largest number of an area spreads over it, by jumps to what is known of that place
        spread = np.maximum(root, np.where(joined, neighbours(root, -1), -1).max(axis=0))
        spread = np.where(spread >= 0, np.maximum(spread, spread.reshape(-1)[spread]), -1)
        if (spread == root).all():
            break
        root = spread
    numbers = np.unique(root, return_inverse=True)[1].reshape(root.shape)
    return numbers - int((root < 0).any())


def _resized(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    if height != width:
        side = max(height, width)
        square = np.broadcast_to(ground_of(picture), (side, side, 3)).astype(np.float32)
        top, left = (side - height) // 2, (side - width) // 2
        square[top : top + height, left : left + width] = picture
        picture, height = square, side
    if height == SIDE:
        return picture
    weights = _weights(height)
    return weights @ (weights @ picture.reshape(height, -1)).reshape(SIDE, height, 3)


@lru_cache(maxsize=64)
def _weights(side: int) -> np.ndarray:
    """[N, side]: how much of each old pixel a new one takes: by area when fewer, between two when more."""
    if side > SIDE:
        edges = np.arange(SIDE + 1) * side / SIDE
        old = np.arange(side)
        overlap = np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old)
        weights = np.clip(overlap, 0, None)
    else:
        centres = np.clip((np.arange(SIDE) + 0.5) * side / SIDE - 0.5, 0, side - 1)
        weights = np.clip(1 - abs(centres[:, None] - np.arange(side)), 0, None)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
