"""Two processes do what one does: the same completions, the same metrics within 1e-5."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import LORA, TINY, Run, carry_on
from test_engine_invariants import near
from test_runs_grpo import same

from maskgrpo_cli.config import dump, load

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
HERE = Path(__file__).parent

# A micro-batch of 3 does not divide the 6 samples of a process; a group of 4 lies across both.
SPLIT = {"grpo.prompts": 3, "grpo.micro_batch_size": 3, "sampler.batch_size": 4, "grpo.log_completions": 12}
EVALUATED = {"evaluation.every": 2, "evaluation.limit": 3, "evaluation.final_limit": 3}
KINDS = {
    "plain": ("grpo", {**SPLIT, **EVALUATED}),
    "sequences": ("grpo", {**SPLIT, "grpo.objective.name": "gspo", "grpo.objective.beta": 0.1}),
    "failing": ("grpo", {**SPLIT, "task.rewards": {"own_rewards:nan_sometimes": 1.0}}),
    "lora": ("grpo", {**SPLIT, **LORA, "grpo.objective.beta": 0.1, "grpo.objective.sync_ref_steps": 1}),
    "sft": ("sft", {"sft.batch_size": 6, "sft.micro_batch_size": 2}),
}


def configs(folder, model):
    """(command, config) of every kind, to be run in `folder`."""
    return {kind: (command, load("math", {**TINY, **changes, "model.path": model, "output_dir": str(folder / kind)},
                                 command)) for kind, (command, changes) in KINDS.items()}


@pytest.fixture(scope="module")
def pair(tiny_model, tmp_path_factory):
    """Kind -> the run of two processes; `cut` was stopped by a signal to one of them, and continued."""
    folder = tmp_path_factory.mktemp("pair")
    runs, wanted = {}, []
    for kind, (command, config) in configs(folder, str(tiny_model)).items():
        runs[kind] = Run(config.output_dir, config)
        (folder / f"{kind}.yaml").write_text(dump(config))
        wanted.append(f"{command}:{folder / kind}.yaml")
    cut = runs["plain"].config.model_copy(update={"output_dir": str(folder / "cut")})
    runs["cut"] = Run(cut.output_dir, cut)
    (folder / "cut.yaml").write_text(dump(cut))
    wanted += [f"grpo:{folder / 'cut'}.yaml:STOP", f"grpo:{folder / 'cut'}.yaml:RESUME"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, str(HERE / "two_processes.py"), port, *wanted],
                          env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    return runs


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_do_what_one_does(pair, tiny_model, tmp_path, kind):
    command, config = configs(tmp_path, str(tiny_model))[kind]
    alone = carry_on(config, command, resume=False)
    near(alone.metrics(), pair[kind].metrics())
    if command == "grpo":
        assert alone.completions() == pair[kind].completions()
    a, b = alone.weights(), pair[kind].weights()
    assert a.keys() == b.keys() and all((a[name] - b[name]).abs().max() < 1e-4 for name in a)
    summary = (pair[kind].folder / "summary.json").read_text()
    assert '"processes": 2' in summary


def test_a_signal_to_one_process_stops_both_and_they_go_on(pair):
    """Inside the updates of a rollout that is spread over both."""
    assert "interrupted; saved in" in pair["cut"].log() and "continuing after step" in pair["cut"].log()
    assert pair["cut"].metrics() == pair["plain"].metrics()
    assert pair["cut"].completions() == pair["plain"].completions()
    assert same(pair["cut"].weights(), pair["plain"].weights())
