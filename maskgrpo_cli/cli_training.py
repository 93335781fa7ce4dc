"""What `grpo` and `sft` are to do: a new run with a directory of its own, or the continuation of one."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from maskgrpo_cli.cli_keys import overrides
from maskgrpo_cli.errors import UserError

if TYPE_CHECKING:
    from maskgrpo_cli.config import Config
    from maskgrpo_cli.engine.resume import Resume


def training(command: str, ctx: typer.Context) -> tuple[Config, str, Resume | None]:
    """The config of a training run, its recipe's short name, and how it continues (None: it is a new one)."""
    if ctx.params["resume"] is not None:
        return _resumed(command, ctx)
    if ctx.params["force"]:
        raise UserError("--force goes with --resume: it continues a run with a recipe that was changed")
    from maskgrpo_cli.config import Override, load, recipes

    recipe = ctx.params["recipe"]
    # what a run wrote down holds the run's own directory, which a repetition must not overwrite
    first = [Override("output_dir", None)] if recipes.is_run(recipe) else []
    config = load(recipe, [*first, *overrides(command, ctx.params)], command)
    name = recipes.label(recipe)
    return with_run_directory(_with_absolute_paths(config), f"{name}-{command}"), name, None


def _resumed(command: str, ctx: typer.Context) -> tuple[Config, str, Resume]:
    """The config that a run wrote down, or `--recipe`, with the other options laid over it, in the run's directory."""
    if ctx.params["output_dir"] is not None:
        raise UserError("--resume goes on in the run's own directory; leave out --output-dir")
    from maskgrpo_cli.config import Override, load, recipes, runs
    from maskgrpo_cli.engine.lock import busy
    from maskgrpo_cli.engine.resume import Resume

    # of several processes the first one to come may have taken the run for all of them already
    together = int(os.environ.get("WORLD_SIZE", "1")) > 1
    place = runs.find(ctx.params["resume"], command, (lambda run: False) if together else busy)
    if ctx.params["resume"] == runs.LATEST and os.environ.get("RANK", "0") == "0":
        typer.echo(f"--resume {runs.LATEST}: {place.run}", err=True)
    begun = ctx.get_parameter_source("recipe").name == "DEFAULT"
    recipe = str(place.run) if begun else ctx.params["recipe"]
    here = Override("output_dir", str(place.run), "--resume")
    config = load(recipe, [*overrides(command, ctx.params), here], command)
    resume = Resume(place.checkpoint, ctx.params["force"])
    return _with_absolute_paths(config), recipes.label(str(place.run)), resume


def with_run_directory(config: Config, name: str) -> Config:
    """`config` with a new directory runs/<name>-<time> to write to, unless it names one."""
    if config.output_dir is not None:
        return config
    stem = f"runs/{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    candidates = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
    return config.model_copy(update={"output_dir": next(c for c in candidates if not Path(c).exists())})


def _with_absolute_paths(config: Config) -> Config:
    """`config` with every file and folder that is here named in full, so that the run goes on from anywhere."""
    sections = {
        "model": ("path", "adapter", "image_tokenizer"), "task": ("data",), "evaluation": ("data", "shots_data"),
    }
    changed = {}
    for section, keys in sections.items():
        values = {key: _absolute(getattr(getattr(config, section), key)) for key in keys}
        changed[section] = getattr(config, section).model_copy(update=values)
    if config.sft.mixture:
        parts = [part.model_copy(update={"data": _absolute(part.data)}) for part in config.sft.mixture]
        changed["sft"] = config.sft.model_copy(update={"mixture": parts})
    return config.model_copy(update=changed)


def _absolute(name: str | None) -> str | None:
    """The full path of a file or folder; other names (bundled, of the hub) as they are."""
    from maskgrpo_cli.config.runs import follow

    if name is None:
        return None
    path = Path(name).expanduser()
    return str(follow(path).absolute()) if path.exists() else name
