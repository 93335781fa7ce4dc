"""`maskgrpo recipes`: what recipes there are, what is in them, and whether they are right."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from maskgrpo_cli.cli_group import Commands
from maskgrpo_cli.cli_options import complete_recipe
from maskgrpo_cli.errors import UserError

app = typer.Typer(
    cls=Commands,
    help="List, show, copy and check recipes.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME|FILE",
        autocompletion=complete_recipe,
        show_default=False,
        help="A bundled recipe or a YAML file. Example: math",
    ),
]


@app.command("list")
def list_() -> None:
    """Name, description and model of every bundled recipe.

    \b
    Example:
      maskgrpo recipes list
    """
    from maskgrpo_cli.config import recipes

    rows = [(summary.name, summary.description, summary.model) for summary in recipes.summaries()]
    if sys.stdout.isatty():
        _table(rows)
        return
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    for name, description, model in rows:
        typer.echo(f"{name:{widths[0]}}  {description:{widths[1]}}  {model}")


def _table(rows: list[tuple[str, str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("recipe", "what it does", "model", box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


@app.command()
def show(name: Name) -> None:
    """Print a recipe.

    \b
    Example:
      maskgrpo recipes show math
    """
    from maskgrpo_cli.config import recipes

    text = _text(recipes.find(name))
    if not sys.stdout.isatty():
        typer.echo(text, nl=not text.endswith("\n"))
        return
    from rich.console import Console
    from rich.syntax import Syntax

    Console().print(Syntax(text, "yaml", background_color="default", word_wrap=True))


@app.command()
def copy(
    name: Name,
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE]", show_default=False, help="Where to; default: NAME.yaml. Example: mine.yaml"
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file. Example: --force")] = False,
) -> None:
    """Copy a recipe to a file of your own, to be changed and run with --recipe FILE.

    \b
    Example:
      maskgrpo recipes copy math mine.yaml
    """
    from maskgrpo_cli.config import recipes

    source = recipes.find(name)
    target = Path(file) if file else Path(f"{recipes.label(name)}.yaml")
    if target.is_dir():
        target = target / f"{recipes.label(name)}.yaml"
    if target.exists() and not force:
        raise UserError(f"'{target}' exists; name another file, or overwrite it with --force")
    if target.exists() and target.samefile(source):
        raise UserError(f"'{target}' is the recipe itself; name another file")
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise UserError(f"'{target}' cannot be written: {error.strerror or error}") from error
    typer.echo(f"{target}  (run it with: maskgrpo grpo --recipe {target})")


@app.command()
def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME|FILE]...",
            autocompletion=complete_recipe,
            show_default=False,
            help="Recipes to check; default: all bundled ones. Example: math mine.yaml",
        ),
    ] = None,
) -> None:
    """Check recipes without running them: every mistake, with its key, its value and what is allowed.

    \b
    Examples:
      maskgrpo recipes check
      maskgrpo recipes check mine.yaml
    """
    from maskgrpo_cli.config import load, recipes

    wrong = []
    for name in names or recipes.names():
        try:
            load(name)
            typer.echo(f"ok     {name}")
        except UserError as error:
            wrong.append(str(error))
            typer.echo(f"wrong  {name}")
    if wrong:
        raise UserError("\n".join(wrong))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' cannot be read: {error}") from error
