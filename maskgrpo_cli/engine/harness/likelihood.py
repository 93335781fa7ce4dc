"""The log-likelihood of an answer under a masked diffusion model: LLaDA's Monte Carlo estimate.

log p(answer | prompt) >= E_l E_mask [ L/l * sum of log p(token | the rest) over the masked tokens ], with the count
l of masked tokens uniform in 1..L and the masked places uniform among those of that count (LLaDA, arXiv 2502.09992,
algorithm 3 and equation 14). Shapes: N noisy copies, L tokens of the answer, P of the prompt.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from maskgrpo_cli.config.schema import SamplerConfig
from maskgrpo_cli.engine.generation import check_length, generate
from maskgrpo_cli.engine.policy import Policy
from maskgrpo_cli.estimators.scoring import score
from maskgrpo_cli.noise import Noise, Purpose
from maskgrpo_cli.types import Canvas, NoisyCopy


def random_masks(noise: Noise, length: int) -> Tensor:
    """[N, L] bool, one row a sample of `noise`; every count 1..L comes up equally often, but for the remainder.

    The first count is drawn and the others follow at equal distances round the circle, as in LLaDA's evaluation
    code: each is still uniform in 1..L, and together they vary less than independent ones.
    """
    copies = len(noise.samples)
    first = int(noise.rows([0]).uniform(Purpose.RATIO, 1)[0, 0] * length)
    counts = (first + torch.arange(copies) * length // copies) % length + 1
    rank = noise.uniform(Purpose.MASK, length).argsort(-1).argsort(-1)
    return rank < counts[:, None]


@torch.no_grad()
def log_likelihood(
    policy: Policy, prompt: Sequence[int], answer: Sequence[int], masks: Tensor, settings: SamplerConfig
) -> float:
    """Mean over the masks [N, L] of L/l times the summed log-probabilities of the masked tokens.

    Raises UserError where prompt and answer are longer than the model can take.
    """
    length, modality = len(answer), policy.modality
    check_length(len(prompt) + length, policy)
    total = 0.0
    for hidden in masks.split(settings.batch_size):
        canvas = modality.canvas([prompt] * len(hidden), length)
        canvas.ids[:, canvas.start :] = torch.tensor(answer)
        if not settings.guidance:
            canvas.unconditional = None
        weight = length / hidden.sum(-1, keepdim=True)
        copy = NoisyCopy(_behind_prompt(canvas, hidden), hidden, weight * hidden)
        denoiser = policy.denoiser(settings.guidance)
        scored = score(
            denoiser.log_probs, canvas.to(policy.accelerator.device), [copy], modality.vocabulary.mask_id,
            chunk=settings.batch_size * length,
        )
        total += float(scored.log_probs.double().sum())
    return total / len(masks)


def _behind_prompt(canvas: Canvas, hidden: Tensor) -> Tensor:
    return torch.cat([torch.zeros(len(hidden), canvas.start, dtype=torch.bool), hidden], dim=1)


def is_greedy(policy: Policy, prompt: Sequence[int], answer: Sequence[int], settings: SamplerConfig) -> bool:
    """Whether the most confident token first, one a step over the whole answer, writes exactly this answer."""
    length = len(answer)
    greedy = SamplerConfig(
        name="low-confidence", length=length, steps=length, block_length=length, temperature=0.0,
        guidance=settings.guidance, stop_at_end=False,
    )
    written = generate(policy, [prompt], greedy, Noise((0,), (0,)))  # at temperature 0 nothing is drawn
    return written[0].tolist() == list(answer)
