"""Image samplers: which tokens come out, what the model is asked, and that a sample depends on itself alone."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from image_traces import (
    CODEBOOK,
    CODES,
    FIRST,
    MASK,
    SCHEDULE,
    START,
    TOKENS,
    WORDS,
    by_hand,
    denoiser,
    flat,
    fresh_model,
    image_canvas,
    masked_before_each_step,
    partly_known,
)  # fmt: skip
from parity import noise

from maskgrpo_cli import registry
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.models.denoiser import Denoiser
from maskgrpo_cli.noise import Noise
from maskgrpo_cli.samplers.edit import edit
from maskgrpo_cli.samplers.maskgit import maskgit
from maskgrpo_cli.samplers.planned import emerge
from maskgrpo_cli.samplers.schedules import schedule
from maskgrpo_cli.types import Vocabulary


def whole(denoise, canvas, vocabulary, noise, **options):
    """emerge over the whole image as one block."""
    return emerge(denoise, canvas, vocabulary, noise, block_length=canvas.length, **options)


SAMPLERS = {
    "emerge": whole,
    "maskgit": maskgit,
    "simple": partial(edit, mode="simple", repair_from=2),
    "prob-remask": partial(edit, mode="prob-remask", repair_from=2),
    "flow-remask": partial(edit, mode="flow-remask", repair_from=2),
}
FILLING = ["emerge", "maskgit", "simple"]  # what these are given stays


def test_maskgit_is_registered():
    assert registry.resolve("sampler", "maskgit") is maskgit


@settings(max_examples=25, deadline=None)
@given(
    partly_known(), st.sampled_from(sorted(SAMPLERS)), SCHEDULE, st.integers(3, 20), st.sampled_from([0.0, 0.7, 1.0]),
    st.sampled_from([0.0, 1.5]),
)  # fmt: skip
def test_known_tokens_stay_and_only_image_tokens_come_out(known, name, schedule, steps, temperature, guidance):
    canvas = image_canvas(4, known=known)
    before, without = canvas.ids.clone(), canvas.unconditional.ids.clone()
    seen = []
    response = SAMPLERS[name](
        denoiser(guidance), canvas, WORDS, noise(4), steps=steps, temperature=temperature, schedule=schedule,
        observe=lambda step, of, now: seen.append(now.clone()),
    )  # fmt: skip
    assert ((response >= FIRST) & (response < FIRST + CODES)).all()
    if name in FILLING:
        assert torch.equal(response[known != MASK], known[known != MASK])
    assert torch.equal(seen[-1], response)
    for earlier, later in zip(seen, seen[1:]):
        assert torch.equal(later[earlier != MASK], earlier[earlier != MASK]), "a revealed token stays"
    response.fill_(0)
    assert torch.equal(canvas.ids, before) and torch.equal(canvas.unconditional.ids, without), "fault 16"


@pytest.mark.parametrize("name", FILLING)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_fault_14_given_image_tokens_are_not_drawn_again(name, temperature):
    known = CODEBOOK.clone()
    known[:, ::3] = MASK
    canvas = image_canvas(4, known=known)
    response = SAMPLERS[name](denoiser(2.0), canvas, WORDS, noise(4), steps=4, temperature=temperature)
    assert torch.equal(response[known != MASK], known[known != MASK]) and (response != MASK).all()


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("known", [torch.full((4, TOKENS), MASK), CODEBOOK], ids=["masked", "known"])
def test_fault_16_callers_ids_unchanged(name, known):
    canvas = image_canvas(4, known=known.clone())
    before, without = canvas.ids.clone(), canvas.unconditional.ids.clone()
    SAMPLERS[name](denoiser(1.0), canvas, WORDS, noise(4), steps=4, temperature=1.0).fill_(0)
    assert torch.equal(canvas.ids, before) and torch.equal(canvas.unconditional.ids, without)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_fault_13_neither_the_mask_nor_what_is_forbidden_comes_out(name, temperature):
    """A slice that holds the mask, a model that insists on it, and codes that may not be used."""
    forbidden = torch.zeros(92, dtype=torch.bool)
    forbidden[[MASK - 100, *range(50, 92)]] = True
    words = Vocabulary(MASK, 100, 192, forbidden)

    def insisting(canvas, positions):
        logits = torch.zeros(*positions.shape, 92)
        logits[..., MASK - 100] = 50.0
        logits[..., 60:] = 40.0
        return logits

    canvas = image_canvas(2, known=torch.full((2, TOKENS), MASK))
    response = SAMPLERS[name](insisting, canvas, words, noise(2), steps=4, temperature=temperature)
    assert ((response >= 100) & (response < 150) & (response != MASK)).all()


# --- randomness -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("guidance", [0.0, 1.5])
def test_an_image_does_not_depend_on_its_batch(name, guidance):
    known = torch.where(torch.arange(TOKENS) % 5 < torch.arange(1, 5)[:, None], CODEBOOK, MASK)
    canvas, samples = image_canvas(4, known=known), (5, 0, 17, 3)

    def rows(*chosen):
        draws = Noise((3,), tuple(samples[row] for row in chosen))
        return SAMPLERS[name](denoiser(guidance), canvas.rows(list(chosen)), WORDS, draws, steps=6, temperature=1.0)

    together = rows(0, 1, 2, 3)
    assert torch.equal(rows(2, 0, 3, 1), together[[2, 0, 3, 1]])
    assert torch.equal(torch.cat([rows(0), rows(1, 2), rows(3)]), together)


@pytest.mark.parametrize("name", SAMPLERS)
def test_another_sample_draws_another_image_and_the_global_generator_is_left_alone(name):
    """Fault 9, too."""
    canvas = image_canvas(4, known=CODEBOOK[:1].repeat(4, 1))
    canvas.ids[:, START : START + 8] = MASK
    before = torch.random.get_rng_state()
    draws = Noise((0,), (0, 1, 0, 2))
    images = SAMPLERS[name](flat, canvas, WORDS, draws, steps=6, temperature=1.0)
    assert torch.equal(images[0], images[2])
    assert not torch.equal(images[0], images[1]) and not torch.equal(images[1], images[3])
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", ["maskgit", "prob-remask"])
def test_every_draw_has_its_own_purpose(name):
    """Draws of one purpose move nothing that another purpose decides."""
    used = []

    class Watched(Noise):
        def uniform(self, purpose, *shape):
            used.append((purpose.name, shape))
            return super().uniform(purpose, *shape)

    SAMPLERS[name](flat, image_canvas(2, known=CODEBOOK[:2]), WORDS, Watched((0,), (0, 1)), steps=6, temperature=1.0)
    expected = {
        "maskgit": [("TOKEN", (6, TOKENS)), ("CONFIDENCE", (6, TOKENS))],
        "prob-remask": [("REMASK", (TOKENS,)), ("REVEAL", (6, TOKENS)), ("TOKEN", (TOKENS,))],
    }
    assert used == expected[name]


# --- what the model is asked ------------------------------------------------------------------------


class Asked:
    """A model that keeps what it was asked; a Denoiser calls it."""

    def __init__(self):
        self.calls = []
        self.model = fresh_model()
        self.model.register_forward_pre_hook(self._keep, with_kwargs=True)

    def _keep(self, _, args, kwargs):
        self.calls.append(kwargs | {"input_ids": kwargs["input_ids"].clone()})


@pytest.mark.parametrize("name", FILLING)
@pytest.mark.parametrize("guidance", [0.0, 2.0])
def test_the_head_is_asked_for_masked_positions_of_the_image_slice_only(name, guidance):
    asked, revealed = Asked(), []
    canvas = image_canvas(1, known=torch.where(torch.arange(TOKENS) < 4, CODEBOOK[:1], MASK))
    SAMPLERS[name](
        Denoiser(asked.model, WORDS, guidance), canvas, WORDS, noise(1), steps=24, temperature=1.0,
        observe=lambda step, of, now: revealed.append(int((now != MASK).sum())),
    )  # fmt: skip
    news = [after - before for before, after in zip([4, *revealed], revealed) if after > before]
    assert len(asked.calls) == len(news) < len(revealed), "a step that reveals nothing costs no pass"
    for call, count in zip(asked.calls, news):
        ids, positions = call["input_ids"], call["positions"]
        assert call["vocab"] == (FIRST, FIRST + CODES)
        assert ids.shape[0] == positions.shape[0] == (2 if guidance else 1), "guidance in one pass"
        masked = int((ids[0] == MASK).sum())
        assert (ids.gather(1, positions) == MASK).all()
        assert positions.shape[1] == (masked if name == "maskgit" else count)
        assert all(len(set(row)) == len(row) for row in positions.tolist())


def test_emerge_asks_for_no_more_positions_than_a_row_reveals():
    asked, seen = Asked(), [torch.full((4, TOKENS), MASK)]
    whole(
        Denoiser(asked.model, WORDS), image_canvas(4), WORDS, noise(4), steps=4, temperature=1.0,
        observe=lambda step, of, now: seen.append(now.clone()),
    )  # fmt: skip
    news = [((before == MASK) & (after != MASK)).sum(-1) for before, after in zip(seen, seen[1:])]
    assert [call["positions"].shape[1] for call in asked.calls] == [int(new.max()) for new in news]
    assert [len(call["input_ids"]) for call in asked.calls] == [int((new > 0).sum()) for new in news]


@pytest.mark.parametrize("name", SAMPLERS)
def test_guidance_is_both_passes_by_hand(name):
    """(1 + w) c - w u at every step, each condition with its own padding."""
    guided, passes = denoiser(2.5), []
    known = CODEBOOK.clone()
    known[:, 5:] = MASK

    def compared(canvas, positions, memory=None):
        logits = guided(canvas, positions)
        expected = by_hand(canvas, 2.5)
        columns = (positions - START)[..., None].expand(*positions.shape, CODES)
        torch.testing.assert_close(logits, expected.gather(1, columns), atol=2e-4, rtol=0)
        assert (expected - by_hand(canvas)).abs().max() > 0.1, "guidance matters here"
        passes.append(len(canvas.ids))
        return logits

    SAMPLERS[name](compared, image_canvas(4, known=known), WORDS, noise(4), steps=6, temperature=1.0)
    assert passes


@pytest.mark.parametrize("name", FILLING)
def test_a_complete_image_costs_no_pass(name):
    def never(*_):
        raise AssertionError("the model was called for nothing")

    seen = []
    canvas = image_canvas(4, known=CODEBOOK)
    response = SAMPLERS[name](
        never, canvas, WORDS, noise(4), steps=5, temperature=1.0, observe=lambda *now: seen.append(now[:2])
    )
    assert torch.equal(response, CODEBOOK)
    assert seen == [(step, len(seen)) for step in range(3 if name == "simple" else 5)]


@pytest.mark.parametrize("name", SAMPLERS)
def test_an_unknown_schedule_is_the_users_mistake(name):
    with pytest.raises(UserError, match="schedule 'cosin' is unknown"):
        SAMPLERS[name](flat, image_canvas(1), WORDS, noise(1), steps=4, temperature=1.0, schedule="cosin")


# --- how many stay masked ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cosine", "linear", "sigmoid", "pow2", "pow0.5"])
@pytest.mark.parametrize("steps", [3, 12])
def test_fault_12_emerges_masked_count_is_binomial_with_the_schedules_mean(name, steps):
    rows, length, k = 1000, 64, schedule(name)
    masked = masked_before_each_step(whole, rows, length, steps=steps, schedule=name)
    counts = masked.sum(-1).double()
    for step in range(steps):
        p = k(step / steps)
        variance = length * p * (1 - p)
        assert counts[step].mean().item() == pytest.approx(length * p, abs=5 * (variance / rows) ** 0.5 + 1e-9)
        assert counts[step].var().item() == pytest.approx(variance, rel=5 * (2 / rows) ** 0.5 + 0.02)
    assert (counts[-1] == 0).all()
    # places are masked alike, and independently of one another
    share = masked[steps // 2].double().mean(0)
    p = k(steps // 2 / steps)
    assert (share - p).abs().max() < 5 * (p * (1 - p) / rows) ** 0.5
    together = torch.corrcoef(masked[steps // 2].double().T)[~torch.eye(length, dtype=torch.bool)]
    assert together.abs().max() < 6 / rows**0.5
