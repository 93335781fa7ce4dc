"""Group advantages, clipped losses and the KL, as pure functions.

Shapes: N samples in consecutive groups of G, F reward functions, B batch, L completion length.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

# --- rewards and advantages (spec: A = (r - mean) / (std + 1e-5)) ------------------------------------


def total_reward(values: Tensor, weights: Tensor, failed: Tensor | None = None) -> Tensor:
    """The weighted sum of reward functions.

    Args:
        values: [N, F]; NaN where a function does not apply, which leaves it out of that sample's sum.
        weights: [F].
        failed: [N, F] bool; a sample in which any function failed gets NaN.

    Returns:
        [N]; NaN marks samples that leave their group's statistics.
    """
    total = (values.nan_to_num(nan=0.0) * weights).sum(-1)
    return total if failed is None else total.masked_fill(failed.any(-1), torch.nan)


def group_mean_std(rewards: Tensor, group_size: int) -> tuple[Tensor, Tensor]:
    """Mean and unbiased std of each sample's group over the samples that did not fail, both [N].

    A group with fewer than two of them has std 0.
    """
    groups = rewards.view(-1, group_size)
    kept = ~groups.isnan()
    count = kept.sum(-1, keepdim=True)
    mean = groups.nan_to_num(nan=0.0).sum(-1, keepdim=True) / count.clamp(min=1)
    low = groups.nan_to_num(nan=torch.inf).amin(-1, keepdim=True)
    high = groups.nan_to_num(nan=-torch.inf).amax(-1, keepdim=True)
    # rounding may set the mean of equal rewards beside them; divided by 1e-5 that would be an advantage
    mean = torch.where(low == high, low, mean)
    squares = ((groups - mean) ** 2).nan_to_num(nan=0.0).sum(-1, keepdim=True)
    std = (squares / (count - 1).clamp(min=1)).sqrt()
    return mean.expand_as(groups).reshape(-1), std.expand_as(groups).reshape(-1)


def group_advantage(rewards: Tensor, group_size: int) -> Tensor:
    """A = (r - mean) / (std + 1e-5) over each group (GRPO); failed samples get 0. [N] -> [N]."""
    mean, std = group_mean_std(rewards, group_size)
    return ((rewards - mean) / (std + 1e-5)).nan_to_num(nan=0.0)


def pref_advantage(rewards: Tensor, group_size: int) -> Tensor:
    """Pref-GRPO: the rank within the group, scaled to 0..1, takes the reward's place; ties share the mean rank."""
    groups = rewards.view(-1, group_size)
    below = (groups[:, None, :] < groups[:, :, None]).sum(-1)
    equal = (groups[:, None, :] == groups[:, :, None]).sum(-1)
    others = ((~groups.isnan()).sum(-1, keepdim=True) - 1).clamp(min=1)
    rank = (below + (equal - 1) / 2) / others
    return group_advantage(rank.masked_fill(groups.isnan(), torch.nan).view(-1), group_size)


def centered_advantage(rewards: Tensor, group_size: int) -> Tensor:
    """A = r - mean, without the std (Dr. GRPO)."""
    return (rewards - group_mean_std(rewards, group_size)[0]).nan_to_num(nan=0.0)


def leave_one_out_advantage(rewards: Tensor, group_size: int) -> Tensor:
    """A_i = r_i minus the mean of the others (RLOO)."""
    count = (~rewards.isnan()).view(-1, group_size).sum(-1, keepdim=True)
    scale = (count / (count - 1).clamp(min=1)).expand(-1, group_size).reshape(-1)
    return centered_advantage(rewards, group_size) * scale


# --- losses -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Objective:
    """A policy loss and what it is averaged over.

    `losses(new, old, advantages, scored, clip_low, clip_high)` takes [B, L], [B, L], [B], [B, L] and returns the
    loss of each sequence [B], summed over its tokens if `per_token`, which tokens count as clipped [B, L], and
    which have no gradient for it [B, L].
    """

    losses: Callable[..., tuple[Tensor, Tensor, Tensor]]
    per_token: bool

    def weights(self, scored: Tensor) -> Tensor:
        """[B] what each sequence counts in the average: its scored tokens, or 1 if it has any."""
        return scored.sum(-1).float() if self.per_token else scored.any(-1).float()


