"""`maskgrpo eval` of tasks that are answered with pictures, through the command line, on an untrained model."""

import json

import pytest

from maskgrpo_cli import registry
from maskgrpo_cli.config.schema import EvaluationConfig, SamplerConfig
from maskgrpo_cli.engine import evaluation_results
from maskgrpo_cli.engine.best import Best
from maskgrpo_cli.engine.comparison import describe
from maskgrpo_cli.engine.evaluation_results import measures, table
from maskgrpo_cli.engine.judging import Judged, tally
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.types import Parts

PROMPTS = ["a red circle", "a blue square", "two green triangles"]


def brightness(prompts, completions, **columns):
    """A reward of the user's own: the mean of all pixels, from 0 to 1."""
    import numpy as np

    return [float(np.asarray(picture).mean()) / 255 for picture in completions]


def redness(prompts, completions, **columns):
    """The mean of the red channel; it applies where red is asked for."""
    import numpy as np

    return [
        float(np.asarray(picture)[..., 0].mean()) / 255 if "red" in prompt else None
        for prompt, picture in zip(prompts, completions, strict=True)
    ]


@pytest.fixture
def evaluate(picture_models, tmp_path, monkeypatch, maskgrpo):
    """`evaluate(*words)`: exit code and what was said; run in this process."""
    monkeypatch.chdir(tmp_path)

    def run(*words, recipe=True, steps=True):
        named = ["--recipe", str(picture_models / "pictures.yaml")] if recipe else []
        named += ["--sampling-steps", "2"] if steps else []
        code, out, err = maskgrpo("eval", *words, *named)
        return code, " ".join(f"{out} {err}".split())

    return run


def prompts_file(folder, rows=None):
    path = folder / "prompts.jsonl"
    rows = rows or [{"prompt": one} for one in PROMPTS]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def results_of(folder):
    return json.loads((folder / "results.json").read_text())


def item(key="a", score=0.0, reward=None, parts=None):
    return Judged(key, "", "", {}, None, score, score >= 1, "", reward, None, parts)


# --- what counts nothing --------------------------------------------------------------------------------


def test_where_nothing_is_counted_there_is_no_accuracy():
    nothing = Parts(0, 0, "pictures")
    measured = tally([item(reward=0.25, parts=nothing), item("b", reward=0.75, parts=nothing)])
    assert [measured[key] for key in ("accuracy", "interval", "score", "reward", "correct", "total")] == [
        None, None, None, 0.5, 0, 0]
    assert describe(1.0, [item(reward=0.25, parts=nothing)]) == (
        "mean reward at T=1 0.250 (1 completions, nothing is judged)")
    some = tally([item(score=1.0), item("b", parts=nothing)])  # a row without a truth beside one with
    assert (some["accuracy"], some["score"], some["total"]) == (1.0, 1.0, 1)


def test_the_mean_reward_is_what_is_shown(evaluate, tmp_path):
    code, said = evaluate("prompts", "--data", prompts_file(tmp_path), "--output-dir", "run", "--temperature", 1,
                          "--set", "task.rewards.test_eval_pictures:brightness=1")
    assert code == 0, said
    assert "accuracy" not in said and "0/0" not in said
    (row,) = results_of(tmp_path / "run")["results"]
    rewards = [json.loads(line)["reward"] for line in (tmp_path / "run" / "generations.jsonl").open()]
    assert row["reward"] == pytest.approx(sum(rewards) / 3) and len(set(rewards)) > 1
    assert f"prompts: reward {row['reward']:.3f} (3 pictures, nothing is judged right or wrong)" in said
    assert row["accuracy"] is row["interval"] is None and row["pass_at"] == {}
    code, again = evaluate("--resume", "run", recipe=False, steps=False)
    assert code == 0 and f"reward {row['reward']:.3f}" in again
    code, said = evaluate("prompts", "--data", prompts_file(tmp_path), "--pass-at", "1")
    assert code == 2 and "evaluation.pass_at: nothing is right or wrong in the task prompts; leave it out" in said


def test_shapes_are_judged_and_rewarded_where_asked(evaluate, tmp_path):
    code, said = evaluate("shapes", "--limit", 6, "--output-dir", "plain")
    (row,) = results_of(tmp_path / "plain")["results"]
    assert code == 0 and row["reward"] is None and "reward" not in said
    assert f"shapes: accuracy {row['accuracy']:.1%} ({row['correct']}/6), 95 %" in said
    code, said = evaluate("shapes", "--limit", 6, "--output-dir", "scored", "--set", "task.rewards.shapes=2",
                          "--set", "task.rewards.test_eval_pictures:brightness=1")
    (scored,) = results_of(tmp_path / "scored")["results"]
    assert code == 0 and scored["accuracy"] == row["accuracy"] and f", reward {scored['reward']:.3f}" in said


