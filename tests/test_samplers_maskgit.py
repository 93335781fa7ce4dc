"""MaskGIT: its quota, its temperature and its last step, by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from image_traces import (
    CODES,
    FIRST,
    MASK,
    SCHEDULE,
    TOKENS,
    WORDS,
    flat,
    image_canvas,
    masked_before_each_step,
    partly_known,
)  # fmt: skip
from parity import GivenNoise, noise

from maskgrpo_cli.samplers.maskgit import maskgit
from maskgrpo_cli.samplers.schedules import schedule
from maskgrpo_cli.types import Canvas


@settings(max_examples=25, deadline=None)
@given(partly_known(), SCHEDULE, st.integers(1, 20))
def test_maskgit_keeps_its_quota_in_every_row(known, name, steps):
    seen = [known]
    maskgit(
        flat, image_canvas(4, known=known), WORDS, noise(4), steps=steps, temperature=1.0, schedule=name,
        observe=lambda step, of, now: seen.append(now.clone()),
    )  # fmt: skip
    assert len(seen) == steps + 1
    left = (known == MASK).sum(-1)
    for step, now in enumerate(seen[1:], start=1):
        quota = int((TOKENS * torch.tensor(schedule(name)(torch.tensor(step / steps).item()))).floor())
        stay = (left - 1).clamp(max=quota).clamp(min=1).minimum(left) if step < steps else torch.zeros_like(left)
        left = (now == MASK).sum(-1)
        assert torch.equal(left, stay)


def spoken(table: list[float]):
    """A denoiser that says code 7 with a set probability at each place, whatever it sees."""

    def denoise(canvas, positions):
        p = torch.tensor(table)[positions - canvas.start]
        logits = ((1 - p) / (CODES - 1)).log()[..., None].expand(*p.shape, CODES).clone()
        logits[..., 7] = p.log()
        return logits

    return denoise


def revealed_by(sampler_noise, table, **options) -> list[set[int]]:
    """The places that each step reveals."""
    length, seen = len(table), [set()]
    canvas = Canvas(torch.full((1, 1 + length), MASK), None, 1, length)
    maskgit(
        spoken(table), canvas, WORDS, sampler_noise, temperature=0, schedule="linear",
        observe=lambda step, of, now: seen.append(set((now[0] != MASK).nonzero().flatten().tolist())), **options,
    )  # fmt: skip
    return [after - before for before, after in zip(seen, seen[1:])]


@pytest.mark.parametrize("tau,order", [(0.0, [0, 1, 2, 3]), (1.0, [0, 2, 1, 3]), (0.7, [0, 1, 2, 3])])
def test_fault_15_the_temperature_falls_linearly(tau, order):
    """By hand: log 0.9 - log 0.5 = 0.588 apart, and Gumbel noise that favours the second by 1.4.

    At step 1 of 4, 1.4 tau (1 - 2/4) is 0.7 for tau = 1: the second is first. The released temperature,
    multiplied down to 3/4 * 2/4 = 0.375, would give 0.525: the first. So does ours at tau = 0.7: 0.49.
    """
    noisy = torch.full((1, 4, 4), 0.5)
    noisy[0, :, 2] = math.exp(-math.exp(-1.4) * math.log(2))  # Gumbel 1.4 above that of 0.5
    noisy[0, 0, 2] = 0.0  # the least of all at step 0: only step 1 matters
    draws = GivenNoise(TOKEN=torch.zeros(1, 4, 4), CONFIDENCE=noisy)
    assert revealed_by(draws, [0.99, 0.9, 0.5, 0.1], steps=4, remask_temperature=tau) == [{place} for place in order]


def test_fault_15_the_last_step_masks_nothing():
    """All that is left at the last step is drawn there, from what the model then sees, and comes out."""
    seen, passes = [], []

    def counting(canvas, positions):
        passes.append(int((canvas.response == MASK).sum()))
        logits = torch.zeros(*positions.shape, CODES)
        logits[..., len(passes)] = 20.0  # another code at each pass
        return logits

    canvas = Canvas(torch.full((1, 9), MASK), None, 1, 8)
    result = maskgit(
        counting, canvas, WORDS, noise(1), steps=4, temperature=0, schedule="linear",
        observe=lambda step, of, now: seen.append(now.clone()),
    )  # fmt: skip
    assert passes == [8, 6, 4, 2]
    assert [int((now == MASK).sum()) for now in seen] == [6, 4, 2, 0]
    assert sorted((result - FIRST).flatten().tolist()) == [1, 1, 2, 2, 3, 3, 4, 4]
    assert (result[seen[2] == MASK] == FIRST + 4).all()


def test_without_remask_noise_the_most_confident_come_first():
    draws = noise(1)
    assert revealed_by(draws, [0.2, 0.9, 0.4, 0.6], steps=4, remask_temperature=0.0) == [{1}, {3}, {2}, {0}]
    assert revealed_by(draws, [0.2, 0.9, 0.4, 0.6], steps=1, remask_temperature=1.0) == [{0, 1, 2, 3}]


def test_remasking_follows_gumbel_noise():
    """At a flat model, every place is equally likely to be the first; a log-odds of 1 shifts it as a softmax would."""
    rows = 4000
    first = ~masked_before_each_step(maskgit, rows, 4, steps=4, schedule="linear")[1]
    assert (first.sum(-1) == 1).all()
    assert (first.sum(0) - rows / 4).abs().max() < 5 * (rows * 0.25 * 0.75) ** 0.5
    table, tau = [0.8, 0.4, 0.2, 0.1], 4 / 3  # tau (1 - 1/4) = 1: P(first) is proportional to p
    canvas, seen = Canvas(torch.full((rows, 5), MASK), None, 1, 4), []
    maskgit(
        spoken(table), canvas, WORDS, noise(rows), steps=4, temperature=0, schedule="linear", remask_temperature=tau,
        observe=lambda step, of, now: seen.append(now != MASK),
    )  # fmt: skip
    share = torch.tensor(table) / sum(table)
    assert ((seen[0].float().mean(0) - share).abs() < 5 * (share * (1 - share) / rows).sqrt()).all()
