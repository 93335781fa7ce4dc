"""Scenes of up to four coloured shapes, the words for them, and the statements that a picture has to satisfy.

A scene is what a prompt asks for: `two red circles`, `a red circle and a blue square`, `a circle left of a
square`. Its statements say the same one by one, so that each can be checked on its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from maskgrpo_cli.domains.arithmetic import Draws

SHAPES = ("circle", "square", "triangle", "cross")
COLOURS = ("red", "green", "blue", "yellow", "orange", "purple", "cyan", "white")
RELATIONS = {  # relation -> the ways to say it, the first one canonical
    "left of": ("left of", "to the left of", "on the left of"),
    "right of": ("right of", "to the right of", "on the right of"),
    "above": ("above", "on top of", "over"),
    "below": ("below", "under", "underneath"),
}
MOST = 4  # objects in a scene
NUMBERS = ("one", "two", "three", "four")
LEADS = ("a picture of", "an image of", "a photo of", "a drawing of", "draw")  # may stand before a prompt
_JOINTS = ("and", ",", ".")


@dataclass(frozen=True)
class Kind:
    """A kind of object, `red circle`; the colour is None where any will do."""

    shape: str
    colour: str | None = None

    def __str__(self) -> str:
        return f"{self.colour} {self.shape}" if self.colour else self.shape

    @property
    def plural(self) -> str:
        """`red circles`, `crosses`."""
        return f"{self}{'es' if self.shape.endswith('s') else 's'}"

    def agrees(self, colour: str | None, shape: str | None) -> int:
        """How many of the asked attributes an object has."""
        return (shape == self.shape) + (self.colour is not None and colour == self.colour)

    @property
    def attributes(self) -> int:
        """How many attributes are asked for: the shape and, where one is named, the colour."""
        return 1 if self.colour is None else 2


@dataclass(frozen=True)
class Statement:
    """One thing that a scene says: `shape` or `colour` of one object, `position` of the first to the second.

    `only` says that nothing else is drawn.
    """

    about: str  # shape, colour, position, only
    index: int = 0  # which object
    value: str = ""


@dataclass(frozen=True)
class Scene:
    """Objects in the order in which they are named; with a relation there are two, first `relation` second."""

    objects: tuple[Kind, ...]
    relation: str | None = None

    def __post_init__(self):
        if not 1 <= len(self.objects) <= MOST:
            raise ValueError(f"a scene has 1 to {MOST} objects, not {len(self.objects)}")
        if self.relation is not None and (self.relation not in RELATIONS or len(self.objects) != 2):
            raise ValueError(f"a position ({', '.join(RELATIONS)}) is one of two objects, not '{self.relation}'")

    @property
    def groups(self) -> list[tuple[int, Kind]]:
        """Equal neighbours counted together: (2, red circle), (1, blue square)."""
        if self.relation is not None:
            return [(1, kind) for kind in self.objects]
        return [(len(list(same)), kind) for kind, same in groupby(self.objects)]


def statements(scene: Scene) -> list[Statement]:
    """What the scene says, one by one: each object's shape and colour, the position, and that there is no more."""
    said = []
    for index, kind in enumerate(scene.objects):
        said.append(Statement("shape", index, kind.shape))
        if kind.colour is not None:
            said.append(Statement("colour", index, kind.colour))
    if scene.relation is not None:
        said.append(Statement("position", 0, scene.relation))
    return [*said, Statement("only")]


def scene_of(said: Sequence[Statement]) -> Scene:
    """The scene of which these are the statements; the inverse of `statements`."""
    shapes = {statement.index: statement.value for statement in said if statement.about == "shape"}
    colours = {statement.index: statement.value for statement in said if statement.about == "colour"}
    positions = [statement.value for statement in said if statement.about == "position"]
    kinds = tuple(Kind(shapes[index], colours.get(index)) for index in sorted(shapes))
    return Scene(kinds, positions[0] if positions else None)


def in_words(scene: Scene) -> list[str]:
    """The statements of a scene in words, in the order of `statements`."""
    names = list(_names(scene))
    words = {
        "shape": lambda said: f"there is {names[said.index][0]}",
        "colour": lambda said: f"{names[said.index][1]} is {said.value}",
        "position": lambda said: f"{names[0][1]} is {said.value} {names[1][1]}",
        "only": lambda said: "nothing else is drawn",
    }
    return [words[statement.about](statement) for statement in statements(scene)]


def describe(scene: Scene, draws: Draws | None = None) -> str:
    """The prompt of a scene: the canonical one or, with draws, one of the natural ways to say it."""
    parts = [_phrase(count, kind, draws) for count, kind in scene.groups]
    if scene.relation is not None:
        forms = RELATIONS[scene.relation]
        text = f" {forms[0] if draws is None or draws.random() < 0.6 else draws.among(forms)} ".join(parts)
    else:
        text = " and ".join(part for part in (", ".join(parts[:-1]), parts[-1]) if part)
    if draws is not None and draws.random() < 0.15:
        text = f"{draws.among(LEADS)} {text}"
    if draws is not None and draws.random() < 0.15:
        text = f"{text[0].upper()}{text[1:]}."
    return text


def vocabulary() -> list[str]:
    """Every word and sign that prompts are made of; a small tokenizer is built from them."""
    texts = ["A An Draw a an", *NUMBERS, *(word.capitalize() for word in NUMBERS), *LEADS, *COLOURS]
    texts += [form for forms in RELATIONS.values() for form in forms]
    texts += [name for shape in SHAPES for name in (shape, Kind(shape).plural)]
    return [*_JOINTS, *map(str, range(1, MOST + 1)), *sorted({word for text in texts for word in text.split()})]


def article(word: str) -> str:
    """`a` or `an`."""
    return "an" if word[0] in "aeiou" else "a"


def _phrase(count: int, kind: Kind, draws: Draws | None) -> str:
    """`a red circle`, `two red circles`; with draws also `one red circle`, `2 red circles`."""
    chance = 1.0 if draws is None else draws.random()
    if count == 1:
        return f"one {kind}" if chance < 0.1 else f"{article(str(kind))} {kind}"
    return f"{count if chance < 0.2 else NUMBERS[count - 1]} {kind.plural}"


def _names(scene: Scene) -> Iterator[tuple[str, str]]:
    """What to call each object, at first (`a circle`, `circle 1 of 2`) and later (`the circle`)."""
    shapes = [kind.shape for kind in scene.objects]
    for index, shape in enumerate(shapes):
        if shapes.count(shape) == 1:
            yield f"a {shape}", f"the {shape}"
        else:
            name = f"{shape} {shapes[: index + 1].count(shape)} of {shapes.count(shape)}"
            yield name, name
