"""The noisy copies on which completions are scored."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import GivenNoise, completed, noise, table, tensors

from maskgrpo_cli.estimators.masks import (
    _released_keep,
    coupled,
    d1,
    fading_keep,
    fading_out,
    random_ratio,
    scheduled_ratio,
    uniform,
)
from maskgrpo_cli.noise import Noise

TABLE = table("masking/masking")
GOLDEN = tensors("masking/masking")
SAMPLES = {case["key"]: case for case in TABLE["samples"] if case["method"] != "t2i"}
ESTIMATORS = {"fading-out": fading_out, "uniform": uniform, "d1": d1, "coupled": coupled}
close = torch.testing.assert_close


def filled(batch: int, prompt: int, length: int, padding: int = 0):
    return completed(torch.ones(batch, prompt, dtype=torch.int64), torch.full((batch, length), 2), padding)


def whole(batch: int, length: int) -> torch.Tensor:
    return torch.ones(batch, length, dtype=torch.bool)


@pytest.mark.parametrize("case", TABLE["arlike"], ids=lambda case: case["key"])
def test_golden_fading_curves(case):
    prompt, length, ratio = case["prompt_len"], case["completion_len"], case["ratio"]
    places = torch.arange(length)
    released = 1 - _released_keep(torch.tensor(ratio).double(), places, prompt, length)
    expected = GOLDEN[f"{case['key']}.as_trainer_calls_it.p_mask"][prompt:]
    close(released.float(), expected, atol=1e-6, rtol=0)
    assert released.mean().item() == pytest.approx(case["mean_completion_p_mask_as_trainer"], abs=1e-6)
    if ratio >= 0.5:  # below, the released clamp masks too much: fault 3
        over_completion = 1 - fading_keep(torch.tensor([ratio]), places, length)[0]
        expected = GOLDEN[f"{case['key']}.prompt_index_2d.p_mask"][prompt:]
        close(over_completion.float(), expected, atol=1e-6, rtol=0)


def test_golden_ratio_schedules():
    for case in TABLE["ratio_schedules"]:
        updates, least = case["num_iterations"], case["min_mask_rate"]
        assert [scheduled_ratio(i, updates, least) for i in range(updates)] == pytest.approx(case["ratios"])


@pytest.mark.parametrize("case", SAMPLES.values(), ids=list(SAMPLES))
def test_golden_masks_from_their_uniforms(case):
    ids, drawn = GOLDEN[f"{case['key']}.ids"], GOLDEN[f"{case['key']}.random_matrix"]
    prompt, length = case["prompt_len"], case["completion_len"]
    given = completed(ids[:, :prompt], ids[:, prompt:])
    # prompt draws are counted from the end of the prompt
    draws = GivenNoise(MASK=drawn[:, prompt:], PROMPT_MASK=drawn[:, :prompt].flip(-1))
    ratio = torch.full((2,), case["ratio"] or 0.0)
    copy, = {
        "arlike": lambda: fading_out(given, whole(2, length), ratio, draws, span="sequence"),
        "random": lambda: uniform(given, whole(2, length), ratio, draws),
        "d1": lambda: d1(given, whole(2, length), ratio, draws, prompt_mask_rate=case["p_mask_prompt"]),
    }[case["method"]]()
    assert torch.equal(copy.mask, GOLDEN[f"{case['key']}.mask"])
    assert torch.equal(copy.scored, copy.mask[:, prompt:])
    assert torch.equal(torch.where(copy.mask, case["mask_id"], ids), GOLDEN[f"{case['key']}.noisy"])


def test_fault_2_the_curve_spans_the_completion_alone():
    places, ratio = torch.arange(5), torch.tensor([0.75])
    # 2 (1 - 0.75) (1 - j / 4)
    by_hand = torch.tensor([[0.5, 0.375, 0.25, 0.125, 0.0]]).double()
    close(fading_keep(ratio, places, 5), by_hand)
    rows, length = 4000, 5
    for prompt in (0, 3, 40):  # the prompt's length has no part in it
        copy, = fading_out(filled(rows, prompt, length), whole(rows, length), ratio.expand(rows), noise(rows))
        assert not copy.mask[:, :prompt].any()
        close(copy.scored.double().mean(0), 1 - by_hand[0], atol=5 * 0.5 / rows**0.5, rtol=0)
    copy, = fading_out(filled(rows, 40, 5), whole(rows, 5), ratio.expand(rows), noise(rows), span="sequence")
    assert copy.scored.double().mean() > 0.95, "the released span masks far more than its ratio"


@settings(max_examples=200, deadline=None)
@given(st.floats(0.05, 0.49), st.integers(1, 64))
def test_fault_3_ratio_below_half(ratio, length):
    keep = fading_keep(torch.tensor([ratio], dtype=torch.float64), torch.arange(length), length)[0]
    assert (1 - keep).mean().item() == pytest.approx(max(ratio, 1 / length), abs=1e-9)
    assert keep[-1] == 0 and (keep.diff() <= 0).all() and (keep >= 0).all() and (keep <= 1).all()


@pytest.mark.parametrize("ratio", [0.5, 0.6, 0.999])
@pytest.mark.parametrize("length", [2, 3, 64])
def test_the_mean_mask_rate_is_the_ratio(ratio, length):
    keep = fading_keep(torch.tensor([ratio], dtype=torch.float64), torch.arange(length), length)
    assert (1 - keep).mean().item() == pytest.approx(ratio)


def test_a_completion_of_one_token_is_masked():
    assert fading_keep(torch.tensor([0.1]), torch.arange(1), 1).tolist() == [[0.0]]


@pytest.mark.parametrize("name", ESTIMATORS)
def test_fault_7_tokens_after_end_are_masked_and_never_scored(name):
    valid = torch.tensor([[True] * 8, [True] * 3 + [False] * 5, [True] + [False] * 7])
    copies = ESTIMATORS[name](filled(3, 4, 8), valid, torch.full((3,), 0.6), noise(3))
    for copy in copies:
        assert copy.mask[:, 4:][~valid].all()
        assert not copy.scored[~valid].any() and (copy.weight[~valid] == 0).all()
        assert torch.equal(copy.scored, copy.mask[:, 4:] & valid)
        assert (copy.weight[copy.scored] > 0).all()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_fault_9_masks_never_depend_on_call_order_batch_or_padding(name):
    def masks(samples, padding=0):
        draws = Noise((7, 2, 1), tuple(samples))
        ratio = torch.full((len(samples),), 0.6)
        given = filled(len(samples), 5, 9, padding)
        copies = ESTIMATORS[name](given, whole(len(samples), 9), ratio, draws)
        assert not any(copy.mask[:, :padding].any() for copy in copies)
        return torch.stack([copy.mask[:, padding:] for copy in copies])

    before = torch.random.get_rng_state()
    first = masks([3, 8, 5])
    masks([1])
    assert torch.equal(masks([3, 8, 5]), first)
    assert torch.equal(masks([5, 3]), first[:, [2, 0]])
    assert torch.equal(masks([3, 8, 5], padding=6), first)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", ["fading-out", "uniform"])
def test_fault_9_every_update_has_a_mask_of_its_own(name):
    """Of 64 updates (the released seeds came from 4096 values and repeated) no two share a mask."""
    given, ratio = (filled(1, 2, 64), whole(1, 64)), torch.tensor([0.6])
    copies = [ESTIMATORS[name](*given, ratio, Noise((0, 0, update), (0,)))[0] for update in range(64)]
    assert len({tuple(copy.scored[0].tolist()) for copy in copies}) == 64


def test_fault_22_mu_1_masks_almost_everything_or_draws_a_ratio():
    assert scheduled_ratio(0, 1, 0.6) == 0.999
    drawn = random_ratio(noise(2000), 0.6)
    assert 0.6 <= drawn.min() and drawn.max() < 1
    assert drawn.mean().item() == pytest.approx(0.8, abs=5 * 0.4 / 12**0.5 / 2000**0.5)
    for name, estimator in ESTIMATORS.items():
        for ratio in (torch.full((4,), 0.999), random_ratio(noise(4), 0.6)):
            copies = estimator(filled(4, 3, 6), whole(4, 6), ratio, noise(4))
            assert torch.stack([copy.scored for copy in copies]).any(0).any(-1).all(), name


def test_uniform_masks_at_its_ratio():
    ratio = torch.tensor([0.2, 0.7]).repeat(500)
    copy, = uniform(filled(1000, 2, 50), whole(1000, 50), ratio, noise(1000))
    rates = copy.scored.double().view(500, 2, 50).mean((0, 2))
    close(rates, torch.tensor([0.2, 0.7]).double(), atol=5 * 0.5 / 25_000**0.5, rtol=0)
    assert not copy.mask[:, :2].any() and (copy.weight == copy.scored).all()


def test_d1_masks_the_completion_whole_and_some_of_the_prompt_but_no_padding():
    copy, = d1(filled(500, 20, 4, padding=6), whole(500, 4), torch.zeros(500), noise(500))
    assert copy.scored.all() and not copy.mask[:, :6].any()
    assert copy.mask[:, 6:26].double().mean().item() == pytest.approx(0.15, abs=5 * 0.36 / 10_000**0.5)
    copy, = d1(filled(2, 20, 4), whole(2, 4), torch.zeros(2), noise(2), prompt_mask_rate=0.0)
    assert not copy.mask[:, :20].any()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(1, 12), st.integers(0, 99), st.booleans())
def test_coupled_scores_every_valid_token_exactly_once_in_the_pair(batch, length, seed, full_copy):
    valid = torch.rand(batch, length, generator=torch.Generator().manual_seed(seed)) < 0.7
    draws = Noise((seed,), tuple(range(batch)))
    copies = coupled(filled(batch, 2, length), valid, torch.zeros(batch), draws, full_copy=full_copy)
    one, other = copies[:2]
    assert torch.equal(one.scored.int() + other.scored.int(), valid.int())
    share = 0.5 if full_copy else 1.0
    for row in range(batch):
        p = [set((share / copy.weight[row][copy.scored[row]]).tolist()) for copy in (one, other)]
        assert all(len(values) <= 1 for values in p), "one p for a sample"
        for mine in p[0]:
            assert 0.2 <= mine <= 0.8 + 1e-6
            for its in p[1]:
                assert mine + its == pytest.approx(1)
    if full_copy:
        assert torch.equal(copies[2].scored, valid) and torch.equal(copies[2].weight, 0.5 * valid)


@pytest.mark.parametrize("full_copy", [True, False])
def test_the_weights_of_coupled_are_one_on_average(full_copy):
    """E[weight x scored] = 1 for either of the pair, and half of it where a full copy has the other half."""
    rows = 6000
    copies = coupled(filled(rows, 1, 3), whole(rows, 3), torch.zeros(rows), noise(rows), full_copy=full_copy)
    for copy in copies[:2]:
        spread = copy.weight.std() / (rows * 3) ** 0.5 * 3**0.5  # tokens of a sample share their p
        expected = 0.5 if full_copy else 1.0
        assert copy.weight.mean().item() == pytest.approx(expected, abs=5 * spread.item())
