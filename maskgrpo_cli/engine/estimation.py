"""The importance estimator of a run: which noisy copies an update scores, and the log-probabilities on them."""

from __future__ import annotations

import torch
from torch import Tensor

from maskgrpo_cli import registry
from maskgrpo_cli.config.schema import GrpoConfig
from maskgrpo_cli.engine.arguments import taken
from maskgrpo_cli.engine.policy import Policy
from maskgrpo_cli.engine.rollouts import Rollout
from maskgrpo_cli.estimators.masks import random_ratio, scheduled_ratio
from maskgrpo_cli.estimators.scoring import Scores, score
from maskgrpo_cli.models.denoiser import Denoiser
from maskgrpo_cli.noise import Noise
from maskgrpo_cli.types import Canvas, NoisyCopy


class Estimator:
    """Noisy copies and scores of a rollout's samples; every copy is a pure function of the seed.

    Args:
        mine: global indices of this process's samples, which key their masks.
    """

    def __init__(self, policy: Policy, settings: GrpoConfig, seed: int, mine: range):
        self.policy, self.settings, self.seed, self.mine = policy, settings, seed, mine
        self._masks = registry.resolve("estimator", settings.estimator.name)
        offered = settings.estimator.model_dump(include={"span", "prompt_mask_rate", "full_copy"})
        self._options = taken(self._masks, offered)

    def noise(self, rollout: Rollout, update: int, rows: list[int]) -> Noise:
        """The draws of some samples for an update."""
        return Noise((self.seed, rollout.index, update), tuple(self.mine[row] for row in rows))

    def valid(self, responses: Tensor) -> Tensor:
        """[n, L] bool: tokens that may be scored, those up to the end of the answer."""
        everything = self.settings.estimator.keep_after_end
        return torch.ones_like(responses, dtype=torch.bool) if everything else self.policy.modality.valid(responses)

    def copies(self, rollout: Rollout, update: int, rows: list[int]) -> tuple[Canvas, list[NoisyCopy]]:
        """The full canvas of some samples and their noisy copies for an update."""
        responses = rollout.responses[rows]
        canvas = self.policy.modality.canvas([rollout.prompts[row] for row in rows], responses.shape[1])
        canvas.response.copy_(responses)
        noise = self.noise(rollout, update, rows)
        ratio = self._ratio(update, noise, len(rows))
        return canvas, self._masks(canvas, self.valid(responses), ratio, noise, **self._options)

    def _ratio(self, update: int, noise: Noise, count: int) -> Tensor:
        settings, updates = self.settings.estimator, self.settings.updates
        if settings.ratio == "random":
            return random_ratio(noise, settings.min_ratio)
        return torch.full((count,), scheduled_ratio(update, updates, settings.min_ratio))

    def score(self, denoiser: Denoiser, canvas: Canvas, copies: list[NoisyCopy]) -> Scores:
        """Log-probabilities of the canvas's completions on their copies."""
        canvas, mask_id = canvas.to(self.policy.accelerator.device), self.policy.modality.vocabulary.mask_id
        return score(denoiser.log_probs, canvas, copies, mask_id, self.settings.logit_chunk)
