"""Where recipes lie. They are found on disk, never listed by hand; nothing heavy is imported here."""

from __future__ import annotations

import os
from pathlib import Path

from maskgrpo_cli.errors import UserError
from maskgrpo_cli.registry import nearest

SUFFIXES = (".yaml", ".yml")


def folder() -> Path:
    """The folder of the bundled recipes: inside the package when installed, beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "recipes"
    return inside if inside.is_dir() else package.parent / "recipes"


def names() -> list[str]:
    """The names of the bundled recipes, sorted."""
    return sorted(path.stem for path in folder().glob("*.yaml"))


def find(recipe: str) -> Path:
    """The file of a recipe: a bundled name, a YAML file, or a run directory (its config.yaml).

    Raises UserError, naming the bundled recipe that is most like it, when there is no such file.
    """
    bundled = folder() / f"{recipe}.yaml"
    if recipe in names():
        return bundled
    path = Path(recipe)
    if path.is_dir() and (path / "config.yaml").is_file():
        return path / "config.yaml"
    if path.is_dir():
        raise UserError(f"recipe '{recipe}' is a folder without a config.yaml; give a YAML file or one of "
                        f"{', '.join(names())}")
    if path.exists():
        return path
    hint = nearest(path.stem, names())
    kind = "file" if path.suffix in SUFFIXES or os.sep in recipe else "recipe"
    raise UserError(
        f"there is no {kind} '{recipe}'" + (f"; did you mean '{hint}'?" if hint else "") +
        f"\n  bundled recipes: {', '.join(names())}; or give a YAML file of your own"
    )
