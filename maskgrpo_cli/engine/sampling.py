"""`maskgrpo sample`: write completions, and show how they came to be."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.text import Text
from torch import Tensor

from maskgrpo_cli.config.schema import Config
from maskgrpo_cli.engine.devices import make_accelerator
from maskgrpo_cli.engine.generation import generate
from maskgrpo_cli.engine.interrupts import Interrupts
from maskgrpo_cli.engine.policy import Policy, load_policy
from maskgrpo_cli.engine.reporting.display import make_reporter
from maskgrpo_cli.engine.reporting.text import printable
from maskgrpo_cli.engine.reporting.trace import show_trace, write_html
from maskgrpo_cli.engine.session import Session
from maskgrpo_cli.noise import Noise


def run(config: Config, prompts: Sequence[str], count: int, trace: str | None = None) -> None:
    """Print `count` completions of each prompt; with `trace`, also every denoising step, there and as a page."""
    accelerator = make_accelerator(config)
    console = Console()
    asked = [prompt for prompt in prompts for _ in range(count)]
    with make_reporter(None, "sample", 0, stream=sys.stderr) as reporter, Interrupts() as interrupts:
        session = Session(config, accelerator, None, reporter, interrupts)
        policy = load_policy(config, accelerator, trained=False)
        ids = policy.modality.encode([[{"role": "user", "content": prompt}] for prompt in asked])
        frames: list[list[Tensor]] = [[] for _ in asked]
        response = _complete(session, policy, ids, frames if trace else None)
    completions = policy.modality.decode(response)
    for index, (prompt, completion) in enumerate(zip(asked, completions, strict=True)):
        _show(console, prompt, completion, titled=len(asked) > 1)
        if trace:
            show_trace([policy.modality.pieces(frame) for frame in frames[index]], console)
    if trace:
        pieces = [[policy.modality.pieces(frame) for frame in rows] for rows in frames]
        settings = {"model": config.model.path, "seed": config.seed, **config.sampler.model_dump()}
        write_html(Path(trace), "\n\n".join(prompts), pieces, settings)
        console.print(f"the denoising, step by step: {trace}", style="dim", highlight=False)


def _complete(session: Session, policy: Policy, ids: list[list[int]], frames: list[list[Tensor]] | None) -> Tensor:
    """Responses [N, L]; with `frames`, each completion's canvas before the first step and after every one."""
    settings = session.config.sampler
    if frames is None:
        noise = Noise((session.config.seed,), tuple(range(len(ids))))
        return generate(policy, ids, settings, noise, progress=session.progress("sample"))
    rows = []
    for index, prompt in enumerate(ids):  # one at a time, so that each has frames of its own
        start = policy.modality.canvas([prompt], settings.length).response[0]
        frames[index].append(start)

        def observe(step: int, steps: int, response: Tensor, index: int = index) -> None:
            frames[index].append(response[0].cpu())

        noise = Noise((session.config.seed,), (index,))
        rows.append(generate(policy, [prompt], settings, noise, session.progress("sample"), observe)[0])
    return torch.stack(rows)


def _show(console: Console, prompt: str, completion: str, titled: bool) -> None:
    if titled and console.is_terminal:
        console.print(Text(printable(prompt), style="dim"))
    console.print(Text(printable(completion)), soft_wrap=True)
