"""The command line: short commands, and the one place where an error becomes a message and an exit code.

Only typer is imported at the top, so that `--help` and completion answer at once.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskgrpo_cli import __version__
from maskgrpo_cli import cli_options as options
from maskgrpo_cli.cli_group import Commands, Interrupted
from maskgrpo_cli.cli_recipes import app as recipes_app
from maskgrpo_cli.errors import RunFailed, UserError

if TYPE_CHECKING:
    from maskgrpo_cli.config import Config


app = typer.Typer(
    name="maskgrpo",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: rich would double the time it takes
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: maskgrpo grpo --recipe math",
)
app.add_typer(recipes_app, name="recipes")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"maskgrpo {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Reinforcement learning for masked diffusion models."""


@app.command()
def grpo(
    ctx: typer.Context,
    recipe: options.Recipe = "math",
    model: options.Model = None,
    adapter: options.Adapter = None,
    output_dir: options.OutputDir = None,
    seed: options.Seed = None,
    max_steps: options.MaxSteps = None,
    sampling_steps: options.SamplingSteps = None,
    limit: options.Limit = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    offline: options.Offline = False,
    tracker: options.Tracker = None,
    merge: options.Merge = False,
    resume: options.Resume = None,
    set_: options.Set = None,
) -> None:
    """Train a model by reinforcement learning on a task's rewards.

    \b
    Examples:
      maskgrpo grpo --recipe math
      maskgrpo grpo --recipe math --max-steps 20 --set grpo.estimator.name=uniform
      maskgrpo grpo --recipe math-llada-8b --output-dir runs/llada --tracker tensorboard
    """
    if resume is not None:
        config, name = _resumed_config("grpo", ctx)
    else:
        config, name = _training_config("grpo", ctx.params)
    from maskgrpo_cli.engine.grpo import run

    run(config, name, resume is not None)


@app.command()
def sft(
    ctx: typer.Context,
    recipe: options.Recipe = "math",
    model: options.Model = None,
    adapter: options.Adapter = None,
    output_dir: options.OutputDir = None,
    seed: options.Seed = None,
    max_steps: options.MaxSteps = None,
    sampling_steps: options.SamplingSteps = None,
    limit: options.Limit = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    offline: options.Offline = False,
    tracker: options.Tracker = None,
    merge: options.Merge = False,
    resume: options.Resume = None,
    set_: options.Set = None,
) -> None:
    """Train a model on worked answers, from nothing or from --model.

    \b
    Examples:
      maskgrpo sft --recipe math
      maskgrpo sft --recipe math --model runs/first --max-steps 200
    """
    if resume is not None:
        config, name = _resumed_config("sft", ctx)
    else:
        config, name = _training_config("sft", ctx.params)
    from maskgrpo_cli.engine.sft import run

    run(config, name, resume is not None)


@app.command()
def sample(
    ctx: typer.Context,
    prompt: options.Prompt,
    recipe: options.MaybeRecipe = None,
    model: options.Model = None,
    adapter: options.Adapter = None,
    sampler: options.Sampler = None,
    sampling_steps: options.SamplingSteps = None,
    length: options.Length = None,
    block_length: options.BlockLength = None,
    temperature: options.Temperature = None,
    threshold: options.Threshold = None,
    cache: options.Cache = None,
    guidance: options.Guidance = None,
    count: options.Count = 1,
    trace: options.Trace = None,
    seed: options.Seed = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    offline: options.Offline = False,
    set_: options.Set = None,
) -> None:
    """Write completions of prompts.

    \b
    Examples:
      maskgrpo sample --prompt "Tom has 3 apples and buys 4. How many has he?"
      maskgrpo sample --model runs/first --prompt "..." -n 4 --temperature 0.7
      echo "..." | maskgrpo sample --prompt - --sampler low-confidence --trace trace.html
    """
    from maskgrpo_cli.config import load

    config = load(recipe or _fitting_recipe(model), options.overrides("sample", ctx.params), "sample")
    prompts = [_read_prompt(text) for text in prompt]
    from maskgrpo_cli.engine.sampling import run

    run(config, prompts, count, trace)


