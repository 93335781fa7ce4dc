"""Recipes: finding, reading, overriding and checking them.

`load` and `dump` are imported on first use: completing a recipe's name must not wait for pydantic.
"""

from __future__ import annotations

import importlib

_HOMES = {"load": "loading", "dump": "loading", "Override": "overrides", "Config": "schema"}


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'") from error
