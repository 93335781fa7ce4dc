"""Settings of rewards: told wrong before anything heavy is imported where the tables tell, else before training."""

import inspect

import pytest
import torch
from own_rewards import letters
from test_config import mistake, mistakes

from maskgrpo_cli import config, registry
from maskgrpo_cli.config import changes, describe, overrides
from maskgrpo_cli.engine.scoring import SUPPLIED, Rewards, make
from maskgrpo_cli.errors import UserError
from maskgrpo_cli.types import Problem

SCALED = "own_rewards:Scaled"
PROBLEM = Problem("0", ({"role": "user", "content": "q"},), {"answer": "1"})


def rewards(weights, settings=None, **more):
    return Rewards(weights, pytest.fail, settings, **more)


# --- the key in a recipe ----------------------------------------------------------------------------


def test_settings_are_read_written_and_overridden(tmp_path):
    given = ["task.rewards={clip: 1, my.module:Class: 2}", "task.reward_settings.clip={model: ViT-B-32, batch_size: 4}",
             "task.reward_settings.clip.weights=a.b/c.pt", "task.reward_settings.my.module:Class.rate=1e-3",
             "task.reward_settings.my.module:Class.on=yes", "task.reward_settings.my.module:Class.none=null"]
    loaded = config.load("math", given)
    assert loaded.task.reward_settings == {
        "clip": {"model": "ViT-B-32", "batch_size": 4, "weights": "a.b/c.pt"},
        "my.module:Class": {"rate": 0.001, "on": True, "none": None},
    }
    from maskgrpo_cli.config.loading import dump

    (tmp_path / "again.yaml").write_text(dump(loaded), encoding="utf-8")
    assert config.load(str(tmp_path / "again.yaml")) == loaded
    assert config.load("math").task.reward_settings == {}


@pytest.mark.parametrize(("text", "path"), [
    ("task.reward_settings.clip", ("task", "reward_settings", "clip")),
    ("task.reward_settings.clip.model", ("task", "reward_settings", "clip", "model")),
    ("task.reward_settings.a.b:C", ("task", "reward_settings", "a.b:C")),
    ("task.reward_settings.a.b:C.d", ("task", "reward_settings", "a.b:C", "d")),
    ("task.rewards.a.b:c", ("task", "rewards", "a.b:c")),
])
def test_a_key_is_split_where_names_may_hold_dots(text, path):
    assert overrides.split(text) == path and describe.node_at(path) is not None


@pytest.mark.parametrize(("setting", "told"), [
    ("clip.model=[1]", "task.reward_settings.clip.model = [1] (--set): a number, or text, or true or false, or null, "
                       "or a list, not empty, each text, not empty"),
    ("clip.model=[a]", "task.reward_settings.clip.model = ['a'] (--set): one value, not a list"),
    ("clip.batch_size=.inf", "task.reward_settings.clip.batch_size = inf (--set): a number, or text, or true or false"),
    ("clip=3", "task.reward_settings.clip = 3 (--set): a mapping from names to values, each a number, or text"),
    ("clip={3: 1}", "task.reward_settings.clip.3 = 1 (--set): a key is text; put it in quotes"),
    ("clip.modle=a", "task.reward_settings.clip.modle = \"a\" (--set): unknown setting; known here: model, pretrained, "
                     "weights, batch_size, dtype; did you mean 'model'?"),
    ("hpsv2.dtype=a", "task.reward_settings.hpsv2.dtype = \"a\" (--set): 'hpsv2' is no reward of this task; "
                      "its rewards are math-correct, clip, own_rewards:letters"),
    ("clpi.model=a", "task.reward_settings.clpi.model = \"a\" (--set): 'clpi' is no reward of this task; "
                     "its rewards are math-correct, clip, own_rewards:letters; did you mean 'clip'?"),
    ("math-correct.a=1", "task.reward_settings.math-correct.a = 1 (--set): 'math-correct' takes no settings; take it"),
])
def test_mistakes_that_the_recipe_shows(setting, told):
    named = "task.rewards={math-correct: 1, clip: 1, own_rewards:letters: 1}"
    line = mistake("math", [named, f"task.reward_settings.{setting}"])
    assert line.startswith(told), line


