"""`maskgrpo lm-eval`: the harness's own command line, with our model and our tasks made known to it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import maskgrpo_cli
from maskgrpo_cli.errors import UserError

TASKS = Path(maskgrpo_cli.__file__).parent / "assets" / "lm_eval"


def run(arguments: Sequence[str], data: str | None) -> None:
    """Run lm-eval on `arguments`, with `--model maskgrpo` and our tasks unless they say otherwise.

    Raises UserError where lm-eval is missing, or refuses what it was told.
    """
    try:
        from lm_eval.__main__ import cli_evaluate
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] != "lm_eval":
            raise
        raise UserError("lm-eval is not installed; write: pip install 'maskgrpo[lm-eval]'") from error
    from maskgrpo_cli.engine.harness import model  # noqa: F401 - which registers itself

    before = sys.argv
    sys.argv = ["lm-eval", "--model", "maskgrpo", "--include_path", str(TASKS), *_metadata(arguments, data), *arguments]
    try:
        cli_evaluate()
    except (ValueError, KeyError, OSError) as error:
        no_network = isinstance(error, ConnectionError)  # a task's data are not to be had
        if not no_network and not _raised_by_harness(error.__traceback__):
            raise
        raise UserError(f"lm-eval: {error}") from error
    finally:
        sys.argv = before


def _metadata(arguments: Sequence[str], data: str | None) -> list[str]:
    """The harness's way of telling a task where its data lie."""
    if data is None:
        return []
    if any(argument.partition("=")[0] == "--metadata" for argument in arguments):
        raise UserError(f"--data and --metadata: write both as --metadata '{json.dumps({'data': data})[:-1]}, ...}}'")
    return ["--metadata", json.dumps({"data": data})]


def _raised_by_harness(trace: TracebackType | None) -> bool:
    """Whether lm-eval itself raised: its users' mistakes are ValueErrors of its own, ours are not."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("lm_eval.")
