"""Runs as real processes: signals, continuing, failures, and what the user is told."""

import json
import os
import shlex
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from conftest import TINY, Run
from test_runs_grpo import same

from maskgrpo_cli import cli

RUN = "from maskgrpo_cli.cli import main; main()"


@pytest.fixture
def begin(tiny_model, tmp_path):
    """`begin(*arguments)`: the command line as a process, in a folder of its own, over a very small run."""
    tests = Path(__file__).parent
    paths = [str(tests), str(tests.parent), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}

    def start(*arguments):
        return subprocess.Popen([sys.executable, "-c", RUN, *arguments], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=env)

    return start


@pytest.fixture
def settings(tiny_model):
    """`settings(**overrides)`: options that make a run very small."""

    def make(overrides):
        changed = {**TINY, "model.path": str(tiny_model), "evaluation.every": 0, **overrides}
        return [part for key, value in changed.items() for part in ("--set", f"{key}={json.dumps(value)}")]

    return make


def finish(process):
    """(exit code, standard output, standard error) of a process."""
    out, errors = process.communicate(timeout=120)
    return process.returncode, out, errors


def until(process, start):
    """Reads a process's output to a line that begins so."""
    assert any(line.startswith(start) for line in process.stdout)


@pytest.fixture
def maskgrpo(monkeypatch, capsys, tmp_path):
    """`maskgrpo(*arguments)`: the command line in this process; (exit code, standard error)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["maskgrpo", *arguments])
        with pytest.raises(SystemExit) as left:
            cli.main()
        return left.value.code or 0, capsys.readouterr().err

    return call


STEPS = {"grpo.steps": 24, "grpo.updates": 3, "grpo.optimizer.lr": 0.001}


def assert_undisturbed(run, whole):
    """A run that was stopped and continued ended as one that was not, to the bit."""
    assert run.metrics() == whole.metrics() and same(run.weights(), whole.weights())
    assert run.completions() == whole.completions()


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_sigterm_ends_with_143_and_the_command_it_names_goes_on(begin, settings, maskgrpo, undisturbed, tmp_path):
    process = begin("grpo", "--output-dir", "my runs/first", *settings({**STEPS, "grpo.save_every": 2}))
    until(process, "step ")
    process.send_signal(signal.SIGTERM)
    status, _, errors = finish(process)
    run = Run(tmp_path / "my runs" / "first", None)
    step = run.checkpoints()[-1]
    assert status == 143 and "Traceback" not in errors
    assert errors.splitlines()[-2:] == [
        f"interrupted: the run is saved in my runs/first/checkpoints/step-{step:06d}",
        "  continue it: maskgrpo grpo --resume 'my runs/first'"]
    assert 0 < len(run.rows()) == step < 24
    assert f"interrupted; saved in my runs/first/checkpoints/step-{step:06d}" in run.log()

    status, errors = maskgrpo(*shlex.split(errors.splitlines()[-1].split("maskgrpo ")[1]))
    assert status == 0, errors
    assert_undisturbed(run, undisturbed(**STEPS))


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_ends_with_130(maskgrpo, settings, monkeypatch, tmp_path):
    from maskgrpo_cli.engine.grpo import Grpo

    original = Grpo.update

    def update(self, rollout, index):
        if (rollout.index, index) == (1, 1):
            signal.raise_signal(signal.SIGINT)
        return original(self, rollout, index)

    monkeypatch.setattr(Grpo, "update", update)
    status, errors = maskgrpo("grpo", "--output-dir", "first", *settings(STEPS))
    assert status == 130
    assert "interrupted: the run is saved in first/checkpoints/step-000004\n" in errors
    assert errors.endswith("  continue it: maskgrpo grpo --resume first\n")
    assert len(Run(tmp_path / "first", None).rows()) == 4


def test_a_run_outlives_its_listener_in_this_process(settings, monkeypatch, capsys, tmp_path):
    """`maskgrpo grpo | head -1`: all 24 steps are made."""
    reading, writing = os.pipe()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["maskgrpo", "grpo", "--output-dir", "first", *settings(STEPS)])
    with os.fdopen(reading) as listener, os.fdopen(os.dup(writing), "w") as speaker:
        os.close(writing)
        monkeypatch.setattr(sys, "stdout", speaker)
        leaving = threading.Thread(target=lambda: [next(listener), listener.close()])
        leaving.start()
        with pytest.raises(SystemExit) as left:
            cli.main()
        leaving.join()
        assert not stat.S_ISFIFO(os.fstat(speaker.fileno()).st_mode)  # nobody heard the rest
    assert not left.value.code, capsys.readouterr().err
    run = Run(tmp_path / "first", None)
    assert len(run.rows()) == 24 and run.checkpoints() == [24]


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize(("number", "code"), [pytest.param(None, 0, marks=pytest.mark.slow), (signal.SIGINT, 130)])
def test_a_run_outlives_those_who_listen(begin, settings, tmp_path, number, code):
    """`maskgrpo grpo | tee log`, Ctrl-C: the terminal ends tee as well, and what is said next has nowhere to go."""
    process = begin("grpo", "--output-dir", "first", *settings(STEPS))
    until(process, "step ")
    process.stdout.close()
    if number:
        process.send_signal(number)
    errors = process.stderr.read()
    assert process.wait(timeout=120) == code, errors
    run = Run(tmp_path / "first", None)
    assert "Traceback" not in errors and run.checkpoints() == [len(run.rows())]
    assert ("the run is saved in" in errors) is bool(number) and (len(run.rows()) == 24) is not bool(number)


@pytest.mark.parametrize("flag", ["FSDP", "DEEPSPEED", "MEGATRON_LM"])
def test_a_launch_that_would_split_the_model_is_refused(maskgrpo, settings, monkeypatch, tmp_path, flag):
    monkeypatch.setenv(f"ACCELERATE_USE_{flag}", "true")
    status, errors = maskgrpo("grpo", "--output-dir", "first", *settings(STEPS))
    assert status == 2 and f"ACCELERATE_USE_{flag}=true" in errors and "every process holds all of it" in errors
    assert not (tmp_path / "first").exists()


def test_a_failed_run_is_one_message_and_exit_code_1(maskgrpo, settings, tmp_path):
    broken = settings({"grpo.optimizer.lr": 1e30, "grpo.optimizer.grad_clip": 0.0, "grpo.save_every": 1})
    status, errors = maskgrpo("grpo", "--output-dir", "first", *broken)
    assert status == 1
    assert "error: step 2: loss nan" in errors and "weights were not changed" in errors
    run = Run(tmp_path / "first", None)
    assert run.checkpoints() == [1] and len(run.rows()) == 1 and not (run.folder / "model").exists()


def test_a_tracker_that_is_not_installed_is_said_before_anything_runs(maskgrpo, settings, monkeypatch, tmp_path):
    monkeypatch.setattr("maskgrpo_cli.engine.devices.is_wandb_available", lambda: False)
    status, errors = maskgrpo("grpo", "--output-dir", "first", "--tracker", "wandb", *settings(STEPS))
    assert (status, errors) == (2, "error: tracker 'wandb' is not installed; write: pip install 'maskgrpo[wandb]'\n")
    assert not (tmp_path / "first").exists()


def test_a_device_without_memory_left_is_one_message(maskgrpo, settings, monkeypatch):
    from maskgrpo_cli.engine.grpo import Grpo

    def update(self, rollout, index):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore.")

    monkeypatch.setattr(Grpo, "update", update)
    status, errors = maskgrpo("grpo", *settings(STEPS))
    assert status == 1 and "error: the device has no memory left: CUDA out of memory. Tried to allocate" in errors
    assert "smaller: grpo.micro_batch_size" in errors and "Traceback" not in errors


def test_rewards_that_all_fail_end_with_1(maskgrpo, settings):
    status, errors = maskgrpo("grpo", *settings({"task.rewards": {"own_rewards:always_raises": 1.0}}))
    assert status == 1 and "error: every reward failed in rollout 0" in errors


@pytest.mark.parametrize(("arguments", "told"), [
    (["grpo", "--resume", "nowhere"], "there is no run in 'nowhere'"),
    (["sft", "--resume", "done"], "belongs to a run of maskgrpo grpo, not sft"),
    (["grpo", "--resume", "done", "--output-dir", "other"], "leave out --output-dir"),
    (["grpo", "--force"], "--force goes with --resume"),
    (["grpo", "--resume", "latest"], "no grpo run in runs/ waits to be continued"),
    (["grpo", "--resume", "done/checkpoints/step-000007"], "in that run there are: step-000001"),
    (["grpo", "--resume", "done/checkpoints/best"], "this run has no best checkpoint")])
def test_what_cannot_be_continued(maskgrpo, train, tmp_path, arguments, told):
    run = train("done", **{"grpo.steps": 1, "grpo.updates": 1})
    status, errors = maskgrpo(*arguments)
    assert status == 2 and told in errors
    assert len(run.rows()) == 1
