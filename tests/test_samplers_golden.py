"""Block sampling against golden sequences, and the schedules behind the samplers."""

import math

import pytest
import torch
from parity import MASK, ROWS, canvas, denoiser, noise, table, tensors, vocabulary

from maskgrpo_cli.samplers.block import low_confidence
from maskgrpo_cli.samplers.schedules import SCHEDULES, reveal_counts, steps_per_block

TABLE = table("generate_text/cases")
CASES = {case["name"]: case for case in TABLE["cases"]}
GOLDEN = tensors("generate_text/sequences")


def sample(case: dict, forbidden, boost: float = 0.0) -> torch.Tensor:
    name = case["model"]
    denoise = denoiser(name, case["cfg_scale"])

    def boosted(*given):
        logits = denoise(*given)
        logits[..., case["mask_id"]] += boost
        return logits

    given = canvas(GOLDEN[f"{case['name']}.prompt"], case["gen_length"], case["mask_id"])
    return low_confidence(
        boosted, given, vocabulary(name, forbidden), noise(2), temperature=0,
        steps=case["steps"], block_length=case["block_length"],
    )


@pytest.mark.parametrize("name", [name for name in CASES if name != "leftover_mask"])
def test_golden_sequences_with_nothing_excluded(name):
    case = CASES[name]
    expected = GOLDEN[f"{name}.output"][:, case["prompt_len"] :]
    assert torch.equal(sample(case, forbidden=None), expected)


def test_fault_13_a_mask_the_model_insists_on_never_comes_out():
    case = CASES["leftover_mask"]
    released = GOLDEN["leftover_mask.output"]
    assert (released == case["mask_id"]).sum() == case["remaining_mask_tokens"] == 5
    response = sample(case, forbidden=(), boost=case["logit_boost_on_mask_id"])
    assert (response != case["mask_id"]).all()
    # With the mask excluded before the softmax, its boost changes nothing at all.
    assert torch.equal(response, sample(case, forbidden=()))


def test_fault_13_ids_beyond_the_vocabulary_never_come_out():
    case = CASES["case0_gqa_pad_embed"]
    beyond = range(500, ROWS)
    assert (GOLDEN["case0_gqa_pad_embed.output"] >= 500).any(), "the released sampler did emit them"
    response = sample(case, forbidden=beyond)
    assert (response < 500).all() and (response != MASK["gqa_pad_embed"]).all()


@pytest.mark.parametrize("case", TABLE["transfer_schedules"], ids=lambda c: f"{c['mask_num']}/{c['steps']}")
def test_golden_transfer_schedules(case):
    assert reveal_counts(case["mask_num"], case["steps"]) == case["num_transfer_tokens"]


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_golden_steps_per_block(case):
    blocks = case["gen_length"] // case["block_length"]
    assert steps_per_block(case["steps"], blocks) == case["steps_per_block"]


def test_fewer_steps_than_blocks_still_give_each_block_one():
    assert steps_per_block(3, 4) == 1
    assert steps_per_block(9, 4) == 2  # the step beyond 4 x 2 is dropped


def test_schedules_by_hand():
    for k in SCHEDULES.values():
        assert k(0) == pytest.approx(1) and k(1) == pytest.approx(0)
    assert SCHEDULES["linear"](0.25) == 0.75
    assert SCHEDULES["cosine"](0.5) == pytest.approx(math.sqrt(0.5))
    assert SCHEDULES["cosine"](1 / 3) == pytest.approx(math.sqrt(3) / 2)
