"""The group of commands: interrupts reach `main`, and `--help` stays quick."""

from __future__ import annotations

from typer.core import TyperGroup


class Interrupted(Exception):
    """The user pressed Ctrl-C; an exception of our own, because click takes KeyboardInterrupt for itself."""


class Commands(TyperGroup):
    """The commands of maskgrpo."""

    def invoke(self, ctx):
        """Runs the chosen command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Interrupted(str(error)) from error

    def get_params(self, ctx):
        """The group's options. A flag that is not given is False, not None.

        Recent typer imports pydantic to turn None into None, which takes as long as all else.
        """
        params = super().get_params(ctx)
        for param in params:
            if getattr(param, "is_flag", False) and param.default is None:
                param.default = False
        return params
