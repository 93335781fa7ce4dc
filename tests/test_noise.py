"""Counter-based noise: a pure function of what it is for."""

import itertools
import random

import numpy as np
import pytest
import torch

from maskgrpo_cli.noise import Noise, Purpose, generator

PURPOSES = [Purpose.TOKEN, Purpose.MASK, Purpose.ORDER]
PINNED = [
    [0.04989522695541382, 0.827573835849762, 0.9147323966026306],
    [0.9890145659446716, 0.662290096282959, 0.09628117084503174],
]
PINNED_SEED = 106924840004226161
PINNED_ORDER = [7, 4, 0, 3, 5, 6, 1, 2]


def test_the_stream_is_pinned():
    """Published runs name a seed; a change of the stream changes every one of them."""
    drawn = Noise((7, 3), (0, 5)).uniform(Purpose.MASK, 3)
    assert drawn.dtype == torch.float32
    torch.testing.assert_close(drawn, torch.tensor(PINNED), atol=0, rtol=0)
    assert Noise((7, 3, 1), (4,)).seed(Purpose.DROPOUT) == PINNED_SEED
    assert generator(7, Purpose.DATA, 0).permutation(8).tolist() == PINNED_ORDER


def test_every_part_of_the_key_matters():
    keys = [(0,), (1,), (0, 0), (0, 1), (1, 0), (0, 0, 0), (0, 0, 1), (2**40,)]
    draws = {
        tuple(Noise(key, (sample,)).uniform(purpose, 4)[0].tolist())
        for key, purpose, sample in itertools.product(keys, PURPOSES, (0, 1, 2**33))
    }
    assert len(draws) == len(keys) * len(PURPOSES) * 3


def test_trailing_zeros_do_not_collide():
    draws = [generator(*[0] * length).integers(2**63) for length in range(1, 6)]
    assert len(set(draws)) == 5


def test_purposes_are_distinct():
    assert len(Purpose.__members__) == len(set(Purpose))  # a repeated value would make an alias


def test_a_longer_draw_extends_a_shorter_one():
    noise = Noise((3,), (0, 1))
    for short, long in ((1, 2), (5, 9), (24, 256)):
        assert torch.equal(noise.uniform(Purpose.MASK, long)[:, :short], noise.uniform(Purpose.MASK, short))


def test_draws_do_not_depend_on_call_order_batch_or_the_global_generators():
    noise = Noise((1, 2), (4, 9, 6))
    first = noise.uniform(Purpose.TOKEN, 3, 5)
    noise.uniform(Purpose.MASK, 8)
    torch.manual_seed(99)
    np.random.seed(99)
    assert torch.equal(noise.uniform(Purpose.TOKEN, 3, 5), first)
    assert torch.equal(noise.rows([2, 0]).uniform(Purpose.TOKEN, 3, 5), first[[2, 0]])
    assert torch.equal(Noise((1, 2), (9,)).uniform(Purpose.TOKEN, 3, 5)[0], first[1])


def test_the_global_generators_are_not_touched():
    states = torch.random.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    Noise((1,), (0,)).uniform(Purpose.MASK, 100)
    Noise((1,), (0,)).seed(Purpose.DROPOUT)
    assert torch.equal(torch.random.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])
    assert random.getstate() == states[2]


def test_draws_are_uniform_and_below_one():
    drawn = Noise((0,), tuple(range(200))).uniform(Purpose.MASK, 500)
    assert 0 <= drawn.min() and drawn.max() < 1
    assert drawn.mean().item() == pytest.approx(0.5, abs=5 * 0.2887 / 100_000**0.5)
    counts = torch.histc(drawn, 10, 0, 1)
    assert ((counts - 10_000).abs() < 5 * (100_000 * 0.09) ** 0.5).all()
    between = torch.corrcoef(drawn[:20])[~torch.eye(20, dtype=torch.bool)]
    assert between.abs().max() < 5 / 500**0.5, "samples must be independent"


def test_no_samples_give_an_empty_draw():
    assert Noise((0,), ()).uniform(Purpose.MASK, 4, 2).shape == (0, 4, 2)


def test_seeds_fit_torch_and_differ_by_update():
    seeds = {Noise((0, 0, update), (0,)).seed(Purpose.DROPOUT) for update in range(50)}
    assert len(seeds) == 50 and all(0 <= seed < 2**63 for seed in seeds)
    torch.Generator().manual_seed(max(seeds))


def test_a_negative_key_is_an_error():
    with pytest.raises(ValueError):
        Noise((-1,), (0,)).uniform(Purpose.MASK, 1)
