"""Supervised fine-tuning of a masked diffusion model on worked answers (LLaDA, arXiv 2502.09992, equation 5)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

import torch

from maskgrpo_cli.config.schema import Config
from maskgrpo_cli.engine import data
from maskgrpo_cli.engine.devices import share, total
from maskgrpo_cli.engine.policy import Policy, load_policy, new_policy, seeded
from maskgrpo_cli.engine.resume import Resume
from maskgrpo_cli.engine.session import Session
from maskgrpo_cli.engine.training import train
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.estimators.scoring import score
from maskgrpo_cli.estimators.supervised import supervised_copy
from maskgrpo_cli.noise import Noise, Purpose
from maskgrpo_cli.types import Problem


class Sft:
    """The SFT method: `step(i)` leaves the gradients of optimiser step i in the parameters."""

    def __init__(self, session: Session, policy: Policy, problems: Sequence[Problem]):
        config = session.config
        self.session, self.policy, self.settings, self.seed = session, policy, config.sft, config.seed
        problems = [problem for problem in problems if problem.target is not None]
        if not problems:
            raise UserError(f"task '{config.task.name}' has no worked answers to train on")
        kept, self.prompts = data.encode_prompts(problems, policy.modality.encode, config.task, session.reporter.warn)
        length = self.settings.length or config.sampler.length
        self.answers = policy.modality.answers([problem.target for problem in kept], length)
        if cut := int((self.answers[:, -1] != policy.modality.vocabulary.fill_id).sum()):
            session.reporter.warn(f"{cut} of {len(kept)} answers are longer than {length} tokens and were cut")
        self.dropout = policy.has_dropout()
        if self.settings.batch_size < session.accelerator.num_processes:
            raise UserError(
                f"sft.batch_size = {self.settings.batch_size} leaves some of the {session.accelerator.num_processes} "
                "processes without an example; make it larger"
            )

    def step(self, index: int) -> dict[str, float]:
        """Gradients and metrics of optimiser step `index`.

        Each example draws t ~ U(1e-3, 1), hides answer tokens with probability t and counts their cross-entropy
        divided by t and by the answer's length, end padding included.
        """
        started, size = time.perf_counter(), self.settings.batch_size
        accelerator = self.session.accelerator
        places = [index * size + offset for offset in share(accelerator, size)]
        rows = data.shuffled(self.seed, index * size, size, len(self.prompts))
        rows = [rows[offset] for offset in share(accelerator, size)]
        sums = torch.zeros(3, device=accelerator.device)  # loss, masked tokens, entropy
        micro = self.settings.micro_batch_size
        starts = range(0, len(rows), micro)
        self.policy.model.train(self.dropout)
        progress = self.session.progress("update")
        for start in starts:
            last = start == starts[-1]
            part = slice(start, start + micro)
            with contextlib.nullcontext() if last else accelerator.no_sync(self.policy.model):
                sums += self._backward(rows[part], Noise((self.seed,), tuple(places[part])))
            progress(start // micro + 1, len(starts))
        self.policy.model.eval()
        loss, tokens, entropy = total(accelerator, sums).tolist()
        seconds, length = time.perf_counter() - started, self.answers.shape[1]
        return {
            "loss": loss,
            "entropy": entropy / max(tokens, 1.0),
            "mask_ratio": tokens / (size * length),
            "epoch": (index + 1) * size / len(self.prompts),
            "time/update": seconds,
            "tokens_per_second": size * length / seconds,
        }

    def _backward(self, rows: list[int], noise: Noise) -> torch.Tensor:
        accelerator, modality = self.session.accelerator, self.policy.modality
        answers = self.answers[rows]
        canvas = modality.canvas([self.prompts[row] for row in rows], answers.shape[1])
        canvas.ids[:, canvas.start :] = answers
        copy = supervised_copy(canvas, noise)
        with seeded(noise.seed(Purpose.DROPOUT)) if self.dropout else contextlib.nullcontext():
            scores = score(
                self.policy.denoiser().log_probs,
                canvas.to(accelerator.device),
                [copy],
                modality.vocabulary.mask_id,
                self.settings.logit_chunk,
            )
        loss = -scores.log_probs.sum() / self.settings.batch_size
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

    def make_policy(accelerator, task) -> Policy:
        if config.sft.from_scratch is None:
            return load_policy(config, accelerator, trained=True)
        pieces = task.vocabulary() if hasattr(task, "vocabulary") else []
        return new_policy(config.sft.from_scratch, pieces, config.seed, accelerator)

    def make_method(session: Session, policy: Policy, task) -> Sft:
        problems = data.load_problems(config, task, config.sft.split, limit=config.task.limit)
        return Sft(session, policy, problems)

    train(config, recipe, "sft", make_policy, make_method, resume)
