"""A run that waits for its reward server: Ctrl-C saves it at once, two processes wait together."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from conftest import TINY, Run, carry_on
from remote_servers import Local, speaks

from maskgrpo_cli.config import dump, load
from maskgrpo_cli.engine.resume import Resume
from maskgrpo_cli.errors import Interrupted

HERE = Path(__file__).parent
LETTERS = "own_rewards:letters"


def asking(server, **settings):
    quick = {"urls": server.url, "batch_size": 2, "rest": 0.05, "deadline": 0.3, **settings}
    return {"task.rewards": {"remote": 1.0}, "task.reward_settings": {"remote": quick}}


def same(run, other):
    ours, theirs = run.weights(), other.weights()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def after(posts, answer):
    """Speaks version 1; what is to be scored after so many posts gets `answer(asked)` until that is None."""
    count = [0]

    def score(asked):
        count[0] += 1
        return (count[0] > posts and answer(asked)) or speaks()(asked)

    return speaks(score)


def test_ctrl_c_while_it_waits_saves_and_it_ends_as_if_nothing_had_been(train, tiny_config, undisturbed):
    away = threading.Event()
    away.set()
    with Local(after(4, lambda asked: (503, {}, b"") if away.is_set() else None)) as server:
        heard = threading.Event()

        def press():
            while sum(asked.path == "/readyz" for asked in server.asked) < 3:  # it has begun to wait
                time.sleep(0.02)
            heard.set()
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=press, daemon=True).start()
        with pytest.raises(Interrupted) as caught:
            train("run", **asking(server, deadline=600.0))
        assert heard.is_set() and caught.value.exit_code == 130
        assert caught.value.saved.endswith("step-000002")  # the second rollout had not been rewarded
        away.clear()
        config = tiny_config("run", **asking(server))  # another deadline is no other recipe
        assert same(carry_on(config, resume=Resume()), undisturbed(**{"task.rewards": {LETTERS: 1.0}}))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.slow
def test_two_processes_wait_together_and_leave_a_reward_out_together(tiny_model, tmp_path):
    until = [0.0]

    def for_a_while(asked):
        until[0] = until[0] or time.monotonic() + 2.0
        return (503, {}, b"") if time.monotonic() < until[0] else None

    spread = {"grpo.prompts": 3, "evaluation.every": 2, "evaluation.limit": 3, "evaluation.final_limit": 3}
    with Local(after(9, for_a_while)) as first, Local(after(14, for_a_while)) as second:
        both = asking(second, when_away="leave-out")
        both["task.rewards"] = {"remote": 1.0, LETTERS: 1.0}
        kinds = {"here": {"task.rewards": {LETTERS: 1.0}}, "waits": asking(first), "without": both}
        runs = {}
        for kind, changes in kinds.items():
            config = load("math", {**TINY, **spread, **changes, "model.path": str(tiny_model),
                                   "output_dir": str(tmp_path / kind)}, "grpo")  # fmt: skip
            (tmp_path / f"{kind}.yaml").write_text(dump(config))
            runs[kind] = Run(config.output_dir, config)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)]), "OMP_NUM_THREADS": "1"}
        wanted = [f"grpo:{tmp_path / kind}.yaml" for kind in ("here", "waits")]
        script = [sys.executable, str(HERE / "two_processes.py"), port]
        done = subprocess.run([*script, *wanted], env=env, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr[-6000:]
        until[0] = 0.0
        done = subprocess.run([*script, f"grpo:{tmp_path / 'without'}.yaml"], env=env, capture_output=True, text=True,
                              timeout=600)  # fmt: skip
        assert done.returncode == 0, done.stderr[-6000:]
    assert same(runs["waits"], runs["here"]) and "WAITS" in runs["waits"].log()
    rows = runs["without"].rows()
    assert {row["reward/remote/away"] for row in rows} == {0.0, 1.0}
    for row in rows:
        assert (row["reward/remote"] is None) == (row["reward/remote/away"] == 1.0)
        part = 2 if row["reward/remote"] is not None else 1
        assert row["reward"] == pytest.approx(part * row[f"reward/{LETTERS}"], rel=1e-5)
