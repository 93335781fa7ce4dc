"""Fast decoding: tokens above a threshold at once, and keys and values remembered within a block."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import canvas, denoiser, fresh_model, model, noise, vocabulary

from maskgrpo_cli.config.schema import SamplerConfig
from maskgrpo_cli.engine.generation import sampler_options
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.models.denoiser import Denoiser
from maskgrpo_cli.samplers.block import confidence_threshold, low_confidence
from maskgrpo_cli.samplers.planned import emerge, random_order
from maskgrpo_cli.types import Canvas, Memory

MASK, LENGTH = 510, 12
PROMPTS = torch.randint(400, (4, 5), generator=torch.Generator().manual_seed(0))
BLOCKED = {"low-confidence": low_confidence, "random": random_order, "emerge": emerge}


class Counted:
    """A denoiser that keeps the number of columns that each pass computes."""

    def __init__(self, inner):
        self.inner, self.passes = inner, []

    def __call__(self, canvas: Canvas, positions, memory: Memory | None = None):
        window = memory.window if memory else None
        width = canvas.ids.shape[1] if window is None else window.stop - window.start
        self.passes.append((len(canvas.ids), width))
        return self.inner(canvas, positions, *([memory] if memory else []))


def one_block_model():
    shallow = fresh_model()
    shallow.model.transformer["blocks"] = shallow.model.transformer["blocks"][:1]
    shallow.config.n_layers = 1
    return shallow.eval()


def sample(sampler, denoise, *, steps=12, block_length=6, temperature=0.0, rows=range(4), **options):
    return sampler(
        denoise, canvas(PROMPTS[list(rows)], LENGTH, MASK), vocabulary(), noise(len(rows)),
        steps=steps, block_length=block_length, temperature=temperature, **options,
    )


# --- confidence threshold ---------------------------------------------------------------------------


def spoken(table: dict[int, float], filler: float = 0.01):
    """A denoiser that says token 7 with a set probability at each column of the response, whatever it sees."""

    def denoise(canvas, positions, memory=None):
        sure = torch.full((canvas.ids.shape[1],), filler)
        for column, probability in table.items():
            sure[canvas.start + column] = probability
        p = sure[positions]
        logits = ((1 - p) / 510).log()[..., None].expand(*positions.shape, 512).clone()
        logits[..., 7] = p.log()
        logits[..., MASK] = -math.inf
        return logits

    return denoise


@pytest.mark.parametrize(
    "threshold,steps",
    [
        (0.95, [{0}, {1}, {2}, {3}]),  # nothing is surer: one token a step, the surest first
        (0.85, [{0}, {1}, {2}, {3}]),
        (0.75, [{0, 1}, {2}, {3}]),
        (0.5, [{0, 1, 2}, {3}]),
        (0.1, [{0, 1, 2, 3}]),
    ],
)  # fmt: skip
def test_a_step_reveals_all_that_is_surer_than_the_threshold(threshold, steps):
    """Probabilities 0.9, 0.8, 0.6, 0.2 by hand."""
    seen = []
    given = canvas(PROMPTS[:1], 4, MASK)
    counted = Counted(spoken({0: 0.9, 1: 0.8, 2: 0.6, 3: 0.2}))
    confidence_threshold(
        counted, given, vocabulary(), noise(1), steps=4, block_length=4, temperature=0, threshold=threshold,
        observe=lambda step, of, now: seen.append(set((now[0] != MASK).nonzero().flatten().tolist())),
    )  # fmt: skip
    revealed = [now - before for before, now in zip([set(), *seen], seen, strict=False)]
    assert [found for found in revealed if found] == steps
    assert len(counted.passes) == len(steps), "a finished block costs no more passes"


def test_the_schedule_is_the_least_that_a_step_reveals():
    seen = []
    confidence_threshold(
        spoken({0: 0.9}), canvas(PROMPTS[:1], 4, MASK), vocabulary(), noise(1), steps=2, block_length=4,
        temperature=0, threshold=0.99, observe=lambda step, of, now: seen.append(int((now != MASK).sum())),
    )  # fmt: skip
    assert seen == [2, 4]


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 14), st.sampled_from([1, 3, 4, 12]), st.sampled_from([0.0, 0.8]))
def test_a_threshold_that_nothing_passes_is_the_exact_sampler(steps, block_length, temperature):
    options = {"steps": steps, "block_length": block_length, "temperature": temperature}
    exact = sample(low_confidence, denoiser(), **options)
    assert torch.equal(sample(confidence_threshold, denoiser(), threshold=1 - 1e-7, **options), exact)


def test_rows_that_are_done_with_their_block_are_not_computed():
    """One row is sure of everything, its neighbour of nothing."""

    def denoise(canvas, positions, memory=None):
        first = canvas.ids[:, :1]
        sure = torch.where(first == 1, 0.99, 0.01).expand(positions.shape)
        return spoken_at(sure)

    def spoken_at(p):
        logits = ((1 - p) / 510).log()[..., None].expand(*p.shape, 512).clone()
        logits[..., 7] = p.log()
        return logits

    counted = Counted(denoise)
    given = canvas(torch.tensor([[1, 5], [2, 5]]), 4, MASK)
    confidence_threshold(
        counted, given, vocabulary(), noise(2), steps=4, block_length=4, temperature=0, threshold=0.9
    )
    assert [rows for rows, _ in counted.passes] == [2, 1, 1, 1]


# --- remembered keys and values ---------------------------------------------------------------------


@pytest.mark.parametrize("name", BLOCKED)
@pytest.mark.parametrize("cache", ["prefix", "dual"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("guidance", [0.0, 1.5])
def test_with_one_block_of_layers_nothing_is_lost(name, cache, temperature, guidance):
    """The keys and values of the first layer depend on their own token only, so remembering them is exact."""
    denoise = Denoiser(one_block_model(), vocabulary(), guidance)
    exact = sample(BLOCKED[name], denoise, temperature=temperature)
    counted = Counted(denoise)
    assert torch.equal(sample(BLOCKED[name], counted, temperature=temperature, cache=cache), exact)
    assert min(width for _, width in counted.passes) == 6


@pytest.mark.parametrize("cache,widths", [("prefix", [17, 12, 12, 17, 6, 6]), ("dual", [17, 6, 6, 17, 6, 6])])
def test_what_a_pass_computes(cache, widths):
    """5 prompt tokens and 12 of the response in two blocks of three steps."""
    counted = Counted(denoiser())
    sample(low_confidence, counted, steps=6, cache=cache)
    assert counted.passes == [(4, width) for width in widths]


@pytest.mark.parametrize("cache", ["prefix", "dual"])
def test_a_block_of_one_step_is_exact(cache):
    exact = sample(low_confidence, denoiser(), steps=4, block_length=3)
    assert torch.equal(sample(low_confidence, denoiser(), steps=4, block_length=3, cache=cache), exact)


def test_deeper_layers_do_change_the_output():
    """Otherwise the caches would not have to be asked for."""
    words = vocabulary()
    given, positions = canvas(PROMPTS, LENGTH, MASK), torch.arange(5, 11).expand(4, -1)
    memory = Memory()
    denoise = Denoiser(model(), words)
    denoise(given, positions, memory)
    memory.window = slice(5, 11)
    same = denoise(given, positions, memory)
    assert torch.allclose(same, denoise(given, positions), atol=1e-5), "nothing was written yet"
    given.ids[:, 5] = 7
    assert not torch.allclose(denoise(given, positions, memory), denoise(given, positions), atol=1e-3)


@pytest.mark.parametrize("guidance", [0.0, 1.5])
@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("name", ["base", "gqa_pad_embed"])
def test_some_rows_of_a_memory_answer_as_in_the_whole_batch(name, guidance, padding):
    words = vocabulary(name)
    denoise = Denoiser(model(name), words, guidance)
    given = canvas(PROMPTS, LENGTH, words.mask_id, padding)
    start, some = given.start, torch.tensor([3, 1])
    positions = torch.arange(start, start + 6).expand(4, -1)
    whole, part = Memory(), Memory()
    denoise(given, positions, whole)
    denoise(given, positions, part)
    whole.window = part.window = slice(start, start + 6)
    given.ids[:, start + 1] = torch.tensor([7, 8, 9, 10])
    part.rows = some
    expected = denoise(given, positions, whole)[some]
    assert torch.allclose(denoise(given.rows(some), positions[some], part), expected, atol=1e-5)


def test_a_sampler_without_a_cache_says_so(own_parts):
    with pytest.raises(UserError, match=r"sampler.cache = dual: sampler 'own_samplers:silent' has no cache"):
        sampler_options(SamplerConfig(name="own_samplers:silent", cache="dual"))
