"""Editing: what is hidden in each mode, what stays, and that the emerge steps then run from r to T."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from image_traces import CODEBOOK as IMAGE
from image_traces import CODES, FIRST, MASK, START, TOKENS, WORDS, by_hand, denoiser, flat, image_canvas
from parity import GivenNoise, noise

from maskgrpo_cli.errors import UserError
from maskgrpo_cli.samplers.edit import MODES, edit, flow
from maskgrpo_cli.samplers.planned import emerge
from maskgrpo_cli.samplers.schedules import schedule
from maskgrpo_cli.types import Canvas


def hidden_at_first(denoise, canvas: Canvas, draws, **options) -> torch.Tensor:
    """[B, N] what is masked when the emerge steps begin."""
    masks = []

    def watched(seen, positions, memory=None):
        masks.append(seen.ids[:, START : START + canvas.length] == MASK)
        return denoise(seen, positions)

    class AllStay(GivenNoise):  # nothing is revealed before the last step: so one pass shows all that is hidden
        def uniform(self, purpose, *shape):
            if purpose.name == "REVEAL":
                return torch.zeros(len(self.samples), *shape)
            return draws.uniform(purpose, *shape)

    edit(watched, canvas, WORDS, AllStay(TOKEN=torch.zeros(len(canvas.ids))), temperature=1.0, **options)
    return masks[-1]


@st.composite
def requests(draw):
    """An image, masks in it, and what the user keeps."""
    flags = st.lists(st.booleans(), min_size=4 * TOKENS, max_size=4 * TOKENS)
    masked, keep = (torch.tensor(draw(flags)).view(4, TOKENS) for _ in range(2))
    return torch.where(masked & ~keep, MASK, IMAGE), keep


@settings(max_examples=25, deadline=None)
@given(
    requests(), st.sampled_from(sorted(MODES)), st.integers(0, 7), st.sampled_from(["cosine", "linear", "pow2"]),
    st.sampled_from([0.0, 1.5]),
)  # fmt: skip
def test_a_kept_position_is_never_touched_and_what_is_masked_is_drawn(request_, mode, first, name, guidance):
    image, keep = request_
    steps, seen = [], []
    result = edit(
        denoiser(guidance), image_canvas(4, known=image), WORDS, noise(4), mode=mode, steps=8, repair_from=first,
        schedule=name, temperature=1.0, keep=keep,
        observe=lambda step, of, now: (steps.append((step, of)), seen.append(now.clone())),
    )  # fmt: skip
    assert torch.equal(result[keep], image[keep])
    assert all(torch.equal(now[keep], image[keep]) for now in seen)
    assert ((result >= FIRST) & (result < FIRST + CODES)).all()
    assert steps == [(step, 8 - first) for step in range(8 - first)]
    if mode == "simple":
        assert torch.equal(result[image != MASK], image[image != MASK])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("first", [0, 3])
def test_an_edit_of_nothing_but_masks_is_emerge_from_that_step_on(mode, first):
    canvas, options = image_canvas(4), {"steps": 8, "schedule": "cosine", "temperature": 1.0}
    seen = []
    edited = edit(
        denoiser(1.0), canvas, WORDS, noise(4), mode=mode, repair_from=first,
        observe=lambda step, of, now: seen.append((now == MASK).sum().item()), **options,
    )  # fmt: skip
    assert len(seen) == 8 - first and (edited != MASK).all()
    emerged = emerge(denoiser(1.0), canvas, WORDS, noise(4), block_length=TOKENS, **options)
    assert torch.equal(edited, emerged) is (first == 0)


@pytest.mark.parametrize("mode", ["prob-remask", "flow-remask"])
def test_from_step_0_an_image_is_made_anew(mode):
    """k(0) = 1: all is hidden."""
    options = {"steps": 8, "schedule": "linear", "temperature": 1.0}
    edited = edit(denoiser(), image_canvas(4, known=IMAGE), WORDS, noise(4), mode=mode, repair_from=0, **options)
    fresh = emerge(denoiser(), image_canvas(4), WORDS, noise(4), block_length=TOKENS, **options)
    assert torch.equal(edited, fresh)


@pytest.mark.parametrize("first", [1, 4, 7])
@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_prob_remask_hides_each_token_independently_with_probability_k(first, name):
    rows, length = 1000, 32
    canvas = Canvas(torch.full((rows, START + length), FIRST), None, START, length)
    hidden = hidden_at_first(flat, canvas, noise(rows), mode="prob-remask", steps=8, repair_from=first, schedule=name)
    k = schedule(name)(first / 8)
    counts, spread = hidden.sum(-1).double(), length * k * (1 - k)
    assert counts.mean().item() == pytest.approx(length * k, abs=5 * (spread / rows) ** 0.5)
    assert counts.var().item() == pytest.approx(spread, rel=5 * (2 / rows) ** 0.5 + 0.02)
    assert (hidden.double().mean(0) - k).abs().max() < 5 * (k * (1 - k) / rows) ** 0.5


@pytest.mark.parametrize("first", [2, 5])
def test_after_prob_remask_the_masked_count_follows_the_schedule(first):
    """Hidden with k(r/T), then the emerge steps: k(s/T) are masked before step s, as without an edit."""
    rows, length, steps, k = 1000, 32, 8, schedule("cosine")
    counts = []
    edit(
        flat, Canvas(torch.full((rows, 1 + length), FIRST), None, 1, length), WORDS, noise(rows), mode="prob-remask",
        steps=steps, repair_from=first, schedule="cosine", temperature=1.0,
        observe=lambda step, of, now: counts.append((now == MASK).sum(-1).double()),
    )  # fmt: skip
    for step, count in enumerate(counts, start=first + 1):
        p = max(0.0, k(step / steps))
        assert count.mean().item() == pytest.approx(length * p, abs=5 * (length * p * (1 - p) / rows) ** 0.5 + 1e-9)


def test_fault_14_prob_remask_keeps_all_that_it_does_not_hide():
    canvas, draws = image_canvas(4, known=IMAGE), noise(4)
    options = {"mode": "prob-remask", "steps": 8, "repair_from": 4, "schedule": "cosine"}
    hidden = hidden_at_first(denoiser(), canvas, draws, **options)
    assert 0 < hidden.sum() < hidden.numel()
    result = edit(denoiser(), canvas, WORDS, draws, temperature=1.0, **options)
    assert torch.equal(result[~hidden], IMAGE[~hidden])
    assert (result[hidden] != IMAGE[hidden]).any()


def test_flow_is_one_minus_the_tokens_probability():
    canvas = image_canvas(4, known=IMAGE)
    canvas.ids[1, START + 3] = MASK
    p = by_hand(canvas, 1.5).softmax(-1)
    expected = 1 - p.gather(-1, (IMAGE - FIRST)[..., None]).squeeze(-1)
    expected[1, 3] = 1
    torch.testing.assert_close(flow(denoiser(1.5), canvas, WORDS), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name,first,count", [("cosine", 6, 11), ("linear", 3, 12), ("linear", 11, 1), ("pow2", 0, 16)])
def test_flow_remask_hides_the_least_probable(name, first, count):
    """floor(16 k(r/12)): 11.3, 12, 1.3, 16."""
    canvas = image_canvas(4, known=IMAGE)
    hidden = hidden_at_first(
        denoiser(), canvas, noise(4), mode="flow-remask", steps=12, repair_from=first, schedule=name
    )
    assert (hidden.sum(-1) == count).all()
    out = flow(denoiser(), canvas, WORDS)
    for row in range(4):
        kept = out[row][~hidden[row]]
        assert not len(kept) or out[row][hidden[row]].min() >= kept.max()


def test_flow_remask_counts_masks_and_passes_over_what_is_kept():
    """Half of 16 are hidden: 3 masks count among them, and nothing that is kept; if all but 5 are, just those."""
    image, keep = IMAGE.clone(), torch.zeros(4, TOKENS, dtype=torch.bool)
    image[:, [0, 7, 9]] = MASK
    options = {"mode": "flow-remask", "steps": 4, "repair_from": 2, "schedule": "linear"}
    plain = hidden_at_first(denoiser(), image_canvas(4, known=image), noise(4), **options)
    assert (plain.sum(-1) == 8).all() and plain[:, [0, 7, 9]].all()
    keep[0, plain[0] & (image[0] != MASK)] = True
    keep[1, [1, 2, 3, 4, 5, 6, 8, 10, 11, 12, 13]] = True
    kept = hidden_at_first(denoiser(), image_canvas(4, known=image), noise(4), keep=keep, **options)
    assert not (kept & keep).any() and torch.equal(kept[2:], plain[2:])
    assert kept[0].sum() == 8 and kept[1].sum() == 5
    image[:] = MASK  # more masks than the quota: they are drawn, all of them
    assert hidden_at_first(denoiser(), image_canvas(4, known=image), noise(4), **options).all()


@pytest.mark.parametrize(
    "options,message",
    [
        ({"mode": "repaint"}, "mode 'repaint' is unknown; write simple, prob-remask, flow-remask"),
        ({"repair_from": -1}, r"repair_from = -1: write a step from 0 to 7 \(steps = 8\)"),
        ({"repair_from": 8}, "repair_from = 8: write a step from 0 to 7"),
        ({"schedule": "pow0"}, "schedule 'pow0' is unknown"),
        ({"keep": torch.zeros(2, 15, dtype=torch.bool)}, r"keep has shape \[2, 15\]; write \[2, 16\]"),
        ({"keep": torch.ones(2, 16, dtype=torch.bool)}, "keep names places that are masked"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(UserError, match=message):
        edit(flat, image_canvas(2), WORDS, noise(2), **{"steps": 8, "temperature": 1.0} | options)


@pytest.mark.parametrize("wrong", [FIRST - 1, FIRST + CODES, 0])
def test_an_image_of_other_tokens_is_refused(wrong):
    image = IMAGE.clone()
    image[2, 5] = wrong
    with pytest.raises(UserError, match=f"holds id {wrong}; write ids from 119 to 182, or 110 for what is to be drawn"):
        edit(flat, image_canvas(4, known=image), WORDS, noise(4), steps=8, temperature=1.0)
