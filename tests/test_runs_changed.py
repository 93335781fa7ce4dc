"""Going on with another recipe, from another checkpoint, from another folder."""

import json
import shutil

import pytest
import torch
from conftest import LORA, Run, carry_on
from test_runs_cli import maskgrpo, settings  # noqa: F401
from test_runs_grpo import same
from test_runs_resume import STEPS, assert_equal_end

from maskgrpo_cli.config import load, runs
from maskgrpo_cli.config.changes import Change, changes
from maskgrpo_cli.engine.resume import Resume
from maskgrpo_cli.errors import UserError

SAVED = {**STEPS, "grpo.save_every": 1, "grpo.keep_checkpoints": 9}


# --- what differs ------------------------------------------------------------------------------------


def test_the_changes_of_a_recipe():
    then = load("math", {"task.rewards": {"a:b": 1.0, "c.d:e": 2.0}}, "grpo").model_dump(mode="json")
    now = load("math", {"task.rewards": {"a:b": 1.0, "f:g": 1.0}, "grpo.optimizer.lr": 0.5, "sft.steps": 3,
                        "grpo.optimizer.betas": [0.5, 0.6]}, "grpo")
    found = {change.key: (change.then, change.now) for change in changes(json.loads(json.dumps(then)), now, "grpo")}
    missing = found["task.rewards.f:g"][0]
    assert found == {"grpo.optimizer.lr": (2e-4, 0.5), "grpo.optimizer.betas": ([0.9, 0.95], [0.5, 0.6]),
                     "task.rewards.c.d:e": (2.0, missing), "task.rewards.f:g": (missing, 1.0)}
    assert [change.key for change in changes(then, now, "sft") if change.key.startswith(("sft", "grpo"))] == [
        "sft.steps"]
    assert changes(then, load("math", {"task.rewards": {"a:b": 1.0, "c.d:e": 2.0}}, "grpo"), "grpo") == []


def test_a_key_that_was_not_known_then_had_its_default():
    config = load("math", {}, "grpo")
    then = config.model_dump(mode="json")
    del then["evaluation"]["patience"]
    assert changes(then, config, "grpo") == []


@pytest.mark.parametrize(("key", "then", "now", "harmless", "impossible"), [
    ("device", "cpu", "cuda", True, False), ("seed", 0, 1, False, False),
    ("grpo.save_every", 0, 1, True, False), ("grpo.steps", 1, 2, False, False), ("grpo.updates", 1, 2, False, True),
    ("model.lora", None, {}, False, True), ("model.lora.rank", 1, 2, False, True),
    ("model.lora.alpha", 1.0, 2.0, False, False), ("model.adapter", None, "a", False, True),
    ("model.adapter", "b", "a", False, False), ("sft.from_scratch.d_model", 1, 2, False, True)])
def test_which_changes_tell(key, then, now, harmless, impossible):
    change = Change(key, then, now)
    assert (change.harmless, bool(change.impossible)) == (harmless, impossible)


# --- a changed recipe --------------------------------------------------------------------------------


@pytest.fixture
def saved(undisturbed, tiny_config):
    """A finished run with a checkpoint of every step, to be continued."""
    config = tiny_config("done", **SAVED)
    return Run(shutil.copytree(undisturbed(**SAVED).folder, config.output_dir), config)


def test_a_changed_recipe_is_shown_and_needs_force(saved, maskgrpo, tiny_config):  # noqa: F811
    before = {path: path.read_bytes() for path in saved.folder.rglob("*") if path.is_file()}
    status, errors = maskgrpo("grpo", "--resume", "done", "--set", "grpo.optimizer.lr=0.5", "--max-steps", "7")
    assert status == 2
    rows = [line.split() for line in errors.splitlines()]
    assert ["key", "then", "now"] in rows and ["grpo.optimizer.lr", "0.01", "0.5"] in rows
    assert ["grpo.steps", "5", "7"] in rows and "add --force" in errors
    assert {path: path.read_bytes() for path in saved.folder.rglob("*") if path.is_file()} == before
    config = (saved.folder / "config.yaml").read_text()
    (saved.folder / "config.yaml").write_text(config.replace("seed: 0", "seed: 4"))  # an edit counts as well
    status, errors = maskgrpo("grpo", "--resume", "done")
    assert status == 2 and ["seed", "0", "4"] in [line.split() for line in errors.splitlines()]


