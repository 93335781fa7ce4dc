"""Completions that are pictures: files with what made them inside, a sheet of all, a film, and a preview."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from rich.console import Console

from maskgrpo_cli import __version__, registry
from maskgrpo_cli.config.schema import SamplerConfig
from maskgrpo_cli.engine.drawing import Drawn, Job, Request
from maskgrpo_cli.engine.evaluation_identity import fingerprint
from maskgrpo_cli.engine.pictures import film, folder, preview
from maskgrpo_cli.engine.pictures.editing import edit_of
from maskgrpo_cli.engine.pictures.grid import Cell, Section, sheet
from maskgrpo_cli.engine.pictures.metadata import as_png, png
from maskgrpo_cli.engine.policy import Policy
from maskgrpo_cli.engine.reporting.trace import thinned
from maskgrpo_cli.errors import UserError

GRID = "grid.png"


class PictureView:
    """Draws pictures, each sampler in a job of its own, and writes them.

    Sample j of a prompt depends on the seed, j and the prompt alone: neither on the number of samples nor on the
    other prompts.

    Raises:
        UserError: options do not go together, a file cannot be read, or nothing can be written where it should.
    """

    def __init__(self, request: Request):
        self.request, self.config = request, request.config
        self.edit, self.begun = edit_of(request), None
        self.samplers = [self.config.sampler, *_compared(request)]
        self.folder = Path(request.output).expanduser() if request.output else folder.new_folder(request.prompts[0])
        folder.check_writable(self.folder, "--output")
        self.film = film.animation_file(request.trace) if request.trace else None
        if self.film:
            folder.check_writable(self.film.parent, "--trace")

    def jobs(self, policy: Policy, warn: Callable[[str], None]) -> list[Job]:
        """The same prompts and samples for every sampler."""
        request, modality = self.request, policy.modality
        _warn_of_cut(request.prompts, policy, warn)
        if request.weights is not None and request.weights != fingerprint(policy.plain):
            warn(f"the weights of {self.config.model.path} are others than those that drew the picture of --like")
        prompts = [prompt for prompt in request.prompts for _ in range(request.count)]
        samples = [*range(request.first, request.first + request.count)] * len(request.prompts)
        if self.edit is None:
            return [Job(prompts, samples, settings) for settings in self.samplers]
        self.begun = self.edit.begin(modality, self.config.sampler.length)
        return [Job(prompts, samples, self.config.sampler, self.begun.sampler, self.begun.tokens)]

    def show(self, policy: Policy, drawn: list[list[Drawn]]) -> None:
        """Write everything, then show it and say what was written."""
        pictures = [policy.modality.decode(torch.stack([one.response for one in job])) for job in drawn]
        given = self.begun.cells if self.begun else []
        sections = self._sections(drawn, pictures, given)
        grid = sheet(sections, self._footer())
        files = self._files(policy, drawn, pictures, grid)
        written = [folder.write(path, content) for path, content in files]
        console = Console()
        how = preview.way(console, os.environ) if self.request.preview else None
        if how:
            preview.show(console, how, grid, sections)
        for path in written:
            console.print(str(path), soft_wrap=True, markup=False, highlight=False)

    # --- sheets ------------------------------------------------------------------------------------

    def _sections(
        self, drawn: list[list[Drawn]], pictures: Sequence[Sequence[Image.Image]], given: Sequence[Cell]
    ) -> list[Section]:
        """A section for each prompt: what was given, then its samples, those of the samplers side by side."""
        cells = [
            [Cell(picture, self._caption(one)) for one, picture in zip(job, shown, strict=True)]
            for job, shown in zip(drawn, pictures, strict=True)
        ]
        units, count = [list(unit) for unit in zip(*cells, strict=True)], self.request.count
        return [
            Section(prompt, [*([cell] for cell in given), *units[index * count : (index + 1) * count]])
            for index, prompt in enumerate(self.request.prompts)
        ]

    def _caption(self, one: Drawn) -> str:
        how = self.edit.label if self.edit else one.settings.name
        return f"seed {self.config.seed} · sample {one.sample} · {how}"

    def _footer(self) -> str:
        own = self.config.sampler
        told = [
            self.config.model.path, f"{own.steps} steps", f"schedule {own.schedule}", f"guidance {own.guidance:g}",
            f"temperature {own.temperature:g}", f"maskgrpo {__version__}",
        ]
        return " · ".join(told)

    # --- files -------------------------------------------------------------------------------------

    def _files(
        self, policy: Policy, drawn: list[list[Drawn]], pictures: Sequence[Sequence[Image.Image]], grid: Image.Image
    ) -> list[tuple[Path, bytes]]:
        """What is to be written where: every picture, the sheet and the film."""
        facts, taken, files = self._facts(policy), set(), []
        for job, shown in zip(drawn, pictures, strict=True):
            for one, picture in zip(job, shown, strict=True):
                name = f"{folder.slug(one.prompt)}-seed{self.config.seed}-{one.sample}"
                name += f"-{folder.slug(one.settings.name)}" if len(drawn) > 1 else ""
                own = {"sample": one.sample, "sampler": one.settings.model_dump()}
                content = as_png(picture, one.prompt, {**facts, **own})
                files.append((folder.free(self.folder / f"{name}.png", taken), content))
        files.append((folder.free(self.folder / GRID, taken), png(grid)))
        return files + (self._film_files(policy, drawn) if self.film else [])

    def _facts(self, policy: Policy) -> dict[str, Any]:
        """What all the pictures say of themselves."""
        config = self.config
        model = config.model.model_dump(include={"path", "revision", "adapter", "image_tokenizer"})
        return {
            "seed": config.seed,
            "model": {**model, "weights": fingerprint(policy.plain)},
            "task": {"name": config.task.name, "max_prompt_length": config.task.max_prompt_length},
            "dtype": config.dtype,
            "edit": self.edit.facts() if self.edit else None,
            "versions": {"maskgrpo": __version__, "torch": torch.__version__},
        }

    def _film_files(self, policy: Policy, drawn: list[list[Drawn]]) -> list[tuple[Path, bytes]]:
        """The animation of the sheet, and a filmstrip with a row for each picture."""
        last = max(len(one.frames) for job in drawn for one in job) - 1
        steps = thinned(last + 1, film.FRAMES)
        moments = [[_decoded(policy, job, step) for job in drawn] for step in steps]
        given = [Cell(film.reduced(cell.picture), cell.caption) for cell in (self.begun.cells if self.begun else ())]
        sheets = [
            sheet(self._sections(drawn, shown, given), f"step {step} of {last}\n{self._footer()}")
            for step, shown in zip(steps, moments, strict=True)
        ]
        rows = []
        for number, job in enumerate(drawn):
            for index, one in enumerate(job):
                stills = [(step, shown[number][index]) for step, shown in zip(steps, moments, strict=True)]
                rows.append((f"{one.prompt} · {self._caption(one)}", stills))
        strip = film.filmstrip(rows, self._footer())
        return [
            (self.film, film.animation(sheets, self.film.suffix)), (film.filmstrip_file(self.film), png(strip)),
        ]


def _decoded(policy: Policy, job: Sequence[Drawn], step: int) -> list[Image.Image]:
    """The pictures of a job after a step; a sampler that says less of its steps ends earlier."""
    frames = [one.frames[min(step, len(one.frames) - 1)] for one in job]
    return [film.reduced(picture) for picture in policy.modality.decode(torch.stack(frames))]


def _compared(request: Request) -> list[SamplerConfig]:
    """The second sampler, with the settings of the first.

    Raises:
        UserError: it is unknown, or the first one itself.
    """
    if request.compare is None:
        return []
    if request.compare == request.config.sampler.name:
        raise UserError(f"--compare {request.compare}: that is the first sampler already; name another")
    registry.resolve("sampler", request.compare)
    return [request.config.sampler.model_copy(update={"name": request.compare})]


def _chat(prompt: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}]


def _warn_of_cut(prompts: Sequence[str], policy: Policy, warn: Callable[[str], None]) -> None:
    """Say where the model does not see all of a prompt."""
    longest = policy.modality.longest_prompt
    for prompt, ids in zip(prompts, policy.modality.encode([_chat(text) for text in prompts]), strict=True):
        if len(ids) > longest:
            warn(
                f"the prompt '{prompt[:40]}...' has {len(ids)} tokens, of which the model sees the first {longest}; "
                f"raise task.max_prompt_length where it was trained with more"
            )