def test_mistakes_stand_where_they_were_made_and_all_at_once(tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("task:\n  rewards: {clip: 1}\n  reward_settings:\n    clip:\n      modle: a\n      btch_size: 4\n"
                      "    a.b:C:\n      d: 1\n", encoding="utf-8")
    lines = mistakes(str(recipe))
    assert [line.split(":")[0].split(" (")[-1] for line in lines[:2]] == ["line 5)", "line 6)"]
    assert len(lines) == 3 and lines[2].startswith("task.reward_settings.a.b:C.d = 1 (line 8): 'a.b:C' is no reward")


def test_settings_of_a_tasks_own_rewards_are_looked_at_when_they_are_known():
    loaded = config.load("math", ["task.rewards=null", "task.reward_settings.own_rewards:letters.a=1"])
    assert loaded.task.reward_settings == {"own_rewards:letters": {"a": 1}}
    told = mistake("math", ["task.rewards=null", "task.reward_settings.clpi.model=a"])
    assert told.endswith("did you mean 'clip'?") and "unknown reward; known: " in told


def test_settings_without_a_value_are_no_mistake():
    assert config.load("math", ["task.reward_settings.math-correct={}"]).task.reward_settings == {"math-correct": {}}


def test_a_benchmark_leaves_the_settings_behind(tmp_path):
    from maskgrpo_cli.config.evaluation import load_benchmark

    (tmp_path / "mine.yaml").write_text("task: {rewards: {clip: 1}, reward_settings: {clip: {model: ViT-B-32}}}\n")
    assert load_benchmark(str(tmp_path / "mine.yaml"), "gsm8k").task.reward_settings == {}


def test_other_settings_change_a_run():
    then = config.load("math", ["task.rewards={clip: 1}"]).model_dump(mode="json")
    now = config.load("math", ["task.rewards={clip: 1}", "task.reward_settings.clip.model=ViT-B-32"])
    (change,) = changes.changes(then, now, "grpo")
    assert not change.harmless and not change.keeps_rollout and not change.keeps_measure


@pytest.mark.parametrize("name", registry.names("reward"))
def test_the_table_of_settings_is_that_of_the_constructors(name):
    reward = registry.resolve("reward", name)
    taken = set(inspect.signature(reward).parameters) - set(SUPPLIED) if inspect.isclass(reward) else set()
    assert set(registry.settings(name)) == taken
    assert registry.settings("own_rewards:letters") is None


def test_servers_may_move_and_a_run_goes_on():
    def at(**settings):
        given = {"urls": ["http://a"], "deadline": 1, "divide_by": 1, **settings}
        return config.load("math", [overrides.Override("task.rewards", {"remote.first": 1, "clip": 1}),
                                    overrides.Override("task.reward_settings", {"remote.first": given})])

    then = at().model_dump(mode="json")
    (moved,) = changes.changes(then, at(urls=["http://b", "http://c"]), "grpo")
    assert moved.key == "task.reward_settings.remote.first.urls" and moved.harmless
    assert [c.harmless for c in changes.changes(then, at(deadline=9, when_away="stop"), "grpo")] == [True, True]
    (scaled,) = changes.changes(then, at(divide_by=5), "grpo")
    assert not scaled.harmless and not scaled.keeps_rollout


# --- one reward used several times ----------------------------------------------------------------------


def test_a_name_before_a_dot_is_the_reward_and_each_has_settings_of_its_own():
    given = ["task.rewards={remote.unified: 1, remote.hpsv3: 2}", "task.reward_settings.remote.unified.urls=[http://a]",
             "task.reward_settings.remote.hpsv3={urls: [http://b, http://c], divide_by: 5}",
             "task.reward_settings.remote.hpsv3.batch_size=4"]
    assert config.load("math", given).task.reward_settings == {
        "remote.unified": {"urls": ["http://a"]},
        "remote.hpsv3": {"urls": ["http://b", "http://c"], "divide_by": 5, "batch_size": 4},
    }


@pytest.mark.parametrize(("name", "found"), [
    ("remote", "remote"), ("remote.a", "remote"), ("clip.large", "clip"), ("remote.a.b", "remote"),
    ("remote.", None), ("shapes.a", None), ("math-correct.a", None), ("remot.a", None), ("remote.module:f", None),
])
def test_what_a_dotted_name_stands_for(name, found):
    assert registry.registered("reward", name) == found
    assert registry.registered("task", "shapes.a") is None


def test_mistakes_of_dotted_names():
    line = mistake("math", ["task.rewards={remote.a: 1}", "task.reward_settings.remote.a.urll=x"])
    assert line.startswith('task.reward_settings.remote.a.urll = "x" (--set): unknown setting; known here: urls, ')
    line = mistake("math", ["task.rewards={shapes.a: 1}"])
    assert line.startswith("task.rewards.shapes.a = 1.0 (--set): unknown reward; known: ")
    line = mistake("math", ["task.rewards={remote.a: 1}", "task.reward_settings.remote.b.urls=[http://a]"])
    assert "'remote.b' is no reward of this task; its rewards are remote.a; did you mean 'remote.a'?" in line


def test_two_of_one_class_are_two_rewards_under_their_names(train, monkeypatch):
    monkeypatch.setitem(registry.TABLES["reward"], "scaled", SCALED)
    monkeypatch.setitem(registry.REWARD_SETTINGS, "scaled", ("factor", "shift"))
    run = train(**{"task.rewards": {"scaled.one": 1.0, "scaled.ten": 2.0},
                   "task.reward_settings": {"scaled.one": {"factor": 1}, "scaled.ten": {"factor": 10}}})
    for row in run.rows():
        assert row["reward/scaled.ten"] == pytest.approx(10 * row["reward/scaled.one"], rel=1e-5)
        assert row["reward"] == pytest.approx(21 * row["reward/scaled.one"], rel=1e-5)


# --- making them --------------------------------------------------------------------------------------


def test_a_class_gets_its_settings_the_device_and_whether_to_stay_offline():
    scored = rewards({SCALED: 2.0, "own_rewards:letters": 1.0}, {SCALED: {"factor": 3}}, device="meta", offline=True)
    (scaled, plain) = scored._functions
    assert (scaled.factor, scaled.shift, scaled.device, scaled.offline) == (3, 0.0, "meta", True)
    assert plain is letters
    found = scored([PROBLEM] * 2, ["aab", "b"])
    assert found.values.flatten().tolist() == pytest.approx([2.0, 2 / 3, 0.0, 0.0])
    assert found.total.tolist() == pytest.approx([4 + 2 / 3, 0.0])


def test_a_class_is_made_once_and_only_with_what_it_takes():
    (free,) = make(["own_rewards:Free"], {"own_rewards:Free": {"anything": 1, "device": "mine"}}, device="cpu")
    assert free.given == {"anything": 1, "device": "mine"}
    (bare,) = make(["own_rewards:Bare"], {}, device="cpu", offline=True)
    assert bare([""], ["ab"]) == [2.0]


@pytest.mark.parametrize(("weights", "settings", "told"), [
    ({SCALED: 1}, {SCALED: {}}, f"task.reward_settings.{SCALED}.factor: '{SCALED}' needs it; set it"),
    ({SCALED: 1}, {SCALED: {"factor": 1, "shfit": 2}},
     f"task.reward_settings.{SCALED}.shfit = 2: unknown setting; known here: factor, shift; did you mean 'shift'?"),
    ({SCALED: 1}, {SCALED: {"factor": 1, "device": "cpu"}}, f"{SCALED}.device = \"cpu\": unknown setting"),
    ({SCALED: 1}, {SCALED: {"factor": 0}}, f"task.reward_settings.{SCALED}: factor = 0: write another number"),
    ({"own_rewards:letters": 1}, {"own_rewards:letters": {"a": 1}},
     "task.reward_settings.own_rewards:letters.a = 1: 'own_rewards:letters' takes no settings; take it out"),
    ({"own_rewards:letters": 1}, {"own_rewards:leters": {"a": 1}},
     "task.reward_settings.own_rewards:leters.a = 1: 'own_rewards:leters' is no reward of this task; its rewards are "
     "own_rewards:letters; did you mean 'own_rewards:letters'?"),
    ({"own_rewards:Uncallable": 1}, {}, "reward 'own_rewards:Uncallable': the class has no __call__"),
])
def test_mistakes_that_only_the_class_shows(weights, settings, told):
    with pytest.raises(UserError) as caught:
        rewards(weights, settings)
    assert told in str(caught.value)


def test_all_of_them_at_once():
    with pytest.raises(UserError, match="2 mistakes in the settings of the rewards") as caught:
        rewards({SCALED: 1}, {SCALED: {"a": 1}})
    assert str(caught.value).count("\n") == 2


def test_a_run_with_a_class(train):
    run = train(**{"task.rewards": {SCALED: 1.0, "own_rewards:letters": 0.0},
                   "task.reward_settings": {SCALED: {"factor": 10, "shift": 0.5}}})
    for row in run.rows():
        assert row[f"reward/{SCALED}"] == pytest.approx(10 * row["reward/own_rewards:letters"] + 0.5, abs=1e-4)


def test_a_run_tells_mistakes_before_it_begins(train, tmp_path):
    with pytest.raises(UserError, match="factor: '.*Scaled' needs it"):
        train("none", **{"task.rewards": {SCALED: 1.0}})
    assert not (tmp_path / "none" / "metrics.jsonl").exists()


def test_pictures_go_through_to_the_reward():
    from PIL import Image

    pictures = [Image.new("RGB", (width, 4)) for width in (3, 5)]
    found = rewards({"own_rewards:Width": 0.5})([PROBLEM] * 2, pictures)
    assert found.values.tolist() == [[3.0], [5.0]] and torch.equal(found.total, torch.tensor([1.5, 2.5]))
