"""LoRA: what it touches, what it saves, and the references behind it."""

import json
import warnings

import pytest
import torch
from parity import fresh_model, model, tensors
from safetensors.torch import load_file

from maskgrpo_cli.errors import UserError
from maskgrpo_cli.models.adapters import (
    add_lora,
    as_reference,
    copy_policy_to_reference,
    is_lora,
    load_lora,
    merge,
)

TARGETS = ["q_proj", "k_proj", "v_proj", "attn_out", "ff_proj", "up_proj", "ff_out"]
IDS = tensors("llada/base/io")["input_ids"]


def adapted(targets=TARGETS, spread: float = 0.3):
    """A model with an adapter that changes something (peft starts with B = 0)."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        llada = add_lora(fresh_model(), rank=4, alpha=8, dropout=0.0, targets=list(targets))
    move(llada, spread)
    return llada.eval()


def move(llada, spread: float) -> None:
    draw = torch.Generator().manual_seed(3)
    for parameter in llada.parameters():
        if parameter.requires_grad:
            parameter.data += spread * torch.randn(parameter.shape, generator=draw)


@torch.no_grad()
def logits(llada) -> torch.Tensor:
    return llada(input_ids=IDS).logits


def trained(llada) -> set[str]:
    return {name for name, parameter in llada.named_parameters() if parameter.requires_grad}


def test_fault_8_the_full_target_set_is_every_linear_layer_of_every_block_and_never_the_head():
    names = {name.split(".lora_")[0] for name in trained(adapted())}
    prefix = "base_model.model.model.transformer"
    assert names == {f"{prefix}.blocks.{block}.{target}" for block in range(2) for target in TARGETS}


def test_ff_out_names_the_block_layer_alone():
    names = trained(adapted(["ff_out"]))
    assert len(names) == 4 and all(".blocks." in name for name in names)


def test_an_unknown_target_is_refused_with_the_known_ones():
    with pytest.raises(UserError, match="gate_proj: no such layer; there are attn_out, ff_out"):
        add_lora(fresh_model(), rank=4, alpha=8, dropout=0.0, targets=["q_proj", "gate_proj"])


def test_a_fresh_adapter_changes_nothing():
    llada = add_lora(fresh_model(), rank=4, alpha=8, dropout=0.0, targets=TARGETS).eval()
    assert torch.equal(logits(llada), logits(model()))
    assert is_lora(llada) and not is_lora(model())


def test_an_adapter_is_saved_in_pefts_layout_and_read_back(tmp_path):
    llada = adapted()
    llada.save_pretrained(tmp_path, selected_adapters=["default"])
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", 4, 8)
    saved = load_file(tmp_path / "adapter_model.safetensors")
    assert len(saved) == 2 * len(TARGETS) * 2
    assert saved["base_model.model.model.transformer.blocks.1.ff_out.lora_A.weight"].shape == (4, 192)
    for trainable in (True, False):
        again = load_lora(fresh_model(), str(tmp_path), trainable).eval()
        assert torch.equal(logits(again), logits(llada))
        assert trained(again) == (trained(llada) if trainable else set())


def test_an_adapter_that_does_not_fit_or_is_pickled_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no adapter_config\.json"):
        load_lora(fresh_model(), str(tmp_path), False)
    adapted().save_pretrained(tmp_path)
    with pytest.raises(UserError, match="does not fit the model"):
        load_lora(fresh_model("gqa_pad_embed"), str(tmp_path), False)  # keys and values are half as wide
    (tmp_path / "adapter_model.safetensors").rename(tmp_path / "adapter_model.bin")
    with pytest.raises(UserError, match="pickled adapters"):
        load_lora(fresh_model(), str(tmp_path), False)


def test_merging_gives_a_plain_model_that_answers_alike(tmp_path):
    llada = adapted(spread=0.05)
    expected = logits(llada)
    merged = merge(llada)
    torch.testing.assert_close(logits(merged), expected, atol=1e-4, rtol=0)
    assert (expected - logits(model())).abs().max() > 0.1
    merged.save_pretrained(tmp_path)
    assert load_file(tmp_path / "model.safetensors").keys() == fresh_model().state_dict().keys()


def test_the_reference_behind_an_adapter_is_the_base():
    llada = adapted()
    policy, names = logits(llada), trained(llada)
    with as_reference(llada):
        assert torch.equal(logits(llada), logits(model()))
    assert torch.equal(logits(llada), policy)
    assert trained(llada) == names


def test_a_synced_reference_is_the_snapshot_until_it_is_refreshed():
    llada = adapted()
    names, snapshot = trained(llada), logits(llada)
    copy_policy_to_reference(llada)
    assert torch.equal(logits(llada), snapshot) and trained(llada) == names
    move(llada, 0.2)
    with as_reference(llada):
        assert torch.equal(logits(llada), snapshot)
    moved = logits(llada)
    assert not torch.equal(moved, snapshot) and trained(llada) == names
    copy_policy_to_reference(llada)
    with as_reference(llada):
        assert torch.equal(logits(llada), moved)
    assert trained(llada) == names


def test_the_reference_is_left_even_when_scoring_fails():
    llada = adapted()
    copy_policy_to_reference(llada)
    policy, names = logits(llada), trained(llada)
    move(llada, 0.2)
    policy = logits(llada)
    with pytest.raises(ZeroDivisionError), as_reference(llada):
        raise ZeroDivisionError
    assert torch.equal(logits(llada), policy) and trained(llada) == names


def test_making_a_reference_leaves_the_global_random_state_alone():
    llada = adapted()
    before = torch.random.get_rng_state()
    copy_policy_to_reference(llada)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_an_adapter_is_made_without_a_word():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        add_lora(fresh_model(), rank=2, alpha=4.0, dropout=0.0, targets=["q_proj"])


def test_gradient_checkpointing_reaches_the_adapter():
    def gradients(checkpointing: bool):
        llada = adapted().train()
        if checkpointing:
            llada.get_base_model().gradient_checkpointing_enable()
        llada(input_ids=IDS).logits.logsumexp(-1).sum().backward()
        return {name: p.grad for name, p in llada.named_parameters() if p.requires_grad}

    plain, checkpointed = gradients(False), gradients(True)
    for name, gradient in plain.items():
        torch.testing.assert_close(checkpointed[name], gradient, msg=name)
