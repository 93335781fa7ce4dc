"""What `maskgrpo sample` asks for, draws and hands to the view of a modality."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from maskgrpo_cli.config.schema import Config, SamplerConfig
from maskgrpo_cli.engine.generation import generate
from maskgrpo_cli.engine.policy import Policy
from maskgrpo_cli.engine.session import Session
from maskgrpo_cli.noise import Noise


@dataclass(frozen=True)
class Request:
    """The command's options. Those from `output` on are about pictures; views of other modalities refuse them."""

    config: Config
    prompts: Sequence[str]
    count: int  # completions of each prompt
    trace: str | None = None  # file to write the denoising to
    output: str | None = None  # folder
    compare: str | None = None  # a second sampler
    edit: str | None = None  # the picture to edit
    keep: str | None = None  # its mask
    strength: float | None = None  # or how much of it changes
    mode: str | None = None  # and by which rule
    first: int = 0  # the number of the first sample of each prompt
    weights: str | None = None  # the fingerprint that the model should have
    preview: bool = True


@dataclass(frozen=True)
class Job:
    """Completions that are drawn with the same settings."""

    prompts: Sequence[str]  # one a completion
    samples: Sequence[int]  # the number of each in the noise
    settings: SamplerConfig
    sampler: Callable | None = None  # one that has no name, instead of the one that the settings name
    start: Tensor | None = None  # [L] what is there before the first step; None: masks


@dataclass(frozen=True)
class Drawn:
    """A completion, and how it came to be."""

    prompt: str
    sample: int
    settings: SamplerConfig
    response: Tensor  # [L]
    frames: list[Tensor] = field(default_factory=list)  # [L] each, before the first step and after every one


class View(Protocol):
    """How the completions of a modality are asked for and shown. Made before any weights are read.

    Its constructor takes the request, and raises UserError for what it cannot do.
    """

    def jobs(self, policy: Policy, warn: Callable[[str], None]) -> list[Job]:
        """What to draw."""

    def show(self, policy: Policy, drawn: list[list[Drawn]]) -> None:
        """Show, and write, what was drawn for each job."""


def draw(session: Session, policy: Policy, job: Job, traced: bool) -> list[Drawn]:
    """Carry out a job; `traced` keeps the frames."""
    ids = policy.modality.encode([[{"role": "user", "content": prompt}] for prompt in job.prompts])
    seed, settings = (session.config.seed,), job.settings
    if not traced:
        noise = Noise(seed, tuple(job.samples))
        responses = generate(policy, ids, settings, noise, session.progress("sample"), sampler=job.sampler)
        rows = zip(job.prompts, job.samples, responses, strict=True)
        return [Drawn(prompt, sample, settings, response) for prompt, sample, response in rows]
    drawn = []
    for prompt, sample, row in zip(job.prompts, job.samples, ids, strict=True):  # alone, each has frames of its own
        masks = torch.full((settings.length,), policy.modality.vocabulary.mask_id)
        frames = [masks if job.start is None else job.start]

        def observe(step: int, steps: int, response: Tensor, frames: list[Tensor] = frames) -> None:
            frames.append(response[0].cpu())

        noise = Noise(seed, (sample,))
        response = generate(policy, [row], settings, noise, session.progress("sample"), observe, job.sampler)[0]
        drawn.append(Drawn(prompt, sample, settings, response, frames))
    return drawn
