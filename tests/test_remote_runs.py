"""Runs whose rewards real server processes make: the same weights as in process, whatever happens to the servers."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
import torch
from conftest import carry_on
from remote_servers import INFO, Local, scored, speaks
from reward_servers import HERE, PATIENCE, light, real

from maskgrpo_cli.engine.resume import Resume
from maskgrpo_cli.errors import Stopped

LETTERS = "own_rewards:letters"
HOOK = "test_remote_runs:at_each_batch"
happens = {}  # number of a batch -> what is done before the servers are asked
batches = []


def at_each_batch(prompts, completions, **columns):
    """A reward of nothing, at which a test may do something to the servers."""
    batches.append(len(prompts))
    happens.get(len(batches), lambda: None)()
    return [0.0] * len(prompts)


class Servers:
    """Two servers of `letters`, which may be killed and started again on their ports."""

    def __init__(self, folder):
        self.folder, self.stack, self.starts = folder, contextlib.ExitStack(), 0
        self.servers = [self._start(0), self._start(0)]
        self.ports = [server.port for server in self.servers]

    def _start(self, port):
        self.starts += 1
        return self.stack.enter_context(light(self.folder, [LETTERS], name=f"server-{self.starts}", port=port))

    @property
    def urls(self):
        return [f"http://127.0.0.1:{port}" for port in self.ports]

    def kill(self, *places):
        for place in places:
            self.servers[place].process.kill()
            self.servers[place].process.wait()

    def start(self, *places):
        for place in places:
            self.servers[place] = self._start(self.ports[place])

    def asked(self, place):
        return sum(line["event"] == "request" and line["path"] == "/v1/score" for line in self.servers[place].lines())


@pytest.fixture
def servers(tmp_path, whole):  # which counts batches, too
    batches.clear()
    happens.clear()
    servers = Servers(tmp_path)
    with servers.stack:
        yield servers


@pytest.fixture
def whole(undisturbed):
    """The same run with the reward in process."""
    return undisturbed(**{"task.rewards": {HOOK: 0.0, LETTERS: 1.0}, "grpo.steps": 6})


def asking(servers, **settings):
    quick = {"urls": servers.urls, "reward": LETTERS, "batch_size": 2, "rest": 0.05, **settings}
    return {"task.rewards": {HOOK: 0.0, "remote": 1.0}, "task.reward_settings": {"remote": quick}, "grpo.steps": 6}


def same(run, other):
    ours, theirs = run.weights(), other.weights()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_servers_give_the_rewards_and_weights_of_one_process(servers, whole, train):
    run = train(**asking(servers))
    assert len(batches) >= 3 and servers.asked(0) and servers.asked(1)
    assert same(run, whole) and len({row["reward/remote"] for row in run.rows()}) > 1
    assert [row["reward/remote"] for row in run.rows()] == [row[f"reward/{LETTERS}"] for row in whole.rows()]
    assert all(row["reward/remote/away"] == 0 for row in run.rows() if "reward/remote/away" in row)


def test_it_goes_on_when_one_of_two_is_killed(servers, whole, train):
    happens[2] = lambda: servers.kill(0)
    run = train(**asking(servers))
    assert same(run, whole)
    assert f"{servers.urls[0]} does not answer" in run.log() and "WAITS" not in run.log()


def test_it_waits_while_all_are_away_and_ends_with_the_same_weights(servers, whole, train):
    def outage():
        servers.kill(0, 1)
        restarting.start()

    def back():
        time.sleep(1.5)
        servers.start(0, 1)

    restarting = threading.Thread(target=back)
    happens[2] = outage
    run = train(**asking(servers, deadline=0.5))
    restarting.join()
    assert same(run, whole)
    assert "the run WAITS for it (when_away: wait)" in run.log() and "answers again after" in run.log()


def test_a_batch_is_left_without_the_reward_and_says_so(servers, train):
    happens[2] = lambda: servers.kill(0, 1)
    happens[3] = lambda: servers.start(0, 1)
    changes = asking(servers, deadline=0.5, when_away="leave-out")
    changes["task.rewards"] = {HOOK: 0.0, "remote": 1.0, LETTERS: 1.0}
    run = train(**changes)
    away = [row["reward/remote/away"] for row in run.rows() if "reward/remote/away" in row]
    assert away == [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]  # two steps for each batch
    left = next(row for row in run.rows() if row.get("reward/remote/away") == 1.0)
    assert left.get("reward/remote") is None  # no zero stands in for it
    assert "LEFT OUT of this batch (when_away: leave-out)" in run.log()


def test_nothing_is_learnt_from_no_reward_at_all(train):
    with Local(speaks()) as gone:
        changes = asking(SimpleNamespace(urls=[gone.url]), deadline=0.5, when_away="leave-out")
    changes["task.rewards"] = {"remote": 1.0}
    with pytest.raises(Stopped, match="all rewards are away"):
        train(**changes)


def test_it_stops_with_a_checkpoint_from_which_it_goes_on(servers, whole, train, tiny_config):
    happens[2] = lambda: servers.kill(0, 1)
    changes = asking(servers, deadline=0.5, when_away="stop")
    with pytest.raises(Stopped, match="is away, and its when_away is stop") as caught:
        train(**changes)
    assert caught.value.saved and "--resume" in caught.value.resume
    servers.start(0, 1)
    assert same(carry_on(tiny_config(**changes), resume=Resume()), whole)


def test_a_server_that_answers_nonsense_stops_the_run_with_a_checkpoint(train):
    info = {**INFO, "rewards": [{"name": LETTERS, "version": "1"}]}
    with Local(speaks(lambda asked: scored(asked, [0.5]), info)) as bad:
        settings = {"remote": {"urls": bad.url, "batch_size": 2}}
        with pytest.raises(Stopped, match="has 1 scores for 2 items") as caught:
            train(**{"task.rewards": {"remote": 1.0}, "task.reward_settings": settings})
    assert caught.value.saved and str(caught.value).startswith(bad.url)


# --- the recipe, as it is called ----------------------------------------------------------------------


def grpo(folder, *more):
    command = [sys.executable, "-m", "maskgrpo_cli", "grpo", "--recipe", "text-to-image-server", "--device", "cpu"]
    small = ["grpo.steps=24", "grpo.prompts=2", "grpo.group_size=4", "grpo.micro_batch_size=8", "sampler.steps=4",
             "evaluation.every=0", "evaluation.final_limit=0"]  # fmt: skip
    settings = [word for change in [*small, *more] for word in ("--set", change)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (folder.parent / f"{folder.name}.txt").open("wb") as said:
        return subprocess.Popen(
            [*command, "--output-dir", str(folder), *settings], stdout=said, stderr=said, env=environment, cwd=HERE
        )


def rows(folder):
    path = folder / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def until(condition, process):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.02)


def result(folder):
    from conftest import Run

    return Run(folder, None)


@pytest.mark.slow
def test_the_recipe_survives_the_death_of_one_and_an_outage_of_twenty_seconds(tmp_path):
    here = grpo(tmp_path / "here", "task.rewards={shapes: 1.0}", "task.reward_settings={}")
    assert here.wait(600) == 0, (tmp_path / "here.txt").read_text()
    with contextlib.ExitStack() as stack:

        def start(name, *port):
            (tmp_path / name).mkdir()
            return stack.enter_context(real(tmp_path / name, "--reward", "shapes", *port))

        servers = [start("one"), start("two")]
        ports = [server.port for server in servers]
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        told = f"task.reward_settings.remote.urls={json.dumps(urls)}"
        there = grpo(tmp_path / "there", told, "task.reward_settings.remote.deadline=5")
        stack.callback(there.kill)
        until(lambda: len(rows(tmp_path / "there")) >= 4, there)
        servers[0].process.kill()  # SIGKILL
        seen = len(rows(tmp_path / "there"))
        until(lambda: len(rows(tmp_path / "there")) >= seen + 5, there)
        servers[1].process.kill()
        time.sleep(20)
        assert there.poll() is None, "the run ended before the outage"
        for name, port in zip(("one again", "two again"), ports, strict=True):
            start(name, "--port", str(port))
        assert there.wait(600) == 0, (tmp_path / "there.txt").read_text()
    log = result(tmp_path / "there").log()
    assert "WAITS" in log and "answers again after" in log
    assert same(result(tmp_path / "there"), result(tmp_path / "here"))
    pairs = zip(rows(tmp_path / "here"), rows(tmp_path / "there"), strict=True)
    assert all(one.get("reward/shapes") == two.get("reward/remote") for one, two in pairs)
