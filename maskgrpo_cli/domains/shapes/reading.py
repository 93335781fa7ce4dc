"""Prompts in words to the scenes they ask for, as far as the grammar goes; the rest is named, never guessed."""

from __future__ import annotations

import re

from maskgrpo_cli.domains.shapes.words import COLOURS, MOST, NUMBERS, RELATIONS, SHAPES, Kind, Scene

LONGEST = 400  # characters of a prompt
_COUNTS = {"a": 1, "an": 1, "the": 1, "single": 1,
           **{word: count for count, word in enumerate(NUMBERS, 1)}, **{str(n): n for n in range(1, MOST + 1)}}
_TOO_MANY = ("five", "six", "seven", "eight", "nine", "ten", "zero", "no", "many", "some", "several")
_SHAPES = {**{shape: shape for shape in SHAPES}, **{f"{shape}s": shape for shape in SHAPES}, "crosses": "cross"}
_LEAD = re.compile(
    r"^"
    r"(?:(?:please )?(?:draw|paint|show|make)(?: me)? )?(?:there (?:is|are) )?"
    r"(?:(?:(?:an?|the) )?(?:picture|image|photo|photograph|drawing|painting) (?:of|with|showing) )?"
)
_POSITIONS = {
    **{form: relation for relation, forms in RELATIONS.items() for form in forms},
    "at the left of": "left of", "at the right of": "right of", "beneath": "below",
}
_RELATION = re.compile(
    r" (?:(?:(?:that |which )?(?:is|are)|placed|lying|standing) )?"
    r"(" + "|".join(sorted(_POSITIONS, key=len)[::-1]) + r") "
)
_JOINT = re.compile(r" ?, and | ?, ?| and ")


class NotAScene(ValueError):
    """What of a prompt was not understood."""


def parse(prompt: str) -> Scene:
    """The scene that a prompt asks for, in any of the ways to say it; upper case and a final stop do not matter.

    Raises NotAScene saying what was not understood: other things, sizes, more than four objects, and positions
    of more than two single objects.
    """
    if len(prompt) > LONGEST:
        raise NotAScene(f"the prompt is longer than {LONGEST} characters")
    text = _LEAD.sub("", " ".join(prompt.lower().split()).rstrip(" .!"), count=1)
    if not text:
        raise NotAScene("the prompt names no shape")
    first, *rest = _RELATION.split(text)
    if len(rest) > 2:
        raise NotAScene(f"only one position is understood, and '{rest[2]}' is a second one")
    if not rest:
        return _scene([group for part in _JOINT.split(text) for group in [_group(part)]])
    if any(_JOINT.search(side) for side in (first, rest[1])):
        raise NotAScene(f"'{rest[0]}' is understood of two single objects, without 'and'")
    return _scene([_group(first), _group(rest[1])], _POSITIONS[rest[0]])


def _scene(groups: list[tuple[int, Kind]], relation: str | None = None) -> Scene:
    objects = [kind for count, kind in groups for _ in range(count)]
    if len(objects) > MOST:
        raise NotAScene(f"at most {MOST} objects are understood, not {len(objects)}")
    if relation is not None and len(objects) != 2:
        raise NotAScene(f"'{relation}' is understood of two single objects, not of {len(objects)}")
    return Scene(tuple(objects), relation)


def _group(phrase: str) -> tuple[int, Kind]:
    """`two red circles` -> 2, red circle."""
    words = phrase.split()
    if not words:
        raise NotAScene("an object is missing beside 'and' or a comma")
    if words[-1] not in _SHAPES:
        raise NotAScene(f"'{words[-1]:.30}' is no shape; known: {', '.join(SHAPES)}")
    shape, counted = _SHAPES[words.pop()], words and words[0] in _COUNTS
    if not counted and words and (words[0] in _TOO_MANY or words[0].isdecimal()):
        raise NotAScene(f"'{words[0]:.30}' is no count from 1 to {MOST}")
    if not counted and phrase.endswith(Kind(shape).plural):
        raise NotAScene(f"how many {phrase:.40}? write {', '.join(NUMBERS)}")
    count = _COUNTS[words.pop(0)] if counted else 1
    if len(words) > 1 or (words and words[0] not in COLOURS):
        odd = next((word for word in words if word not in (*COLOURS, *_SHAPES)), " ".join(words))
        raise NotAScene(f"'{odd:.30}' is no colour; known: {', '.join(COLOURS)}")
    return count, Kind(shape, words[0] if words else None)