def test_force_goes_on_and_leaves_a_record(saved, maskgrpo, tiny_config):  # noqa: F811
    changed = ("--set", "grpo.optimizer.lr=0.02", "--max-steps", "7")
    shutil.rmtree(saved.folder / "checkpoints" / "step-000005")  # step 4 lies within the updates of a rollout
    status, errors = maskgrpo("grpo", "--resume", "done", "--force", *changed)
    assert status == 0, errors
    assert [row["step"] for row in saved.rows()] == [1, 2, 3, 4, 5, 6, 7]
    assert [row["lr"] for row in saved.rows()[4:6]] != [row["lr"] for row in saved.rows()[2:4]]
    assert saved.rows()[4]["rollout"] == 1 and saved.rows()[4]["kl"] > 0  # the rollout is used up: only steps change
    now = load(str(saved.folder), (), "grpo")
    then = load(str(saved.folder / "config.before-step-000004.yaml"), (), "grpo")
    assert (now.grpo.optimizer.lr, now.grpo.steps) == (0.02, 7)
    assert (then.grpo.optimizer.lr, then.grpo.steps) == (0.01, 5)
    log = saved.log()
    assert "the recipe changed here:" in log and "grpo.optimizer.lr  0.01  0.02" in log
    aside = saved.folder / "set-aside" / "after-step-000004"
    assert [json.loads(line)["step"] for line in (aside / "metrics.jsonl").read_text().splitlines()] == [5]
    status, errors = maskgrpo("grpo", "--resume", "done")  # what was forced is the recipe now
    assert status == 0, errors


def test_a_forced_optimiser_setting_is_what_the_optimiser_uses(saved):
    """The checkpoint's optimiser has settings of its own, which are those of the recipe as it was."""
    shutil.rmtree(saved.folder / "checkpoints" / "step-000005")
    optimizer = saved.config.grpo.optimizer.model_copy(update={"weight_decay": 0.7, "betas": (0.5, 0.6), "eps": 1e-3})
    grpo = saved.config.grpo.model_copy(update={"optimizer": optimizer})
    carry_on(saved.config.model_copy(update={"grpo": grpo}), resume=Resume(force=True))
    saved_state = torch.load(saved.folder / "checkpoints" / "step-000005" / "optimizer.pt", weights_only=True)
    groups = saved_state["param_groups"]
    assert [group["weight_decay"] for group in groups] == [0.7, 0.0]
    assert all(tuple(group["betas"]) == (0.5, 0.6) and group["eps"] == 1e-3 for group in groups)


@pytest.mark.parametrize(("change", "told"), [
    (("task.data=none.jsonl",), "none.jsonl"), (("model.path=./nowhere",), "no such folder"),
    (("model.path=tiny-math",), "this recipe's model has")])
def test_a_forced_change_that_cannot_be_loaded_leaves_the_run_as_it_was(saved, maskgrpo, change, told):  # noqa: F811
    def files():
        return {path: path.read_bytes() for path in saved.folder.rglob("*") if path.is_file()}

    before = files()
    sets = [part for setting in change for part in ("--set", setting)]
    status, errors = maskgrpo("grpo", "--resume", "done/checkpoints/step-000002", "--force", *sets)
    assert status == 2 and told in errors
    assert files().keys() == before.keys()
    assert {path for path, content in files().items() if content != before[path]} <= {saved.folder / "log.txt"}


def test_a_rollout_that_the_new_recipe_would_not_draw_is_drawn_again(saved):
    shutil.rmtree(saved.folder / "checkpoints" / "step-000005")
    sampler = saved.config.sampler.model_copy(update={"temperature": 0.5})
    before = [row for row in saved.rows("completions.jsonl") if row["rollout"] == 1]
    again = carry_on(saved.config.model_copy(update={"sampler": sampler}), resume=Resume(force=True))
    rows = again.rows("completions.jsonl")
    assert [row["rollout"] for row in rows] == [0] * 8 + [1] * 8 and rows[8:] != before
    assert again.rows()[4]["kl"] == 0  # of the policy that drew it
    kept = (again.folder / "set-aside" / "after-step-000004" / "completions.jsonl").read_text()
    assert [json.loads(line) for line in kept.splitlines()] == before


@pytest.mark.parametrize(("change", "told"), [
    (LORA, "model.lora: an adapter was trained then, or is to be now"),
    ({"grpo.updates": 2}, "grpo.updates: it says which steps share a rollout")])
def test_what_no_force_takes(saved, tiny_config, change, told):
    with pytest.raises(UserError, match="cannot be taken up with another recipe") as caught:
        carry_on(tiny_config("done", **{**SAVED, **change}), resume=Resume(force=True))
    assert told in str(caught.value) and len(saved.rows()) == 5


