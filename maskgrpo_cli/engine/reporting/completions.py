"""Completions that are text: printed, and with a trace also as a page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.text import Text

from maskgrpo_cli.engine.drawing import Drawn, Job, Request
from maskgrpo_cli.engine.policy import Policy
from maskgrpo_cli.engine.reporting.text import printable
from maskgrpo_cli.engine.reporting.trace import show_trace, write_html
from maskgrpo_cli.errors import UserError

_OF_PICTURES = ("output", "compare", "edit", "keep", "strength", "mode")


class TextView:
    """Prints completions to the standard output.

    Raises:
        UserError: the request says something about pictures.
    """

    def __init__(self, request: Request):
        self.request = request
        given = [f"--{name}" for name in _OF_PICTURES if getattr(request, name) is not None]
        if given or request.weights:
            raise UserError(
                f"{', '.join(given or ['--like'])}: this recipe's task, '{request.config.task.name}', is answered with "
                "text; for pictures add --recipe text-to-image, or leave it out"
            )

    def jobs(self, policy: Policy, warn: Callable[[str], None]) -> list[Job]:
        """All completions in one go, numbered over all prompts."""
        asked = [prompt for prompt in self.request.prompts for _ in range(self.request.count)]
        return [Job(asked, range(len(asked)), self.request.config.sampler)]

    def show(self, policy: Policy, drawn: list[list[Drawn]]) -> None:
        """Print the completions, or their denoising step by step, which is written as a page too."""
        console, request, completions = Console(), self.request, drawn[0]
        pieces = [[policy.modality.pieces(frame) for frame in one.frames] for one in completions]
        for index, one in enumerate(completions):
            text = policy.modality.written(policy.modality.decode(one.response[None])[0], None, "")
            if len(completions) > 1 and console.is_terminal:
                console.print(Text(printable(one.prompt), style="dim"))
            console.print(Text(printable(text)), soft_wrap=True)
            if request.trace:
                show_trace(pieces[index], console)
        if request.trace:
            config = request.config
            settings = {"model": config.model.path, "seed": config.seed, **config.sampler.model_dump()}
            write_html(Path(request.trace), "\n\n".join(request.prompts), pieces, settings)
            console.print(f"the denoising, step by step: {request.trace}", style="dim", highlight=False)
