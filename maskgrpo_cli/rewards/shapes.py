"""The reward of pictures of coloured shapes, which needs no weights: the share of statements that hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maskgrpo_cli.domains.shapes.checking import check_pictures, share
from maskgrpo_cli.domains.shapes.reading import NotAScene, parse
from maskgrpo_cli.domains.shapes.words import Scene


def shapes(prompts: Sequence[str], completions: Sequence[Any], **columns: Any) -> list[float | None]:
    """The share of a prompt's statements that hold in its picture, 0..1; None for a prompt that is not understood.

    Pictures are PIL images or arrays [H, W, 3], uint8 or floats in [-1, 1]. Raises ValueError for anything else.
    """
    scenes = [_scene(prompt) for prompt in prompts]
    understood = [(scene, picture) for scene, picture in zip(scenes, completions, strict=True) if scene is not None]
    found = check_pictures([scene for scene, _ in understood], [picture for _, picture in understood])
    shares = iter(map(share, found))
    return [None if scene is None else next(shares) for scene in scenes]


def _scene(prompt: str) -> Scene | None:
    try:
        return parse(prompt)
    except NotAScene:
        return None