def test_a_model_of_another_size(saved, tiny_config):
    with pytest.raises(UserError, match="parameters, .* of them trained; this recipe's model has"):
        carry_on(tiny_config("done", **SAVED, model__path="tiny-math"), resume=Resume(force=True))


def test_harmless_changes_need_no_force_and_change_nothing(train, undisturbed):
    run = train("cut", **SAVED)
    for step in (4, 5):
        shutil.rmtree(run.folder / "checkpoints" / f"step-{step:06d}")
    grpo = run.config.grpo.model_copy(update={"save_every": 0, "keep_checkpoints": 1})
    again = carry_on(run.config.model_copy(update={"grpo": grpo, "description": "other", "offline": True}))
    assert_equal_end(undisturbed(**STEPS), again)
    assert again.checkpoints() == [5] and "grpo.save_every" in again.log()
    assert load(str(again.folder), (), "grpo").description == "other"
    assert not list(again.folder.glob("config.before-*"))


# --- another checkpoint ------------------------------------------------------------------------------


def test_from_a_checkpoint_in_the_middle_everything_after_is_set_aside(saved, maskgrpo, undisturbed):  # noqa: F811
    status, errors = maskgrpo("grpo", "--resume", "done/checkpoints/step-000002")
    assert status == 0, errors
    assert "continuing after step 2" in saved.log() and "what came after step 2 lies in done/set-aside" in saved.log()
    assert_equal_end(undisturbed(**STEPS), saved)
    aside = saved.folder / "set-aside" / "after-step-000002"
    assert sorted(path.name for path in aside.iterdir()) == [
        "completions.jsonl", "metrics.jsonl", "model", "step-000003", "step-000004", "step-000005", "summary.json"]
    assert len((aside / "metrics.jsonl").read_text().splitlines()) == 3
    assert same(saved.weights("set-aside/after-step-000002/model"), saved.weights("model"))
    maskgrpo("grpo", "--resume", "done/checkpoints/step-000002")
    assert (saved.folder / "set-aside" / "after-step-000002-2" / "step-000005").is_dir()


def test_a_damaged_checkpoint_that_is_asked_for(saved):
    folder = saved.folder / "checkpoints" / "step-000002"
    (folder / "optimizer.pt").write_bytes(b"half")
    with pytest.raises(UserError, match=r"is damaged: optimizer.pt has 4 bytes of \d+\n.*step-000001, step-000003"):
        carry_on(saved.config, resume=Resume(checkpoint=folder))
    assert len(saved.rows()) == 5 and not (saved.folder / "set-aside").exists()


def test_latest_is_the_newest_open_run_of_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make(name, command, started, finished=False):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text("seed: 0\n")
        (folder / "run.json").write_text(json.dumps({"command": command, "started": started}))
        if finished:
            (folder / "summary.json").write_text("{}")

    def idle(run):
        return False

    make("a", "grpo", "2026-01-02")
    make("b", "grpo", "2026-01-01")
    make("c", "sft", "2026-01-09")
    make("d", "grpo", "2026-01-08", finished=True)
    assert runs.find("latest", "grpo", idle).run.name == "a"
    assert runs.find("latest", "sft", idle).run.name == "c"
    assert runs.find("latest", "grpo", lambda run: run.name == "a").run.name == "b"
    with pytest.raises(UserError, match=r"no grpo run in runs/ waits to be continued \(1 finished, 2 at work\)"):
        runs.find("latest", "grpo", lambda run: True)
    with pytest.raises(UserError, match="belongs to a run of maskgrpo sft, not grpo"):
        runs.find("runs/c", "grpo", idle)


def test_a_run_goes_on_from_another_folder(tiny_model, maskgrpo, settings, tmp_path, monkeypatch):  # noqa: F811
    """What the recipe named from the folder where it began is still found."""
    shutil.copytree(tiny_model, tmp_path / "weights")
    (tmp_path / "problems.jsonl").write_text("".join(
        json.dumps({"question": f"{n} + 1?", "answer": str(n + 1)}) + "\n" for n in range(8)))
    here = ["--model", "weights", "--set", "task.data=problems.jsonl"]
    status, errors = maskgrpo("grpo", "--output-dir", "first", *settings({**SAVED}), *here)
    assert status == 0, errors
    shutil.rmtree(tmp_path / "first" / "checkpoints" / "step-000005")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    status, errors = maskgrpo("grpo", "--resume", "../first")
    assert status == 0, errors
    assert [row["step"] for row in Run(tmp_path / "first", None).rows()] == [1, 2, 3, 4, 5]
