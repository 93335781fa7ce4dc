"""`maskgrpo tokenizer`: an image tokenizer from the pictures of a recipe's task."""

from __future__ import annotations

import typer

from maskgrpo_cli import cli_options as options
from maskgrpo_cli.cli_keys import overrides
from maskgrpo_cli.cli_training import with_run_directory


def tokenizer(
    ctx: typer.Context,
    recipe: options.Recipe = "text-to-image",
    output_dir: options.OutputDir = None,
    seed: options.Seed = None,
    max_steps: options.MaxSteps = None,
    limit: options.Limit = None,
    device: options.Device = None,
    tracker: options.Tracker = None,
    set_: options.Set = None,
) -> None:
    """Train an image tokenizer on the pictures of a task, and measure what its round trip loses.

    The result is RUN/tokenizer, for model.image_tokenizer. An interrupted run leaves no tokenizer.

    \b
    Examples:
      maskgrpo tokenizer --recipe text-to-image
      maskgrpo tokenizer --recipe text-to-image --max-steps 500 --set tokenizer.codebook_dim=9
    """
    from maskgrpo_cli.config import Override, load, recipes

    # what a run wrote down holds the run's own directory, which a repetition must not overwrite
    first = [Override("output_dir", None)] if recipes.is_run(recipe) else []
    config = load(recipe, [*first, *overrides("tokenizer", ctx.params)], "tokenizer")
    name = recipes.label(recipe)
    from maskgrpo_cli.engine.tokenizer import run

    run(with_run_directory(config, f"{name}-tokenizer"), name)