def _mean(values: Tensor, scored: Tensor) -> Tensor:
    """Mean over the scored tokens of each sequence, 0 where there are none; [B, L] -> [B]."""
    return (values * scored).sum(-1) / scored.sum(-1).clamp(min=1)


def _grpo(new: Tensor, old: Tensor, advantages: Tensor, scored: Tensor, clip_low: float, clip_high: float):
    """-min(rho A, clip(rho, 1 - eps_low, 1 + eps_high) A), rho = exp(new - old), token by token.

    Published runs count as clipped the tokens with rho A < clip(rho) A: those outside the bounds whose gradient
    stays. The others outside, with clip(rho) A < rho A, have none.
    """
    ratio, advantage = (new - old).exp(), advantages[:, None]
    free, bounded = ratio * advantage, ratio.clamp(1 - clip_low, 1 + clip_high) * advantage
    return -(torch.minimum(free, bounded) * scored).sum(-1), (free < bounded) & scored, (bounded < free) & scored


def _gmpo(new: Tensor, old: Tensor, advantages: Tensor, scored: Tensor, clip_low: float, clip_high: float):
    """-A exp(mean d'), d' the token's d = new - old clipped on the side that A makes larger (arXiv 2507.20673)."""
    difference, positive = new - old, advantages[:, None] >= 0
    pessimistic = torch.where(positive, difference.clamp(max=clip_high), difference.clamp(min=-clip_low))
    cut = torch.where(positive, difference > clip_high, difference < -clip_low) & scored
    return -advantages * _mean(pessimistic, scored).exp() * scored.any(-1), cut, cut


def _gspo(new: Tensor, old: Tensor, advantages: Tensor, scored: Tensor, clip_low: float, clip_high: float):
    """-min(s A, clip(s, 1 - eps, 1 + eps) A), s = exp(mean d) of the sequence (arXiv 2507.18071)."""
    ratio = _mean(new - old, scored).exp()
    free, bounded = ratio * advantages, ratio.clamp(1 - clip_low, 1 + clip_high) * advantages
    cut = (bounded < free)[:, None] & scored
    return -torch.minimum(free, bounded) * scored.any(-1), cut, cut


GRPO = Objective(_grpo, per_token=True)
GMPO = Objective(_gmpo, per_token=False)
GSPO = Objective(_gspo, per_token=False)


def k3(new: Tensor, reference: Tensor) -> Tensor:
    """The k3 estimator of KL(new || reference): exp(u) - u - 1, u = reference - new; elementwise, never negative."""
    difference = reference - new
    return difference.exp() - difference - 1


class PolicyLoss(NamedTuple):
    """A policy loss and what is logged of it."""

    losses: Tensor  # [B]
    clipped: Tensor  # [B, L] bool, as published runs count it
    cut: Tensor  # [B, L] bool, tokens that clipping leaves without a gradient
    kl: Tensor  # [B, L], 0 where not scored


def policy_loss(
    objective: Objective,
    new: Tensor,
    old: Tensor,
    reference: Tensor | None,
    advantages: Tensor,
    scored: Tensor,
    *,
    clip_low: float,
    clip_high: float,
    beta: float,
) -> PolicyLoss:
    """Losses to be summed and divided by the step's total of `objective.weights(scored)`.

    Args:
        new, old, reference: [B, L] log-probabilities on the same noisy copies; no reference where beta = 0.
        advantages: [B]; scored: [B, L] bool, the tokens of this update's own mask.

    The KL is to the reference, or to the old policy where there is none.
    """
    losses, clipped, cut = objective.losses(new, old, advantages, scored, clip_low, clip_high)
    kl = k3(new, old if reference is None else reference)
    if beta:
        losses = losses + beta * ((kl * scored).sum(-1) if objective.per_token else _mean(kl, scored))
    return PolicyLoss(losses, clipped, cut, kl.detach() * scored)
