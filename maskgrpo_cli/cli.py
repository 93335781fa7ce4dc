"""The command line: short commands, and the one place where an error becomes a message and an exit code.

Only typer is imported at the top, so that `--help` and completion answer at once.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from typing import Annotated

import typer

from maskgrpo_cli import __version__
from maskgrpo_cli import cli_options as options
from maskgrpo_cli.cli_data import app as data_app
from maskgrpo_cli.cli_group import Commands, Interrupted
from maskgrpo_cli.cli_harness import PASS_ON, lm_eval
from maskgrpo_cli.cli_keys import overrides
from maskgrpo_cli.cli_recipes import app as recipes_app
from maskgrpo_cli.cli_reward_server import reward_server
from maskgrpo_cli.cli_sample import check_threshold, fitting_recipe, sample
from maskgrpo_cli.cli_tokenizer import tokenizer
from maskgrpo_cli.cli_training import training, with_run_directory
from maskgrpo_cli.errors import RunFailed, UserError

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
app.add_typer(data_app, name="data")


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


def _train(
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
    unsafe_local: options.UnsafeLocal = False,
    tracker: options.Tracker = None,
    merge: options.Merge = False,
    resume: options.Resume = None,
    force: options.Force = False,
    set_: options.Set = None,
) -> None:
    command = ctx.command.name
    config, name, how = training(command, ctx)
    importlib.import_module(f"maskgrpo_cli.engine.{command}").run(config, name, how)


app.command(
    "grpo",
    help="""Train a model by reinforcement learning on a task's rewards.

    \b
    Examples:
      maskgrpo grpo --recipe math
      maskgrpo grpo --recipe math --max-steps 20 --set grpo.estimator.name=uniform
      maskgrpo grpo --recipe math-llada-8b --output-dir runs/llada --tracker tensorboard
      maskgrpo grpo --resume latest
    """,
)(_train)
app.command(
    "sft",
    help="""Train a model on worked answers, from nothing or from --model.

    \b
    Examples:
      maskgrpo sft --recipe math
      maskgrpo sft --recipe math --model runs/first --max-steps 200
    """,
)(_train)


app.command()(sample)


@app.command("eval")
def evaluate(
    ctx: typer.Context,
    benchmark: options.Benchmark = None,
    recipe: options.MaybeRecipe = None,
    model: options.Model = None,
    adapter: options.Adapter = None,
    data: options.Data = None,
    split: options.Split = None,
    limit: options.Limit = None,
    samples: options.Samples = None,
    pass_at: options.PassAt = None,
    shots: options.Shots = None,
    shots_data: options.ShotsData = None,
    sampler: options.Sampler = None,
    sampling_steps: options.SamplingSteps = None,
    length: options.Lengths = None,
    block_length: options.BlockLength = None,
    temperature: options.Temperatures = None,
    threshold: options.Threshold = None,
    cache: options.Cache = None,
    batch_size: options.BatchSize = None,
    generations: options.Generations = None,
    protocol: options.Protocol = None,
    resume: options.ResumeEvaluation = None,
    compare: options.Compare = None,
    output_dir: options.OutputDir = None,
    seed: options.Seed = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    offline: options.Offline = False,
    unsafe_local: options.UnsafeLocal = False,
    set_: options.Set = None,
) -> None:
    """Measure a model's accuracy on a benchmark, with the evaluation settings of a recipe.

    Every temperature at every length is a row of the result. Intervals are 95 %, over problems.

    \b
    Examples:
      maskgrpo eval arithmetic
      maskgrpo eval arithmetic --model runs/first --temperature 0.5,1 -n 8 --pass-at 1,4,8
      maskgrpo eval shapes --limit 64
      maskgrpo eval geneval --data geneval_prompts.jsonl.gz --recipe text-to-image
      maskgrpo eval gsm8k --data gsm8k_test.jsonl.gz --limit 64 --shots 4 --shots-data gsm8k_train.jsonl.gz
      maskgrpo eval --resume runs/eval-gsm8k-20250102-030405
      maskgrpo eval --compare runs/before runs/after
      maskgrpo eval gsm8k --generations gsm8k_128.jsonl.gz --protocol d1
      maskgrpo eval humaneval --data humaneval.jsonl.gz --generations samples.jsonl
    """
    if compare is not None:
        _nothing_but(ctx, "--compare", "compare", "output_dir")
        from maskgrpo_cli.engine.evaluation_compare import run as run_comparison

        return run_comparison(*compare, output_dir)
    if resume is not None:
        _nothing_but(ctx, "--resume", "resume", "unsafe_local")
    elif benchmark is None:
        raise UserError("name a BENCHMARK, such as: maskgrpo eval arithmetic; or --resume RUN, or --compare A B")
    from maskgrpo_cli.config import evaluation

    if resume is not None:
        config = evaluation.load_begun(resume, overrides("eval", ctx.params))
    else:
        changed = overrides("eval", ctx.params)
        config = evaluation.load_benchmark(recipe or fitting_recipe(model, benchmark), benchmark, changed)
        check_threshold(threshold, config.sampler.name)
        config = with_run_directory(config, f"eval-{benchmark.rpartition(':')[2]}")
    if generations is not None:
        allowed = ("benchmark", "protocol", "data", "split", "limit", "output_dir", "offline", "unsafe_local", "set_")
        _nothing_but(ctx, "--generations", "generations", *allowed)
        from maskgrpo_cli.engine.generations import run as run_generations

        return run_generations(config, generations)
    from maskgrpo_cli.engine.evaluation import run

    run(config, resume is not None)


def _nothing_but(ctx: typer.Context, option: str, *allowed: str) -> None:
    """Raises UserError where other parameters were given than those that go with `option`."""
    others = sorted(
        max(param.opts, key=len) if param.opts[0].startswith("-") else param.name.upper()
        for param in ctx.command.params
        if param.name not in allowed and ctx.get_parameter_source(param.name).name != "DEFAULT"
    )
    if others:
        why = {
            "--resume": "continues an evaluation as it was begun",
            "--compare": "reads finished evaluations",
            "--generations": "judges text that is there already",
        }
        raise UserError(f"{option} {why[option]}; leave out {', '.join(others)}")


app.command("lm-eval", context_settings=PASS_ON)(lm_eval)
app.command()(tokenizer)
app.command()(reward_server)


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
    """A message on stderr, its first words red in a terminal; the exit code stands where nobody reads it."""
    colour = None if "NO_COLOR" in os.environ else "red"
    with contextlib.suppress(BrokenPipeError):
        typer.secho(kind, fg=colour, bold=colour is not None, err=True, nl=False)
        typer.echo(message, err=True)


def _flush() -> None:
    """Writes out what is left, quietly even where nobody reads it any more (`| head -1`)."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
