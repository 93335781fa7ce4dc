"""Supervised fine-tuning of a masked diffusion model on worked answers: text, pictures, or any mixture of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace

import torch

from maskgrpo_cli.config.schema import Config
from maskgrpo_cli.engine.devices import share, total
from maskgrpo_cli.engine.examples import Part, load_parts, tasks
from maskgrpo_cli.engine.fresh import new_policy
from maskgrpo_cli.engine.modality import modality_of
from maskgrpo_cli.engine.policy import Policy, load_policy, seeded
from maskgrpo_cli.engine.resume import Resume
from maskgrpo_cli.engine.session import Session
from maskgrpo_cli.engine.training import train
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.estimators.scoring import score
from maskgrpo_cli.noise import Noise, Purpose
from maskgrpo_cli.types import Task


class Sft:
    """The SFT method: `step(i)` leaves the gradients of optimiser step i in the parameters."""

    def __init__(self, session: Session, policy: Policy, parts: Sequence[Part]):
        config = session.config
        self.session, self.policy, self.settings, self.seed = session, policy, config.sft, config.seed
        self.parts = parts
        weights = torch.tensor([part.weight for part in parts], dtype=torch.float64)
        self.bounds = (weights.cumsum(0) / weights.sum())[:-1].float()
        rows = policy.plain.config.embedding_size
        self.whole = replace(policy.modality.vocabulary, first=0, last=rows)  # all ids compete, as published
        self.dropout = policy.has_dropout()
        if self.settings.batch_size < session.accelerator.num_processes:
            raise UserError(
                f"sft.batch_size = {self.settings.batch_size} leaves some of the {session.accelerator.num_processes} "
                "processes without an example; make it larger"
            )

    def step(self, index: int) -> dict[str, float]:
        """Gradients and metrics of optimiser step `index`.

        Each example is of a part drawn by the weights. The loss of a part is its modality's (`Supervision`), that of
        the step their mean, weighted by their shares of the examples.
        """
        started, accelerator = time.perf_counter(), self.session.accelerator
        chosen = self._parts_of(index)
        batches = self._micro_batches(index, chosen)
        sums = torch.zeros(len(self.parts), 3, device=accelerator.device)  # of each part: loss, masked tokens, entropy
        self.policy.model.train(self.dropout)
        progress = self.session.progress("update")
        for done, (number, batch, scale) in enumerate(batches, start=1):
            last = done == len(batches)
            with contextlib.nullcontext() if last else accelerator.no_sync(self.policy.model):
                sums[number] += self._backward(self.parts[number], batch, scale)
            progress(done, len(batches))
        self.policy.model.eval()
        sums = total(accelerator, sums)
        loss, tokens, entropy = sums.sum(0).tolist()
        seconds = time.perf_counter() - started
        length = sum(len(batch) * part.answers.shape[1] for part, batch in zip(self.parts, chosen, strict=True))
        return {
            "loss": loss,
            "entropy": entropy / max(tokens, 1.0),
            "mask_ratio": tokens / length,
            **self._of_parts(index, chosen, sums[:, 0].tolist()),
            "time/update": seconds,
            "tokens_per_second": length / seconds,
        }

    def _parts_of(self, index: int) -> list[list[int]]:
        """The places in the stream of examples that each part fills in a step."""
        size = self.settings.batch_size
        places = range(index * size, (index + 1) * size)
        if len(self.parts) == 1:
            return [list(places)]
        uniform = self._noise(places).uniform(Purpose.MIXTURE, 1)[:, 0]
        chosen: list[list[int]] = [[] for _ in self.parts]
        for place, number in zip(places, torch.searchsorted(self.bounds, uniform, right=True).tolist(), strict=True):
            chosen[number].append(place)
        return chosen

    def _micro_batches(self, index: int, chosen: list[list[int]]) -> list[tuple[int, list[int], float]]:
        """(part, places, scale) of this process's passes; the scale counts the examples of all processes."""
        size, micro = self.settings.batch_size, self.settings.micro_batch_size
        mine = {index * size + offset for offset in share(self.session.accelerator, size)}
        batches = []
        for number, places in enumerate(chosen):
            own, scale = [place for place in places if place in mine], self._scale(self.parts[number], places)
            batches += [(number, own[start : start + micro], scale) for start in range(0, len(own), micro)]
        return batches

    def _scale(self, part: Part, places: list[int]) -> float:
        """What - sum(weight * log p) of a part's examples, those of all processes, is multiplied by."""
        counted = part.supervision.share
        shares = counted(self._noise(places), part.answers.shape[1], **part.options(counted))
        return len(places) / self.settings.batch_size / max(float(shares.sum()), 1.0)

    def _of_parts(self, index: int, chosen: list[list[int]], losses: list[float]) -> dict[str, float]:
        """How often the only part was seen, or each part's own loss and share."""
        size = self.settings.batch_size
        if len(self.parts) == 1:
            return {"epoch": (index + 1) * size / len(self.parts[0].prompts)}
        row = {}
        for part, batch, loss in zip(self.parts, chosen, losses, strict=True):
            row[f"share/{part.name}"] = len(batch) / size
            if batch:
                row[f"loss/{part.name}"] = loss * size / len(batch)
        return row

    def _noise(self, places: Sequence[int]) -> Noise:
        return Noise((self.seed,), tuple(places))

    def _backward(self, part: Part, places: list[int], scale: float) -> torch.Tensor:
        accelerator, modality, noise = self.session.accelerator, part.modality, self._noise(places)
        canvas = part.canvas(self.seed, places, noise, self.settings.caption_dropout)
        copy = part.supervision.copy(canvas, noise, **part.options(part.supervision.copy))
        with seeded(noise.seed(Purpose.DROPOUT)) if self.dropout else contextlib.nullcontext():
            scores = score(
                self.policy.denoiser(vocabulary=self.whole).log_probs,
                canvas.to(accelerator.device),
                [copy],
                modality.vocabulary.mask_id,
                self.settings.logit_chunk,
            )
        loss = -scores.log_probs.sum() * scale
        accelerator.backward(loss * accelerator.num_processes)
        scored = copy.scored.to(accelerator.device)
        return torch.stack([loss.detach(), scored.sum().float(), (scores.entropy * scored).sum()])

    def after_step(self, done: int) -> None:
        """Nothing follows a step."""

    def state(self) -> dict:
        """Nothing but the step counts."""
        return {}

    def load_state(self, state: dict, done: int) -> None:
        """Nothing to take up."""


def run(config: Config, recipe: str, resume: Resume | None = None) -> None:
    """`maskgrpo sft`: fine-tune the recipe's model, or train a small one from nothing."""

    def make_policy(accelerator, task: Task) -> Policy:
        modality = modality_of(task)
        if config.sft.from_scratch is None:
            return load_policy(config, accelerator, trained=True, modality=modality)
        pieces = [piece for one in tasks(config) for piece in getattr(one, "vocabulary", list)()]
        return new_policy(config.sft.from_scratch, pieces, config.seed, accelerator, modality, config)

    def make_method(session: Session, policy: Policy, task: Task) -> Sft:
        return Sft(session, policy, load_parts(session, policy))

    train(config, recipe, "sft", make_policy, make_method, resume)
