"""A whole GRPO step at a width of 256: rollout, old and reference scores, and the mu updates."""

from __future__ import annotations

import copy
import tempfile
import time
from pathlib import Path

import straightforward
import torch
from common import (
    BLOCK,
    COMPLETIONS,
    LENGTH,
    PROMPT,
    STEPS,
    UPDATES,
    console,
    first_ids,
    make_policy,
    make_prompts,
    sampler,
    table,
)
from torch import Tensor

from maskgrpo_cli.config.schema import (
    Config,
    EstimatorConfig,
    GrpoConfig,
    ObjectiveConfig,
    OptimizerConfig,
    SamplerConfig,
)
from maskgrpo_cli.engine.generation import generate
from maskgrpo_cli.engine.grpo import Grpo
from maskgrpo_cli.engine.interrupts import Interrupts
from maskgrpo_cli.engine.optimizer import make_optimizer
from maskgrpo_cli.engine.policy import Policy
from maskgrpo_cli.engine.reporting.display import make_reporter
from maskgrpo_cli.engine.reporting.run_directory import RunDirectory
from maskgrpo_cli.engine.rollouts import Rollout
from maskgrpo_cli.engine.session import Session
from maskgrpo_cli.noise import Noise
from maskgrpo_cli.types import Problem

CLIP, BETA = 0.2, 0.01


class Words:
    """The least that is a task; its rollouts are given here."""

    name, rewards = "words", {"boxed-format": 1.0}

    def style(self, completion: str) -> None:
        """None."""


class Step:
    """A step of the engine's GRPO method, one group in it, without a rollout yet; advantages are given, no two alike.

    Args:
        policy, prompts: what is trained, and the prompt of each completion.
        draws: the sampler's settings; changes: of `GrpoConfig`.
    """

    def __init__(self, policy: Policy, prompts: list[list[int]], draws: SamplerConfig, updates: int, **changes):
        self.policy, self.prompts, self.updates = policy, prompts, updates
        self.length, self.completions = draws.length, len(prompts)
        settings = {"micro_batch_size": self.completions, "optimizer": OptimizerConfig(lr=1e-5), "log_completions": 0}
        grpo = GrpoConfig(prompts=1, group_size=self.completions, updates=updates, **settings | changes)
        folder = tempfile.mkdtemp(prefix="maskgrpo-benchmark-")
        config = Config(device="cpu", output_dir=folder, sampler=draws, grpo=grpo)
        run = RunDirectory(Path(folder))
        session = Session(config, policy.accelerator, run, make_reporter(run, "", 0, quiet=True), Interrupts())
        self.grpo = Grpo(session, policy, Words(), [Problem("0", ({"role": "user", "content": "w1"},), {})])
        self.optimizer = settled_optimizer(policy.plain, policy.parameters(), grpo.optimizer)
        self.rollout: Rollout | None = None

    def sample(self) -> None:
        """The rollout; advantages are given, no two alike."""
        responses = generate(
            self.policy, self.prompts, self.grpo.collector.sampler, Noise((0,), tuple(range(self.completions)))
        )
        self._take(responses)

    def given_completions(self) -> None:
        """Random completions in place of a rollout."""
        draw = torch.Generator().manual_seed(1)
        self._take(torch.randint(300, 126_000, (self.completions, self.length), generator=draw))

    def _take(self, responses: Tensor) -> None:
        advantages = torch.linspace(-1.5, 1.5, self.completions)
        self.rollout = Rollout(0, self.prompts, responses, advantages, torch.zeros(0), None, {"tokens": 1.0})

    def score(self) -> None:
        """Old and reference log-probabilities of every update."""
        self.grpo.collector.collect = lambda index: self.rollout
        self.rollout = self.grpo.collect(0)

    def update(self, number: int) -> float:
        """One optimiser step; its loss."""
        self.optimizer.zero_grad(set_to_none=False)
        loss = self.grpo.update(self.rollout, number)["loss"]
        self.optimizer.step()
        return loss

    def score_and_update(self) -> None:
        """What memory is measured over."""
        self.score()
        self.update(0)
        self.update(self.updates - 1)

    def noisy(self, number: int) -> tuple[Tensor, Tensor]:
        """The noisy copy [B, S] of an update and the tokens [B, L] that it scores, for the other side."""
        canvas, copies = self.grpo.estimator.copies(self.rollout, number, list(range(self.completions)))
        return torch.where(copies[0].mask, self.policy.modality.vocabulary.mask_id, canvas.ids), copies[0].scored


