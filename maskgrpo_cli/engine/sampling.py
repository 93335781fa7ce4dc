"""`maskgrpo sample`: draw completions, and have them shown as what they are."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from maskgrpo_cli import registry
from maskgrpo_cli.config.schema import Config
from maskgrpo_cli.engine.devices import make_accelerator
from maskgrpo_cli.engine.drawing import Request, draw
from maskgrpo_cli.engine.interrupts import Interrupts
from maskgrpo_cli.engine.modality import DEFAULT, modality_of
from maskgrpo_cli.engine.policy import load_policy
from maskgrpo_cli.engine.reporting.display import make_reporter
from maskgrpo_cli.engine.session import Session


def run(config: Config, prompts: Sequence[str], count: int, trace: str | None = None, **more: Any) -> None:
    """Draw `count` completions of each prompt and show them; with `trace`, also every denoising step.

    The modality is that of the recipe's task. `more`: other fields of `Request`.
    """
    request = Request(config, prompts, count, trace, **more)
    modality = modality_of(registry.resolve("task", config.task.name))
    view = registry.resolve("view", modality if modality in registry.names("view") else DEFAULT)(request)
    accelerator = make_accelerator(config)
    with make_reporter(None, "sample", 0, stream=sys.stderr) as reporter, Interrupts() as interrupts:
        session = Session(config, accelerator, None, reporter, interrupts)
        policy = load_policy(config, accelerator, trained=False, modality=modality)
        jobs = view.jobs(policy, reporter.warn)
        drawn = [draw(session, policy, job, traced=bool(trace)) for job in jobs]
    view.show(policy, drawn)
