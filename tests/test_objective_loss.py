"""Clipped losses and the KL: golden values, values by hand, and micro-batches that change nothing."""

import math

import pytest
import torch
from parity import table, tensors

from maskgrpo_cli.objective import GMPO, GRPO, GSPO, k3, policy_loss

GOLDEN = tensors("loss/loss")
CASES = [
    case for case in table("loss/cases")["cases"]
    if case["mean_method"] == "grpo" and case["mask"] in ("2d", "3d_current_only")
]
EVERY = {"grpo": GRPO, "gmpo": GMPO, "gspo": GSPO}
close = torch.testing.assert_close


def average(objective, new, old, reference, advantages, scored, *, low=0.2, high=0.2, beta=0.0):
    """Loss, share of tokens without a gradient, mean KL and clip ratio as the engine averages them."""
    result = policy_loss(
        objective, new, old, reference, advantages, scored, clip_low=low, clip_high=high, beta=beta
    )
    shares = (part.sum() / scored.sum() for part in (result.cut, result.kl, result.clipped))
    return result.losses.sum() / objective.weights(scored).sum(), *shares


def golden(case) -> dict:
    update = case["iteration_index"]
    own = GOLDEN["mask_2d"] if case["mask"] == "2d" else GOLDEN["mask_3d"][update]
    return {
        "new": GOLDEN["new_logps"].clone().requires_grad_(), "old": GOLDEN["old_logps"][update],
        "reference": GOLDEN["ref_logps"][update] if case["beta"] else None,
        "advantages": GOLDEN["advantages"], "scored": own.bool(),
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["key"])
def test_golden_grpo_losses_and_gradients(case):
    given = golden(case)
    eps = case["epsilon"]
    loss, cut, kl, clipped = average(GRPO, *given.values(), low=eps, high=eps, beta=case["beta"])
    gradient, = torch.autograd.grad(loss, given["new"])
    expected = {name: GOLDEN.get(f"{case['key']}.{name}") for name in ("loss", "clip_ratio", "mean_kl")}
    close(loss, expected["loss"], atol=2e-6, rtol=0)
    close(gradient, GOLDEN[f"{case['key']}.grad_new_logps"], atol=2e-6, rtol=0)
    if case["beta"]:
        close(kl, expected["mean_kl"], atol=2e-6, rtol=0)
    close(clipped, expected["clip_ratio"])
    # It counts tokens outside the bounds whose gradient is *not* cut; with those that are cut they are all outside.
    ratio = (given["new"] - given["old"]).exp()
    outside = ((ratio < 1 - eps) | (ratio > 1 + eps)) & given["scored"] & (given["advantages"] != 0)[:, None]
    close(clipped + cut, outside.sum() / given["scored"].sum())


def test_fault_1_only_the_updates_own_mask_has_a_gradient():
    own = next(case for case in CASES if case["mask"] == "3d_current_only")
    given = golden(own)
    for objective in EVERY.values():
        loss, *_ = average(objective, *given.values(), beta=own["beta"])
        gradient, = torch.autograd.grad(loss, given["new"])
        assert (gradient[~given["scored"]] == 0).all()
    other_masks = GOLDEN["mask_3d"].bool().any(0) & ~given["scored"]
    assert other_masks.any(), "other updates must mask tokens that this one does not"


# d = new - old of two tokens that count and one, far off, that does not
DIFFERENCES = [[0.3, -0.5, 9.0]]
SCORED = [[True, True, False]]
BY_HAND = [
    # gmpo: d' = (0.2, -0.5) for A > 0, (0.3, -0.2) for A < 0; -A exp(mean d')
    ("gmpo", 2.0, -2 * math.exp(-0.15), [1, 0]),
    ("gmpo", -2.0, 2 * math.exp(0.05), [0, 1]),
    # gspo: s = exp(-0.1) = 0.905 lies inside 0.8 .. 1.2
    ("gspo", 2.0, -2 * math.exp(-0.1), [0, 0]),
    ("gspo", -2.0, 2 * math.exp(-0.1), [0, 0]),
    # grpo: rho = (1.350, 0.607); A > 0 clips the first to 1.2, A < 0 the second to 0.8; mean of the two
    ("grpo", 2.0, -2 * (1.2 + math.exp(-0.5)) / 2, [1, 0]),
    ("grpo", -2.0, 2 * (math.exp(0.3) + 0.8) / 2, [0, 1]),
]


@pytest.mark.parametrize(("name", "advantage", "expected", "clipped"), BY_HAND)
def test_fault_5_gmpo_gspo_and_grpo_by_hand(name, advantage, expected, clipped):
    new, scored = torch.tensor(DIFFERENCES), torch.tensor(SCORED)
    losses, _, was_cut, _ = policy_loss(
        EVERY[name], new, torch.zeros_like(new), None, torch.tensor([advantage]), scored,
        clip_low=0.2, clip_high=0.2, beta=0.0,
    )
    assert (losses.sum() / EVERY[name].weights(scored).sum()).item() == pytest.approx(expected, rel=1e-6)
    assert was_cut.int().tolist() == [[*clipped, 0]]