class Ours(Step):
    """Greedy completions of different prompts as the group, by a model of four layers."""

    def __init__(self, width: int, completions: int = COMPLETIONS, updates: int = UPDATES, length: int = LENGTH):
        super().__init__(
            make_policy(width), make_prompts(completions), sampler(steps=length // 2, length=length), updates,
            estimator=EstimatorConfig(min_ratio=0.6), objective=ObjectiveConfig(clip_low=CLIP, beta=BETA),
        )  # fmt: skip


def settled_optimizer(model, parameters, settings: OptimizerConfig):
    """An optimiser that has its state, and gradients for it, while the weights are as they were."""
    optimizer = make_optimizer(parameters, settings)
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    states = copy.deepcopy(model.state_dict())
    optimizer.step()
    model.load_state_dict(states)
    return optimizer


class Plain:
    """The same step straightforwardly, on a copy of the same model and optimiser settings."""

    def __init__(self, ours: Ours):
        self.ours = ours
        self.model = copy.deepcopy(ours.policy.plain)
        self.reference = copy.deepcopy(ours.policy.plain).requires_grad_(False)
        self.optimizer = settled_optimizer(self.model, list(self.model.parameters()), ours.grpo.settings.optimizer)
        self.responses: Tensor | None = None
        self.old = self.kept = torch.zeros(0)

    def sample(self) -> None:
        """The rollout."""
        ids, start = first_ids(self.ours.policy, self.ours.prompts)
        words = self.ours.policy.modality.vocabulary
        ids = straightforward.rollout(self.model, ids, start, words.mask_id, words.forbidden, STEPS, BLOCK)
        self.responses = ids[:, start:]

    def score(self) -> None:
        """Old and reference log-probabilities, one mask at a time: all at once do not fit."""
        noisy = [self.ours.noisy(number)[0] for number in range(self.ours.updates)]
        self.old, self.kept = straightforward.old_and_reference(
            self.model, self.reference, noisy, self.ours.rollout.responses, PROMPT
        )

    def update(self, number: int) -> float:
        """One optimiser step; its loss."""
        self.optimizer.zero_grad(set_to_none=False)
        noisy, mask = self.ours.noisy(number)
        rollout = self.ours.rollout
        new = straightforward.log_probs(self.model, noisy, rollout.responses, PROMPT)
        loss = straightforward.loss(new, self.old[number], self.kept[number], rollout.advantages, mask, CLIP, BETA)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def score_and_update(self) -> None:
        """What memory is measured over."""
        self.score()
        self.update(0)
        self.update(self.ours.updates - 1)


def whole_step() -> None:
    """Every phase of both, one after the other, and whether the same came out."""
    ours = Ours(256)
    plain = Plain(ours)
    phases, losses = {}, []
    for phase in ("rollout", "old and reference", *(f"update {number}" for number in range(UPDATES))):
        for side in (plain, ours):
            started = time.perf_counter()
            if phase == "rollout":
                side.sample()
            elif phase == "old and reference":
                side.score()
            else:
                losses.append(side.update(int(phase.split()[1])))
            phases.setdefault(phase, []).append(time.perf_counter() - started)
    updates = [phases.pop(f"update {number}") for number in range(UPDATES)]
    phases[f"{UPDATES} updates"] = [sum(side) for side in zip(*updates, strict=True)]
    phases["whole step"] = [sum(side) for side in zip(*phases.values(), strict=True)]
    result = table(
        f"A GRPO step at width 256: {COMPLETIONS} completions, mu {UPDATES}, beta {BETA}",
        "phase", "straightforward", "ours", "ratio",
    )
    for phase, (slow, fast) in phases.items():
        result.add_row(phase, f"{slow:.1f} s", f"{fast:.1f} s", f"{slow / fast:.1f}x")
    console.print(result)
    same = torch.equal(plain.responses, ours.rollout.responses)
    apart = max(abs(a - b) for a, b in zip(losses[::2], losses[1::2], strict=True))
    weights = max(
        (a - b).abs().max().item()
        for a, b in zip(plain.model.parameters(), ours.policy.plain.parameters(), strict=True)
    )
    distinct = len(ours.rollout.responses.unique())
    console.print(
        f"same tokens: {'yes' if same else 'NO'} ({distinct} different ones); losses differ by at most {apart:.1e}; "
        f"weights after {UPDATES} updates by at most {weights:.1e}, of a learning rate of 1e-05\n", style="dim",
    )
