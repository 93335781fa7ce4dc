"""The noisy copy of supervised training, and the loss that its weights make."""

import pytest
import torch
from parity import GOLDEN, GivenNoise, completed, noise, table, tensors
from safetensors.torch import load_file

from maskgrpo_cli.estimators.scoring import score
from maskgrpo_cli.estimators.supervised import SMALLEST_TIME, supervised_copy
from maskgrpo_cli.models.denoiser import Denoiser
from maskgrpo_cli.models.llada import LLaDAConfig, LLaDAModelLM
from maskgrpo_cli.types import Canvas, Vocabulary

MASK = 110


@torch.no_grad()
def test_fault_17_text_loss_divided_once():
    """Cross-entropy over p and the answer's length, once: golden mask and p through our copy and score."""
    config = table("mmada/config") | {"model_type": "llada"}
    model = LLaDAModelLM(LLaDAConfig(**config)).eval()
    model.load_state_dict(load_file(GOLDEN / "mmada" / "model.safetensors"))
    golden = tensors("mmada/sft_losses")
    ids, answers = golden["input_ids"][2:4], golden["labels"][2:4]
    words = Vocabulary(mask_id=MASK, first=0, last=192, forbidden=None)
    total = 0.0
    for row in range(2):
        length = int(golden["answer_lengths_lm"][row, 0])  # the rest counts as prompt here, masked or not
        noisy, p = ids[row : row + 1], golden["p_mask_lm"][row, :1]
        hidden = noisy == MASK
        # the whole row is what the golden loss runs over; the length it divides by is the answer's
        given = Canvas(torch.where(hidden, answers[row], noisy), None, 0, 31)
        draws = GivenNoise(
            SFT_TIME=((p - SMALLEST_TIME) / (1 - SMALLEST_TIME))[None], SFT_MASK=torch.where(hidden, 0.0, 1.0)
        )
        copy = supervised_copy(given, draws)
        assert torch.equal(copy.mask, hidden)
        log_probs = score(Denoiser(model, words).log_probs, given, [copy], MASK, 64).log_probs
        total += -log_probs.sum().item() * 31 / length
    assert total / 2 == pytest.approx(golden["extra_loss_lm_per_answer"].item(), abs=1e-4)
    assert total / 2 > 2 * golden["loss_lm"].item(), "the released loss divides by a length twice"


def many(rows: int, prompt: int = 3, length: int = 40) -> Canvas:
    return completed(torch.ones(rows, prompt, dtype=torch.int64), torch.full((rows, length), 2))


def test_the_prompt_is_never_masked_and_weights_are_one_over_time_and_length():
    copy = supervised_copy(many(500), noise(500))
    assert not copy.mask[:, :3].any()
    assert torch.equal(copy.mask[:, 3:], copy.scored)
    for row in range(500):
        weights = set(copy.weight[row][copy.scored[row]].tolist())
        assert len(weights) <= 1
        assert all(1 / 40 - 1e-6 <= weight <= 1 / (40 * SMALLEST_TIME) + 1e-3 for weight in weights)
    assert (copy.weight[~copy.scored] == 0).all()


def test_times_are_uniform_and_the_loss_is_unbiased():
    """With t ~ U(0, 1): half of the tokens are masked, and E[sum of weights] = 1 whatever t is."""
    copy = supervised_copy(many(4000), noise(4000))
    rates = copy.scored.double().mean(-1)
    assert rates.mean().item() == pytest.approx(0.5, abs=5 * 0.3 / 4000**0.5)
    assert rates.var().item() == pytest.approx(1 / 12 + 1 / 6 / 40, rel=0.1)
    totals = copy.weight.double().sum(-1)
    assert totals.mean().item() == pytest.approx(1, abs=5 * totals.std().item() / 4000**0.5)


def test_a_time_by_hand():
    uniform = torch.tensor([[0.0, 0.0009, 0.0011, 0.9]] * 2)
    draws = GivenNoise(SFT_TIME=torch.tensor([[0.0], [0.5]]), SFT_MASK=uniform)
    copy = supervised_copy(many(2, 2, 4), draws)
    assert copy.scored.int().tolist() == [[1, 1, 0, 0], [1, 1, 1, 0]]  # t = 0.001 and 0.5005
    expected = torch.tensor([[250.0, 250, 0, 0], [1 / 2.002] * 3 + [0]])
    torch.testing.assert_close(copy.weight, expected)


def test_copies_do_not_depend_on_the_batch():
    together = supervised_copy(many(6), noise(6))
    again = supervised_copy(many(2), noise(6).rows([4, 1]))
    assert torch.equal(again.mask, together.mask[[4, 1]])
    assert torch.equal(again.weight, together.weight[[4, 1]])
