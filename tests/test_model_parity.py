"""The denoiser against published numbers, and against itself when it is asked for less."""

import pytest
import torch
from parity import MODELS, canvas, completed, denoiser, fresh_model, model, tensors

from maskgrpo_cli.models.denoiser import model_inputs
from maskgrpo_cli.models.head import token_log_probs


@pytest.fixture(params=MODELS)
def case(request):
    return model(request.param), tensors(f"llada/{request.param}/io")


@torch.no_grad()
def test_logits_and_hidden_states_are_the_published_ones(case):
    llada, io = case
    output = llada(io["input_ids"], output_hidden_states=True)
    torch.testing.assert_close(output.logits, io["logits"], atol=5e-4, rtol=0)
    torch.testing.assert_close(torch.stack(output.hidden_states), io["hidden_states"], atol=5e-4, rtol=0)


@torch.no_grad()
def test_fault_10_padding_is_not_attended_to(case):
    llada, io = case
    valid = io["pad_mask"].bool()
    logits = llada(io["input_ids"], attention_mask=io["pad_mask"]).logits
    expected = io["counterfactual_logits_bias_applied"]
    torch.testing.assert_close(logits[valid], expected[valid], atol=5e-4, rtol=0)
    assert (expected[valid] - io["logits"][valid]).abs().max() > 0.01, "the mask must matter in this fixture"
    assert logits.isfinite().all()
    other = torch.where(valid, io["input_ids"], (io["input_ids"] + 7) % 400)
    unmoved = llada(other, attention_mask=valid).logits
    torch.testing.assert_close(unmoved[valid], logits[valid], atol=1e-5, rtol=0)


@torch.no_grad()
def test_long_sequences(case):
    llada, io = case
    positions = io["long_positions"][None]
    logits = llada(io["input_ids_long"], positions=positions).logits
    torch.testing.assert_close(logits, io["logits_long_selected"], atol=5e-4, rtol=0)


@torch.no_grad()
def test_asked_positions_equal_the_full_logits_there(case):
    llada, io = case
    positions = torch.tensor([[23, 0, 5], [7, 7, 22]])  # any order, repeats allowed
    for attention in (None, io["pad_mask"]):
        full = llada(io["input_ids"], attention_mask=attention).logits
        asked = llada(io["input_ids"], attention_mask=attention, positions=positions).logits
        expected = full[torch.arange(2)[:, None], positions]
        torch.testing.assert_close(asked, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_vocabulary_slice_gives_those_columns_only(case):
    llada, io = case
    sliced = llada(io["input_ids"], vocab=(100, 164)).logits
    torch.testing.assert_close(sliced, io["logits"][..., 100:164], atol=5e-4, rtol=0)
    targets = torch.full((2, 24), 103)
    positions = torch.arange(24).repeat(2, 1)
    inside = llada(io["input_ids"], positions=positions, targets=targets, vocab=(100, 164))
    expected = io["logits"][..., 100:164].log_softmax(-1)[..., 3]  # targets are absolute ids
    torch.testing.assert_close(inside.log_probs, expected, atol=5e-4, rtol=0)


@pytest.mark.parametrize("chunk", [1, 3, 1024])
def test_chunked_log_probs_and_gradients_equal_the_whole(chunk):
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(2, 5, 8, generator=draw, dtype=torch.float64).float().requires_grad_()
    weight = torch.randn(11, 8, generator=draw).requires_grad_()
    targets = torch.randint(11, (2, 5), generator=draw)
    scale = torch.randn(2, 5, generator=draw)
    whole = torch.nn.functional.linear(hidden, weight).log_softmax(-1)
    expected = whole.gather(-1, targets[..., None])[..., 0]
    wanted = torch.autograd.grad((expected * scale).sum(), (hidden, weight))
    log_probs, entropy = token_log_probs(hidden, weight, targets, chunk)
    torch.testing.assert_close(log_probs, expected)
    torch.testing.assert_close(entropy, -(whole.exp() * whole).sum(-1))
    assert not entropy.requires_grad
    got = torch.autograd.grad((log_probs * scale).sum(), (hidden, weight))
    torch.testing.assert_close(got, wanted)


def test_log_probs_of_uniform_logits_by_hand():
    log_probs, entropy = token_log_probs(torch.zeros(1, 1, 4), torch.ones(8, 4), torch.tensor([[5]]), 16)
    assert log_probs.item() == pytest.approx(-2.0794415)  # -ln 8
    assert entropy.item() == pytest.approx(2.0794415)


def test_gradient_checkpointing_gives_the_same_gradients():
    io = tensors("llada/base/io")
    positions = torch.arange(10, 24).repeat(2, 1)

    def gradients(checkpointing: bool) -> dict:
        llada = fresh_model().train()
        if checkpointing:
            llada.gradient_checkpointing_enable()
        output = llada(io["input_ids"], positions=positions, targets=io["input_ids"][:, 10:], logit_chunk=5)
        output.log_probs.sum().backward()
        return {name: parameter.grad for name, parameter in llada.named_parameters()}

    plain, checkpointed = gradients(False), gradients(True)
    assert any(gradient.abs().max() > 0 for gradient in plain.values())
    for name, gradient in plain.items():
        torch.testing.assert_close(checkpointed[name], gradient, msg=name)


@torch.no_grad()
@pytest.mark.parametrize("weight", [0.5, 3.0])
def test_guidance_is_u_plus_w_plus_one_times_c_minus_u(weight):
    given = canvas(torch.arange(12).view(2, 6), 8, 510)
    given.ids[0, 9] = 3  # a revealed token is seen with and without the condition
    positions = torch.arange(6, 14).repeat(2, 1)
    without = given.ids.clone()
    without[:, :6] = 510
    conditional, unconditional = model()(given.ids).logits[:, 6:], model()(without).logits[:, 6:]
    expected = unconditional + (weight + 1) * (conditional - unconditional)
    torch.testing.assert_close(denoiser("base", weight)(given, positions), expected, atol=1e-4, rtol=0)


def test_guidance_doubles_the_attention_mask_once():
    """The released code grew the mask by one copy a step (fault 10); asking twice changes nothing here."""
    given = canvas(torch.arange(12).view(2, 6), 8, 510, padding=2)
    for _ in range(2):
        inputs = model_inputs(given, torch.zeros(2, 1, dtype=torch.int64), 1.0)
        assert inputs["attention_mask"].shape == inputs["input_ids"].shape == (4, 16)
    assert given.attention_mask.shape == (2, 16)


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("padding", [1, 7, 40])
def test_left_padding_changes_no_log_prob(name, padding):
    draw = torch.Generator().manual_seed(1)
    prompt, answer = (torch.randint(400, (2, n), generator=draw) for n in (6, 10))
    bare, padded = completed(prompt, answer), completed(prompt, answer, padding)

    def scores(given):
        positions = given.start + torch.arange(10).repeat(2, 1)
        return denoiser(name).log_probs(given, positions, answer, 64)[0]

    torch.testing.assert_close(scores(padded), scores(bare), atol=1e-5, rtol=0)
