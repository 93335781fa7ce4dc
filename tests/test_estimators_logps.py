"""Log-probabilities on noisy copies: golden values, and what scoring may not depend on."""

import pytest
import torch
import torch.nn.functional as F
from parity import (
    MASK,
    GivenNoise,
    canvas,
    completed,
    denoiser,
    fresh_model,
    noise,
    table,
    tensors,
    vocabulary,
)

from maskgrpo_cli.estimators.masks import coupled, d1, fading_out, scheduled_ratio, uniform
from maskgrpo_cli.estimators.scoring import hide, score, scored_tokens
from maskgrpo_cli.models.denoiser import Denoiser
from maskgrpo_cli.models.head import token_log_probs
from maskgrpo_cli.types import NoisyCopy

CASES = {case["key"]: case for case in table("logps/t2t")}
GOLDEN = tensors("logps/t2t")
ROLLOUT = tensors("logps/rollout_t2t_mu3_beta0.01")
ESTIMATORS = {"fading-out": fading_out, "uniform": uniform, "d1": d1, "coupled": coupled}


def explicit(mask: torch.Tensor, start: int) -> NoisyCopy:
    """A copy with a given mask, scored wherever the completion is."""
    scored = torch.ones_like(mask[:, start:])
    return NoisyCopy(mask, scored, scored.float())


def copies_of(case: dict, given, update: int) -> list[NoisyCopy]:
    """The golden mask of an update: as given, or made by the estimator from the golden uniforms."""
    key, prompt, length = case["key"], case["prompt_len"], case["completion_len"]
    if key.endswith("explicit"):
        return [explicit(GOLDEN[f"{key}.masks"][update], prompt)]
    drawn = GOLDEN[f"{key}.random_matrix"][update]
    draws = GivenNoise(MASK=drawn[:, prompt:], PROMPT_MASK=drawn[:, :prompt].flip(-1))
    valid = torch.ones(len(drawn), length, dtype=torch.bool)
    if key.endswith("d1"):
        return d1(given, valid, torch.zeros(2), draws, prompt_mask_rate=case["p_mask_prompt"])
    ratio = torch.full((2,), scheduled_ratio(update, case["num_iter"], case["min_mask_rate"]))
    if key.endswith("arlike"):
        return fading_out(given, valid, ratio, draws, span="sequence")
    return uniform(given, valid, ratio, draws)


@torch.no_grad()
@pytest.mark.parametrize("key", CASES)
def test_golden_log_probs(key):
    case = CASES[key]
    ids, prompt = GOLDEN[f"{key}.ids"], case["prompt_len"]
    given = completed(ids[:, :prompt], ids[:, prompt:])
    for update in range(case["num_iter"]):
        copies = copies_of(case, given, update)
        masked = copies[0].mask
        assert torch.equal(hide(given, masked, case["mask_id"]).ids, GOLDEN[f"{key}.noisy"][update])
        scores = score(denoiser(case["model"]).log_probs, given, copies, case["mask_id"], 1024)
        counted = copies[0].scored
        expected = GOLDEN[f"{key}.logps"][update]
        torch.testing.assert_close(scores.log_probs[counted], expected[counted], atol=3e-4, rtol=0)
        assert (scores.log_probs[~counted] == 0).all() and (scores.entropy[~counted] == 0).all()
        if not key.endswith("explicit") and not key.endswith("d1"):
            assert torch.equal(counted, GOLDEN[f"{key}.perturb_mask"][update])


@torch.no_grad()
@pytest.mark.parametrize("name", ["old", "ref"])
def test_log_probs_of_the_golden_rollout(name):
    given = completed(ROLLOUT["prompt_ids"], ROLLOUT["completion_ids"])
    for update, masked in enumerate(ROLLOUT["completion_mask_returned"].bool()):
        mask = torch.cat([torch.zeros(8, 7, dtype=torch.bool), masked], dim=1)
        scores = score(denoiser().log_probs, given, [explicit(mask, 7)], MASK["base"], 64)
        expected = ROLLOUT[f"{name}_per_token_logps"][update]
        torch.testing.assert_close(scores.log_probs, expected, atol=3e-4, rtol=0)


def example(batch=3, prompt=5, length=8, padding=0):
    draw = torch.Generator().manual_seed(4)
    prompts, answers = (torch.randint(400, (batch, n), generator=draw) for n in (prompt, length))
    return completed(prompts, answers, padding)


def scores_of(name, given, *, chunk=64, guidance=0.0, model=None):
    valid = torch.ones(given.response.shape, dtype=torch.bool)
    valid[0, 4:] = False
    copies = ESTIMATORS[name](given, valid, torch.full((len(valid),), 0.7), noise(len(valid), 2))
    policy = denoiser("base", guidance) if model is None else Denoiser(model, vocabulary(), guidance)
    return score(policy.log_probs, given, copies, MASK["base"], chunk), copies


