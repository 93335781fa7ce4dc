"""Carries out runs in two processes: `python two_processes.py PORT RUN...`, a RUN being COMMAND:CONFIG[:STOP|:RESUME].

With STOP the second process alone is told to stop, in its second update. Forked after the imports, which take
longer than everything else.
"""

import os
import sys

import peft  # noqa: F401
import torch._dynamo  # noqa: F401
from conftest import carry_on
from transformers import PreTrainedTokenizerFast  # noqa: F401

import maskgrpo_cli.models.llada  # noqa: F401
from maskgrpo_cli.config import load
from maskgrpo_cli.engine import grpo, session, sft  # noqa: F401
from maskgrpo_cli.errors import Interrupted


def stop_second(rank):
    """Make the second process hear a signal in its second update; the first one hears nothing."""
    original, seen = session.Session.progress, []

    def progress(self, name):
        report = original(self, name)

        def counted(done, of):
            seen.append(name)
            if rank == 1 and seen.count("update") == 2:
                self.interrupts.received = 15
            report(done, of)

        return counted

    session.Session.progress = progress
    return original


def work(rank, port, runs):
    """All runs, one after another, as process `rank` of two."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", LOCAL_WORLD_SIZE="2",
                      MASTER_ADDR="127.0.0.1", MASTER_PORT=port, ACCELERATE_USE_CPU="true")
    for run in runs:
        command, path, *how = run.split(":")
        config = load(path, (), command)
        if "STOP" in how:
            original = stop_second(rank)
            try:
                carry_on(config, command, resume=False)
                raise SystemExit(f"{path}: process {rank} was not interrupted")
            except Interrupted as interruption:
                assert interruption.exit_code == 143 and interruption.saved
            finally:
                session.Session.progress = original
        else:
            carry_on(config, command, resume="RESUME" in how)


if __name__ == "__main__":
    children = []
    for rank in (0, 1):
        child = os.fork()
        if child == 0:
            try:
                work(rank, sys.argv[1], sys.argv[2:])
            except BaseException:
                import traceback

                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    sys.exit(max(abs(code) for code in codes))
