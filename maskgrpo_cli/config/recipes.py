"""Where recipes lie. They are found on disk, never listed by hand; nothing heavy is imported here."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from maskgrpo_cli.config import runs
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.registry import nearest

SUFFIXES = (".yaml", ".yml")
GENERAL = ("math", "text-to-image")  # of several recipes for one model, what stands for all of them
FAMILIES = {"mmada": "text-to-image"}  # model_type -> the recipe of models that no recipe names


@dataclass(frozen=True)
class Summary:
    """A bundled recipe at a glance."""

    name: str
    description: str
    model: str


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
    if os.path.isfile(path / "config.yaml"):  # os.path: pathlib raises for names that no system takes
        return path / "config.yaml"
    if os.path.isdir(path):
        known = ", ".join(names())
        raise UserError(f"recipe '{recipe}' is a folder without a config.yaml; give a file or one of {known}")
    if os.path.exists(path):
        return path
    hint = nearest(path.stem, names())
    kind = "file" if path.suffix in SUFFIXES or os.sep in recipe else "recipe"
    raise UserError(
        f"there is no {kind} '{recipe}'" + (f"; did you mean '{hint}'?" if hint else "") +
        f"\n  bundled recipes: {', '.join(names())}; or give a YAML file of your own"
    )


def is_run(recipe: str) -> bool:
    """Whether a recipe is what a run wrote down of itself."""
    return find(recipe).name == "config.yaml"


def label(recipe: str) -> str:
    """A short name for a recipe, for run directories: its own, its file's, or the one its run began with."""
    path = find(recipe)
    if not is_run(recipe):
        return path.stem
    return re.sub(r"-(sft|grpo)-\d{8}-\d{6}(-\d+)?$", "", path.resolve().parent.name)


def for_model(model: str) -> str | None:
    """The recipe that fits a model, None where nothing is known of it.

    Its run's own (a checkpoint's too), a bundled one that starts from it (math before code), or that of its family.
    """
    run = runs.run_of(Path(model))  # of a checkpoint, or itself
    if (run / "config.yaml").is_file():
        return str(run)
    named = [summary.name for summary in summaries() if summary.model == model]
    general = [name for name in named if name.startswith(GENERAL)]
    return next(iter(general + named), None) or FAMILIES.get(family(model) or "")


def family(model: str) -> str | None:
    """The model_type in the config.json of a bundled model or a folder; None for others, such as hub ids."""
    folder = Path(model).expanduser()
    bundled = Path(__file__).resolve().parent.parent / "assets" / model
    for place in (folder, folder / "model", bundled):
        try:
            found = json.loads((place / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(found, dict):
            return str(found.get("model_type"))
    return None


def summaries() -> list[Summary]:
    """What `maskgrpo recipes list` shows, sorted by name."""
    from maskgrpo_cli.config import yaml_file

    found = []
    for name in names():
        tree = yaml_file.read(folder() / f"{name}.yaml").tree
        model = tree.get("model")
        path = model.get("path") if isinstance(model, dict) else None
        found.append(Summary(name, str(tree.get("description", "")), str(path or "tiny-math")))
    return found
