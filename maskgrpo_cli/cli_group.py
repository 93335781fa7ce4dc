"""The group of commands: interrupts reach `main`, and `--help` stays quick."""

from __future__ import annotations

import shlex
from pathlib import Path

from typer.core import TyperGroup

from maskgrpo_cli import errors


class Interrupted(Exception):
    """Ctrl-C or SIGTERM; an exception of our own, because click takes KeyboardInterrupt for itself.

    Its text says where the run was saved, and how to continue it.
    """

    def __init__(self, error: KeyboardInterrupt, command: str | None) -> None:
        self.exit_code, text = 130, str(error)
        if isinstance(error, errors.Interrupted):
            self.exit_code, text = error.exit_code, ""
            if error.saved and command:
                run = shlex.quote(error.run or str(Path(error.saved).parent.parent))
                text = f"the run is saved in {error.saved}\n  continue it: maskgrpo {command} --resume {run}"
        super().__init__(text)


class Commands(TyperGroup):
    """The commands of maskgrpo."""

    def invoke(self, ctx):
        """Runs the chosen command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Interrupted(error, ctx.invoked_subcommand) from error

    def get_params(self, ctx):
        """The group's options. A flag that is not given is False, not None.

        Recent typer imports pydantic to turn None into None, which takes as long as all else.
        """
        params = super().get_params(ctx)
        for param in params:
            if getattr(param, "is_flag", False) and param.default is None:
                param.default = False
        return params
