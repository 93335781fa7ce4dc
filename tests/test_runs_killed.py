"""kill -9 wherever it strikes: rollout, scoring, update, saving. Continued, the end is the same to the byte."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import LORA, TINY, Run

from maskgrpo_cli.config import dump, load

pytestmark = pytest.mark.skipif(not hasattr(os, "fork") or not hasattr(signal, "SIGKILL"), reason="forks and kills")
HERE = Path(__file__).parent

# A reward that draws from the global generators, evaluations that draw too, a reference that is refreshed, a
# checkpoint at every second step of three updates.
HARD = {
    "task.rewards": {"own_rewards:drawn": 1.0},
    "evaluation.every": 5, "evaluation.limit": 2, "evaluation.metric": "reward", "evaluation.final_limit": 2,
    "evaluation.temperatures": [0.0],
    "grpo.steps": 60, "grpo.updates": 3, "grpo.save_every": 2, "grpo.micro_batch_size": 4,
    "grpo.objective.beta": 0.02, "grpo.objective.sync_ref_steps": 4, "grpo.optimizer.lr": 0.001,
    "grpo.optimizer.schedule": "cosine", "sft.steps": 60, "sft.save_every": 2, "sft.micro_batch_size": 2,
}


def order(folder, model, name, command="grpo", kills=4, processes=1, **settings):
    """What killed.py is to do in `folder`, and the two runs that it leaves."""
    config = load("math", {**TINY, **HARD, "model.path": str(model), **settings}, command)
    (folder / f"{name}.yaml").write_text(dump(config))
    whole, cut = folder / f"{name}-whole", folder / f"{name}-cut"
    wanted = {"command": command, "recipe": f"{name}.yaml", "whole": str(whole), "cut": str(cut), "kills": kills,
              "processes": processes, "seed": kills}
    return wanted, (Run(whole, config), Run(cut, config))


def kill(folder, orders):
    """Carry out the orders; every phase must have been hit."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, str(HERE / "killed.py"), json.dumps(orders)],
                          env=env, capture_output=True, text=True, timeout=1800, cwd=folder)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    for wanted, hits in zip(orders, json.loads(done.stdout.splitlines()[-1])):
        assert sum(hits.values()) >= wanted["kills"] and min(hits.values()) >= wanted["kills"] // len(hits), hits


def results(run):
    """Name -> bytes of the run's weights, its completions, and its last checkpoint's weights and optimiser."""
    last = run.folder / "checkpoints" / f"step-{run.checkpoints()[-1]:06d}"
    files = [*run.folder.glob("model/*.safetensors"), *run.folder.glob("adapter/*.safetensors"),
             *run.folder.glob("completions.jsonl"), *last.glob("*/*.safetensors"), last / "optimizer.pt"]
    found = {str(path.relative_to(run.folder)): path.read_bytes() for path in files}
    assert len(found) >= 3
    return found


def assert_same_end(whole, cut):
    assert cut.metrics() == whole.metrics()
    ours, theirs = results(whole), results(cut)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []
    summaries = [json.loads((run.folder / "summary.json").read_text()) for run in (whole, cut)]
    assert summaries[0]["evaluations"] == summaries[1]["evaluations"] and summaries[0]["best"] == summaries[1]["best"]
    best = [(run.folder / "checkpoints" / "best").read_text() for run in (whole, cut)]
    assert best[0] == best[1] and (cut.folder / "checkpoints" / best[0].strip()).is_dir()


def test_killed_at_four_moments_and_two_processes_at_one(tiny_model, tmp_path):
    short = {"grpo.steps": 8, "evaluation.final_limit": 0}
    one, runs = order(tmp_path, tiny_model, "one", kills=4, **{"grpo.steps": 18})
    two, pair = order(tmp_path, tiny_model, "two", kills=1, processes=2, **short)
    kill(tmp_path, [one, two])
    assert_same_end(*runs)
    assert_same_end(*pair)


@pytest.mark.slow
@pytest.mark.parametrize(("command", "settings"), [
    ("grpo", {}), ("grpo", LORA), ("grpo", {"grpo.save_every": 1}), ("sft", {})],
    ids=["full", "lora", "each-step", "sft"])
def test_killed_at_twenty_moments(tiny_model, tmp_path, command, settings):
    wanted, runs = order(tmp_path, tiny_model, "run", command, kills=20, **settings)
    kill(tmp_path, [wanted])
    assert_same_end(*runs)


@pytest.mark.slow
def test_two_processes_killed_at_eight_moments(tiny_model, tmp_path):
    wanted, runs = order(tmp_path, tiny_model, "run", kills=8, processes=2)
    kill(tmp_path, [wanted])
    assert_same_end(*runs)
