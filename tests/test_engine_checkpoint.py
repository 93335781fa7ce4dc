"""Checkpoints on a disk that fills up, loses bytes or cannot be written."""

import os
import resource
import shutil
import signal

import pytest
from conftest import Run, carry_on
from test_runs_grpo import same
from test_runs_resume import Stop

from maskgrpo_cli.engine.resume import Resume
from maskgrpo_cli.errors import Interrupted, RunFailed, UserError

SAVED = {"grpo.save_every": 1, "grpo.keep_checkpoints": 3, "grpo.steps": 4}


def truncate(path):
    """Keep half of a file."""
    os.truncate(path, path.stat().st_size // 2)


def flip(path):
    """Alter one byte in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


@pytest.fixture
def saved(undisturbed, tiny_config):
    """A finished run with three checkpoints, to be damaged."""
    config = tiny_config(**SAVED)
    return Run(shutil.copytree(undisturbed(**SAVED).folder, config.output_dir), config)


@pytest.mark.parametrize("hurt", [truncate, flip, os.unlink])
@pytest.mark.parametrize("name", ["model/model.safetensors", "optimizer.pt", "method.pt", "state.json"])
def test_a_damaged_checkpoint_is_passed_over(saved, hurt, name):
    run = saved
    metrics, weights = run.metrics(), run.weights()
    hurt(run.folder / "checkpoints" / "step-000004" / name)
    if hurt is flip and name == "state.json":
        (run.folder / "checkpoints" / "step-000004" / name).write_text("[]")
    resumed = carry_on(run.config)
    assert "continuing after step 3" in resumed.log() and "step-000004 is passed over" in resumed.log()
    assert resumed.metrics() == metrics and same(resumed.weights(), weights)
    assert run.checkpoints() == [2, 3, 4]
    assert same(run.weights("checkpoints/step-000004"), run.weights("model"))  # made anew


def test_all_damaged_is_one_message(saved):
    run = saved
    for step in (2, 3, 4):
        truncate(run.folder / "checkpoints" / f"step-{step:06d}" / "optimizer.pt")
    with pytest.raises(UserError, match="no complete checkpoint"):
        carry_on(run.config)
    assert len(run.rows()) == 4


@pytest.mark.parametrize(("keep", "left"), [(1, [4]), (2, [3, 4]), (9, [1, 2, 3, 4])])
def test_older_checkpoints_go(train, keep, left):
    assert train(**{**SAVED, "grpo.keep_checkpoints": keep}).checkpoints() == left


def test_a_damaged_checkpoint_does_not_count_as_kept(train, tiny_config):
    """Rotation must leave the last good one, however many damaged ones are newer."""
    run = train(**{**SAVED, "grpo.keep_checkpoints": 2})
    truncate(run.folder / "checkpoints" / "step-000004" / "optimizer.pt")
    longer = tiny_config(**{**SAVED, "grpo.keep_checkpoints": 2, "grpo.steps": 6})
    assert carry_on(longer, resume=Resume(force=True)).checkpoints()[-2:] == [5, 6]


def test_a_later_checkpoint_with_altered_bytes_takes_no_good_one_s_place(train, tiny_config, monkeypatch):
    """Its size is right, so that only a look at every byte tells: the last good one has to stay all the same."""
    run = train(**SAVED)
    flip(run.folder / "checkpoints" / "step-000004" / "optimizer.pt")
    shutil.rmtree(run.folder / "checkpoints" / "step-000003")
    one = tiny_config(**{**SAVED, "grpo.keep_checkpoints": 1})
    with monkeypatch.context() as patch:
        Stop(patch, "update", 2)
        with pytest.raises(Interrupted):
            carry_on(one)
    assert run.checkpoints() == [3, 4]
    assert "continuing after step 3" in carry_on(one).log() and run.checkpoints() == [4]


def test_what_a_killed_process_left_is_cleared(train):
    run = train(**{**SAVED, "grpo.steps": 2})
    left = run.folder / "checkpoints" / ".step-000007.partial"
    left.mkdir()
    (left / "optimizer.pt").write_bytes(b"half")
    shutil.rmtree(run.folder / "checkpoints" / "step-000002")
    assert "continuing after step 1" in carry_on(run.config).log()
    assert not left.exists() and run.checkpoints() == [1, 2]


def test_an_unwritable_place_leaves_earlier_checkpoints(tiny_config, monkeypatch):
    config, original = tiny_config(**SAVED), os.replace

    def replace(source, target):
        if str(target).endswith("step-000003"):
            raise OSError(30, "Read-only file system")
        return original(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        with pytest.raises(RunFailed, match="Read-only file system"):
            carry_on(config, resume=False)
    run = Run(config.output_dir, config)
    assert run.checkpoints() == [1, 2] and not list((run.folder / "checkpoints").glob(".*"))
    assert [row["step"] for row in carry_on(config).rows()] == [1, 2, 3, 4]


def test_a_full_disk_leaves_earlier_checkpoints(train, tiny_config):
    """Files may not grow beyond 100 kB: what the system answers is what a full disk answers, an error of write."""
    run = train(**{**SAVED, "grpo.steps": 2})
    before = run.weights("checkpoints/step-000002")
    longer = tiny_config(**SAVED)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        with pytest.raises(RunFailed, match="step-000003 could not be saved"):
            carry_on(longer, resume=Resume(force=True))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert run.checkpoints() == [1, 2] and not list((run.folder / "checkpoints").glob(".*"))
    assert same(before, run.weights("checkpoints/step-000002"))
    assert [row["step"] for row in carry_on(longer).rows()] == [1, 2, 3, 4]  # forced once is forced
