"""Rollouts: groups of completions, their rewards and advantages. Shapes: n samples of this process, L, mu updates."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from maskgrpo_cli import registry
from maskgrpo_cli.config.schema import Config
from maskgrpo_cli.engine import data
from maskgrpo_cli.engine.asked import with_codes
from maskgrpo_cli.engine.devices import gather_rows, share
from maskgrpo_cli.engine.generation import generate
from maskgrpo_cli.engine.judging import styles, verdicts
from maskgrpo_cli.engine.policy import Policy
from maskgrpo_cli.engine.scoring import Rewarded
from maskgrpo_cli.engine.session import Session
from maskgrpo_cli.errors import RunFailed, UserError
from maskgrpo_cli.noise import Noise
from maskgrpo_cli.objective import group_mean_std
from maskgrpo_cli.types import Problem, Task


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

    def gathered(self, accelerator) -> dict:
        """The fields with the samples of all processes, in order, for a checkpoint."""
        fields = vars(self) | {"prompts": gather_rows(accelerator, self.prompts)}
        for name, axis in _SAMPLE_AXIS.items():
            if fields[name] is not None:
                fields[name] = torch.cat(gather_rows(accelerator, [fields[name]]), dim=axis)
        return fields

    @classmethod
    def part(cls, fields: dict, mine: range) -> Rollout:
        """The samples `mine` of what `gathered` gave."""
        fields = dict(fields) | {"prompts": fields["prompts"][mine.start : mine.stop]}
        for name, axis in _SAMPLE_AXIS.items():
            if fields[name] is not None:
                fields[name] = fields[name].narrow(axis, mine.start, len(mine)).clone()
        return cls(**fields)


ROLLOUTS = "rollouts"  # the folder of completions that are no text
_SAMPLE_AXIS = {"responses": 0, "advantages": 0, "old": 1, "reference": 1}  # where n is in a rollout's tensors


class Collector:
    """Makes rollouts: draws prompts, samples groups of completions, rewards them."""

    def __init__(self, session: Session, policy: Policy, task: Task, problems: Sequence[Problem]):
        config: Config = session.config
        self.session, self.policy, self.task = session, policy, task
        self.settings, self.sampler, self.seed = config.grpo, config.sampler, config.seed
        self.problems, self.prompts = data.encode_prompts(
            with_codes(session, policy, policy.modality, problems), policy.modality, config.task, session.reporter.warn
        )
        policy.modality.canvas(self.prompts[:1], self.sampler.length)  # a length that nothing has is told at once
        self.rewards = session.rewards(task)
        self.advantage = registry.resolve("advantage", self.settings.advantage)
        samples = self.settings.prompts * self.settings.group_size
        if samples % session.accelerator.num_processes:
            raise UserError(
                f"grpo.prompts x grpo.group_size = {samples} samples do not divide among "
                f"{session.accelerator.num_processes} processes"
            )
        self.mine = share(session.accelerator, samples)  # global indices of this process's samples

    def collect(self, index: int) -> Rollout:
        """Rollout number `index`, a pure function of the seed and the policy's weights; not scored yet."""
        started = time.perf_counter()
        first = index * self.settings.prompts
        chosen = data.shuffled(self.seed, range(first, first + self.settings.prompts), len(self.problems))
        rows = [chosen[sample // self.settings.group_size] for sample in self.mine]
        problems, prompts = [self.problems[row] for row in rows], [self.prompts[row] for row in rows]
        noise = Noise((self.seed, index), tuple(self.mine))
        scoring, completions = self.rewards.begin(), []

        def made(places: range, responses: Tensor) -> None:
            """Let rewards begin on a batch while the next one is drawn."""
            completions.extend(self.policy.modality.decode(responses))
            scoring.add([problems[place] for place in places], completions[places.start : places.stop])

        progress = self.session.progress("rollout")
        early = any(self.rewards.early)
        responses = generate(self.policy, prompts, self.sampler, noise, progress=progress, made=made if early else None)
        if not early:
            made(range(len(responses)), responses)
        seconds = time.perf_counter() - started
        rewarded = scoring.finish(self.session.together)
        advantages, metrics = self._reward(index, problems, responses, completions, rewarded)
        metrics |= {"time/rollout": seconds, "tokens_per_second": metrics["tokens"] / seconds}
        return Rollout(index, prompts, responses, advantages, torch.zeros(0), None, metrics)

    def _reward(
        self, index: int, problems: list[Problem], responses: Tensor, completions: list[Any], mine: Rewarded
    ) -> tuple[Tensor, dict[str, float]]:
        """Advantages [n] of this process's samples, and the rollout's metrics over all processes."""
        accelerator, group = self.session.accelerator, self.settings.group_size
        everything = Rewarded(*(torch.cat(gather_rows(accelerator, [part])) for part in mine))
        if bool(everything.total.isnan().all()):
            raise RunFailed(f"every reward failed in rollout {index}; the log says why")
        lengths = gather_rows(accelerator, self.policy.modality.valid(responses).sum(-1).tolist())
        seen = gather_rows(accelerator, self._styles(problems, completions))
        advantages = self.advantage(everything.total, group)[self.mine.start : self.mine.stop]
        self._log_completions(index, problems, completions, mine.total, advantages)
        metrics = self._reward_metrics(everything)
        metrics |= {"completion_length": sum(lengths) / len(lengths), "tokens": sum(lengths)}
        for name, style in styles(seen).items():
            metrics |= {f"style/{name}": style["share"], f"style/{name}_accuracy": style["accuracy"]}
        return advantages, metrics

    def _styles(self, problems: list[Problem], completions: list[Any]) -> list[tuple[str | None, bool]]:
        """Each completion's style, and whether it is right; judged only where the task tells styles apart."""
        found = [self.task.style(completion) for completion in completions]
        told = [place for place, style in enumerate(found) if style is not None]
        asked, made = [problems[place] for place in told], [completions[place] for place in told]
        right = dict(zip(told, verdicts(self.task, asked, made, executor=self.session.executor), strict=True))
        return [(style, style is not None and right[place].correct) for place, style in enumerate(found)]

    def _reward_metrics(self, rewarded: Rewarded) -> dict[str, float]:
        group = self.settings.group_size
        spread = group_mean_std(rewarded.total, group)[1].view(-1, group)[:, 0]
        metrics = {
            "reward": rewarded.total.nanmean().item(),
            "reward_std": spread.mean().item(),
            "zero_std": (spread < 1e-6).float().mean().item(),
            "reward_failed": rewarded.failed.any(-1).float().mean().item(),
        }
        for column, name in enumerate(self.rewards.names):
            metrics[f"reward/{name}"] = rewarded.values[:, column].nanmean().item()
            if self.rewards.remote[column]:
                metrics[f"reward/{name}/away"] = float(rewarded.away[:, column].all())
        return metrics

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
        first, run = rows[0], self.session.run
        rows = [dict(row) for row in rows if row["sample"] < self.settings.log_completions]
        rows = gather_rows(self.session.accelerator, rows)
        for row in rows if run else ():
            name = f"rollout-{index:06d}-sample-{row['sample']:03d}"
            row["completion"] = self.policy.modality.written(row["completion"], run.path / ROLLOUTS, name)
        if run and rows:
            run.completions(rows)
        shown = self.policy.modality.written(first["completion"], None, "")
        self.session.reporter.completion(first["prompt"], shown, first["reward"])
