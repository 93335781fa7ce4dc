"""Pictures of any kind as RGB images, for the rewards that look at them with a model."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image


def as_image(picture: Any) -> Image.Image:
    """A picture as an RGB image: a PIL image, an array [H, W, 3] of uint8 or floats in [-1, 1], or such a tensor.

    Floats become bytes by round(255 (x + 1) / 2); what is not finite counts as black, and transparency is left out.

    Raises:
        ValueError: it is no picture, or one without pixels.
    """
    image = _converted(picture) if isinstance(picture, Image.Image) else Image.fromarray(_as_bytes(picture))
    if not image.width or not image.height:
        raise ValueError(f"a picture has pixels; this one is {image.width} wide and {image.height} high")
    return image


def _converted(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith(("I", "F")):  # more than a byte a pixel, which PIL would cut off at 255
        raise ValueError(f"a picture has a byte for each colour; PIL's mode {picture.mode} is none of a picture")
    try:
        return picture.convert("RGB")
    except OSError as error:  # PIL reads a file when it is first asked for its pixels
        raise ValueError(f"the picture cannot be read: {error}") from error


def _as_bytes(picture: Any) -> np.ndarray:
    if hasattr(picture, "detach"):
        picture = picture.detach().cpu()
        picture = picture.float() if picture.is_floating_point() else picture
    if not hasattr(picture, "__array__"):
        raise ValueError(f"a picture is a PIL image, an array or a tensor, not {type(picture).__name__}")
    array = np.asarray(picture)
    if array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise ValueError(f"a picture is [H, W, 3], not of shape {array.shape}")
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"a picture is uint8 or of floats in [-1, 1], not {array.dtype}")
    clean = np.nan_to_num(array.astype(np.float32), nan=-1.0, posinf=1.0, neginf=-1.0)
    return np.clip((clean + 1) * 127.5, 0, 255).round().astype(np.uint8)
