"""The names of colours as people use them: by hue, for what is light and strong enough to have one."""

from __future__ import annotations

import colorsys

# Hues in degrees where a name begins; between purple and red (magenta, pink) there is none.
_HUES = ((0, "red"), (14, "orange"), (42, "yellow"), (80, "green"), (160, "cyan"), (206, "blue"), (250, "purple"),
         (310, None), (340, "red"))
_PALE = 0.28  # the largest saturation of white
_STRONG = 0.36  # the least saturation of a colour: between the two there is no name
_LIGHT = {"white": 0.72, "orange": 0.62, "yellow": 0.55}  # the least value; dark orange is brown, dark white grey
_DARKEST = 0.35


def colour_name(red: float, green: float, blue: float) -> str | None:
    """The colour of RGB values in 0..1, or None for one without a name here such as grey, brown and pink."""
    hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
    if saturation <= _PALE:
        name: str | None = "white"
    elif saturation < _STRONG:
        name = None
    else:
        name = [name for start, name in _HUES if hue * 360 >= start][-1]
    return name if name and value >= _LIGHT.get(name, _DARKEST) else None
