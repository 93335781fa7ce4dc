"""The best checkpoint by the evaluations, stopping early, and what becomes the result."""

import json
import shutil

import pytest
from conftest import LORA, carry_on
from test_runs_grpo import same
from test_runs_resume import Stop, assert_equal_end

from maskgrpo_cli.config.schema import EvaluationConfig
from maskgrpo_cli.engine import comparison
from maskgrpo_cli.engine.best import Best
from maskgrpo_cli.engine.resume import Resume
from maskgrpo_cli.errors import Interrupted, UserError

CURVE = {"evaluation.every": 1, "evaluation.limit": 4, "evaluation.metric": "reward", "evaluation.temperatures": [0.0],
         "grpo.steps": 6, "grpo.updates": 3, "grpo.keep_checkpoints": 1, "sft.steps": 6, "sft.keep_checkpoints": 1}


def seen(values, **settings):
    """A Best that saw these values after steps 1, 2, ..., and what it said each time."""
    best = Best(EvaluationConfig(**settings))
    return best, [best.see(step, {"eval/accuracy": value, "eval/reward": value}) for step, value in
                  enumerate(values, 1)]


@pytest.mark.parametrize(("values", "step", "waited"), [
    ([0.5], 1, 0), ([0.5, 0.5], 1, 1), ([0.5, 0.4, 0.6], 3, 0), ([0.5, 0.6, 0.6, 0.1], 2, 2), ([0.0, 0.0], 1, 1),
    ([None, 0.1], 2, 0), ([0.1, None, -1.0], 1, 2), ([None, None], None, 2)])
def test_the_best_is_the_highest_and_of_equals_the_earlier(values, step, waited):
    best, said = seen(values, metric="reward")
    assert (best.step, best.waited) == (step, waited)
    assert [place for place, told in enumerate(said, 1) if told][-1:] == ([] if step is None else [step])
    other = Best(EvaluationConfig(metric="reward"))
    other.load_state(json.loads(json.dumps(best.state())))
    assert vars(other) == vars(best)


@pytest.mark.parametrize(("patience", "given_up"), [(0, False), (1, True), (2, True), (3, False)])
def test_patience(patience, given_up):
    assert seen([0.5, 0.5, 0.1], patience=patience)[0].given_up is given_up


@pytest.fixture
def scripted(monkeypatch):
    """`scripted(values)`: the reward of the curve is what is given, by step; everything else is real."""

    def give(values):
        original = comparison.Evaluations.curve

        def due(self, step, steps):
            self.step = step
            return True

        monkeypatch.setattr(comparison.Evaluations, "due", due)
        monkeypatch.setattr(comparison.Evaluations, "curve",
                            lambda self: original(self) | {"eval/reward": values[self.step - 1]})

    return give


@pytest.mark.parametrize(("values", "best", "left"), [
    ([1, 2, 3, 4, 5, 6], 6, [6]), ([6, 5, 4, 3, 2, 1], 1, [1, 6]), ([1, 3, 2, 3, 1, 0], 2, [2, 6])])
def test_rotation_keeps_the_best(train, scripted, values, best, left):
    scripted(values)
    run = train(**CURVE, **{"grpo.save_every": 1})
    assert run.checkpoints() == left
    assert (run.folder / "checkpoints" / "best").read_text() == f"step-{best:06d}\n"
    summary = json.loads((run.folder / "summary.json").read_text())
    assert summary["best"]["step"] == best and summary["best"]["value"] == max(values) and summary["result"] == "last"
    assert same(run.weights("model"), run.weights("checkpoints/step-000006/model"))


@pytest.mark.parametrize(("command", "settings"), [("grpo", {}), ("grpo", LORA), ("sft", {})],
                         ids=["full", "lora", "sft"])
def test_the_best_becomes_the_result_and_can_be_loaded(train, scripted, tiny_config, monkeypatch, command, settings):
    """From the run, from checkpoints/best and from its folder come the same weights, which are not the last ones."""
    from maskgrpo_cli.engine.devices import make_accelerator
    from maskgrpo_cli.engine.policy import load_policy

    scripted([1, 3, 2, 3, 1, 0])
    run = train("run", command, **CURVE, **settings, **{"evaluation.keep": "best", "evaluation.final_limit": 2})
    monkeypatch.undo()
    assert run.checkpoints() == [2, 6] and "the result is the best checkpoint: step 2" in run.log()
    kind = "adapter" if settings else "model"
    assert same(run.weights(kind), run.weights(f"checkpoints/step-000002/{kind}"))
    assert not same(run.weights(kind), run.weights(f"checkpoints/step-000006/{kind}"))
    loaded = []
    for path in ("", "checkpoints/best", "checkpoints/step-000002", "checkpoints/step-000006"):
        config = tiny_config("other", model__path=str(run.folder / path))
        loaded.append(load_policy(config, make_accelerator(config), trained=False).plain.state_dict())
    assert same(loaded[0], loaded[1]) and same(loaded[0], loaded[2]) and not same(loaded[0], loaded[3])
    again = carry_on(run.config, command)  # finished: the last weights are the state, the best ones the result
    assert same(again.weights(kind), run.weights(f"checkpoints/step-000002/{kind}"))


