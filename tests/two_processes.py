"""Carries out runs in two processes: `python two_processes.py PORT RUN...`, a RUN being COMMAND:CONFIG[:STOP|:RESUME].

With STOP the second process alone is told to stop, in its second update.
"""

import sys

import peft  # noqa: F401
import torch._dynamo  # noqa: F401
from conftest import carry_on
from forked import both
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


def work(rank, runs):
    """All runs, one after another, as process `rank` of two."""
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
    sys.exit(both(work, sys.argv[1], sys.argv[2:]))
