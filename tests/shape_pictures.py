"""Pictures of shapes that tests draw: rendered scenes, what may happen to pictures, and scenes that are wrong."""

from dataclasses import replace

import numpy as np

from maskgrpo_cli.domains.arithmetic import Draws
from maskgrpo_cli.domains.shapes.drawing import Placed, draw, layout
from maskgrpo_cli.domains.shapes.splits import CATEGORIES, scene_for
from maskgrpo_cli.domains.shapes.words import COLOURS, MOST, SHAPES, Kind, Scene

OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}


def scenes(count):
    """Scenes of all categories and splits in turn, all colours named."""
    return [
        scene_for(("train", "validation", "test")[index // 6 % 3], CATEGORIES[index % 6], Draws.of("tests", index))
        for index in range(count)
    ]


def rendered(of, side=32):
    """[B, side, side, 3] uint8, one picture of each scene."""
    return np.stack([draw(layout(scene, Draws.of("tests", "layout", index)), side) for index, scene in enumerate(of)])


def put(*things, side=32):
    """A picture of things given as ("red", "circle", x, y, size)."""
    return draw([Placed(Kind(shape, colour), x, y, size) for colour, shape, x, y, size in things], side)


def noisy(pictures, sigma=0.05):
    drawn = np.random.default_rng(0).standard_normal(pictures.shape)
    return np.clip(np.rint(pictures + 255 * sigma * drawn), 0, 255).astype(np.uint8)


def averaged(pictures, weights):
    """Blurred along both axes by the weights, which the edge pixels continue."""
    blurred, reach = pictures.astype(np.float64), len(weights) // 2
    for axis in (1, 2):
        pad = [(reach, reach) if place == axis else (0, 0) for place in range(4)]
        wide, side = np.pad(blurred, pad, mode="edge"), pictures.shape[axis]
        blurred = sum(w * np.take(wide, range(k, k + side), axis) for k, w in enumerate(weights))
    return np.rint(blurred).astype(np.uint8)


def blurred(pictures, sigma=1.0):
    weights = np.exp(-0.5 * (np.arange(-4, 5) / sigma) ** 2)
    return averaged(pictures, weights / weights.sum())


def boxed(pictures):
    return averaged(pictures, np.full(3, 1 / 3))


def wrong_scenes(scene, draws):
    """Name -> a scene that is not the given one, where it can be made: all colours of it are named."""
    kinds = scene.objects
    first, rest = kinds[0], kinds[1:]
    made = {
        "other colour": Scene((replace(first, colour=other(first.colour, COLOURS, draws)), *rest), scene.relation),
        "other shape": Scene((replace(first, shape=other(first.shape, SHAPES, draws)), *rest), scene.relation),
    }
    if rest:
        made["missing"] = Scene(rest)
    if len(kinds) < MOST:
        made["one more of a kind"] = Scene((first, *kinds))
        made["something else too"] = Scene((*kinds, Kind(draws.among(SHAPES), draws.among(COLOURS))))
    if scene.relation:
        made["wrong side"] = Scene(kinds, OPPOSITE[scene.relation])
    last = kinds[-1]
    if first.colour != last.colour and first.shape != last.shape:
        swapped = (replace(first, colour=last.colour), *kinds[1:-1], replace(last, colour=first.colour))
        made["swapped colours"] = Scene(swapped, scene.relation)
    return made


def other(value, options, draws):
    return draws.among([option for option in options if option != value])
