"""A completion depends on its own prompt, its own noise and the model: not on batch, padding, neighbours."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import canvas, denoiser, model, vocabulary

from maskgrpo_cli.models.denoiser import Denoiser
from maskgrpo_cli.noise import Noise
from maskgrpo_cli.samplers.block import confidence_threshold, low_confidence
from maskgrpo_cli.samplers.planned import emerge, random_order
from maskgrpo_cli.types import Canvas, Vocabulary

SAMPLERS = {
    "low-confidence": low_confidence,
    "random": random_order,
    "emerge": emerge,
    "confidence-threshold": partial(confidence_threshold, threshold=0.05),
    "confidence-threshold dual": partial(confidence_threshold, threshold=0.05, cache="dual"),
    "low-confidence prefix": partial(low_confidence, cache="prefix"),
    "emerge dual": partial(emerge, cache="dual"),
}
MASK, LENGTH = 510, 12
DRAW = torch.Generator().manual_seed(0)
PROMPTS = torch.randint(400, (4, 5), generator=DRAW)
ENDS = tuple(range(0, 512, 9))  # so many end tokens that answers do end


def sample(
    name: str, given: Canvas, samples, *, guidance=0.0, temperature=1.0, steps=6, block_length=4, **options
):
    words = vocabulary(forbidden=range(500, 512), end_ids=ENDS, fill_id=ENDS[0])
    return SAMPLERS[name](
        denoiser("base", guidance), given, words, Noise((3,), tuple(samples)),
        steps=steps, block_length=block_length, temperature=temperature, **options,
    )


@st.composite
def partly_known(draw) -> torch.Tensor:
    """A response [4, L] with some known tokens."""
    known = draw(st.lists(st.booleans(), min_size=4 * LENGTH, max_size=4 * LENGTH))
    tokens = torch.randint(400, (4, LENGTH), generator=torch.Generator().manual_seed(1))
    return torch.where(torch.tensor(known).view(4, LENGTH), tokens, MASK)


@settings(max_examples=20, deadline=None)
@given(
    partly_known(), st.sampled_from(sorted(SAMPLERS)), st.sampled_from([0.0, 0.7]), st.integers(1, 30),
    st.sampled_from([1, 3, 4, 12]), st.booleans(),
)
def test_known_tokens_stay_no_mask_is_left_and_only_allowed_ids_are_written(
    known, name, temperature, steps, block_length, stop_at_end
):
    given = canvas(PROMPTS, LENGTH, MASK)
    given.ids[:, given.start :] = known
    response = sample(
        name, given, range(4), temperature=temperature, steps=steps, block_length=block_length,
        stop_at_end=stop_at_end,
    )
    assert response.shape == known.shape
    assert torch.equal(response[known != MASK], known[known != MASK])
    assert (response[known == MASK] < 500).all()


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("guidance", [0.0, 1.5])
def test_a_completion_does_not_depend_on_its_batch(name, guidance):
    samples = (5, 0, 17, 3)

    def rows(*chosen: int, padding: int = 0):
        given = canvas(PROMPTS[list(chosen)], LENGTH, MASK, padding)
        return sample(name, given, [samples[row] for row in chosen], guidance=guidance)

    together = rows(0, 1, 2, 3)
    assert torch.equal(rows(2, 0, 3, 1), together[[2, 0, 3, 1]])
    assert torch.equal(torch.cat([rows(0, 1, 2), rows(3)]), together)
    assert torch.equal(rows(0, 1, 2, 3, padding=9), together)


@pytest.mark.parametrize("name", SAMPLERS)
def test_neighbours_with_known_tokens_change_nothing(name):
    """Rows of a batch may have different numbers of tokens to reveal."""
    expected = sample(name, canvas(PROMPTS, LENGTH, MASK), range(4))
    given = canvas(PROMPTS, LENGTH, MASK)
    given.ids[1, given.start : given.start + 5] = 7
    given.ids[3, given.start :] = 7
    response = sample(name, given, range(4))
    assert torch.equal(response[[0, 2]], expected[[0, 2]])


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_stopping_at_the_end_leaves_the_answer_as_it_is(name, temperature):
    calls = {True: 0, False: 0}
    responses = {}
    many = PROMPTS.repeat(4, 1)
    for stop in calls:
        given = canvas(many, LENGTH, MASK)
        inner = denoiser()

        def counted(canvas, *given, stop=stop, inner=inner):
            calls[stop] += len(canvas.ids)
            return inner(canvas, *given)

        words = vocabulary(forbidden=(), end_ids=ENDS, fill_id=ENDS[0])
        responses[stop] = SAMPLERS[name](
            counted, given, words, Noise((3,), tuple(range(16))), steps=12, block_length=3,
            temperature=temperature, stop_at_end=stop,
        )
    for whole, stopped in zip(responses[False].tolist(), responses[True].tolist(), strict=True):
        end = next((i for i, token in enumerate(whole) if token in ENDS), LENGTH)
        assert stopped[: end + 1] == whole[: end + 1]
        block_end = (end // 3 + 1) * 3
        assert all(token == ENDS[0] for token in stopped[block_end:])
    assert calls[True] < calls[False], "rows that ended must leave the batch"


@pytest.mark.parametrize("name", SAMPLERS)
def test_stopping_does_nothing_without_end_tokens(name):
    given = canvas(PROMPTS, LENGTH, MASK)
    words = vocabulary()
    options = {"steps": 6, "block_length": 4, "temperature": 1.0}
    draws = Noise((3,), (0, 1, 2, 3))
    plain = SAMPLERS[name](denoiser(), given, words, draws, **options)
    assert torch.equal(SAMPLERS[name](denoiser(), given, words, draws, stop_at_end=True, **options), plain)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_step_is_observed_and_the_last_is_the_result(name):
    seen = []
    response = sample(
        name, canvas(PROMPTS, LENGTH, MASK), range(4), steps=6,
        observe=lambda step, steps, now: seen.append((step, steps, now.clone())),
    )
    assert [step for step, _, _ in seen] == list(range(6))
    assert {steps for _, steps, _ in seen} == {6}
    assert torch.equal(seen[-1][2], response)
    for (_, _, before), (_, _, after) in zip(seen, seen[1:], strict=False):
        kept = before != MASK
        assert torch.equal(after[kept], before[kept])


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_vocabulary_slice_gives_absolute_ids(name):
    """Image tokens are a slice of the vocabulary: only they come out, and guidance reads only them."""

    words = Vocabulary(mask_id=MASK, first=100, last=164, forbidden=None)
    response = SAMPLERS[name](
        Denoiser(model(), words), canvas(PROMPTS, LENGTH, MASK), words, Noise((0,), (0, 1, 2, 3)),
        steps=6, block_length=12, temperature=1.0,
    )
    assert ((response >= 100) & (response < 164)).all()
