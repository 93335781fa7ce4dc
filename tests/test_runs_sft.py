"""Supervised runs: from nothing, from a model, with an adapter; and what others make of their results."""

import pytest
import torch
from conftest import LORA, carry_on
from test_runs_grpo import same

from maskgrpo_cli.config.schema import Config
from maskgrpo_cli.engine.devices import make_accelerator
from maskgrpo_cli.engine.policy import load_policy
from maskgrpo_cli.errors import UserError

SHAPE = {"d_model": 32, "n_layers": 1, "n_heads": 2, "mlp_hidden_size": 64}
LONGER = {"sft.steps": 30, "sft.batch_size": 16, "sft.micro_batch_size": 16, "sft.length": 16, "task.limit": 32}


def load(path, **model):
    """The policy of a path, as sampling and evaluation load it."""
    config = Config(device="cpu", model={"path": str(path), **model})
    return load_policy(config, make_accelerator(config), trained=False)


def logits(policy):
    """What a policy answers for one canvas."""
    canvas = policy.modality.canvas([[5, 6, 7]], 8)
    return policy.denoiser()(canvas, torch.arange(3, 11)[None])


def mean(rows, key="loss"):
    """The mean of a metric."""
    return sum(row[key] for row in rows) / len(rows)


def test_from_nothing_the_loss_falls_and_the_answers_end(train):
    run = train(command="sft", sft__from_scratch=SHAPE, sft__optimizer__lr=0.01, **LONGER)
    rows = run.rows()
    assert len(rows) == 30 and mean(rows[-10:]) < 0.7 * mean(rows[:10])
    assert {"loss", "mask_ratio", "entropy", "grad_norm", "lr", "time/update", "tokens_per_second"} <= rows[0].keys()
    assert rows[0]["loss"] == pytest.approx(torch.log(torch.tensor(len(load(run.folder).modality.tokenizer))).item(),
                                            rel=0.5)
    assert 0.3 < mean(rows, "mask_ratio") < 0.7
    policy = load(run.folder)
    last = logits(policy)[0, -1]  # padding with the end token is learnt like any token
    assert last.argmax().item() == policy.modality.vocabulary.fill_id


def test_answers_are_padded_with_the_end_token_and_cut_with_a_count(train, tiny_config):
    policy = load(tiny_config().model.path)
    answers = policy.modality.answers(["7", "Tom has 3 apples and buys 4"], 6)
    end = policy.modality.vocabulary.fill_id
    assert answers[0, 0] != end and (answers[0, 1:] == end).all() and answers.shape == (2, 6)
    run = train(command="sft", sft__length=2)
    assert "answers are longer than 2 tokens and were cut" in run.log()


def test_from_a_model_it_goes_on(train, tiny_model):
    run = train(command="sft", **LONGER, **{"sft.optimizer.lr": 0.01})
    assert run.weights().keys() == {f"model/{name}" for name in load(tiny_model).plain.state_dict()}
    assert mean(run.rows()[-10:]) < mean(run.rows()[:10])
    again = train("again", "sft", **LONGER, **{"sft.optimizer.lr": 0.01})
    assert run.metrics() == again.metrics() and same(run.weights(), again.weights())


@pytest.mark.parametrize("size", [1, 3])
def test_the_micro_batch_changes_nothing(train, size):
    whole, split = train("whole", "sft"), train("split", "sft", sft__micro_batch_size=size)
    for a, b in zip(whole.metrics(), split.metrics()):
        assert a == pytest.approx(b, abs=1e-5)


def test_an_adapter_is_picked_up_with_its_base(train, tiny_model):
    run = train(command="sft", **LORA, **LONGER, **{"sft.optimizer.lr": 0.05})
    assert not (run.folder / "model").exists() and (run.folder / "adapter" / "adapter_config.json").is_file()
    base, tuned = load(tiny_model), load(run.folder)
    given = load(tiny_model, adapter=str(run.folder / "adapter"))
    assert tuned.is_adapter() and not torch.allclose(logits(base), logits(tuned), atol=1e-3)
    assert torch.equal(logits(tuned), logits(given))


def test_the_merged_model_answers_as_the_adapter_does(train):
    run = train(command="sft", model__merge=True, **LORA, **LONGER, **{"sft.optimizer.lr": 0.05})
    merged, tuned = load(run.folder / "model"), load(run.config.model.path, adapter=str(run.folder / "adapter"))
    assert not merged.is_adapter()
    torch.testing.assert_close(logits(merged), logits(tuned), atol=1e-4, rtol=1e-4)
    assert not load(run.folder).is_adapter()  # the run directory gives the merged model


def test_a_run_from_a_run_with_an_adapter_goes_on_from_it(train):
    """GRPO after SFT, both on the adapter: the second run's adapter stands on the first one's base."""
    first = train("first", "sft", **LORA, **{"sft.optimizer.lr": 0.05})
    second = train("second", model__path=str(first.folder), **LORA)
    assert not same(first.weights("adapter"), second.weights("adapter"))
    policy = load(second.folder)
    expected = load(first.config.model.path, adapter=str(second.folder / "adapter"))
    assert policy.is_adapter() and torch.equal(logits(policy), logits(expected))


def test_grpo_from_an_sft_run(train):
    first = train("first", "sft")
    second = train("second", model__path=str(first.folder))
    assert first.weights().keys() == second.weights().keys()
    assert not same(first.weights(), second.weights())


def test_no_worked_answers_is_one_message(tiny_config, tmp_path):
    (tmp_path / "problems.csv").write_text("question,answer\nWhat is 3 + 4?,7\n")
    with pytest.raises(UserError, match="no worked answers"):
        carry_on(tiny_config(command="sft", task__data=str(tmp_path / "problems.csv")), "sft", resume=False)
