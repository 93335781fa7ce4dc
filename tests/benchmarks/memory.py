"""Peak memory of scoring and updating, above weights, gradients and optimiser state."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable
from pathlib import Path

import straightforward
from common import COMPLETIONS, LENGTH, PROMPT, UPDATES, VOCABULARY, console, table
from whole_step import Ours, Plain

GIB = 2**30


def peak_above(thing: Callable[[], object]) -> int:
    """Bytes by which the process's resident memory rises while `thing` runs (Linux)."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what was freed goes back, or it would be used again unseen
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    before = _status("VmRSS")
    thing()
    return _status("VmHWM") - before


def _status(key: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


def memory() -> None:
    """Old + reference + update of one mask after another: ours, and the straightforward way at its smallest."""
    if sys.platform != "linux":
        console.print("memory: measured on Linux only\n", style="yellow")
        return
    sequence = PROMPT + LENGTH
    result = table(
        f"Peak memory of old, reference and update, {COMPLETIONS} samples of {sequence} tokens, "
        "above weights, gradients and optimiser state", "width", "", "peak",
    )
    for width in (256, 1024):
        ours = Ours(width, updates=2)  # one mask is scored at a time, so mu does not matter
        ours.given_completions()
        result.add_row(str(width), "ours", _gib(peak_above(ours.score_and_update)))
        if width == 256:
            plain = Plain(ours)
            result.add_row(str(width), "straightforward, one mask at a time", _gib(peak_above(plain.score_and_update)))
        del ours
    console.print(result)
    one = straightforward.logit_bytes(COMPLETIONS, sequence, VOCABULARY)
    everything = straightforward.logit_bytes(COMPLETIONS, sequence, VOCABULARY, UPDATES)
    console.print(
        f"by calculation: {COMPLETIONS} x {sequence} x {VOCABULARY} x 4 bytes = {_gib(one)} a copy of one mask's "
        f"logits; all {UPDATES} masks in one batch {_gib(everything)} a copy, and log-softmax and its gradient "
        "each make another\n", style="dim",
    )


def _gib(count: int) -> str:
    return f"{count / GIB:.2f} GiB"
