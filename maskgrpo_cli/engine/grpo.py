"""MaskGRPO (arXiv 2510.02880): rollouts, importance estimates on re-masked copies, clipped updates.

One rollout serves mu optimiser steps, each with a mask of its own. Shapes: n samples of this process,
L completion length, mu updates, F reward functions.
"""

from __future__ import annotations

import contextlib
import inspect
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from maskgrpo_cli import registry
from maskgrpo_cli.config.schema import Config
from maskgrpo_cli.engine import data
from maskgrpo_cli.engine.devices import gather_rows, share, total
from maskgrpo_cli.engine.evaluator import styles
from maskgrpo_cli.engine.generation import generate
from maskgrpo_cli.engine.policy import Policy, load_policy, seeded
from maskgrpo_cli.engine.scoring import Rewards
from maskgrpo_cli.engine.session import Session
from maskgrpo_cli.engine.training import train
from maskgrpo_cli.errors import RunFailed, UserError
from maskgrpo_cli.estimators.masks import random_ratio, scheduled_ratio
from maskgrpo_cli.estimators.scoring import score, scored_tokens
from maskgrpo_cli.models.denoiser import Denoiser
from maskgrpo_cli.noise import Noise, Purpose
from maskgrpo_cli.objective import group_mean_std, policy_loss
from maskgrpo_cli.types import Canvas, NoisyCopy, Problem, Task


@dataclass
class Rollout:
    """The samples of this process, and what their updates need; all on the CPU."""

    index: int
    prompts: list[list[int]]  # n prompts, each repeated for its group
    responses: Tensor  # [n, L]
    advantages: Tensor  # [n]
    old: Tensor  # [mu, n, L] log-probabilities under the policy that sampled
    reference: Tensor | None  # [mu, n, L]
    metrics: dict[str, float]


_SAMPLE_AXIS = {"responses": 0, "advantages": 0, "old": 1, "reference": 1}  # where n is in a rollout's tensors