@torch.no_grad()
@pytest.mark.parametrize("name", ESTIMATORS)
def test_scores_are_the_weighted_log_softmax_at_scored_tokens(name):
    given = example()
    scores, copies = scores_of(name, given)
    expected, entropy, times = (torch.zeros(3, 8) for _ in range(3))
    for copy in copies:
        noisy = torch.where(copy.mask, MASK["base"], given.ids)
        every = denoiser().model(noisy).logits[:, 5:].log_softmax(-1)
        expected += copy.weight * every.gather(-1, given.response[..., None])[..., 0]
        entropy += copy.scored * -(every.exp() * every).sum(-1)
        times += copy.scored
    torch.testing.assert_close(scores.log_probs, expected, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(scores.entropy, entropy / times.clamp(min=1), atol=1e-4, rtol=0)
    assert torch.equal(scored_tokens(copies), times > 0)


@torch.no_grad()
@pytest.mark.parametrize("name", ESTIMATORS)
def test_prompt_padding_changes_no_score(name):
    bare, _ = scores_of(name, example())
    for padding in (1, 6, 30):
        padded, _ = scores_of(name, example(padding=padding))
        torch.testing.assert_close(padded.log_probs, bare.log_probs, atol=2e-5, rtol=0)


def test_fault_9_scoring_leaves_the_global_random_state_alone():
    before = torch.random.get_rng_state()
    for name in ESTIMATORS:
        scores_of(name, example())
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("chunk", [1, 3, 64])
def test_chunks_change_neither_scores_nor_gradients(chunk):
    def run(size):
        model = fresh_model()
        scores, _ = scores_of("coupled", example(), chunk=size, model=model)
        scores.log_probs.sum().backward()
        return scores.log_probs.detach(), model.model.transformer["blocks"][0].q_proj.weight.grad

    torch.testing.assert_close(run(chunk), run(1024), atol=1e-4, rtol=1e-4)


def test_the_entropy_is_exact_under_autocast():
    """The logits come in bfloat16, as a linear layer's do; what is made of them is float32."""
    draw = torch.Generator().manual_seed(0)
    hidden, weight = torch.randn(2, 3, 16, generator=draw), 4 * torch.randn(50, 16, generator=draw)
    targets = torch.randint(50, (2, 3), generator=draw)
    logits = F.linear(hidden.bfloat16(), weight.bfloat16()).float().log_softmax(-1)
    with torch.autocast("cpu", torch.bfloat16):
        log_probs, entropy = token_log_probs(hidden, weight, targets, 4)
    assert log_probs.dtype == entropy.dtype == torch.float32
    torch.testing.assert_close(log_probs, logits.gather(-1, targets[..., None])[..., 0], atol=1e-4, rtol=0)
    torch.testing.assert_close(entropy, -(logits.exp() * logits).sum(-1), atol=1e-4, rtol=0)


def test_fault_1_visible_tokens_have_no_gradient():
    """The head's gradient row of a token that is visible everywhere is as if it were no target."""
    given = example(batch=1)
    mask = torch.zeros(1, 13, dtype=torch.bool)
    mask[0, 7] = True
    copy = NoisyCopy(mask, mask[:, 5:], mask[:, 5:].float())

    def gradient(answer):
        model = fresh_model()
        target = completed(given.ids[:, :5], answer)
        log_probs = score(Denoiser(model, vocabulary()).log_probs, target, [copy], MASK["base"], 64).log_probs
        assert (log_probs != 0).sum() == 1
        return torch.autograd.grad(log_probs.sum(), model.model.transformer["ff_out"].weight)[0]

    # one target: its row is (1 - p) h, all others -p h; rows of visible tokens are among the others
    rows = gradient(given.response).norm(dim=-1)
    assert rows.argmax() == given.response[0, 2]


@torch.no_grad()
def test_copies_that_score_nothing_are_zero():
    given = example()
    nothing = torch.zeros(3, 8, dtype=torch.bool)
    copy = NoisyCopy(torch.zeros(3, 13, dtype=torch.bool), nothing, nothing.float())
    scores = score(denoiser().log_probs, given, [copy], MASK["base"], 64)
    assert (scores.log_probs == 0).all() and (scores.entropy == 0).all()


@torch.no_grad()
def test_fault_11_guidance_changes_scores_only_where_it_is_asked_for():
    given = example()
    given.unconditional = canvas(given.ids[:, :5], 8, MASK["base"]).unconditional  # its response is all masks
    plain, copies = scores_of("uniform", given)
    guided, _ = scores_of("uniform", given, guidance=1.5)
    noisy = torch.where(copies[0].mask, MASK["base"], given.ids)
    without = torch.cat([torch.full((3, 5), MASK["base"]), noisy[:, 5:]], dim=1)
    c, u = denoiser().model(noisy).logits[:, 5:], denoiser().model(without).logits[:, 5:]
    expected = (u + 2.5 * (c - u)).log_softmax(-1).gather(-1, given.response[..., None])[..., 0]
    torch.testing.assert_close(guided.log_probs, expected * copies[0].scored, atol=1e-4, rtol=0)
    assert (guided.log_probs - plain.log_probs).abs().max() > 0.1
