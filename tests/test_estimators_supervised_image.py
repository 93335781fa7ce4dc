"""Masks and losses of supervised training on pictures, and of text beside them."""

import math

import pytest
import torch
from parity import GOLDEN, GivenNoise, completed, noise, table, tensors

from maskgrpo_cli.estimators.scoring import score
from maskgrpo_cli.estimators.supervised_image import (
    answer_loss,
    image_loss,
    image_mask,
    masked_counts,
    supervised_image_copy,
    supervised_image_counts,
)
from maskgrpo_cli.models.denoiser import Denoiser
from maskgrpo_cli.models.loading import load_weights
from maskgrpo_cli.models.mmada import MMadaModelLM
from maskgrpo_cli.types import Canvas, Vocabulary

FACTS, LOSSES = table("mmada/prompting"), tensors("mmada/sft_losses")
MASK, START, N = FACTS["mask_id"], FACTS["text_segment_len"] + 1, FACTS["num_vq_tokens"]
WORDS = Vocabulary(mask_id=MASK, first=0, last=192, forbidden=None)


@pytest.fixture(scope="module")
def mmada():
    return load_weights(MMadaModelLM, GOLDEN / "mmada", torch.float32)


@pytest.fixture(scope="module")
def cross_entropy(mmada):
    """[6, 31] of the golden rows: two t2i, two lm, two mmu."""
    with torch.no_grad():
        log_probs = mmada(LOSSES["input_ids"]).logits.log_softmax(-1)
    return -log_probs.gather(-1, LOSSES["labels"].clamp(min=0)[..., None])[..., 0]


@pytest.mark.parametrize("case", table("mmada/sft_image_masking"), ids=lambda case: case["key"])
def test_masks_are_the_golden_ones(case):
    golden = {name[2:]: value for name, value in tensors("mmada/sft_image_masking").items() if name[0] == case["key"]}
    mask = image_mask(golden["timesteps"], golden["random_matrix"], case["min_masking_rate"])
    assert torch.equal(torch.where(mask, MASK, golden["image_tokens"]), golden["input_ids"])
    assert torch.equal(torch.where(mask, golden["image_tokens"], -100), golden["labels"])


def test_counts_by_hand():
    time = torch.tensor([0.0, 0.5, 2 / 3, 1.0])  # cos: 1, 0.7071, 0.5, 0
    assert masked_counts(time, 16, 0.0).tolist() == [16, 11, 8, 1]
    assert masked_counts(time, 16, 0.6).tolist() == [16, 11, 10, 10]
    assert masked_counts(time, 1, 0.0).tolist() == [1, 1, 1, 1]
    assert masked_counts(time, 16, 1.0).tolist() == [16] * 4


def test_fault_17_the_frame_of_a_picture_is_not_scored(cross_entropy):
    masked = (LOSSES["input_ids"] == MASK)[:2, START : START + N]
    loss = image_loss(cross_entropy[:2, START : START + N], masked)
    torch.testing.assert_close(loss, LOSSES["extra_loss_t2i_masked_image_only"], atol=1e-4, rtol=0)
    assert (loss - LOSSES["loss_t2i"]).abs() > 0.01, "the released loss scores the visible soi and eoi too"


def test_fault_17_text_is_divided_once(cross_entropy):
    masked = LOSSES["input_ids"] == MASK
    for rows, name, expected in ((slice(2, 4), "lm", "extra_loss_lm_per_answer"), (slice(4, 6), "mmu", "loss_mmu")):
        counted = masked[rows] & (LOSSES["labels"][rows] >= 0)
        loss = answer_loss(
            cross_entropy[rows], counted, LOSSES[f"p_mask_{name}"], LOSSES[f"answer_lengths_{name}"]
        )
        torch.testing.assert_close(loss, LOSSES[expected], atol=1e-4, rtol=0)


def test_the_copy_through_our_score_gives_the_golden_loss(mmada):
    """The path that training takes: mask, score, divide by the masked tokens of the step."""
    ids, labels = LOSSES["input_ids"][:2], LOSSES["labels"][:2]
    hidden = (ids == MASK)[:, START : START + N]
    counts = hidden.sum(-1)
    time = ((counts / N).acos() * 2 / math.pi)[:, None]
    # the smallest draws are hidden: argsort of its own inverse permutation
    order = hidden.int().argsort(dim=-1, descending=True, stable=True)
    drawn = torch.zeros(hidden.shape).scatter(1, order.argsort(-1), torch.arange(N).repeat(2, 1) / N)
    canvas = Canvas(torch.where(ids == MASK, labels, ids), None, START, N)
    copy = supervised_image_copy(canvas, GivenNoise(SFT_TIME=time, SFT_MASK=drawn), 0.0)
    assert torch.equal(copy.scored, hidden) and torch.equal(copy.mask, ids == MASK)
    with torch.no_grad():
        scores = score(Denoiser(mmada, WORDS).log_probs, canvas, [copy], MASK, 8)
    loss = -scores.log_probs.sum() / counts.sum()
    torch.testing.assert_close(loss, LOSSES["extra_loss_t2i_masked_image_only"], atol=1e-4, rtol=0)


def pictures(rows: int, length: int = 64) -> Canvas:
    return completed(torch.ones(rows, 3, dtype=torch.int64), torch.full((rows, length), 2))


def test_masks_are_within_the_picture_and_on_the_cosine_schedule():
    copy = supervised_image_copy(pictures(2000), noise(2000), 0.3)
    counts = copy.scored.sum(-1)
    assert not copy.mask[:, :3].any() and torch.equal(copy.mask[:, 3:], copy.scored)
    assert torch.equal(copy.weight, copy.scored.float())
    assert torch.equal(counts, supervised_image_counts(noise(2000), 64, 0.3))
    assert counts.min() == round(64 * 0.3) and counts.max() == 64
    # E max(cos(pi t / 2), 0.3) = (2 / pi) sin(a) + 0.3 (1 - 2 a / pi), a = acos 0.3
    angle = math.acos(0.3)
    mean = 2 / math.pi * math.sin(angle) + 0.3 * (1 - 2 * angle / math.pi)
    assert counts.double().mean().item() / 64 == pytest.approx(mean, abs=5 * 0.25 / 2000**0.5)
    places = copy.scored.double().mean(0)
    assert (places - mean).abs().max() < 5 * 0.5 / 2000**0.5  # no place is preferred


def test_copies_do_not_depend_on_the_batch():
    together = supervised_image_copy(pictures(6), noise(6), 0.3)
    again = supervised_image_copy(pictures(2), noise(6).rows([4, 1]), 0.3)
    assert torch.equal(again.mask, together.mask[[4, 1]])


def test_losses_by_hand():
    ce = torch.tensor([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]])
    masked = torch.tensor([[True, False, True], [False, True, False]])
    assert image_loss(ce, masked).item() == pytest.approx((1 + 4 + 16) / 3)
    assert image_loss(ce, torch.zeros_like(masked)).item() == 0
    p, lengths = torch.tensor([[0.5], [0.25]]), torch.tensor([[2], [4]])
    expected = ((1 + 4) / (0.5 * 2) + 16 / (0.25 * 4)) / 2
    assert answer_loss(ce, masked, p, lengths).item() == pytest.approx(expected)
