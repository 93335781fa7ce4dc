"""How the work is cut into micro-batches changes no metric, gradient or weight beyond 1e-5."""

import pytest
import torch
from conftest import LORA
from test_engine_invariants import method, near  # noqa: F401

from maskgrpo_cli.engine.devices import make_accelerator
from maskgrpo_cli.engine.examples import load_parts
from maskgrpo_cli.engine.interrupts import Interrupts
from maskgrpo_cli.engine.policy import load_policy
from maskgrpo_cli.engine.reporting.display import make_reporter
from maskgrpo_cli.engine.session import Session
from maskgrpo_cli.engine.sft import Sft

KINDS = {
    "full": {},
    "lora": LORA,
    "sequences": {"grpo.objective.name": "gspo", "grpo.objective.beta": 0.1},
    "coupled": {**LORA, "grpo.estimator.name": "coupled", "grpo.objective.beta": 0.1},
}


def gradients(policy):
    """The gradient of every trained parameter, as one vector."""
    return torch.cat([parameter.grad.flatten() for parameter in policy.parameters() if parameter.grad is not None])


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_grpo(method, kind):  # noqa: F811
    found = []
    for size in (8, 3):
        grpo = method(**KINDS[kind], grpo__micro_batch_size=size)
        grpo.step(0)
        found.append(gradients(grpo.policy))
    assert found[0].abs().max() > 1e-3
    for split in found[1:]:
        torch.testing.assert_close(split, found[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("adapter", [{}, LORA], ids=["full", "lora"])
def test_gradients_of_sft(tiny_config, adapter):
    found = []
    for size in (4, 1):
        config = tiny_config("run", "sft", **adapter, sft__micro_batch_size=size)
        accelerator = make_accelerator(config)
        session = Session(config, accelerator, None, make_reporter(None, "test", 0, quiet=True), Interrupts())
        policy = load_policy(config, accelerator, trained=True)
        sft = Sft(session, policy, load_parts(session, policy))
        sft.step(0)
        found.append(gradients(sft.policy))
    assert found[0].abs().max() > 1e-3
    for split in found[1:]:
        torch.testing.assert_close(split, found[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("command", "adapter"), [("grpo", LORA), ("sft", {}), ("sft", LORA)],
                         ids=["grpo-lora", "sft", "sft-lora"])
def test_whole_runs(train, command, adapter):
    key = f"{command}.micro_batch_size"
    rate = {f"{command}.optimizer.lr": 1e-3, f"{command}.optimizer.eps": 1e-4}  # Adam would divide noise by noise
    whole, split = (train(name, command, **adapter, **rate, **{key: size}) for name, size in (("a", 8), ("b", 3)))
    near(whole.metrics(), split.metrics())
    assert (whole.completions() == split.completions()) if command == "grpo" else True
    a, b = whole.weights(), split.weights()
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], atol=1e-5, rtol=0)
