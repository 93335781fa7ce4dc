"""Interrupted runs end exactly as undisturbed ones: weights, optimiser and metrics to the bit."""

import json
import shutil
import signal

import pytest
import torch
from conftest import LORA, Run, carry_on
from test_runs_grpo import same

from maskgrpo_cli.engine import interrupts
from maskgrpo_cli.engine import session as session_module
from maskgrpo_cli.errors import Interrupted

STEPS = {"grpo.steps": 5, "grpo.updates": 3, "sft.steps": 5, "grpo.optimizer.weight_decay": 0.1}
KINDS = {
    "full": {},
    "full-beta-sync": {"grpo.objective.beta": 0.1, "grpo.objective.sync_ref_steps": 2},
    "full-muon": {"grpo.optimizer.name": "muon"},
    "lora-muon": {**LORA, "grpo.optimizer.name": "muon"},
    "lora": LORA,
    "lora-dropout": {"model.lora": {"rank": 2, "alpha": 4.0, "dropout": 0.2}, "grpo.objective.beta": 0.1},
    "lora-sync": {**LORA, "grpo.objective.beta": 0.1, "grpo.objective.sync_ref_steps": 2},
}


def optimiser(run, step):
    """The tensors of a checkpoint's optimiser."""
    state = torch.load(run.folder / "checkpoints" / f"step-{step:06d}" / "optimizer.pt", weights_only=True)["state"]
    return {f"{i}.{key}": value for i, entry in state.items() for key, value in entry.items()}


def assert_equal_end(first, second, steps=5):
    """Both runs have the same metrics, weights and optimiser state, to the bit."""
    assert [row["step"] for row in second.rows()] == list(range(1, steps + 1))
    assert first.metrics() == second.metrics()
    assert same(first.weights(), second.weights())
    assert same(optimiser(first, steps), optimiser(second, steps))


class Stop:
    """Interrupts a run at the n-th report of a phase, as Ctrl-C there would."""

    def __init__(self, monkeypatch, phase, at):
        self.seen = []
        original = session_module.Session.progress

        def progress(session, name):
            report = original(session, name)

            def counted(done, of):
                self.seen.append(name)
                if name == phase and self.seen.count(name) == at:
                    session.interrupts.received = 2
                report(done, of)

            return counted

        monkeypatch.setattr(session_module.Session, "progress", progress)


@pytest.mark.parametrize(("kind", "cut"), [
    ("full", 3), ("full-beta-sync", 2), ("full-muon", 3), ("lora-muon", 2), ("lora-dropout", 2), ("lora-sync", 2),
    *(pytest.param(kind, cut, marks=pytest.mark.slow) for kind in KINDS for cut in (1, 3, 4))])
def test_continued_from_a_saved_step(train, undisturbed, kind, cut):
    """Step 2 lies inside the three updates of a rollout, step 3 between two rollouts."""
    whole = undisturbed(**STEPS, **KINDS[kind])
    partly = train("cut", **STEPS, **KINDS[kind], **{"grpo.save_every": 1, "grpo.keep_checkpoints": 9})
    for later in range(cut + 1, 6):
        shutil.rmtree(partly.folder / "checkpoints" / f"step-{later:06d}")
    for result in ("model", "adapter", "summary.json"):
        path = partly.folder / result
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    resumed = carry_on(partly.config)
    assert f"continuing after step {cut}" in resumed.log()
    assert_equal_end(whole, resumed)
    assert whole.completions() == resumed.completions()
    assert len(resumed.rows("completions.jsonl")) == len(whole.rows("completions.jsonl"))


def test_muon_is_for_the_matrices_between_embedding_and_head(undisturbed):
    run = undisturbed(**STEPS, **KINDS["full-muon"])
    state, weights = optimiser(run, 5), run.weights("model")
    ends = {name for name in weights if name.endswith(("wte.weight", "transformer.ff_out.weight"))}
    hidden = [name for name, weight in weights.items() if weight.dim() == 2 and name not in ends]
    assert len(ends) == 2 and hidden
    assert sum(key.endswith(".momentum") for key in state) == len(hidden)
    assert sum(key.endswith(".exp_avg") for key in state) == len(weights) - len(hidden)


@pytest.mark.parametrize(("phase", "at"), [
    ("rollout", 1), ("rollout", 6), ("score", 2), ("update", 1), ("update", 5), ("evaluate", 3), ("test", 7)])