def test_what_is_right_in_part_has_a_score_beside_the_accuracy():
    graded = evaluation_results.row(SamplerConfig(), [item(score=1.0), item("b", score=0.5)], 1, [1])
    assert (graded["accuracy"], graded["score"], graded["graded"]) == (0.5, 0.75, True)
    assert [found[:2] for found in measures(graded)] == [("accuracy", "50.0%"), ("score", "0.750")]
    whole = evaluation_results.row(SamplerConfig(), [item(score=1.0), item("b", reward=2.0)], 1, [1])
    assert [found[:2] for found in measures(whole)] == [("accuracy", "50.0%"), ("reward", "2.000")]
    nothing = evaluation_results.row(SamplerConfig(), [item(parts=Parts(0, 0, "pictures"))], 1, [1])
    assert measures(nothing) == [("made", "1 pictures", "", "nothing is judged right or wrong")]
    columns = [[*column.cells] for column in table({"benchmark": "b"}, [graded, nothing]).columns]
    assert columns[4] == ["accuracy", "score", "made"]
    assert columns[5] == ["[bold]50.0%[/]", "[bold]0.750[/]", "[bold]1 pictures[/]"]


def test_no_checkpoint_is_the_best_by_an_accuracy_that_is_none():
    row = {"eval/accuracy": None, "eval/reward": 0.5}
    assert not Best(EvaluationConfig()).see(1, row)
    assert Best(EvaluationConfig(metric="reward", patience=2)).see(1, row)
    for own in ({"patience": 2}, {"keep": "best"}):
        with pytest.raises(UserError, match="write evaluation.metric=reward"):
            Best(EvaluationConfig(**own)).see(1, row)


def test_the_tables_agree_with_the_tasks():
    unjudged = [name for name in registry.names("task") if not getattr(registry.resolve("task", name), "judges", True)]
    assert sorted(unjudged) == sorted(registry.UNJUDGED)
    drawn = [name for name in registry.names("task")
             if getattr(registry.resolve("task", name), "modality", "text") == "image"]
    assert sorted(drawn) == sorted(registry.DRAWN)


def test_the_bundled_model_of_pictures_is_what_draws_without_a_recipe(evaluate, tmp_path):
    code, said = evaluate("shapes", "--limit", 4, "--output-dir", "run", "--device", "cpu", recipe=False)
    assert code == 0, said
    assert results_of(tmp_path / "run")["model"]["path"] == "tiny-shapes"
    assert len([*(tmp_path / "run" / "pictures").glob("*.png")]) == 4


def test_training_on_prompts_speaks_of_rewards(picture_models, tmp_path, monkeypatch, maskgrpo):
    """Curve, before and after, summary: all by the mean reward; and a best checkpoint by accuracy is refused."""
    monkeypatch.chdir(tmp_path)
    prompts_file(tmp_path)
    given = ["task.name=prompts", "task.data=prompts.jsonl", "task.rewards.test_eval_pictures:brightness=1",
             "grpo.steps=2", "grpo.prompts=2", "grpo.group_size=2", "grpo.updates=1", "grpo.estimator.name=uniform",
             "evaluation.every=1", "evaluation.limit=3", "evaluation.final_limit=3", "evaluation.temperatures=[1.0]"]

    def train(folder, *more):
        words = [word for one in [*given, *more] for word in ("--set", one)]
        recipe = picture_models / "pictures.yaml"
        code, out, err = maskgrpo("grpo", "--recipe", recipe, "--sampling-steps", 2, "--output-dir", folder, *words)
        return code, " ".join(f"{out} {err}".split())

    code, said = train("run", "evaluation.metric=reward", "evaluation.keep=best")
    assert code == 0, said
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    assert [row["eval/accuracy"] for row in rows] == [None, None] and all(0 < row["eval/reward"] < 1 for row in rows)
    assert "accuracy" not in said and "0/0" not in said
    assert "before training: mean reward at T=1 0." in said and "eval reward 0." in said
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["evaluations"] == [] and summary["rewards"][0]["name"] == "mean reward at T=1"
    assert summary["best"]["metric"] == "reward"
    code, said = train("other", "evaluation.keep=best")
    assert code == 2 and "nothing is right or wrong in the task prompts" in said and "evaluation.metric=reward" in said
