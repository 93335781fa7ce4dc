"""From a scene to a picture: where every object lies, by keyed draws, and anti-aliased shapes on a dark ground.

Coordinates are shares of the picture's side, x to the right and y down. Each shape is a signed distance (negative
inside) around its centroid, in units of its size; the checker compares what it sees with the same shapes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from maskgrpo_cli.domains.arithmetic import Draws
from maskgrpo_cli.domains.shapes.words import COLOURS, SHAPES, Kind, Scene

SIDE = 32  # pixels, where no other size is asked for
GROUND = (26, 27, 33)
PALETTE = {
    "red": (226, 36, 42), "green": (38, 176, 66), "blue": (44, 92, 240), "yellow": (252, 238, 56),
    "orange": (248, 128, 20), "purple": (150, 56, 206), "cyan": (52, 208, 222), "white": (246, 246, 244),
}
_SIZES = {1: (0.17, 0.29), 2: (0.145, 0.195), 3: (0.13, 0.165), 4: (0.125, 0.15)}  # least and largest, by objects
_LATTICE_SIZE = 0.46  # of every object on a lattice, in cells
_MARGIN = 0.05  # of the picture's edge
_GAP = 0.085  # between the boxes of two objects
_STEEPEST = 0.6  # how far a position may be off its axis: a person sees at once what is left of what
_ATTEMPTS = 2000  # layouts
_TRIES = 20  # places for one object in a layout

# Of size 1: triangles stand on their base (half 1.08 wide, 1.86 high), crosses have arms 0.76 wide.
_BASE, _HEIGHT, _HALF = 1.08, 1.86, 0.9
_SLANT = math.hypot(_BASE, _HEIGHT)
_ARM, _LENGTH = 0.38, 1.08
AREAS = {"circle": math.pi, "square": 4 * _HALF**2, "triangle": _BASE * _HEIGHT,
         "cross": 4 * _ARM * (2 * _LENGTH - _ARM)}
_BOXES = {  # left, up, right, down from the centroid
    "circle": (1.0, 1.0, 1.0, 1.0), "square": (_HALF,) * 4, "cross": (_LENGTH,) * 4,
    "triangle": (_BASE, 2 * _HEIGHT / 3, _BASE, _HEIGHT / 3),
}


def _triangle(x, y):
    return np.maximum((_HEIGHT * abs(x) - _BASE * (y + 2 * _HEIGHT / 3)) / _SLANT, y - _HEIGHT / 3)


def _cross(x, y):
    x, y = abs(x), abs(y)
    return np.minimum(np.maximum(x - _ARM, y - _LENGTH), np.maximum(x - _LENGTH, y - _ARM))


DISTANCES: dict[str, Callable] = {  # shape -> signed distance of arrays x, y
    "circle": lambda x, y: np.hypot(x, y) - 1.0,
    "square": lambda x, y: np.maximum(abs(x), abs(y)) - _HALF,
    "triangle": _triangle,
    "cross": _cross,
}


@dataclass(frozen=True)
class Placed:
    """An object of a picture: its kind, the place of its centroid and its size, in shares of the side."""

    kind: Kind
    x: float
    y: float
    size: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        left, up, right, down = (self.size * reach for reach in _BOXES[self.kind.shape])
        return self.x - left, self.y - up, self.x + right, self.y + down


def layout(scene: Scene, draws: Draws, cells: int | None = None) -> list[Placed]:
    """Places and sizes for the objects of a scene, apart from one another; one of endlessly many.

    With `cells` (4 or more) every object fills one of cells x cells squares, so that a kind looks the same wherever
    it lies; without, sizes and places are any. Objects without a colour get one. Raises RuntimeError where nothing
    fits, which no scene comes near.
    """
    kinds = [kind if kind.colour else Kind(kind.shape, draws.among(COLOURS)) for kind in scene.objects]
    for _ in range(_ATTEMPTS):
        placed: list[Placed] = []
        for kind in kinds:
            tries = (_place(kind, len(kinds), draws, cells) for _ in range(_TRIES))
            placed += islice((new for new in tries if all(_apart(new.box, old.box) for old in placed)), 1)
        if len(placed) == len(kinds) and (scene.relation is None or _clearly(scene.relation, *placed)):
            return placed
    raise RuntimeError(f"no room for {scene}")


def draw(placed: Sequence[Placed], side: int = SIDE) -> np.ndarray:
    """The picture [side, side, 3] uint8, anti-aliased."""
    centres = (np.arange(side) + 0.5) / side
    y, x = centres[:, None], centres[None, :]
    picture = np.full((side, side, 3), GROUND, dtype=np.float64)
    for thing in placed:
        inside = DISTANCES[thing.kind.shape]((x - thing.x) / thing.size, (y - thing.y) / thing.size) * thing.size * side
        cover = np.clip(0.5 - inside, 0.0, 1.0)[..., None]
        picture += cover * (np.array(PALETTE[thing.kind.colour or "white"]) - picture)
    return np.rint(picture).astype(np.uint8)


def bits(placed: Sequence[Placed], cells: int) -> np.ndarray:
    """Signs [6, cells, cells] float32 that tell what each square of a lattice shows.

    The first bit says whether there is something, two more which shape, three which colour; all are -1 on bare ground.
    """
    signs = np.full((6, cells, cells), -1.0, dtype=np.float32)
    for thing in placed:
        left, top, right, bottom = thing.box
        number = 32 + 8 * SHAPES.index(thing.kind.shape) + COLOURS.index(str(thing.kind.colour))
        told = [1.0 if number >> bit & 1 else -1.0 for bit in range(5, -1, -1)]
        signs[:, int((top + bottom) / 2 * cells), int((left + right) / 2 * cells)] = told
    return signs


def _place(kind: Kind, objects: int, draws: Draws, cells: int | None) -> Placed:
    """An object among `objects`, wherever the picture has room for it."""
    if cells is not None:
        return _place_on_lattice(kind, draws, cells)
    least, largest = _SIZES[objects]
    size = least + (largest - least) * draws.random()
    left, up, right, down = (size * reach + _MARGIN for reach in _BOXES[kind.shape])
    return Placed(kind, left + (1 - left - right) * draws.random(), up + (1 - up - down) * draws.random(), size)


def _place_on_lattice(kind: Kind, draws: Draws, cells: int) -> Placed:
    size = _LATTICE_SIZE / cells
    left, up, right, down = (size * reach for reach in _BOXES[kind.shape])
    x, y = ((draws.between(0, cells - 1) + 0.5) / cells for _ in range(2))
    return Placed(kind, x + (left - right) / 2, y + (up - down) / 2, size)


def _apart(one: Sequence[float], other: Sequence[float]) -> bool:
    return any(
        first[axis + 2] + _GAP <= second[axis] for first, second in ((one, other), (other, one)) for axis in (0, 1)
    )


def _clearly(relation: str, first: Placed, second: Placed) -> bool:
    across, along = second.x - first.x, second.y - first.y
    if relation in ("above", "below"):
        across, along = along, across
    return abs(along) <= _STEEPEST * abs(across) and (across > 0) == (relation in ("left of", "above"))
