"""`maskgrpo tokenizer`: an image tokenizer (MAGVIT-v2, arXiv 2310.05737) trained on the pictures of a task.

No adversarial and no perceptual loss: pictures are brought back pixel by pixel. Shapes: B pictures, H x W pixels.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from maskgrpo_cli.config.schema import Config, TokenizerConfig
from maskgrpo_cli.engine import data
from maskgrpo_cli.engine.optimizer import learning_rate, make_optimizer
from maskgrpo_cli.engine.policy import seeded
from maskgrpo_cli.engine.reporting.run_directory import environment, peak_memory_bytes
from maskgrpo_cli.engine.reporting.summary import plain, show
from maskgrpo_cli.engine.round_trip import PICTURES, compare, measure
from maskgrpo_cli.engine.session import Session
from maskgrpo_cli.engine.training import flat, open_session
from maskgrpo_cli.errors import RunFailed, UserError
from maskgrpo_cli.modalities.image import as_pixels
from maskgrpo_cli.models.magvit import MagvitModel
from maskgrpo_cli.models.magvit_config import MagvitConfig, Side
from maskgrpo_cli.types import Problem, Task

TOKENIZER = "tokenizer"  # the folder of the result


def new_model(settings: TokenizerConfig, seed: int) -> MagvitModel:
    """A tokenizer of the recipe's shape with fresh weights."""
    encoder, decoder = (
        Side(side.ch, tuple(side.ch_mult), tuple(side.num_res_blocks)) for side in (settings.encoder, settings.decoder)
    )
    with seeded(seed):
        return MagvitModel(MagvitConfig(encoder, decoder, settings.codebook_dim, settings.group_norm_groups))


