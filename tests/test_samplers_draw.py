"""Drawing tokens: exact at a large vocabulary, and never what has probability 0."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maskgrpo_cli.samplers.draw import _first_above, categorical, draw_tokens, exclude

BELOW_ONE = 1 - 2**-24  # the largest uniform that a draw can be


def even(count: int) -> torch.Tensor:
    """Uniforms spread evenly: what a draw gives to each is its probability, to 1 / count."""
    return (torch.arange(count, dtype=torch.float64) + 0.5).div(count).float()


def test_a_draw_by_hand():
    probabilities = torch.tensor([0.25, 0.0, 0.5, 0.25, 0.0])
    uniform = torch.tensor([0.0, 0.2, 0.25, 0.7, 0.75, BELOW_ONE])
    assert categorical(probabilities.expand(6, 5), uniform).tolist() == [0, 0, 2, 2, 3, 3]


def test_only_the_share_of_the_total_matters():
    assert categorical(torch.tensor([3.0, 1.0]).expand(4, 2), even(4)).tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 512, 1000])
def test_every_bucket_boundary(size):
    """Only one outcome is possible, wherever it stands and whatever the draw."""
    one_hot = torch.eye(size)
    for uniform in (0.0, 0.5, BELOW_ONE):
        drawn = categorical(one_hot, torch.full((size,), uniform))
        assert torch.equal(drawn, torch.arange(size))


@pytest.mark.parametrize(("size", "count"), [(7, 20_000), (3000, 10_000), (126_464, 2_000)])
def test_draws_follow_the_probabilities(size, count):
    """Chi-square of evenly spread draws against the float64 probabilities, over 50 cells of like mass."""
    logits = torch.randn(size, generator=torch.Generator().manual_seed(size)) * 2
    probabilities = logits.softmax(-1)
    uniform = even(count)
    parts = uniform.split(100)
    drawn = torch.cat([categorical(probabilities.expand(len(part), size), part) for part in parts])
    cells = (probabilities.double().cumsum(-1) * 50).long().clamp(max=49)
    expected = torch.zeros(50, dtype=torch.float64).scatter_add(0, cells, probabilities.double()) * count
    seen = torch.zeros(50, dtype=torch.float64).scatter_add(0, cells[drawn], torch.ones(count).double())
    used = expected > 0
    # Independent draws would have 49 +- 10; spread evenly they are nearer, unless outcomes are lost.
    assert ((seen - expected)[used] ** 2 / expected[used]).sum() < 5
    # Where each outcome begins and ends is exact to float32.
    cumulative = probabilities.double().cumsum(-1) / probabilities.double().sum()
    assert (cumulative[drawn] - uniform).min() > -1e-6
    assert (cumulative[drawn] - probabilities[drawn] - uniform).max() < 1e-6
    assert (drawn.diff() >= 0).all()


def test_random_draws_pass_a_chi_square_test():
    probabilities = torch.tensor([0.5, 0.2, 0.0, 0.2, 0.1])
    uniform = torch.rand(50_000, generator=torch.Generator().manual_seed(0))
    seen = categorical(probabilities.expand(50_000, 5), uniform).bincount(minlength=5)
    assert seen[2] == 0
    expected = probabilities * 50_000
    kept = expected > 0
    assert ((seen - expected)[kept] ** 2 / expected[kept]).sum() < 16.3  # 3 degrees of freedom, p = 0.001


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 1e-30, 1e-8, 0.1, 1.0, 5.0]), min_size=1, max_size=600).filter(any),
    st.floats(0, BELOW_ONE, width=32),
)
def test_an_outcome_of_probability_0_is_never_drawn(weights, uniform):
    probabilities = torch.tensor([weights] * 3)
    drawn = categorical(probabilities, torch.tensor([0.0, uniform, BELOW_ONE]))
    assert (probabilities[0, drawn] > 0).all()
    assert (drawn.diff() >= 0).all(), "a larger uniform draws a later outcome"


def test_a_sum_that_wavers_draws_nothing_impossible():
    """A parallel sum on a GPU can rise by a rounding error, or fall, at an outcome that adds nothing."""
    cumulative = torch.tensor([[0.1, 0.3, 0.3000001, 0.2999999, 0.6, 0.6000001]])
    possible = torch.tensor([[True, True, False, False, True, False]])
    for target, expected in ((0.0, 0), (0.2, 1), (0.30000003, 4), (0.29999995, 1), (0.60000006, 4), (9.0, 4)):
        assert _first_above(cumulative, torch.tensor([[target]]), possible).item() == expected, target


def test_forbidden_outcomes_have_no_part_in_the_softmax():
    logits = exclude(torch.tensor([[9.0, 1.0, 1.0]]).bfloat16(), torch.tensor([True, False, False]))
    assert logits.dtype == torch.float32
    assert logits.softmax(-1).tolist() == [[0, 0.5, 0.5]]


def test_temperature():
    logits = torch.tensor([0.0, 2.0, 1.0])
    assert draw_tokens(logits, 0, None).item() == 1
    uniform = even(10_000)
    for temperature in (0.5, 1.0, 3.0):
        seen = draw_tokens(logits.expand(10_000, 3), temperature, uniform).bincount(minlength=3) / 10_000
        torch.testing.assert_close(seen, (logits / temperature).softmax(-1), atol=2e-4, rtol=0)
