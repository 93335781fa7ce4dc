"""Arguments to test with, chosen so that mistakes show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from maskgrpo_cli.domains.arithmetic import Draws
from maskgrpo_cli.domains.programs.composing import Spec, spec_for

TESTS = 3
_CANDIDATES = 8


@dataclass(frozen=True)
class Checked:
    """A specification with the arguments of its tests, and the mistakes that fail one of them at least."""

    spec: Spec
    arguments: tuple[tuple[Any, ...], ...]
    forgetful: tuple[Spec, ...]
    slipped: tuple[Spec, ...]


def checked_for(split: str, draws: Draws) -> Checked:
    """A task of a split. Its tests notice when any of its steps is forgotten: one that changes nothing is not asked."""
    while True:
        spec = spec_for(split, draws)
        forgetful, slipped = spec.forgetful(), spec.slipped()
        chosen, survivors = _choose(spec, [*forgetful, *slipped], draws)
        if not any(mistake in survivors for mistake in forgetful):
            caught = tuple(mistake for mistake in slipped if mistake not in survivors)
            return Checked(spec, chosen, tuple(forgetful), caught)


def result(spec: Spec, arguments: tuple[Any, ...]) -> Any:
    """What a specification, or one with a mistake, makes of arguments: its value, or the type of what it raises."""
    try:
        return spec.value(arguments)
    except (ValueError, IndexError, ZeroDivisionError) as error:
        return type(error)


def _choose(spec: Spec, mistakes: list[Spec], draws: Draws) -> tuple[tuple[tuple[Any, ...], ...], list[Spec]]:
    """`TESTS` arguments, each the one that catches most of the mistakes not caught yet; and what is never caught."""
    candidates = [spec.family.arguments(draws) for _ in range(_CANDIDATES)]
    expected = [result(spec, arguments) for arguments in candidates]
    caught = [
        {number for number, mistake in enumerate(mistakes) if result(mistake, arguments) != value}
        for arguments, value in zip(candidates, expected, strict=True)
    ]
    left, chosen = set(range(len(mistakes))), []
    for _ in range(TESTS):
        best = max((place for place in range(_CANDIDATES) if place not in chosen),
                   key=lambda place: len(caught[place] & left))
        chosen.append(best)
        left -= caught[best]
    return tuple(candidates[place] for place in chosen), [mistakes[number] for number in sorted(left)]