class Grpo:
    """The GRPO method: `step(i)` leaves the gradients of optimiser step i in the parameters."""

    def __init__(self, session: Session, policy: Policy, task: Task, problems: Sequence[Problem]):
        config: Config = session.config
        self.session, self.policy, self.task = session, policy, task
        self.settings, self.sampler, self.seed = config.grpo, config.sampler, config.seed
        self.problems, self.prompts = data.encode_prompts(
            problems, policy.modality.encode, config.task, session.reporter.warn
        )
        self.rewards = Rewards(data.reward_weights(config, task), session.reporter.warn)
        self.estimator = registry.resolve("estimator", self.settings.estimator.name)
        self.objective = registry.resolve("objective", self.settings.objective.name)
        self.advantage = registry.resolve("advantage", self.settings.advantage)
        self.samples = self.settings.prompts * self.settings.group_size
        if self.samples % session.accelerator.num_processes:
            raise UserError(
                f"grpo.prompts x grpo.group_size = {self.samples} samples do not divide among "
                f"{session.accelerator.num_processes} processes"
            )
        self.mine = share(session.accelerator, self.samples)
        self.guidance = self.sampler.guidance if self.settings.score_with_guidance else 0.0
        self.dropout = policy.has_dropout()
        self.rollout: Rollout | None = None
        if self.settings.objective.beta:
            policy.keep_reference(synced=self.settings.objective.sync_ref_steps > 0)

    def step(self, index: int) -> dict[str, float]:
        """Gradients and metrics of optimiser step `index`; a new rollout every mu steps."""
        rollout, update = divmod(index, self.settings.updates)
        if self.rollout is None or self.rollout.index != rollout:
            self.rollout = self.collect(rollout)
        started = time.perf_counter()
        metrics = self.update(self.rollout, update)
        metrics["time/update"] = time.perf_counter() - started
        metrics["tokens_per_second/update"] = self.rollout.metrics["tokens"] / metrics["time/update"]
        return {"rollout": rollout, "update": update, **self.rollout.metrics, **metrics}

    def after_step(self, done: int) -> None:
        """Refresh the reference after every `sync_ref_steps` optimiser steps."""
        objective = self.settings.objective
        if objective.beta and objective.sync_ref_steps and done % objective.sync_ref_steps == 0:
            self.policy.sync_reference()

    def state(self) -> dict:
        """What a checkpoint keeps: the rollout being reused, the samples of all processes in order."""
        if self.rollout is None:
            return {}
        fields = vars(self.rollout) | {"prompts": gather_rows(self.session.accelerator, self.rollout.prompts)}
        for name, axis in _SAMPLE_AXIS.items():
            if fields[name] is not None:
                fields[name] = torch.cat(gather_rows(self.session.accelerator, [fields[name]]), dim=axis)
        return {"rollout": fields}

    def load_state(self, state: dict) -> None:
        """Take up this process's part of a saved rollout; completions of later ones are taken back."""
        if "rollout" in state:
            fields, first, count = dict(state["rollout"]), self.mine.start, len(self.mine)
            fields["prompts"] = fields["prompts"][first : first + count]
            for name, axis in _SAMPLE_AXIS.items():
                if fields[name] is not None:
                    fields[name] = fields[name].narrow(axis, first, count).clone()
            self.rollout = Rollout(**fields)
        if self.session.run:
            self.session.run.rewind_completions(-1 if self.rollout is None else self.rollout.index)

    # --- rollout ---------------------------------------------------------------------------------

    def collect(self, index: int) -> Rollout:
        """Sample groups of completions, reward them, and score them under the old and reference policies."""
        group, settings = self.settings.group_size, self.settings
        started = time.perf_counter()
        chosen = data.shuffled(self.seed, index * settings.prompts, settings.prompts, len(self.problems))
        rows = [chosen[sample // group] for sample in self.mine]
        problems, prompts = [self.problems[row] for row in rows], [self.prompts[row] for row in rows]
        noise = Noise((self.seed, index), tuple(self.mine))
        responses = generate(self.policy, prompts, self.sampler, noise, progress=self.session.progress("rollout"))
        sampled = time.perf_counter()
        advantages, metrics = self._reward(index, problems, responses)
        rollout = Rollout(index, prompts, responses, advantages, torch.zeros(0), None, metrics)
        self._score_frozen(rollout)
        finished = time.perf_counter()
        metrics |= {
            "time/rollout": sampled - started,
            "time/score": finished - sampled,
            "tokens_per_second": metrics["tokens"] / (sampled - started),
            "tokens_per_second/score": metrics["tokens"] / (finished - sampled),
        }
        return rollout

    def _reward(self, index: int, problems: list[Problem], responses: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Advantages [n] of this process's samples, and the rollout's metrics over all processes."""
        accelerator, group = self.session.accelerator, self.settings.group_size
        completions = self.policy.modality.decode(responses)
        mine = self.rewards(problems, completions)
        lengths = self.policy.modality.valid(responses).sum(-1)
        seen = []
        for problem, completion in zip(problems, completions, strict=True):
            style = self.task.style(completion)
            seen.append((style, style is not None and self.task.judge(completion, problem).correct))
        everything = gather_rows(
            accelerator,
            list(
                zip(
                    mine.values.tolist(), mine.failed.tolist(), mine.total.tolist(), lengths.tolist(), seen, strict=True
                )
            ),
        )
        values, failed, totals, lengths, seen = (list(column) for column in zip(*everything, strict=True))
        values, failed, rewards = torch.tensor(values), torch.tensor(failed), torch.tensor(totals)
        if bool(rewards.isnan().all()):
            raise RunFailed(f"every reward failed in rollout {index}; the log says why")
        advantages = self.advantage(rewards, group)
        _, std = group_mean_std(rewards, group)
        metrics = {
            "reward": rewards.nanmean().item(),
            "reward_std": std.view(-1, group)[:, 0].mean().item(),
            "zero_std": (std.view(-1, group)[:, 0] < 1e-6).float().mean().item(),
            "reward_failed": failed.any(-1).float().mean().item(),
            "completion_length": sum(lengths) / len(lengths),
            "tokens": sum(lengths),
        }
        for column, name in enumerate(self.rewards.names):
            metrics[f"reward/{name}"] = values[:, column].nanmean().item()
        for name, style in styles(seen).items():
            metrics |= {f"style/{name}": style["share"], f"style/{name}_accuracy": style["accuracy"]}
        mine_advantages = advantages[self.mine.start : self.mine.stop]
        self._log_completions(index, problems, completions, mine.total, mine_advantages)
        return mine_advantages, metrics

    def _log_completions(self, index, problems, completions, rewards: Tensor, advantages: Tensor) -> None:
        rows = [
            {
                "rollout": index,
                "sample": sample,
                "prompt": problem.prompt,
                "completion": completion,
                "reward": reward,
                "advantage": advantage,
            }
            for sample, problem, completion, reward, advantage in zip(
                self.mine, problems, completions, rewards.tolist(), advantages.tolist(), strict=True
            )
        ]
        first = rows[0]
        self.session.reporter.completion(first["prompt"], first["completion"], first["reward"])
        rows = [row for row in rows if row["sample"] < self.settings.log_completions]
        rows = gather_rows(self.session.accelerator, rows)
        if self.session.run and rows:
            self.session.run.completions(rows)

    # --- scoring ---------------------------------------------------------------------------------

    def _copies(self, rollout: Rollout, update: int, rows: list[int]) -> tuple[Canvas, list[NoisyCopy]]:
        """The full canvas of some samples and their noisy copies for an update; a pure function of the seed."""
        settings, modality = self.settings.estimator, self.policy.modality
        responses = rollout.responses[rows]
        canvas = modality.canvas([rollout.prompts[row] for row in rows], responses.shape[1])
        canvas.ids[:, canvas.start :] = responses
        if canvas.unconditional is not None:
            canvas.unconditional.ids[:, canvas.start :] = responses
        noise = Noise((self.seed, rollout.index, update), tuple(self.mine[row] for row in rows))
        valid = self._valid(responses)
        if settings.ratio == "random" or (settings.ratio == "auto" and self.settings.updates == 1):
            ratio = random_ratio(noise, settings.min_ratio)
        else:
            ratio = torch.full((len(rows),), scheduled_ratio(update, self.settings.updates, settings.min_ratio))
        offered = settings.model_dump(include={"span", "prompt_mask_rate", "full_copy"})
        taken = inspect.signature(self.estimator).parameters
        options = {key: value for key, value in offered.items() if key in taken}
        return canvas, self.estimator(canvas, valid, ratio, noise, **options)

    def _valid(self, responses: Tensor) -> Tensor:
        """[n, L] bool: tokens that may be scored, those up to the end of the answer."""
        everything = self.settings.estimator.keep_after_end
        return torch.ones_like(responses, dtype=torch.bool) if everything else self.policy.modality.valid(responses)

    def _log_probs(self, denoiser: Denoiser, canvas: Canvas, copies: list[NoisyCopy]):
        return score(
            denoiser.log_probs,
            canvas.to(self.session.accelerator.device),
            copies,
            self.policy.modality.vocabulary.mask_id,
            self.settings.logit_chunk,
        )

    def _score_frozen(self, rollout: Rollout) -> None:
        """Log-probabilities of every update under the old policy and the reference, without gradients.

        At the first update the old policy is the present one, unless dropout makes them differ.
        """
        updates, rows = self.settings.updates, self._trained_rows(rollout)
        rollout.old = torch.zeros(updates, *rollout.responses.shape)
        beta = self.settings.objective.beta
        rollout.reference = torch.zeros_like(rollout.old) if beta else None
        progress = self.session.progress("score")
        first = 0 if self.dropout else 1
        for update in range(updates):
            batches = self._micro_batches(rows)
            for batch in batches:
                canvas, copies = self._copies(rollout, update, batch)
                with torch.no_grad():
                    if update >= first:
                        rollout.old[update, batch] = self._log_probs(
                            self.policy.denoiser(self.guidance), canvas, copies
                        ).log_probs.cpu()
                    if beta:
                        with self.policy.reference(self.guidance) as reference:
                            rollout.reference[update, batch] = self._log_probs(
                                reference, canvas, copies
                            ).log_probs.cpu()
            progress(update + 1, updates)

    # --- update ----------------------------------------------------------------------------------

    def _trained_rows(self, rollout: Rollout) -> list[int]:
        """Samples that can have a gradient: without a KL, those whose advantage is not 0."""
        everything = list(range(len(self.mine)))
        if self.settings.objective.beta:
            return everything
        return [row for row in everything if rollout.advantages[row] != 0]

    def _micro_batches(self, rows: list[int]) -> list[list[int]]:
        """Rows in micro-batches; every process has as many as the others (empty ones last), and at least one."""
        size = self.settings.micro_batch_size
        count = max(1, -(-len(rows) // size))
        count = max(gather_rows(self.session.accelerator, [count]))
        return [rows[start * size : (start + 1) * size] or [0] for start in range(count)]

    def update(self, rollout: Rollout, update: int) -> dict[str, float]:
        """Backward passes of one optimiser step, averaged over the masked tokens (or sequences) of all processes."""
        accelerator, rows = self.session.accelerator, self._trained_rows(rollout)
        everyone = list(range(len(self.mine)))
        _, copies = self._copies(rollout, update, everyone)
        scored = scored_tokens(copies)
        valid = self._valid(rollout.responses)
        counts = torch.stack([self.objective.weights(scored).sum(), scored.sum().float(), valid.sum().float()])
        weight, tokens, length = total(accelerator, counts).tolist()
        batches = self._micro_batches(rows)
        sums = torch.zeros(6, device=accelerator.device)  # loss, KL, clipped, cut, entropy, tokens seen
        progress = self.session.progress("update")
        self.policy.model.train(self.dropout)
        for number, batch in enumerate(batches):
            last = number == len(batches) - 1
            real = number * self.settings.micro_batch_size < len(rows)
            with contextlib.nullcontext() if last else accelerator.no_sync(self.policy.model):
                sums += self._backward(rollout, update, batch, max(weight, 1.0), real)
            progress(number + 1, len(batches))
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
        canvas, copies = self._copies(rollout, update, batch)
        noise = Noise((self.seed, rollout.index, update), (self.mine[batch[0]],))
        with seeded(noise.seed(Purpose.DROPOUT)) if self.dropout else contextlib.nullcontext():
            scores = self._log_probs(self.policy.denoiser(self.guidance), canvas, copies)
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


def run(config: Config, recipe: str, resume: bool = False) -> None:
    """`maskgrpo grpo`: train a policy with rewards, from the recipe's model."""

    def make(session: Session, policy: Policy, task: Task) -> Grpo:
        problems = data.load_problems(config, task, config.task.split, limit=config.task.limit)
        return Grpo(session, policy, task, problems)

    train(
        config, recipe, "grpo", lambda accelerator, task: load_policy(config, accelerator, trained=True), make, resume
    )
