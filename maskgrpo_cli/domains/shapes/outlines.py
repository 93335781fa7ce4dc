"""What shape an area is: it is laid over every shape, sharp and blurred, and the one that explains most of it wins.

Every area is scaled to one frame by its centroid and size, so that a single product of matrices compares all of
them with all shapes. Shapes: K areas, N pixels a side of the picture, F of the frame, T templates.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from maskgrpo_cli.domains.shapes.drawing import AREAS, DISTANCES
from maskgrpo_cli.domains.shapes.words import SHAPES

EXPLAINED = 0.93  # the least share of an area that a shape must explain
AHEAD = 1.25  # any other shape must leave this many times as much unexplained
_FRAME = 24  # pixels a side
_REACH = 1.3  # half of the frame, in square roots of the area
_FINE = 4  # points a frame pixel, along each axis, that templates are averaged over
_BLURS = (0.03, 0.055, 0.08, 0.11, 0.145, 0.18)  # standard deviations, in square roots of the area
_SCALES = (0.84, 0.92, 1.0, 1.08)  # a blurred area seems larger than it is
_TURNS = ((1, False), (-1, False), (1, True), (-1, True))  # the ways up of a triangle: all of them are triangles


class Outlines(NamedTuple):
    """What areas look like: [K, shapes] how much each shape explains of them, 0..1; [K] size and place in pixels."""

    explained: np.ndarray
    area: np.ndarray
    x: np.ndarray
    y: np.ndarray


def compare(cover: np.ndarray) -> Outlines:
    """The outlines of areas [K, N, N], given as how much of each pixel they cover."""
    area = cover.sum((1, 2))
    place = np.arange(cover.shape[1]) + 0.5
    x, y = cover.sum(1) @ place / area, cover.sum(2) @ place / area
    step = 2 * _REACH * np.sqrt(area) / _FRAME
    frame = (np.arange(_FRAME) + 0.5 - _FRAME / 2) * step[:, None]  # [K, F] pixels from the centroid
    across = np.clip(1 - abs(x[:, None, None] + frame[:, :, None] - place), 0, None)  # [K, F, N]
    along = np.clip(1 - abs(y[:, None, None] + frame[:, :, None] - place), 0, None)
    views = (along @ cover @ across.transpose(0, 2, 1)).reshape(len(cover), -1)
    views /= np.maximum(np.linalg.norm(views, axis=1, keepdims=True), 1e-9)
    alike = (views @ _templates().T) ** 2  # [K, T], the explained share of the squares
    return Outlines(np.stack([alike[:, rows].max(1) for rows in _rows()], axis=1), area, x, y)


def name(explained: np.ndarray) -> str | None:
    """The shape that explains enough of an area [shapes], and clearly more than any other; else None."""
    second, best = np.sort(explained)[-2:]
    clear = best >= EXPLAINED and 1 - second >= AHEAD * (1 - best)
    return SHAPES[int(explained.argmax())] if clear else None


def _variants() -> list[tuple[str, int, bool]]:
    upright = [(shape, *_TURNS[0]) for shape in SHAPES]
    return upright + [("triangle", *turn) for turn in _TURNS[1:]]


@lru_cache(maxsize=1)
def _rows() -> list[np.ndarray]:
    """The rows of the templates that belong to each shape."""
    owners = np.repeat([SHAPES.index(shape) for shape, _, _ in _variants()], len(_SCALES) * len(_BLURS))
    return [np.flatnonzero(owners == number) for number in range(len(SHAPES))]


@lru_cache(maxsize=1)
def _templates() -> np.ndarray:
    """[T, F * F] of length 1: every shape, way up, scale and blur."""
    points = ((np.arange(_FRAME * _FINE) + 0.5) / (_FRAME * _FINE) - 0.5) * 2 * _REACH
    blurs = [_blur(points, width) for width in _BLURS]
    made = []
    for shape, flip, turned in _variants():
        for scale in _SCALES:
            size = scale / np.sqrt(AREAS[shape])
            x, y = points[None, :] / size, points[:, None] * flip / size
            filled = (DISTANCES[shape](y, x) if turned else DISTANCES[shape](x, y)) <= 0
            made += [blur @ filled.astype(np.float64) @ blur.T for blur in blurs]
    rows = np.stack(made).reshape(len(made), -1)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _blur(points: np.ndarray, width: float) -> np.ndarray:
    """[F, F * fine]: a Gaussian average around the centre of each frame pixel, and over its own extent."""
    weights = np.exp(-0.5 * ((points[:, None] - points[None, :]) / width) ** 2)
    weights /= weights.sum(1, keepdims=True)
    return weights.reshape(_FRAME, _FINE, -1).mean(1)