def test_stopping_early_ends_as_a_finished_run(train, scripted):
    scripted([1, 3, 2, 3, 1, 0])
    run = train(**CURVE, **{"evaluation.patience": 2, "evaluation.final_limit": 2})
    assert [row["step"] for row in run.rows()] == [1, 2, 3, 4] and run.checkpoints() == [2, 4]
    summary = json.loads((run.folder / "summary.json").read_text())
    assert summary["stopped_early"] is True and summary["steps"] == 4 and summary["evaluations"]
    assert "stopped early after step 4: 2 evaluations without a better one (the best: step 2" in run.log()
    assert same(run.weights("model"), run.weights("checkpoints/step-000004/model"))
    assert [row["step"] for row in carry_on(run.config).rows()] == [1, 2, 3, 4]  # it stays stopped


@pytest.mark.parametrize("cut", [2, 3, 4])
def test_patience_is_counted_across_a_resume(train, scripted, tiny_config, monkeypatch, cut):
    scripted([1, 3, 2, 1, 2, 9])
    settings = {**CURVE, "evaluation.patience": 3, "evaluation.final_limit": 0}
    whole = train("whole", **settings)
    assert len(whole.rows()) == 5
    config = tiny_config("cut", **settings)
    with monkeypatch.context() as patch:
        Stop(patch, "update", cut)
        with pytest.raises(Interrupted):
            carry_on(config, resume=False)
    resumed = carry_on(config)
    assert_equal_end(whole, resumed, steps=5)
    assert resumed.checkpoints()[:1] == [2]


def test_a_lost_best_is_told_and_the_last_weights_are_the_result(train, scripted):
    scripted([1, 3, 2, 3, 1, 0])
    run = train(**CURVE)
    shutil.rmtree(run.folder / "checkpoints" / "step-000002")
    config = run.config.model_copy(update={"evaluation": run.config.evaluation.model_copy(update={"keep": "best"})})
    again = carry_on(config)
    assert "the best checkpoint (step 2, reward 3.000) is gone; the last weights are kept" in again.log()
    assert not (run.folder / "checkpoints" / "best").exists()
    with pytest.raises(UserError, match="has no best checkpoint"):
        from maskgrpo_cli.config.runs import follow

        follow(run.folder / "checkpoints" / "best")


@pytest.mark.parametrize("change", [{"metric": "accuracy"}, {"metric": "accuracy", "limit": 3}, {"limit": 3}])
def test_another_measure_begins_anew(train, change):
    """A reward of four problems says nothing of one of three."""
    run = train(**CURVE, **{"evaluation.patience": 9})
    other = run.config.evaluation.model_copy(update=change)
    grpo = run.config.grpo.model_copy(update={"steps": 7})
    config = run.config.model_copy(update={"evaluation": other, "grpo": grpo})
    again = carry_on(config, resume=Resume(force=True))
    assert json.loads((run.folder / "summary.json").read_text())["best"] == {
        "metric": other.metric, "step": 7, "value": again.rows()[-1][f"eval/{other.metric}"], "waited": 0}


def test_other_patience_keeps_the_best(train, scripted):
    scripted([1, 3, 2, 3, 1, 0, 0])
    run = train(**CURVE)
    other = run.config.evaluation.model_copy(update={"patience": 9, "final_limit": 2})
    grpo = run.config.grpo.model_copy(update={"steps": 7})
    carry_on(run.config.model_copy(update={"evaluation": other, "grpo": grpo}), resume=Resume(force=True))
    best = json.loads((run.folder / "summary.json").read_text())["best"]
    assert (best["step"], best["value"], best["waited"]) == (2, 3, 5)


@pytest.mark.parametrize("settings", [{"evaluation.patience": 2}, {"evaluation.keep": "best"}])
def test_what_evaluations_decide_needs_evaluations(tiny_config, settings):
    none = {"evaluation.every": 5, "grpo.evaluate_every": 0}
    for command, every in (("grpo", {}), ("sft", {"sft.evaluate_every": 0}), ("grpo", none)):
        with pytest.raises(UserError, match="needs evaluations while training; set evaluation.every"):
            tiny_config("run", command, **settings, **every)
    tiny_config("run", **settings, **{"grpo.evaluate_every": 5})
