"""`maskgrpo sample --edit`: a given picture, of which part is hidden and emerges again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from maskgrpo_cli.engine.drawing import Request
from maskgrpo_cli.engine.pictures.grid import Cell
from maskgrpo_cli.engine.pictures.reading import kept_tokens, opaque, open_picture
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.modalities.image import ImageModality
from maskgrpo_cli.noise import Noise
from maskgrpo_cli.samplers import schedules
from maskgrpo_cli.samplers.edit import MODES, edit
from maskgrpo_cli.types import Canvas, Denoise, Observe, Vocabulary

REMASKING = tuple(mode for mode in MODES if mode != "simple")
_NEEDS = "say what may change: --keep MASK (white stays) or --strength X (0 to 1)"


@dataclass(frozen=True)
class Edit:
    """What is to be edited, and how; checked, and read from its files."""

    path: Path
    picture: Image.Image
    mask: Image.Image | None
    mask_name: str | None
    strength: float | None
    mode: str
    repair_from: int  # r
    share: float  # k(r / T), what is hidden of the tokens; with a mask all of the black ones

    def facts(self) -> dict[str, Any]:
        """What the edited pictures say of the edit."""
        how: dict[str, Any] = {"mask": self.mask_name}
        if self.mask is None:
            how = {"strength": self.strength, "mode": self.mode, "repair_from": self.repair_from}
            how["hidden_share"] = round(self.share, 4)
        return {"picture": self.path.name, **how}

    @property
    def label(self) -> str:
        """The edit in a few words, for captions."""
        return "edit, masked" if self.mask else f"{self.mode} {self.strength:g}"

    def begin(self, modality: ImageModality, length: int) -> Begun:
        """The picture in tokens, of which some are kept.

        Raises:
            UserError: the mask keeps all of them, or none.
        """
        (whole,) = modality.answers([self.picture], length)
        tokens, keep = whole, None
        if self.mask is not None:
            keep = kept_tokens(self.mask, self.picture, modality.shape_of(length))
            tokens = torch.where(keep, whole, modality.vocabulary.mask_id)
        cells = [Cell(*modality.decode(whole[None]), "given, as tokens")]
        if keep is not None:
            cells.append(Cell(*modality.decode(tokens[None]), "kept"))
        return Begun(tokens, self._sampler(tokens, keep), cells)

    def _sampler(self, tokens: Tensor, keep: Tensor | None) -> Callable:
        """The edit as a sampler: it takes a canvas of masks, and begins with the tokens instead."""

        def sampler(
            denoise: Denoise, canvas: Canvas, vocabulary: Vocabulary, noise: Noise, *,
            steps: int, temperature: float, schedule: str, observe: Observe | None = None,
        ) -> Tensor:
            canvas.response.copy_(tokens)
            kept = None if keep is None else keep.expand(len(canvas.ids), -1)
            return edit(
                denoise, canvas, vocabulary, noise, steps=steps, temperature=temperature, schedule=schedule,
                mode=self.mode, repair_from=self.repair_from, keep=kept, observe=observe,
            )

        return sampler


@dataclass(frozen=True)
class Begun:
    """An edit of which the tokens are known."""

    tokens: Tensor  # [L] what is given; masks where a mask hides it
    sampler: Callable
    cells: list[Cell]  # what the model is given, for the sheet


def edit_of(request: Request) -> Edit | None:
    """The edit that a request asks for; None where it asks for none.

    Raises:
        UserError: the options do not go together, or a file cannot be read.
    """
    if request.edit is None:
        for name in ("keep", "strength", "mode"):
            if (value := getattr(request, name)) is not None:
                raise UserError(f"--{name} {value}: name the picture to edit too: add --edit IMAGE")
        return None
    _check_options(request)
    mode = "simple" if request.keep is not None else request.mode or REMASKING[0]
    settings, first, share = request.config.sampler, 0, 1.0
    if request.strength is not None:
        first, share = repair_from(request.strength, schedules.schedule(settings.schedule), settings.steps)
    path = Path(request.edit).expanduser()
    picture = opaque(open_picture(path, "--edit"), "white")
    mask = mask_name = None
    if request.keep is not None:
        file = Path(request.keep).expanduser()
        mask, mask_name = open_picture(file, "--keep"), file.name
    return Edit(path, picture, mask, mask_name, request.strength, mode, first, share)


def _check_options(request: Request) -> None:
    """Raises UserError where what may change is said twice, wrongly, or not at all."""
    keep, strength, mode = request.keep, request.strength, request.mode
    if keep is None and strength is None:
        raise UserError(f"--edit {request.edit}: {_NEEDS}")
    if keep is not None and strength is not None:
        raise UserError(f"--keep {keep} and --strength {strength:g}: write one of them; {_NEEDS}")
    if strength is not None and not 0 < strength <= 1:
        raise UserError(f"--strength {strength:g}: write a number above 0, up to 1 (1 draws everything anew)")
    if mode is not None and keep is not None:
        raise UserError(f"--mode {mode}: a mask says itself what changes; leave it out, or write --strength X")
    if mode is not None and mode not in REMASKING:
        raise UserError(f"--mode {mode}: write {' or '.join(REMASKING)}")
    if request.compare is not None:
        raise UserError(f"--compare {request.compare}: an edit has no second sampler to be compared with; leave it out")


def repair_from(strength: float, k: schedules.Schedule, steps: int) -> tuple[int, float]:
    """The step r of T for which the share of hidden tokens k(r/T) is nearest to `strength`, and that share."""
    shares = [k(step / steps) for step in range(steps)]
    first = min(range(steps), key=lambda step: abs(shares[step] - strength))
    return first, shares[first]
