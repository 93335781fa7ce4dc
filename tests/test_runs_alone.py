"""What a run has to itself: its directory, the global generators, its time; and a place that has no room for it."""

import json
import os
import random
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import Run, carry_on
from test_runs_cli import maskgrpo, settings  # noqa: F401
from test_runs_grpo import same
from test_runs_resume import STEPS

from maskgrpo_cli.engine.lock import RunLock, busy
from maskgrpo_cli.engine.randomness import GlobalRandomness, capture
from maskgrpo_cli.errors import RunFailed, UserError

SAVED = {**STEPS, "grpo.save_every": 1, "grpo.keep_checkpoints": 9}


@pytest.fixture
def saved(undisturbed, tiny_config):
    """A finished run with a checkpoint of every step."""
    config = tiny_config("done", **SAVED)
    return Run(shutil.copytree(undisturbed(**SAVED).folder, config.output_dir), config)


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
