"""`maskgrpo data`: whether data can be learnt from."""

from __future__ import annotations

from typing import Annotated

import typer

from maskgrpo_cli import cli_options as options
from maskgrpo_cli.cli_group import Commands
from maskgrpo_cli.cli_keys import overrides

app = typer.Typer(
    cls=Commands,
    help="Check data.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

File = Annotated[
    str | None,
    typer.Argument(
        metavar="FILE",
        show_default=False,
        help="A .jsonl, .json or .csv file (also .gz) or a hub id; default: the task's own data. "
        "Example: mbpp.jsonl.gz",
    ),
]
Task = Annotated[
    str,
    options.option(
        "--task",
        "NAME",
        "Whose layout the file has: mbpp, humaneval, acecode, kodcode, any other task, or your own as "
        "module.path:attribute. Example: --task mbpp",
        options.complete_benchmark,
    ),
]
Split = Annotated[
    str | None,
    options.option("--split", "NAME", "The split; default: all of a file, else train. Example: --split test"),
]
Output = Annotated[
    str | None,
    options.option(
        "--output", "FILE", "Write what became of every row, a JSON object a line. Example: --output checked.jsonl"
    ),
]


@app.callback()
def _root() -> None:
    """Check data."""


@app.command()
def check(
    ctx: typer.Context,
    task: Task,
    file: File = None,
    split: Split = None,
    limit: options.Limit = None,
    output: Output = None,
    offline: options.Offline = False,
    unsafe_local: options.UnsafeLocal = False,
    set_: options.Set = None,
) -> None:
    """Run the reference solutions of a data set, and list the rows whose tests cannot pass.

    Exit code 1 where there are such rows. Time and memory of a test: --set sandbox.timeout=10, sandbox.memory=1024.

    \b
    Examples:
      maskgrpo data check mbpp.jsonl.gz --task mbpp
      maskgrpo data check kodcode.jsonl --task kodcode --set task.columns={test: tests} --output checked.jsonl
    """
    from maskgrpo_cli.config.loading import load_overrides

    config = load_overrides(overrides("data check", ctx.params))
    from maskgrpo_cli.engine.data_check import run

    run(config, split, output)
