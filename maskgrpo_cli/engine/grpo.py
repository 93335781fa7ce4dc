"""MaskGRPO (arXiv 2510.02880): rollouts, importance estimates on re-masked copies, clipped updates.

One rollout serves mu optimiser steps, each with a mask of its own. Shapes: n samples of this process,
L completion length, mu updates.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

import torch
from accelerate import Accelerator
from torch import Tensor

from maskgrpo_cli import registry
from maskgrpo_cli.config.schema import Config
from maskgrpo_cli.engine import data
from maskgrpo_cli.engine.devices import gather_rows, total
from maskgrpo_cli.engine.estimation import Estimator
from maskgrpo_cli.engine.modality import modality_of
from maskgrpo_cli.engine.policy import Policy, load_policy, seeded
from maskgrpo_cli.engine.resume import Resume
from maskgrpo_cli.engine.rollouts import Collector, Rollout
from maskgrpo_cli.engine.session import Session
from maskgrpo_cli.engine.training import train
from maskgrpo_cli.estimators.scoring import scored_tokens
from maskgrpo_cli.noise import Purpose
from maskgrpo_cli.objective import policy_loss
from maskgrpo_cli.types import Problem, Task


class Grpo:
    """The GRPO method: `step(i)` leaves the gradients of optimiser step i in the parameters."""

    def __init__(self, session: Session, policy: Policy, task: Task, problems: Sequence[Problem]):
        config: Config = session.config
        self.session, self.policy, self.settings = session, policy, config.grpo
        self.objective = registry.resolve("objective", self.settings.objective.name)
        self.collector = Collector(session, policy, task, problems)
        self.estimator = Estimator(policy, self.settings, config.seed, self.collector.mine)
        self.guidance = config.sampler.guidance if self.settings.score_with_guidance else 0.0
        self.dropout = policy.has_dropout()
        self.rollout: Rollout | None = None
        if self.settings.objective.beta:
            policy.keep_reference(synced=self.settings.objective.sync_ref_steps > 0)

    def step(self, index: int) -> dict[str, float]:
        """Gradients and metrics of optimiser step `index`; a new rollout every mu steps."""
        rollout, update = divmod(index, self.settings.updates)
        if self.rollout is None or self.rollout.index != rollout:
            self.rollout = self.collect(rollout)
            self.session.randomness.mark()  # its rewards are drawn: an interruption from here on keeps the rollout
            self.session.check_interrupts()
        started = time.perf_counter()
        metrics = self.update(self.rollout, update)
        metrics["time/update"] = time.perf_counter() - started
        metrics["tokens_per_second/update"] = self.rollout.metrics["tokens"] / metrics["time/update"]
        return {"rollout": rollout, "update": update, **self.rollout.metrics, **metrics}

    def collect(self, index: int) -> Rollout:
        """A rollout with its log-probabilities under the old and reference policies."""
        rollout = self.collector.collect(index)
        started = time.perf_counter()
        self._score_frozen(rollout)
        seconds = time.perf_counter() - started
        rollout.metrics |= {"time/score": seconds, "tokens_per_second/score": rollout.metrics["tokens"] / seconds}
        return rollout

    def after_step(self, done: int) -> None:
        """Refresh the reference after every `sync_ref_steps` optimiser steps."""
        objective = self.settings.objective
        if objective.beta and objective.sync_ref_steps and done % objective.sync_ref_steps == 0:
            self.policy.sync_reference()

    def state(self) -> dict:
        """What a checkpoint keeps: the rollout being reused, the samples of all processes in order."""
        return {} if self.rollout is None else {"rollout": self.rollout.gathered(self.session.accelerator)}

    def load_state(self, state: dict, done: int) -> None:
        """Take up this process's part of a saved rollout; completions of later ones are taken back."""
        used_up = done // self.settings.updates - 1
        if "rollout" in state:
            self.rollout = Rollout.part(state["rollout"], self.collector.mine)
        if self.session.run:
            self.session.run.rewind_completions(used_up if self.rollout is None else self.rollout.index)

    def _score_frozen(self, rollout: Rollout) -> None:
        """Log-probabilities of every update under the old policy and the reference, without gradients.

        At the first update the old policy is the present one, unless dropout makes them differ.
        """
        updates, beta = self.settings.updates, self.settings.objective.beta
        rollout.old = torch.zeros(updates, *rollout.responses.shape)
        rollout.reference = torch.zeros_like(rollout.old) if beta else None
        batches = self._micro_batches(self._trained_rows(rollout))
        progress = self.session.progress("score")
        for update in range(updates):
            for batch in batches:
                canvas, copies = self.estimator.copies(rollout, update, batch)
                with torch.no_grad():
                    if update or self.dropout:
                        old = self.estimator.score(self.policy.denoiser(self.guidance), canvas, copies)
                        rollout.old[update, batch] = old.log_probs.cpu()
                    if beta:
                        with self.policy.reference(self.guidance) as reference:
                            scores = self.estimator.score(reference, canvas, copies)
                        rollout.reference[update, batch] = scores.log_probs.cpu()
            progress(update + 1, updates)

    def _trained_rows(self, rollout: Rollout) -> list[int]:
        """Samples that can have a gradient: without a KL, those whose advantage is not 0."""
        everything = list(range(len(rollout.responses)))
        if self.settings.objective.beta:
            return everything
        return [row for row in everything if rollout.advantages[row] != 0]

    def _micro_batches(self, rows: list[int]) -> list[list[int]]:
        """Rows in micro-batches; processes may have different numbers of them."""
        size = self.settings.micro_batch_size
        return [rows[start : start + size] for start in range(0, len(rows), size)]

    def update(self, rollout: Rollout, update: int) -> dict[str, float]:
        """Backward passes of one optimiser step, averaged over the masked tokens (or sequences) of all processes."""
        accelerator, rows = self.session.accelerator, self._trained_rows(rollout)
        everyone = list(range(len(rollout.responses)))
        _, copies = self.estimator.copies(rollout, update, everyone)
        scored = scored_tokens(copies)
        valid = self.estimator.valid(rollout.responses)
        counts = torch.stack([self.objective.weights(scored).sum(), scored.sum().float(), valid.sum().float()])
        weight, tokens, length = total(accelerator, counts).tolist()
        batches = self._micro_batches(rows)
        # gradients are exchanged in the last round: every process takes as many as the others, and at least one
        rounds = max(gather_rows(accelerator, [max(1, len(batches))]))
        sums = torch.zeros(6, device=accelerator.device)  # loss, KL, clipped, cut, entropy, tokens seen
        progress = self.session.progress("update")
        self.policy.model.train(self.dropout)
        for number in range(rounds):
            real = number < len(batches)
            batch = batches[number] if real else [0]
            last = number == rounds - 1
            with contextlib.nullcontext() if last else accelerator.no_sync(self.policy.model):
                sums += self._backward(rollout, update, batch, max(weight, 1.0), real)
            progress(number + 1, rounds)
        self.policy.model.eval()
        loss, kl, clipped, cut, entropy, seen = total(accelerator, sums).tolist()
        seen = max(seen, 1.0)
        return {
            "loss": loss,
            "kl": kl / seen,
            "clip_ratio": clipped / seen,
            "cut_ratio": cut / seen,
            "entropy": entropy / seen,
            "mask_ratio": tokens / max(length, 1.0),
        }

    def _backward(self, rollout: Rollout, update: int, batch: list[int], weight: float, real: bool) -> Tensor:
        """One micro-batch; an unreal one keeps the processes in step and adds nothing."""
        accelerator, objective = self.session.accelerator, self.settings.objective
        device = accelerator.device
        canvas, copies = self.estimator.copies(rollout, update, batch)
        noise = self.estimator.noise(rollout, update, batch)
        with seeded(noise.seed(Purpose.DROPOUT)) if self.dropout else contextlib.nullcontext():
            scores = self.estimator.score(self.policy.denoiser(self.guidance), canvas, copies)
        new, scored = scores.log_probs, scored_tokens(copies).to(device) & real
        old = new.detach() if update == 0 and not self.dropout else rollout.old[update, batch].to(device)
        result = policy_loss(
            self.objective,
            new,
            old,
            None if rollout.reference is None else rollout.reference[update, batch].to(device),
            rollout.advantages[batch].to(device),
            scored,
            beta=objective.beta,
            clip_low=objective.clip_low,
            clip_high=objective.clip_low if objective.clip_high is None else objective.clip_high,
        )
        loss = result.losses.sum() / weight
        # accelerate averages gradients over the processes; the loss is a sum over them
        accelerator.backward(loss * accelerator.num_processes)
        entropy = (scores.entropy * scored).sum()
        logged = (loss.detach(), result.kl.sum(), result.clipped.sum(), result.cut.sum(), entropy, scored.sum())
        return torch.stack([value.float() for value in logged])


def run(config: Config, recipe: str, resume: Resume | None = None) -> None:
    """`maskgrpo grpo`: train a policy with rewards, from the recipe's model."""

    def make(session: Session, policy: Policy, task: Task) -> Grpo:
        problems = data.load_problems(config, task, config.task.split, limit=config.task.limit)
        return Grpo(session, policy, task, problems)

    def make_policy(accelerator: Accelerator, task: Task) -> Policy:
        return load_policy(config, accelerator, trained=True, modality=modality_of(task))

    train(config, recipe, "grpo", make_policy, make, resume)
