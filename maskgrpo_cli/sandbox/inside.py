"""The executor inside a container or a remote machine: one program, judged by other users of that machine."""

from __future__ import annotations

import dataclasses
import json
import os
import sys

from ..types import Program
from .executor import Local
from .limits import Limits
from .unsafe_local import OtherUsers


def main(job: dict) -> None:
    """Judge the program of a job and write the results to stdout, as JSON."""
    program = Program(**{**job["program"], "tests": tuple(job["program"]["tests"])})
    os.umask(0o077)
    with Local(OtherUsers(), Limits(**job["limits"]), 1) as executor:
        [results] = executor.run([program])
    json.dump([dataclasses.asdict(result) for result in results], sys.stdout)
