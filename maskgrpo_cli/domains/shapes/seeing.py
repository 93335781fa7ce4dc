"""From pictures to the objects in them: colour segmentation, connected areas, and what each of them is.

The ground is the median of the edge pixels. A pixel on the rim of an object is a mixture of the ground and the object's
colour, so pixels are compared with the lines from the ground to each colour, not with the colours alone, and
the rim counts as far as the object covers it.

Shapes: B pictures, N pixels a side, C colours, K areas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from maskgrpo_cli.domains.shapes import outlines
from maskgrpo_cli.domains.shapes.drawing import PALETTE
from maskgrpo_cli.domains.shapes.naming import colour_name
from maskgrpo_cli.domains.shapes.pixels import SIDE, blocks, connected, ground_of, neighbours, stacked

SPECK = 12  # pixels: smaller areas are no objects
DUST = 2  # and these are not even specks
CLUTTER = 40  # pixels of specks that make one object nobody can name
_CONTRAST = 0.25  # what differs less from the ground belongs to it; black and white differ by 3^0.5
_RIM = 0.45  # the ground begins where the contrast falls below this share of the contrast close by
_BATCH = 64
_LINES = np.array(list(PALETTE.values()), dtype=np.float32) / 255


@dataclass(frozen=True)
class Seen:
    """An object in a picture; colour and shape are None where they are unclear.

    x, y and area are shares of the picture; confidence is how much of the object its shape explains, 0..1.
    """

    colour: str | None
    shape: str | None
    x: float
    y: float
    area: float
    confidence: float

    def __str__(self) -> str:
        return f"{self.colour or 'oddly coloured'} {self.shape or 'blob'}"


def look(pictures: Sequence[Any]) -> list[list[Seen]]:
    """The objects of each picture, the largest first; see `pixels.as_array` for what a picture may be."""
    found: list[list[Seen]] = []
    for first in range(0, len(pictures), _BATCH):
        found += _look(stacked(pictures[first : first + _BATCH]))
    return found


def _look(pictures: np.ndarray) -> list[list[Seen]]:
    labels, contrast = _segment(pictures)
    areas = connected(labels)
    sizes = np.bincount(areas[areas >= 0])
    owner = np.zeros(len(sizes), dtype=int)  # the picture of each area
    owner[areas[areas >= 0]] = np.nonzero(areas >= 0)[0]
    specks = np.bincount(owner, np.where((sizes > DUST) & (sizes < SPECK), sizes, 0), minlength=len(pictures))
    large = np.flatnonzero(sizes >= SPECK)
    found: list[list[Seen]] = [[] for _ in pictures]
    for picture, thing in zip(owner[large], _describe(large, owner[large], areas, contrast, pictures), strict=True):
        found[picture].append(thing)
    for things, litter in zip(found, specks, strict=True):
        things.sort(key=lambda thing: -thing.area)
        if litter > CLUTTER:
            things.append(Seen(None, None, 0.5, 0.5, float(litter) / SIDE**2, 0.0))
    return found


def _segment(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[B, N, N] the number of the colour line of each pixel, -1 on the ground, and its distance from the ground."""
    ground = ground_of(pictures)[:, None, None, :]
    offset = pictures - ground  # [B, N, N, 3]
    lines = _LINES - ground[:, 0]  # [B, C, 3]
    lengths = np.maximum((lines**2).sum(-1), 1e-3)[:, None, None, :]
    squares = (offset**2).sum(-1)
    along = np.einsum("bhwk,bck->bhwc", offset, lines, optimize=True)
    part = np.clip(along / lengths, 0.0, 1.0)
    away = squares[..., None] - 2 * part * along + part**2 * lengths  # squared distance from the line to each colour
    line = blocks(away).argmin(-1)  # a pixel goes with those around it: rims and noise mislead single ones
    contrast = np.sqrt(squares)
    close = contrast
    for _ in range(2):
        close = np.maximum(close, neighbours(close, 0.0).max(0))
    return np.where(contrast > np.maximum(_CONTRAST, _RIM * close), line, -1), contrast


def _describe(which, owner, areas, contrast, pictures) -> list[Seen]:
    """What the areas number `which` [K] are, each of the picture `owner` [K]."""
    if not len(which):
        return []
    mask = areas[owner] == which[:, None, None]  # [K, N, N]
    near = mask
    for _ in range(2):
        near = near | neighbours(near, False).any(0)
    near &= mask | (areas[owner] < 0)
    strong = np.where(mask, contrast[owner], 0.0)
    limit = np.sort(strong.reshape(len(which), -1), axis=1)[np.arange(len(which)), SIDE**2 - 1 - mask.sum((1, 2)) // 4]
    core = strong >= 0.85 * limit[:, None, None]  # the rim is left out
    colour = (pictures[owner] * core[..., None]).sum((1, 2)) / core.sum((1, 2))[:, None]
    ground = ground_of(pictures)[owner]
    line = colour - ground
    offset = pictures[owner] - ground[:, None, None]
    cover = np.einsum("khwc,kc->khw", offset, line) / np.maximum((line**2).sum(1), 1e-6)[:, None, None]
    explained, area, x, y = outlines.compare(np.clip(np.where(near, cover, 0.0), 0.0, 1.0))
    names = [(colour_name(*map(float, rgb)), outlines.name(row)) for rgb, row in zip(colour, explained, strict=True)]
    numbers = np.stack([x / SIDE, y / SIDE, area / SIDE**2, explained.max(1)], axis=1).tolist()
    return [Seen(*name, *values) for name, values in zip(names, numbers, strict=True)]
