"""What samplers may not do: mask too long, overwrite what was given, write to the caller's ids."""

import pytest
import torch
from parity import canvas, denoiser, noise, vocabulary

from maskgrpo_cli.noise import Noise
from maskgrpo_cli.samplers.block import low_confidence
from maskgrpo_cli.samplers.planned import emerge, random_order
from maskgrpo_cli.samplers.schedules import SCHEDULES
from maskgrpo_cli.types import Canvas

SAMPLERS = {"low-confidence": low_confidence, "random": random_order, "emerge": emerge}
MASK = 510
PROMPT = torch.randint(400, (2, 6), generator=torch.Generator().manual_seed(0))


def flat(canvas, positions):
    """A denoiser without an opinion, for statistics of the order."""
    return torch.zeros(*positions.shape, 512)


def masked_before_each_step(sampler, rows: int, length: int, steps: int, block_length: int, **options):
    """[steps + 1, rows, L] bool: what is masked before step 0, 1, ..., and at the end."""
    given = canvas(torch.zeros(rows, 1, dtype=torch.int64), length, MASK)
    seen = [given.response == MASK]
    sampler(
        flat, given, vocabulary(), noise(rows), steps=steps, block_length=block_length, temperature=0,
        observe=lambda step, steps, response: seen.append(response == MASK), **options,
    )
    return torch.stack(seen)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("steps", [1, 2, 5, 16])
def test_fault_12_text_emerge_masked_counts_are_binomial_with_the_schedules_mean(schedule, steps):
    rows, length, k = 1000, 32, SCHEDULES[schedule]
    masked = masked_before_each_step(emerge, rows, length, steps, length, schedule=schedule)
    counts = masked.sum(-1).double()
    assert (counts[0] == length).all() and (counts[-1] == 0).all()
    for step in range(1, steps):
        p = k(step / steps)
        variance = length * p * (1 - p)
        assert counts[step].mean().item() == pytest.approx(length * p, abs=5 * (variance / rows) ** 0.5)
        # the sample variance of a near-normal count spreads by sqrt(2 / rows)
        assert counts[step].var().item() == pytest.approx(variance, rel=5 * (2 / rows) ** 0.5 + 0.02)
    assert (masked[1:] <= masked[:-1]).all(), "a revealed token stays revealed"


def test_fault_12_the_last_step_of_32_tokens_in_16_steps_finds_two_left():
    counts = masked_before_each_step(emerge, 1000, 32, 16, 32)[15].sum(-1).double()
    spread = (32 * 1 / 16 * 15 / 16 / 1000) ** 0.5
    assert counts.mean().item() == pytest.approx(2, abs=5 * spread)  # the released sampler left 10.5


def test_emerge_goes_block_by_block():
    masked = masked_before_each_step(emerge, 200, 12, 6, 4)
    for step in range(7):
        done, ahead = step // 2 * 4, -(-step // 2) * 4
        assert not masked[step, :, :done].any() and masked[step, :, ahead:].all()


@pytest.mark.parametrize("name", ["low-confidence", "random"])
def test_block_samplers_reveal_their_quota(name):
    masked = masked_before_each_step(SAMPLERS[name], 50, 12, 6, 6)  # 3 steps of 2 tokens a block
    assert (masked.sum(-1) == torch.tensor([12, 10, 8, 6, 4, 2, 0])[:, None]).all()
    assert not masked[3, :, :6].any() and masked[3, :, 6:].all()


def test_random_order_is_uniform():
    """Each of the 4 places of a block comes first equally often."""
    first = ~masked_before_each_step(random_order, 4000, 8, 8, 4)[1]
    assert (first.sum(-1) == 1).all() and not first[:, 4:].any()
    assert (first.sum(0)[:4] - 1000).abs().max() < 5 * (4000 * 0.25 * 0.75) ** 0.5


def partly_known() -> Canvas:
    given = canvas(PROMPT, 12, MASK)
    given.ids[:, 6 + torch.tensor([0, 5, 6, 11])] = torch.tensor([[7, 8, 9, 10], [11, 12, 13, 14]])
    return given


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_fault_14_known_tokens_stay(name, temperature):
    response = SAMPLERS[name](
        denoiser(), partly_known(), vocabulary(), noise(2), steps=6, block_length=6, temperature=temperature
    )
    assert response[:, [0, 5, 6, 11]].tolist() == [[7, 8, 9, 10], [11, 12, 13, 14]]
    assert (response != MASK).all()


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_response_without_masks_comes_back_without_a_forward_pass(name):
    given = canvas(PROMPT, 4, MASK)
    given.ids[:, 6:] = 5

    def never(*_):
        raise AssertionError("the model was called for nothing")

    response = SAMPLERS[name](never, given, vocabulary(), noise(2), steps=4, block_length=4, temperature=0)
    assert (response == 5).all()


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("stop_at_end", [False, True])
def test_fault_16_callers_ids_unchanged(name, stop_at_end):
    given = partly_known()
    given.unconditional.ids[:, 6:] = given.response
    before, without = given.ids.clone(), given.unconditional.ids.clone()
    response = SAMPLERS[name](
        denoiser("base", 1.0), given, vocabulary(end_ids=(3,), fill_id=3), noise(2), steps=6, block_length=6,
        temperature=1.0, stop_at_end=stop_at_end,
    )
    response.fill_(0)
    assert torch.equal(given.ids, before) and torch.equal(given.unconditional.ids, without)


def test_fault_9_sampling_leaves_the_global_random_state_alone():
    before = torch.random.get_rng_state()
    for sampler in SAMPLERS.values():
        given = canvas(PROMPT, 8, MASK)
        sampler(denoiser(), given, vocabulary(), noise(2), steps=4, block_length=4, temperature=1.0)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", SAMPLERS)
def test_another_sample_draws_another_completion(name):
    given = canvas(PROMPT[:1].expand(3, 6), 12, MASK)
    rows = SAMPLERS[name](
        flat, given, vocabulary(), Noise((0,), (0, 1, 0)), steps=6, block_length=6, temperature=1.0
    )
    assert torch.equal(rows[0], rows[2]) and not torch.equal(rows[0], rows[1])
