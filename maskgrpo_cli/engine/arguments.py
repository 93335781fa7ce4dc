"""Handing a part those of the settings that it takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any


def taken(function: Callable, offered: Mapping[str, Any]) -> dict[str, Any]:
    """What a function, or a class's constructor, takes by name of what it is offered."""
    names = inspect.signature(function).parameters
    return {key: value for key, value in offered.items() if key in names}