def gradient_of(objective, differences, advantage, low=0.2, high=0.2):
    new = torch.tensor([differences], requires_grad=True)
    scored = torch.ones_like(new, dtype=torch.bool)
    old = torch.zeros(1, len(differences))
    advantages = torch.tensor([advantage])
    loss, cut, *_ = average(objective, new, old, None, advantages, scored, low=low, high=high)
    return torch.autograd.grad(loss, new)[0][0].tolist(), cut.item()


def test_fault_5_gradients_of_gmpo_and_gspo_by_hand():
    # gmpo: the clipped token is dead, the other has -A s / L
    s = math.exp(-0.15)
    assert gradient_of(GMPO, [0.3, -0.5], 2.0)[0] == pytest.approx([0, -s])
    # gspo clips the whole sequence: s = e^0.4 > 1.2 has no gradient with A > 0, and all of it with A < 0
    assert gradient_of(GSPO, [0.5, 0.3], 2.0) == ([0, 0], 1)
    gradient, clipped = gradient_of(GSPO, [0.5, 0.3], -2.0)
    assert gradient == pytest.approx([math.exp(0.4)] * 2) and clipped == 0


@pytest.mark.parametrize("name", EVERY)
def test_the_upper_clip_may_be_wider_than_the_lower(name):
    # one token; with A > 0 the upper bound holds, with A < 0 the lower
    up, down = [0.25], [-0.15]
    assert gradient_of(EVERY[name], up, 1.0, low=0.1, high=0.2)[1] == 1
    assert gradient_of(EVERY[name], up, 1.0, low=0.1, high=0.3)[1] == 0
    assert gradient_of(EVERY[name], down, -1.0, low=0.1, high=0.3)[1] == 1
    assert gradient_of(EVERY[name], down, -1.0, low=0.2, high=0.1)[1] == 0


@pytest.mark.parametrize("name", EVERY)
def test_at_ratio_one_every_loss_is_minus_the_advantage_and_nothing_is_clipped(name):
    new = torch.tensor([[-1.0, -2.0], [-3.0, -0.5]], requires_grad=True)
    scored = torch.ones(2, 2, dtype=torch.bool)
    advantages = torch.tensor([1.5, -0.5])
    loss, cut, kl, clipped = average(EVERY[name], new, new.detach(), None, advantages, scored)
    assert loss.item() == pytest.approx(-0.5) and cut == clipped == kl == 0
    gradient, = torch.autograd.grad(loss, new)
    close(gradient, -advantages[:, None].expand(2, 2) / 4)


def test_the_kl_is_k3_and_never_negative():
    assert k3(torch.tensor(0.0), torch.tensor(0.5)).item() == pytest.approx(math.exp(0.5) - 1.5)
    assert k3(torch.tensor(0.0), torch.tensor(-0.5)).item() == pytest.approx(math.exp(-0.5) - 0.5)
    spread = torch.linspace(-5, 5, 101)
    assert (k3(spread, torch.zeros(101)) >= 0).all() and k3(spread, spread).abs().max() == 0


@pytest.mark.parametrize("name", EVERY)
def test_beta_adds_the_mean_kl_in_the_objectives_own_average(name):
    new, reference = torch.zeros(2, 3), torch.tensor([[0.5, -0.5, 7.0], [1.0, 7.0, 7.0]])
    scored = torch.tensor([[True, True, False], [True, False, False]])
    up, down, far = math.exp(0.5) - 1.5, math.exp(-0.5) - 0.5, math.e - 2
    per_token, per_sequence = (up + down + far) / 3, ((up + down) / 2 + far) / 2
    loss, _, kl, _ = average(EVERY[name], new, new, reference, torch.zeros(2), scored, beta=0.1)
    assert loss.item() == pytest.approx(0.1 * (per_token if name == "grpo" else per_sequence), rel=1e-5)
    assert kl.item() == pytest.approx(per_token, rel=1e-5)


@pytest.mark.parametrize("name", EVERY)
def test_a_sequence_without_scored_tokens_adds_nothing(name):
    new = torch.zeros(2, 3, requires_grad=True)
    scored = torch.tensor([[True, False, True], [False, False, False]])
    given = [new, torch.zeros(2, 3), torch.ones(2, 3), torch.tensor([1.0, 5.0]), scored]
    loss, *_ = average(EVERY[name], *given, beta=0.1)
    alone, *_ = average(EVERY[name], *(value[:1] for value in given), beta=0.1)
    assert loss.item() == pytest.approx(alone.item())
    gradient, = torch.autograd.grad(loss, new)
    assert gradient.isfinite().all() and (gradient[1] == 0).all()


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("split", [[4], [1, 3], [3, 1], [1, 1, 1, 1], [2, 2]])
def test_a_split_into_micro_batches_changes_neither_loss_nor_gradient(name, split):
    case = next(case for case in CASES if case["beta"])
    given, objective = golden(case), EVERY[name]
    whole, *_ = average(objective, *given.values(), beta=0.1)
    expected, = torch.autograd.grad(whole, given["new"])
    weight, total, start = objective.weights(given["scored"]).sum(), 0.0, 0
    for size in split:
        part = slice(start, start + size)
        losses, *_ = policy_loss(
            objective, *(value[part] for value in given.values()), clip_low=0.2, clip_high=0.2, beta=0.1
        )
        (losses.sum() / weight).backward()
        total, start = total + losses.sum().item() / weight.item(), start + size
    assert total == pytest.approx(whole.item(), rel=1e-5)
    close(given["new"].grad, expected)