def test_continued_from_an_interruption_anywhere(undisturbed, tiny_config, monkeypatch, phase, at):
    """With a reward that draws from the global generators: their states belong to what is kept of a step."""
    evaluated = {"evaluation.every": 2, "evaluation.limit": 2, "evaluation.final_limit": 2,
                 "grpo.micro_batch_size": 4, "task.rewards": {"own_rewards:drawn": 1.0}, **STEPS}
    whole = undisturbed(**evaluated)
    config = tiny_config("cut", **evaluated)
    with monkeypatch.context() as patch:
        stop = Stop(patch, phase, at)
        with pytest.raises(Interrupted) as caught:
            carry_on(config, resume=False)
        assert stop.seen[-1] == phase and stop.seen.count(phase) == at
    assert caught.value.exit_code == 130
    assert (Run(config.output_dir, config).folder / "checkpoints").samefile(caught.value.saved.rsplit("/", 1)[0])
    resumed = carry_on(config)
    assert_equal_end(whole, resumed)
    assert whole.rows("completions.jsonl") == resumed.rows("completions.jsonl")
    before = [json.loads((run.folder / "summary.json").read_text())["evaluations"] for run in (whole, resumed)]
    assert before[0] == before[1]


def test_continued_twice(undisturbed, tiny_config, monkeypatch):
    """Interrupted again in the very evaluation at which it was taken up."""
    evaluated = {"evaluation.every": 2, "evaluation.limit": 2, **STEPS}
    whole = undisturbed(**evaluated)
    config = tiny_config("cut", **evaluated)
    for resume in (False, True, True):
        with monkeypatch.context() as patch:
            Stop(patch, "evaluate", 2)
            with pytest.raises(Interrupted):
                carry_on(config, resume=resume)
    resumed = carry_on(config)
    assert_equal_end(whole, resumed)
    shutil.rmtree(resumed.folder / "checkpoints" / "step-000005")
    left = torch.load(resumed.folder / "checkpoints" / "step-000002" / "method.pt", weights_only=True)
    assert left["state"]["unreported"] is not None
    assert_equal_end(whole, carry_on(config))  # from one whose row has been reported since


@pytest.mark.parametrize("kind", ["full", "lora-dropout"])
def test_sft_continues(undisturbed, tiny_config, monkeypatch, kind):
    whole = undisturbed("sft", **STEPS, **KINDS[kind])
    config = tiny_config("cut", "sft", **STEPS, **KINDS[kind])
    with monkeypatch.context() as patch:
        Stop(patch, "update", 4)
        with pytest.raises(Interrupted):
            carry_on(config, "sft", resume=False)
    assert_equal_end(whole, carry_on(config, "sft"))


def test_sft_from_nothing_continues(undisturbed, tiny_config, monkeypatch):
    shape = {"d_model": 16, "n_layers": 1, "n_heads": 2, "mlp_hidden_size": 16}
    whole = undisturbed("sft", **STEPS, sft__from_scratch=shape)
    config = tiny_config("cut", "sft", **STEPS, sft__from_scratch=shape)
    with monkeypatch.context() as patch:
        Stop(patch, "update", 3)
        with pytest.raises(Interrupted):
            carry_on(config, "sft", resume=False)
    assert_equal_end(whole, carry_on(config, "sft"))


def test_a_finished_run_stays_what_it_was(train):
    run = train(**{"evaluation.final_limit": 2})
    metrics, weights = run.metrics(), run.weights()
    again = carry_on(run.config)
    assert again.metrics() == metrics and same(again.weights(), weights)


def test_without_a_checkpoint_a_run_begins_anew_in_its_directory(train, undisturbed):
    """Killed before the first one was saved: nothing of what it wrote stays twice."""
    run = train("cut", **STEPS)
    shutil.rmtree(run.folder / "checkpoints")
    (run.folder / "summary.json").unlink()
    resumed = carry_on(run.config)
    assert "no checkpoint had been saved; the run begins anew" in resumed.log()
    assert_equal_end(undisturbed(**STEPS), resumed)
    assert len(resumed.rows("completions.jsonl")) == len(undisturbed(**STEPS).rows("completions.jsonl"))


def test_a_second_signal_saves_nothing(tiny_config, monkeypatch, tmp_path):
    """What was going on is half done: a checkpoint of it would not be what it says."""
    config = tiny_config()
    original = torch.optim.AdamW.step
    monkeypatch.setattr(interrupts, "ECHO", 0.0)

    def halfway(self, *args, **kwargs):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", halfway)
    with pytest.raises(Interrupted) as caught:
        carry_on(config, resume=False)
    assert caught.value.exit_code == 143 and caught.value.saved is None
    assert Run(tmp_path / "run", config).checkpoints() == []


def test_the_echo_of_a_signal_is_no_second_one(monkeypatch):
    """A launcher passes on the Ctrl-C that the terminal sent to all of its processes already."""
    clock = [100.0]
    monkeypatch.setattr(interrupts.time, "monotonic", lambda: clock[0])
    with interrupts.Interrupts() as heard:
        signal.raise_signal(signal.SIGINT)
        clock[0] += 0.9
        signal.raise_signal(signal.SIGTERM)
        assert heard.received == signal.SIGINT and not heard.insisted
        clock[0] += 0.2
        with pytest.raises(Interrupted) as caught:
            signal.raise_signal(signal.SIGTERM)
    assert heard.insisted and caught.value.exit_code == 143
