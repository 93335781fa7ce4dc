"""The learning rate by hand, and Muon against torch's own and against singular values."""

import pytest
import torch
from torch import nn

from maskgrpo_cli.config.schema import OptimizerConfig
from maskgrpo_cli.engine.optimizer import learning_rate, make_optimizer, orthogonalised


def rates(steps, **settings):
    return [learning_rate(step, steps, OptimizerConfig(lr=1.0, **settings)) for step in range(steps)]


def test_constant_after_a_warm_up():
    assert rates(5, warmup_steps=2) == [0.5, 1.0, 1.0, 1.0, 1.0]


def test_linear_falls_to_the_share_at_the_last_step():
    assert rates(5, schedule="linear", final_lr=0.2) == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])


def test_cosine_falls_to_nothing():
    assert rates(5, schedule="cosine", warmup_steps=2) == pytest.approx([0.5, 1.0, 1.0, 0.5, 0.0])


def test_restarts_go_through_the_schedule_again_from_half_the_peak():
    once = rates(5, schedule="cosine", warmup_steps=2)
    assert rates(10, schedule="cosine", warmup_steps=2, restarts=1) == pytest.approx(
        once + [rate / 2 for rate in once]
    )


def test_a_run_of_one_step():
    assert rates(1, schedule="cosine") == rates(1, schedule="linear") == [1.0]


@pytest.mark.parametrize("shape", [(12, 40), (40, 12), (16, 16), (1, 7)])
def test_orthogonalised_keeps_the_directions_and_evens_out_the_singular_values(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    turned = left.T @ orthogonalised(matrix) @ right.T
    values = turned.diagonal()
    assert 0.6 < float(values.min()) and float(values.max()) < 1.3
    torch.testing.assert_close(turned, torch.diag(values), atol=1e-4, rtol=0)


def test_orthogonalised_of_nothing_is_nothing():
    assert torch.equal(orthogonalised(torch.zeros(3, 5)), torch.zeros(3, 5))


def small():
    torch.manual_seed(0)
    parts = {"embedding": nn.Embedding(9, 8), "norm": nn.LayerNorm(8), "hidden": nn.Linear(8, 24, bias=False)}
    return nn.ModuleDict(parts)


def descend(model, optimizer, steps=6):
    targets = torch.randn(steps, 9, 24, generator=torch.Generator().manual_seed(2))
    for target in targets:
        optimizer.zero_grad()
        (model["hidden"](model["norm"](model["embedding"].weight)) - target).square().sum().backward()
        optimizer.step()


SETTINGS = {"lr": 0.02, "betas": (0.95, 0.99), "weight_decay": 0.1}


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon of its own to compare with")
def test_muon_is_torchs_for_the_matrices_and_adamw_for_the_rest(monkeypatch):
    # theirs iterates in bfloat16, 2 % off at each step
    monkeypatch.setattr("torch.optim._muon._zeropower_via_newtonschulz", lambda gradient, *_: orthogonalised(gradient))
    ours, theirs = small(), small()
    settings = OptimizerConfig(name="muon", **SETTINGS)
    descend(ours, make_optimizer(list(ours.parameters()), settings, [ours["embedding"].weight]))
    muon = torch.optim.Muon([theirs["hidden"].weight], lr=0.02, momentum=0.95, weight_decay=0.1,
                            adjust_lr_fn="match_rms_adamw")
    rest = [{"params": [theirs["embedding"].weight], "weight_decay": 0.1},
            {"params": list(theirs["norm"].parameters()), "weight_decay": 0.0}]
    adamw = torch.optim.AdamW(rest, lr=0.02, betas=(0.95, 0.99))

    class Both:
        zero_grad = staticmethod(lambda: (muon.zero_grad(), adamw.zero_grad()))
        step = staticmethod(lambda: (muon.step(), adamw.step()))

    descend(theirs, Both)
    for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(own, other)


def test_muon_takes_the_gradients_that_a_closure_makes():
    models = small(), small()
    for model, closed in zip(models, (False, True), strict=True):
        optimizer = make_optimizer(list(model.parameters()), OptimizerConfig(name="muon", **SETTINGS))

        def loss(model=model, optimizer=optimizer):
            optimizer.zero_grad()
            value = model["hidden"](model["embedding"].weight).square().sum()
            value.backward()
            return value

        for _ in range(2):
            told = optimizer.step(loss) if closed else (loss(), optimizer.step())[0]
            assert told > 0
    assert all(torch.equal(*pair) for pair in zip(models[0].parameters(), models[1].parameters(), strict=True))


def test_without_muon_nothing_is_orthogonal():
    model = small()
    optimizer = make_optimizer(list(model.parameters()), OptimizerConfig(**SETTINGS))
    assert type(optimizer) is torch.optim.AdamW
    assert not any(group.get("orthogonal") for group in optimizer.param_groups)


def test_muon_leaves_gradients_and_what_has_none_as_they_are():
    model = small()
    optimizer = make_optimizer(list(model.parameters()), OptimizerConfig(name="muon", **SETTINGS))
    model["hidden"](torch.ones(2, 8)).sum().backward()
    gradient, embedding = model["hidden"].weight.grad.clone(), model["embedding"].weight.clone()
    optimizer.step()
    assert torch.equal(model["hidden"].weight.grad, gradient)
    assert torch.equal(model["embedding"].weight, embedding)
