"""The process that compares LaTeX for `maskgrpo_cli.domains.latex`: it may hang, blow up or be killed.

The process imports math-verify once and then forks for every comparison. The fork has limits on memory and on
processor time that the kernel enforces, since a huge power inside sympy listens to no signal handler. Where
the platform cannot fork, the comparison runs in the process itself, and the parent's limit alone holds.

Lines of JSON come in, `[reference, candidate]`, and `true`, `false` or `null` (given up) goes out.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from collections.abc import Callable

CPU_SECONDS = 0.6
WALL_SECONDS = 0.8
MEMORY = 2 * 1024**3

# Parsing is several times faster once the grammar's tables are filled; forks inherit them.
_WARM_UP = (
    ("\\frac{1}{2}", "0.5+x"),
    ("2\\sqrt{5}", "\\sqrt{20}"),
    ("x \\in [-2,7]", "(-\\infty,7) \\cup [8,9)"),
    ("5x - 7y + 11z + 4 = 0", "-5x+7y-11z-4=0"),
    ("1 \\pm \\sqrt{19}", "3,5,7"),
    ("\\cot x", "\\frac{\\cos x}{\\sin x}"),
    ("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "\\begin{pmatrix} 1 \\\\ 3 \\end{pmatrix}"),
    ("4210_{5}", "2^{10}"),
    ("\\left[ \\frac{\\pi^2}{8}, 3 \\right]", "[\\pi^2/8, 5\\pi^2/4]"),
    ("\\left(3, \\frac{\\pi}{2}\\right)", "(a+5)(b+2)"),
)


def main() -> None:
    """Answer until the input ends; the protocol has stdin and stdout to itself, all else gets none."""
    requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, whose end ends this process
    _die_with_parent()
    compare = _comparison()
    for reference, candidate in _WARM_UP:
        compare(reference, candidate)
    replies.write("true\n")
    replies.flush()
    for line in requests:
        replies.write(json.dumps(_guarded(compare, *json.loads(line))) + "\n")
        replies.flush()


def _comparison() -> Callable[[str, str], bool]:
    """math-verify by LaTeX extraction alone: its other path uses sympy's `parse_expr`, which evaluates."""
    from math_verify import LatexExtractionConfig, parse, verify

    extraction = [LatexExtractionConfig()]

    def compare(reference: str, candidate: str) -> bool:
        gold, answer = (
            parse(f"${text}$", extraction, fallback_mode="no_fallback", parsing_timeout=None)
            for text in (reference, candidate)
        )
        return bool(gold and answer) and bool(verify(gold, answer, timeout_seconds=None))

    return compare


def _guarded(compare: Callable[[str, str], bool], reference: str, candidate: str) -> bool | None:
    """The comparison in a fork of this process; None when it broke or took too long."""
    if not hasattr(os, "fork"):
        return _caught(compare, reference, candidate)
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        _limit()
        verdict = _caught(compare, reference, candidate)
        os.write(write_end, {True: b"1", False: b"0", None: b"?"}[verdict])
        os._exit(0)
    os.close(write_end)
    ready, _, _ = select.select([read_end], [], [], WALL_SECONDS)
    reply = os.read(read_end, 1) if ready else b""
    os.close(read_end)
    os.kill(child, signal.SIGKILL)  # it has answered, died, or taken too long
    os.waitpid(child, 0)
    return {b"1": True, b"0": False}.get(reply)


def _caught(compare: Callable[[str, str], bool], reference: str, candidate: str) -> bool | None:
    try:
        return compare(reference, candidate)
    except (Exception, RecursionError, MemoryError):  # whatever sympy makes of the text
        return None


def _limit() -> None:
    """Limits of the forked process; a platform that lacks one keeps the others and the wall clock."""
    _die_with_parent()
    import resource

    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)  # SIGPROF ends the process, also within C code
    for kind, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CORE, 0)):
        try:
            resource.setrlimit(kind, (most, resource.getrlimit(kind)[1]))
        except (ValueError, OSError):
            continue


def _die_with_parent() -> None:
    """On Linux the kernel ends this process when its parent is gone; elsewhere the end of the pipe does."""
    if sys.platform != "linux":
        return
    import ctypes

    parent_death_signal = 1  # PR_SET_PDEATHSIG
    ctypes.CDLL(None).prctl(parent_death_signal, signal.SIGKILL)
