"""Scenes of the generated problems by GenEval's categories, and the split that each of them belongs to.

The splits are disjoint by construction, at the level of what is drawn. A scene of one kind belongs to a split by its
colour, shape and count: `two red circles` may be a test scene while `three red circles` and `two red squares` are
training scenes, and every split has all colours and shapes. A scene of two kinds belongs to a split by the pair of
kinds, whatever their order, counts and position: no red circle is ever drawn with a blue square in training if it
is in the test. So a test asks for known words in combinations that were never drawn.
"""

from __future__ import annotations

from maskgrpo_cli.domains.arithmetic import Draws, split_of
from maskgrpo_cli.domains.shapes.words import COLOURS, RELATIONS, SHAPES, Kind, Scene

CATEGORIES = ("single object", "two objects", "counting", "colours", "position", "attribute binding")


def split_of_scene(scene: Scene) -> str:
    """The split of a scene whose objects all have a colour; two kinds at most."""
    kinds = sorted({str(kind) for kind in scene.objects})
    if len(kinds) > 1:
        return split_of(";".join(kinds))
    kind = scene.objects[0]
    turn = (SHAPES.index(kind.shape) - COLOURS.index(str(kind.colour)) - len(scene.objects)) % len(SHAPES)
    return {0: "test", 1: "validation"}.get(turn, "train")


def scene_for(split: str, category: str, draws: Draws) -> Scene:
    """A scene of a category, all colours named, that belongs to `split`."""
    while True:
        scene = _random_scene(category, draws)
        if split_of_scene(scene) == split and _fits(category, scene):
            return scene


def asked(category: str, scene: Scene, draws: Draws) -> Scene:
    """What the prompt says of a drawn scene: no colours where the category is not about them.

    Single and two objects name none. Three in ten of counting and position name none either.
    """
    bare = category in ("single object", "two objects")
    if category in ("counting", "position"):
        bare = draws.random() < 0.3
    if not bare or (len(set(scene.objects)) > 1 and len({kind.shape for kind in scene.objects}) == 1):
        return scene
    return Scene(tuple(Kind(kind.shape) for kind in scene.objects), scene.relation)


def _random_scene(category: str, draws: Draws) -> Scene:
    first, second = (Kind(draws.among(SHAPES), draws.among(COLOURS)) for _ in range(2))
    if category in ("single object", "colours"):
        return Scene((first,))
    if category == "counting":
        if draws.random() < 0.6:
            return Scene((first,) * draws.between(2, 4))
        one, other = draws.among(((2, 1), (1, 2), (2, 2), (3, 1), (1, 3)))
        return Scene((first,) * one + (second,) * other)
    return Scene((first, second), draws.among(tuple(RELATIONS)) if category == "position" else None)


def _fits(category: str, scene: Scene) -> bool:
    """Two kinds are two; and shapes differ where the prompt could not tell them apart without colours."""
    if category in ("single object", "colours") or len(scene.groups) == 1:
        return category == "counting" or len(scene.objects) == 1
    first, second = scene.objects[0], scene.objects[-1]
    return first != second and (category != "two objects" or first.shape != second.shape)