@app.command("eval")
def evaluate(
    ctx: typer.Context,
    benchmark: options.Benchmark,
    recipe: options.MaybeRecipe = None,
    model: options.Model = None,
    adapter: options.Adapter = None,
    data: options.Data = None,
    split: options.Split = "test",
    limit: options.Limit = None,
    sampler: options.Sampler = None,
    sampling_steps: options.SamplingSteps = None,
    length: options.Length = None,
    block_length: options.BlockLength = None,
    temperature: options.Temperature = None,
    threshold: options.Threshold = None,
    cache: options.Cache = None,
    batch_size: options.BatchSize = None,
    protocol: options.Protocol = None,
    output_dir: options.OutputDir = None,
    seed: options.Seed = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    offline: options.Offline = False,
    set_: options.Set = None,
) -> None:
    """Measure a model's accuracy on a benchmark, with the evaluation settings of a recipe.

    \b
    Examples:
      maskgrpo eval arithmetic
      maskgrpo eval arithmetic --model runs/first --temperature 1
      maskgrpo eval gsm8k --data gsm8k_test.jsonl.gz --limit 64
    """
    from maskgrpo_cli.config.evaluation import load_benchmark

    changed = options.overrides("eval", ctx.params)
    config = load_benchmark(recipe or _fitting_recipe(model), benchmark, changed)
    config = _with_run_directory(config, f"eval-{benchmark.rpartition(':')[2]}")
    from maskgrpo_cli.engine.evaluation import run

    run(config, split)


def _training_config(command: str, params: Mapping[str, Any]) -> tuple[Config, str]:
    """The config of a training run with a directory of its own, and the recipe's short name."""
    from maskgrpo_cli.config import Override, load, recipes

    recipe = params["recipe"]
    # what a run wrote down holds the run's own directory, which a repetition must not overwrite
    first = [Override("output_dir", None)] if recipes.is_run(recipe) else []
    config = load(recipe, [*first, *options.overrides(command, params)], command)
    name = recipes.label(recipe)
    return _with_run_directory(config, f"{name}-{command}"), name


def _resumed_config(command: str, ctx: typer.Context) -> tuple[Config, str]:
    """The config that a run wrote down, in its own directory; a run is continued as it was begun."""
    run = ctx.params["resume"]
    others = sorted(
        f"--{name.rstrip('_').replace('_', '-')}" for name in ctx.params
        if name != "resume" and ctx.get_parameter_source(name).name != "DEFAULT"
    )
    if others:
        raise UserError(f"--resume continues a run as it was begun; leave out {', '.join(others)}")
    if not (Path(run) / "config.yaml").is_file():
        raise UserError(f"--resume: there is no run in '{run}' (no config.yaml); give a run directory")
    from maskgrpo_cli.config import Override, load, recipes

    return load(run, [Override("output_dir", run, "--resume")], command), recipes.label(run)


def _with_run_directory(config: Config, name: str) -> Config:
    """`config` with a new directory runs/<name>-<time> to write to, unless it names one."""
    if config.output_dir is not None:
        return config
    stem = f"runs/{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    candidates = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
    return config.model_copy(update={"output_dir": next(c for c in candidates if not Path(c).exists())})


def _fitting_recipe(model: str | None) -> str:
    """The recipe to use where only a model is named, or nothing at all."""
    from maskgrpo_cli.config import recipes

    return (recipes.for_model(model) if model else None) or "math"


def _read_prompt(text: str) -> str:
    try:
        prompt = (sys.stdin.read() if text == "-" else text).strip()
    except UnicodeDecodeError as error:
        raise UserError("--prompt -: the standard input is not text (UTF-8)") from error
    if not prompt:
        where = "the standard input is empty" if text == "-" else "it is empty"
        raise UserError(f"--prompt: {where}; write a question, such as --prompt 'What is 3 + 4?'")
    return prompt


def main() -> None:
    """Runs the command line. Exit codes: 0 done, 1 failed, 2 the user's mistake, 130 Ctrl-C, 143 SIGTERM.

    Any other exception is a bug of ours and keeps its traceback.
    """
    try:
        app(prog_name="maskgrpo")
    except UserError as error:
        _say("error: ", error)
        sys.exit(2)
    except RunFailed as error:
        _say("error: ", error)
        sys.exit(1)
    except (Interrupted, KeyboardInterrupt) as error:
        _say("interrupted", f": {error}" if str(error) else "")
        sys.exit(getattr(error, "exit_code", 130))
    except BrokenPipeError:
        sys.exit(1)
    finally:
        _flush()


def _say(kind: str, message: object) -> None:
    """A message on stderr, its first words red in a terminal."""
    colour = None if "NO_COLOR" in os.environ else "red"
    typer.secho(kind, fg=colour, bold=colour is not None, err=True, nl=False)
    typer.echo(message, err=True)


def _flush() -> None:
    """Writes out what is left, quietly even where nobody reads it any more (`| head -1`)."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