class Pictures:
    """The endless stream of pictures of a task's problems: other pictures of the same problems in every epoch."""

    def __init__(self, task: Task, problems: Sequence[Problem], size: int, seed: int):
        self.task, self.problems, self.size, self.seed = task, problems, size, seed

    def batch(self, places: Sequence[int]) -> Tensor:
        """The pictures at `places` of the stream, [B, 3, size, size] in [-1, 1]; a pure function of places and seed."""
        drawn = [self.task.picture(*asked, side=self.size) for asked in self._asked(places)]
        return torch.stack([as_pixels(picture, (self.size, self.size)) for picture in drawn])

    def named(self, places: Sequence[int]) -> Tensor:
        """The signs [B, C, h, w] that the task names for the codes of the pictures at `places`."""
        return torch.stack([torch.from_numpy(self.task.picture_bits(*asked)) for asked in self._asked(places)])

    def _asked(self, places: Sequence[int]) -> list[tuple[Problem, int]]:
        rows = data.shuffled(self.seed, places, len(self.problems))
        return [(self.problems[row], place // len(self.problems)) for row, place in zip(rows, places, strict=True)]


class Training:
    """The optimiser steps of a run."""

    def __init__(self, session: Session, model: MagvitModel, pictures: Pictures):
        self.session, self.pictures, self.settings = session, pictures, session.config.tokenizer
        model = model.to(memory_format=torch.channels_last)  # on CPUs convolutions are quicker so
        self.plain = model
        optimizer = make_optimizer(model.parameters(), self.settings.optimizer)
        self.model, self.optimizer = session.accelerator.prepare(model, optimizer)

    def step(self, index: int) -> dict[str, float]:
        """Take optimiser step `index`; returns its metrics.

        Raises:
            RunFailed: the loss or a gradient is not finite.
        """
        started, settings = time.perf_counter(), self.settings
        places = range(index * settings.batch_size, (index + 1) * settings.batch_size)
        images = self.pictures.batch(places).contiguous(memory_format=torch.channels_last)
        self.optimizer.zero_grad(set_to_none=True)
        named = self.pictures.named(places) if settings.named_weight else None
        loss, row = self.loss(images.to(self.session.accelerator.device), named)
        self.session.accelerator.backward(loss)
        largest = settings.optimizer.grad_clip or math.inf
        norm = float(self.session.accelerator.clip_grad_norm_(self.model.parameters(), largest))
        if not (math.isfinite(row["loss"]) and math.isfinite(norm)):
            raise RunFailed(
                f"step {index + 1}: loss {row['loss']}, gradient norm {norm}\n  start anew with a lower learning "
                f"rate (--set tokenizer.optimizer.lr={settings.optimizer.lr / 2:g})"
            )
        rate = learning_rate(index, settings.steps, settings.optimizer)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        return {"step": index + 1, **row, "grad_norm": norm, "lr": rate, "time/update": time.perf_counter() - started}

    def loss(self, images: Tensor, named: Tensor | None = None) -> tuple[Tensor, dict[str, float]]:
        """The weighted sum of absolute and squared error, quantiser's and entropy loss; and each of them.

        With `named`, the signs [B, C', h, w] of the first C' bits, also their squared distance from the channels.
        """
        out, weights = self.model(images), self.settings
        error = out.reconstruction.float() - images
        parts = {
            "l1": error.abs().mean(), "l2": error.square().mean(),
            "quantizer": out.quantizer_loss, "entropy": out.entropy_loss,
        }
        loss = (
            weights.l1_weight * parts["l1"] + weights.l2_weight * parts["l2"]
            + weights.quantizer_weight * parts["quantizer"] + weights.entropy_weight * parts["entropy"]
        )
        if named is not None:
            channels = out.channels.float()[:, : named.shape[1]]
            parts["named"] = (channels - named.to(channels)).square().mean()
            loss = loss + weights.named_weight * parts["named"]
        return loss, {"loss": loss.item(), **{f"loss/{name}": value.item() for name, value in parts.items()}}


def run(config: Config, recipe: str) -> None:
    """Train an image tokenizer from nothing, and leave it in the run directory with what its round trip loses."""
    with open_session(config, recipe, "tokenizer", None) as session:
        started = time.monotonic()
        training, task, problems = _set_up(session)
        seconds = _fit(session, training, task, problems["validation"])
        original, rebuilt, summary = measure(
            training.plain, task, problems["test"], config.tokenizer.size, session.progress("round trip")
        )
        summary |= {
            "steps": config.tokenizer.steps,
            "seconds": time.monotonic() - started,
            "seconds_training": seconds,
            "peak_memory_bytes": peak_memory_bytes(session.accelerator.device),
            "parameters": sum(parameter.numel() for parameter in training.plain.parameters()),
            "environment": environment(),
            "output_dir": config.output_dir,
            "next_command": (
                f"maskgrpo sft --recipe {recipe} --set model.image_tokenizer={config.output_dir}/{TOKENIZER}"
            ),
        }
        save(training.plain, session.run.path)
        compare(original, rebuilt).save(session.run.path / PICTURES)
        session.run.summary(summary)
        session.run.log(plain(summary))
    show(summary)


def _set_up(session: Session) -> tuple[Training, Task, dict[str, list[Problem]]]:
    """What the run needs; where something is amiss, it leaves no directory behind."""
    config, settings = session.config, session.config.tokenizer
    try:
        if session.accelerator.num_processes > 1:
            raise UserError("maskgrpo tokenizer works in one process; start it without accelerate launch")
        task = data.find_task(config.task)
        if not hasattr(task, "picture"):
            raise UserError(f"task.name = '{config.task.name}': it has no pictures to learn from; write shapes")
        counts = {
            settings.split: config.task.limit,
            "validation": settings.evaluate_limit if settings.evaluate_every else 1,
            "test": settings.final_limit,
        }
        problems = {split: data.load_problems(config, task, split, limit=limit) for split, limit in counts.items()}
        pictures = Pictures(task, problems[settings.split], settings.size, config.seed)
        _check_bits(task, pictures, settings)
        training = Training(session, new_model(settings, config.seed), pictures)
        if config.tracker:
            session.accelerator.init_trackers("maskgrpo-tokenizer", config=flat(config.model_dump(mode="json")))
    except UserError:
        if session.run:
            session.run.discard()
        raise
    session.reporter.say(f"run directory {config.output_dir}")
    return training, task, problems


def _check_bits(task: Task, pictures: Pictures, settings: TokenizerConfig) -> None:
    """Raises UserError where bits are to be named and the task names none, or other codes than there are."""
    if not settings.named_weight:
        return
    advice = "write --set tokenizer.named_weight=0"
    if not hasattr(task, "picture_bits"):
        raise UserError(f"tokenizer.named_weight = {settings.named_weight:g}: the task names no bits; {advice}")
    bits, *shape = pictures.named([0]).shape[1:]
    side = settings.size // 2 ** (len(settings.encoder.ch_mult) - 1)
    if bits > settings.codebook_dim or shape != [side, side]:
        raise UserError(
            f"tokenizer.named_weight = {settings.named_weight:g}: the task names {bits} bits of {shape[0]}x{shape[1]} "
            f"codes, but there are {settings.codebook_dim} of {side}x{side}; {advice}"
        )


def _fit(session: Session, training: Training, task: Task, validation: Sequence[Problem]) -> float:
    """All optimiser steps, evaluated now and then; returns the seconds they took."""
    settings, started = session.config.tokenizer, time.monotonic()
    training.model.train()
    for index in range(settings.steps):
        session.check_interrupts()
        row = training.step(index)
        if settings.evaluate_every and (row["step"] % settings.evaluate_every == 0 or row["step"] == settings.steps):
            _, _, seen = measure(training.plain, task, validation, settings.size, session.progress("evaluate"))
            row |= {"eval/accuracy": seen["share_right"], "eval/score": seen["score"], "eval/codes": seen["codes_used"]}
        session.reporter.step(row)
        if session.config.tracker:
            session.accelerator.log({name: float(value) for name, value in row.items()}, step=row["step"])
    training.model.eval()
    return time.monotonic() - started


def save(model: MagvitModel, directory: Path) -> None:
    """The tokenizer as `directory`/tokenizer; whole, or not at all.

    Raises:
        RunFailed: the disk is full or not writable.
    """
    partial, whole = directory / f".{TOKENIZER}.partial", directory / TOKENIZER
    try:
        shutil.rmtree(partial, ignore_errors=True)
        model.save(partial)
        os.replace(partial, whole)
    except (OSError, RuntimeError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise RunFailed(f"the tokenizer could not be saved in {whole}: {error}") from error
