"""What is seen against what was asked for: which statements hold, and why the others do not.

A picture is judged by the share of statements that hold, and only one that shows exactly the scene has all of them.

- Every object asked for is matched with at most one object that is seen, so that as many shapes and colours agree as
  can: a shape and a colour count together on one thing only, and one thing never counts twice.
- A position holds where both objects were found entirely right and the direction is within 60 degrees of it.
- `nothing else is drawn` fails once for every object that nobody asked for (and once where an object has a wrong
  attribute, or nothing is seen). So whoever draws everything does not gain: each thing too many is one more
  statement that fails. GenEval lets further objects pass where one or two are asked for; here they never do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from maskgrpo_cli.domains.shapes.seeing import Seen, look
from maskgrpo_cli.domains.shapes.words import Kind, Scene, Statement, article, in_words, statements

_DIRECTION = 0.5  # the least cosine between the way from one object to the other and the direction asked for
_CANDIDATES = 8  # of the objects seen, the largest, that may be what was asked for
_AXES = {"left of": (1, 0), "right of": (-1, 0), "above": (0, 1), "below": (0, -1)}
_TOLD = 6  # reasons that are told at most
Match = tuple["Seen | None", ...]


@dataclass(frozen=True)
class Checked:
    """One statement in words, whether it holds, and why it does not ("" where it does)."""

    words: str
    holds: bool
    reason: str = ""


def check_pictures(scenes: Sequence[Scene], pictures: Sequence[Any]) -> list[list[Checked]]:
    """The statements of each scene, checked on its picture; see `pixels.as_array` for what a picture may be."""
    return [check(scene, seen) for scene, seen in zip(scenes, look(pictures), strict=True)]


def check(scene: Scene, seen: Sequence[Seen]) -> list[Checked]:
    """The statements of a scene, in the order of `words.statements`, and one for every further object too many."""
    match = _best_match(scene, seen)
    extras = [thing for thing in seen if not any(thing is taken for taken in match)]
    checked = []
    for statement, words in zip(statements(scene), in_words(scene), strict=True):
        reason = _mistake(statement, scene, match, extras)
        checked.append(Checked(words, reason is None, reason or ""))
    return checked + [Checked(checked[-1].words, False, f"there is also {_a(thing)}") for thing in extras[1:]]


def share(checked: Sequence[Checked]) -> float:
    """The share of statements that hold."""
    return sum(item.holds for item in checked) / len(checked)


def reasons(checked: Sequence[Checked]) -> str:
    """Why statements do not hold, each reason once and the first few of them."""
    told = list(dict.fromkeys(item.reason for item in checked if not item.holds))
    return "; ".join(told[:_TOLD] + ([f"and {len(told) - _TOLD} more"] if len(told) > _TOLD else []))


def describe_seen(seen: Sequence[Seen]) -> str:
    """`red circle, blue square`: what is in a picture, in words."""
    return ", ".join(map(str, seen)) or "nothing"


def _mistake(statement: Statement, scene: Scene, match: Match, extras: Sequence[Seen]) -> str | None:
    """Why a statement does not hold, or None when it does."""
    if statement.about == "only":
        return _too_many(scene, match, extras)
    if statement.about == "position":
        return _misplaced(statement.value, scene, match)
    kind, thing = scene.objects[statement.index], match[statement.index]
    if thing is None:
        return _absent(kind, scene, match)
    if getattr(thing, statement.about) == statement.value:
        return None
    return f"instead of {_a(kind)} there is {_a(thing)}"


def _too_many(scene: Scene, match: Match, extras: Sequence[Seen]) -> str | None:
    if extras:
        return f"there is also {_a(extras[0])}"
    if not any(match):
        return "nothing is drawn"
    pairs = zip(scene.objects, match, strict=True)
    odd = [thing for kind, thing in pairs if thing is not None and not _is(thing, kind)]
    return f"nobody asked for {_a(odd[0])}" if odd else None


def _absent(kind: Kind, scene: Scene, match: Match) -> str:
    """`there is no red circle`, or how many there are where more were asked for."""
    wanted = scene.objects.count(kind)
    found = sum(thing is not None and _is(thing, kind) for thing in match)
    return f"there is no {kind}" if wanted == 1 or not found else f"there are {found} of {wanted} {kind.plural}"


def _misplaced(relation: str, scene: Scene, match: Match) -> str | None:
    for kind, thing in zip(scene.objects, match, strict=True):
        if thing is None:
            return _absent(kind, scene, match)
        if not _is(thing, kind):
            return f"instead of {_a(kind)} there is {_a(thing)}"
    first, second = match
    if first is None or second is None or _cosine(relation, first, second) > _DIRECTION:
        return None
    actual = max(_AXES, key=lambda name: _cosine(name, first, second))
    return f"the {scene.objects[0]} is {actual} the {scene.objects[1]}"


def _cosine(relation: str, first: Seen, second: Seen) -> float:
    """Of the angle between the way from the first to the second object and what the relation says."""
    x, y = second.x - first.x, second.y - first.y
    return (x * _AXES[relation][0] + y * _AXES[relation][1]) / max(math.hypot(x, y), 1e-9)


def _best_match(scene: Scene, seen: Sequence[Seen]) -> Match:
    """The seen object for each one asked for, None where nothing agrees: the most attributes, then the position."""
    best: tuple[float, Match] = (-1.0, ())

    def extend(match: Match, agreed: float) -> None:
        nonlocal best
        rest = scene.objects[len(match) :]
        if agreed + sum(kind.attributes for kind in rest) + 0.5 <= best[0]:
            return  # the position, which counts half here, could not make it better than the best so far
        if not rest:
            placed = scene.relation is not None and _misplaced(scene.relation, scene, match) is None
            best = max(best, (agreed + 0.5 * placed, match), key=lambda item: item[0])
            return
        for thing in seen[:_CANDIDATES]:
            agrees = rest[0].agrees(thing.colour, thing.shape)
            if agrees and not any(thing is taken for taken in match):
                extend((*match, thing), agreed + agrees)
        extend((*match, None), agreed)

    extend((), 0.0)
    return best[1]


def _is(thing: Seen, kind: Kind) -> bool:
    return kind.agrees(thing.colour, thing.shape) == kind.attributes


def _a(thing: Seen | Kind) -> str:
    return f"{article(str(thing))} {thing}"
