"""Kills runs with SIGKILL and continues them: `python killed.py JSON`, printing how often each phase was hit.

The JSON is a list of orders with `command`, `recipe`, the directories `whole` and `cut` of the run that is left alone
and of the one that is killed, `processes`, `kills` and `seed`. Every session is the real command line in processes
forked after the imports, which take longer than everything else. The processes say on a pipe which phase they are in;
nothing of the run is replaced.
"""

import json
import os
import random
import signal
import socket
import sys
import time

import peft  # noqa: F401
import torch._dynamo  # noqa: F401
from transformers import PreTrainedTokenizerFast  # noqa: F401

import maskgrpo_cli.models.llada  # noqa: F401
from maskgrpo_cli import cli
from maskgrpo_cli.engine import checkpoint, grpo, session, sft  # noqa: F401

PHASES = {"grpo": ["rollout", "score", "update", "save"], "sft": ["update", "save"]}


def say_phases(pipe):
    """Let this process write a line at every report of a phase, and before and after a checkpoint."""
    progress, save = session.Session.progress, checkpoint.save

    def say(word):
        os.write(pipe, f"{word}\n".encode())

    def reported(self, name):
        report = progress(self, name)
        say(name)

        def both(done, of):
            say(name)
            report(done, of)

        return both

    def saved(*args, **kwargs):
        say("save")
        folder = save(*args, **kwargs)
        say("saved")
        return folder

    session.Session.progress, checkpoint.save = reported, saved


def begin(arguments, processes):
    """Start the command line in as many processes; returns their ids and the reading end of the pipe."""
    reading, writing = os.pipe()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    ids = []
    for rank in range(processes):
        child = os.fork()
        if child == 0:
            os.close(reading)
            if processes > 1:
                os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(processes),
                                  LOCAL_WORLD_SIZE=str(processes), MASTER_ADDR="127.0.0.1", MASTER_PORT=port,
                                  ACCELERATE_USE_CPU="true")
            if rank == 0:
                say_phases(writing)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.argv = ["maskgrpo", *arguments]
            code = 0
            try:
                cli.main()
            except SystemExit as left:
                code = left.code or 0
            except BaseException:
                import traceback

                traceback.print_exc()
                code = 99
            finally:
                os._exit(code)
        ids.append(child)
    os.close(writing)
    return ids, os.fdopen(reading, "r")


def finish(ids):
    """Exit codes; that of a killed process is negative."""
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in ids]


def kill_in(phase, count, delay, arguments, processes):
    """Kill a session `delay` seconds after the phase's report number `count`; the phase that was really hit."""
    ids, pipe = begin(arguments, processes)
    with pipe:
        for line in pipe:
            count -= line.strip() == phase
            if count == 0:
                break
        time.sleep(delay)
        for child in ids:
            os.kill(child, signal.SIGKILL)
        last = [line, *pipe][-1].strip()
    codes = finish(ids)
    assert codes == [-signal.SIGKILL] * processes, f"the run is too short for this machine: {codes}"
    return last


def carry_out(command, recipe, whole, cut, processes, kills, seed):
    """Both runs; phase -> how many kills hit it."""
    moments, phases = random.Random(seed), PHASES[command]
    ids, pipe = begin([command, "--recipe", recipe, "--output-dir", whole], processes)
    with pipe:
        assert "saved\n" in list(pipe)
    assert finish(ids) == [0] * processes
    hits = {phase: 0 for phase in phases}
    arguments = [command, "--recipe", recipe, "--output-dir", cut]
    for _ in range(3 * kills):
        wanted = min(phases, key=lambda phase: (hits[phase], moments.random()))
        hit = kill_in(wanted, moments.randint(1, 3), moments.uniform(0, 0.004), arguments, processes)
        if hit in hits:
            hits[hit] += 1
        arguments = [command, "--resume", cut]
        if sum(hits.values()) >= kills and min(hits.values()) >= kills // len(phases):
            break
    ids, pipe = begin(arguments, processes)
    with pipe:
        for _ in pipe:
            pass
    assert finish(ids) == [0] * processes
    return hits


if __name__ == "__main__":
    print(json.dumps([carry_out(**order) for order in json.loads(sys.argv[1])]))
