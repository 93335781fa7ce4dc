"""What a picture says of itself: prompt, seed, sampler and model, inside its PNG file.

The text chunk `prompt` is for readers that show such chunks; `maskgrpo` is JSON with all that it takes to draw the
picture again.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from maskgrpo_cli.engine.pictures.reading import open_picture
from maskgrpo_cli.engine.reporting.run_directory import to_json
from maskgrpo_cli.errors import UserError

KEY = "maskgrpo"


def as_png(picture: Image.Image, prompt: str, facts: dict[str, Any]) -> bytes:
    """A PNG file of the picture with its pixels as they are, and what is to be known of it."""
    chunks = PngImagePlugin.PngInfo()
    for key, text in (("prompt", prompt), (KEY, to_json({"prompt": prompt, **facts}))):
        chunks.add_itxt(key, text.encode("utf-8", "replace").decode("utf-8"))
    return png(picture, chunks)


def png(picture: Image.Image, chunks: PngImagePlugin.PngInfo | None = None) -> bytes:
    """A PNG file of the picture."""
    stream = io.BytesIO()
    picture.save(stream, "PNG", pnginfo=chunks)
    return stream.getvalue()


@dataclass(frozen=True)
class Repetition:
    """What it takes to draw a picture again."""

    prompt: str
    sample: int
    settings: dict[str, Any]  # key of a recipe -> value
    weights: str  # the fingerprint of the model that drew it
    edited: str | None  # the file that it is an edit of


def repetition(name: str) -> Repetition:
    """What a picture that `maskgrpo sample` drew says of itself.

    Raises:
        UserError: there is no such picture, or it says nothing that can be used.
    """
    path = Path(name).expanduser()
    try:
        facts = json.loads(open_picture(path, "--like").text[KEY])
        settings = {key: facts[key] for key in ("seed", "dtype")}
        for section in ("model", "task", "sampler"):
            settings |= {f"{section}.{key}": value for key, value in facts[section].items()}
        weights = str(settings.pop("model.weights"))
        edited = None if facts["edit"] is None else str(facts["edit"]["picture"])
        return Repetition(str(facts["prompt"]), int(facts["sample"]), settings, weights, edited)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"--like {path}: the file does not say how it was drawn; name a PNG that maskgrpo sample wrote"
        ) from error
