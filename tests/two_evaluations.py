"""Evaluates in other processes: `python two_evaluations.py PORT MODEL OPTIONS...`, in the working directory.

`killed` is that of one process, killed after its first batch. Two processes leave `cut` where a signal came to both
after their third batch; `pair` was left there too, and continued.
"""

import os
import signal
import sys
import time
from pathlib import Path

import torch  # noqa: F401
from forked import both, forked

from maskgrpo_cli.config import Override
from maskgrpo_cli.config.evaluation import load_begun, load_benchmark
from maskgrpo_cli.engine import evaluation, evaluation_files
from maskgrpo_cli.errors import Interrupted

ORIGINAL = evaluation_files.append


def stop_after(batches):
    """Let a signal come to this process when it has written so many batches; 0: never."""
    seen = []

    def counted(path, batch):
        ORIGINAL(path, batch)
        seen.append(batch)
        if len(seen) == batches:
            signal.raise_signal(signal.SIGTERM)

    evaluation_files.append = counted


def work(rank, arguments):
    """Everything, as process `rank` of two."""
    for folder in ("cut", "pair"):
        config = load_benchmark("math", "arithmetic", [*arguments, Override("output_dir", folder)])
        stop_after(3)
        try:
            evaluation.run(config)
            raise SystemExit(f"{folder}: process {rank} was not interrupted")
        except Interrupted as interruption:
            if (interruption.exit_code, interruption.run) != (143, folder):
                raise
    stop_after(0)
    evaluation.run(load_begun("pair"), resume=True)


def killed(arguments):
    """An evaluation in `killed` of which one batch or a little more is left."""
    config = load_benchmark("math", "arithmetic", [*arguments, Override("output_dir", "killed")])
    child = forked(evaluation.run, config)
    while not Path("killed", "generations.jsonl").exists():
        if os.waitpid(child, os.WNOHANG)[0]:
            raise SystemExit("the evaluation ended before it was killed")
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def overrides(model, options):
    """The options of the command line as changes of the recipe."""
    from typer.main import get_command

    from maskgrpo_cli import cli, cli_keys

    command = get_command(cli.app).commands["eval"]
    with command.make_context("eval", [*options, "--model", model]) as context:
        return cli_keys.overrides("eval", context.params)


if __name__ == "__main__":
    changes = overrides(sys.argv[2], sys.argv[3:])
    killed(changes)
    sys.exit(both(work, sys.argv[1], changes))
