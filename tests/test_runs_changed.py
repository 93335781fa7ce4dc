"""Going on with another recipe, from another checkpoint, from another folder; and two processes that want one run."""

import json
import os
import random
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import LORA, Run, carry_on
from test_runs_cli import maskgrpo, settings  # noqa: F401
from test_runs_grpo import same
from test_runs_resume import STEPS, assert_equal_end

from maskgrpo_cli.config import load, runs
from maskgrpo_cli.config.changes import Change, changes
from maskgrpo_cli.engine.lock import RunLock, busy
from maskgrpo_cli.engine.randomness import GlobalRandomness, capture
from maskgrpo_cli.engine.resume import Resume
from maskgrpo_cli.errors import RunFailed, UserError

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


# --- one writer --------------------------------------------------------------------------------------

HOLD = "import sys, time\nfrom pathlib import Path\nfrom maskgrpo_cli.engine.lock import RunLock\n" \
       "RunLock(Path(sys.argv[1])).take()\nprint('held', flush=True)\ntime.sleep(60)"


@pytest.mark.skipif(os.name == "nt", reason="kills")
def test_two_processes_never_write_one_run(saved):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(saved.folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n" and busy(saved.folder)
        with pytest.raises(UserError, match=f"is being written by process {process.pid} on .* since"):
            carry_on(saved.config)
        assert len(saved.rows()) == 5
    finally:
        process.kill()
        process.communicate()
    assert (saved.folder / ".lock").exists() and not busy(saved.folder)  # the word of a process that is gone
    again = carry_on(saved.config)
    assert f"process {process.pid} on " in again.log() and "ended without a word" in again.log()
    assert not (saved.folder / ".lock").exists()


def test_a_file_system_without_locks_believes_the_file(tmp_path, monkeypatch):
    def none(handle):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("maskgrpo_cli.engine.lock.lock_file", none)
    with RunLock(tmp_path) as lock:
        assert lock.take() is None or lock.path.exists()
        with pytest.raises(UserError, match=f"being written by process {os.getpid()}"):
            RunLock(tmp_path).take()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    host = json.dumps({"pid": gone.pid, "host": __import__("socket").gethostname(), "since": "then"})
    (tmp_path / ".lock").write_text(host)
    assert "since then" in RunLock(tmp_path).take()
    (tmp_path / ".lock").write_text(json.dumps({"pid": 1, "host": "another", "since": "then"}))
    with pytest.raises(UserError, match="if it is long gone, delete"):
        RunLock(tmp_path).take()


def test_a_new_run_leaves_no_lock(train):
    run = train()
    assert not (run.folder / ".lock").exists()
    assert json.loads((run.folder / "run.json").read_text())["command"] == "grpo"


# --- random states, time, room -----------------------------------------------------------------------


def test_global_generators_are_the_run_s_and_given_back():
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    before = capture()

    def draws():
        return random.random(), float(np.random.rand()), float(np.random.randn()), torch.rand(1).item()

    with GlobalRandomness(1, 0) as mine:
        first = draws()
        mine.mark()
        kept, second = [torch_plain(mine.marked)], draws()
    with GlobalRandomness(1, 0) as mine:
        assert draws() == first
        mine.take_up(kept)
        assert draws() == second
    with GlobalRandomness(1, 1):
        assert draws() != first
    after = capture()
    assert after["python"] == before["python"] and after["numpy"] == before["numpy"]
    assert torch.equal(after["torch"], before["torch"])


def torch_plain(state):
    """A state as it comes back from a checkpoint's file."""
    import io

    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_the_same_seed_gives_the_same_run_with_a_reward_that_draws(train):
    drawn = {"task.rewards": {"own_rewards:drawn": 1.0}}
    first, second, other = (train(name, **drawn, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert first.metrics() == second.metrics() != other.metrics()
    assert (first.folder / "model/model.safetensors").read_bytes() == (
        second.folder / "model/model.safetensors").read_bytes()


def test_time_is_counted_over_all_sessions(saved):
    shutil.rmtree(saved.folder / "checkpoints" / "step-000005")
    state = saved.folder / "checkpoints" / "step-000004" / "state.json"
    about = json.loads(state.read_text())
    state.write_text(json.dumps({**about, "seconds": {"all": 5000.0, "training": 3000.0}}))
    carry_on(saved.config)
    summary = json.loads((saved.folder / "summary.json").read_text())
    assert 5000 < summary["seconds"] < 5600 and 3000 < summary["seconds_training"] < 3600


def test_a_result_that_does_not_fit_loses_nothing(tiny_config, undisturbed, monkeypatch):
    from maskgrpo_cli.engine import training

    config, original = tiny_config(), os.replace

    def full(source, target):
        if str(target).endswith("run/model"):
            raise OSError(28, "No space left on device")
        return original(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(training.os, "replace", full)
        with pytest.raises(RunFailed, match="No space left on device\n  nothing is lost"):
            carry_on(config, resume=False)
    run = Run(config.output_dir, config)
    assert not (run.folder / "model").exists() and not (run.folder / ".result.partial").exists()
    assert same(carry_on(config).weights(), undisturbed().weights())


def test_an_empty_data_set_leaves_no_run(maskgrpo, settings, tmp_path):  # noqa: F811
    (tmp_path / "none.jsonl").write_text("")
    status, errors = maskgrpo("grpo", "--output-dir", "first", *settings({}), "--set", "task.data=none.jsonl")
    assert status == 2 and "none.jsonl" in errors and "Traceback" not in errors
    assert not (tmp_path / "first").exists()


def test_a_place_that_cannot_be_written(maskgrpo, settings, tmp_path):  # noqa: F811
    (tmp_path / "file").write_text("")
    status, errors = maskgrpo("grpo", "--output-dir", "file/run", *settings({}))
    assert status == 2 and "cannot be written: Not a directory" in errors
