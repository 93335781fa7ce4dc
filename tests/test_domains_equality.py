"""When two answers are the same, and that no text, however hostile, costs more than a second."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from maskgrpo_cli.domains import latex
from maskgrpo_cli.domains.equality import same_answer

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module", autouse=True)
def started():
    """Start the worker once, so that its start is not in the time of a comparison."""
    assert latex.latex_equal("x+1", "1+x")


@pytest.mark.parametrize("reference, candidate", [
    ("18", "18.0"), ("18", "\\$18.00"), ("1000", "1,000"), ("\\frac{1}{2}", "0.5"), ("0.5", "\\frac12"),
    ("50\\%", "50"), ("50\\%", "0.5"), ("0.5", "50\\%"), ("145^\\circ", "145"), ("1024", "2^{10}"),
    (".0000672", "6.72 \\times 10^{-5}"), ("864 \\mbox{ inches}^2", "864"), ("\\$36", "36 dollars"),
    ("\\text{Evelyn}", "Evelyn"), ("\\text{even}", "\\textbf{Even}."), ("\\text{(B)}", "B"),
    ("\\text{(B)}", "(B)"),
    ("40_9", "40_{9}"), ("40_9", "40"), ("4210_{5}", "4210_5"), ("11\\sqrt2", "11\\sqrt{2}"),
    ("16 \\sqrt{3}", "16\\sqrt{3}"),
    ("2\\sqrt{5}", "\\sqrt{20}"), ("x \\in [-2,7]", "[-2,7]"), ("3, 5, 7", "7,5,3"), ("y = 2x + 3", "y=3+2x"),
    ("1 \\pm \\sqrt{19}", "1+\\sqrt{19},1-\\sqrt{19}"), ("(a+5)(b+2)", "ab+2a+5b+10"), ("6 - 5i", "-5i+6"),
    ("\\begin{pmatrix} 1/5 \\\\ -18/5 \\end{pmatrix}", "\\begin{pmatrix} 0.2 \\\\ -3.6 \\end{pmatrix}"),
    ("\\left( 3, \\frac{\\pi}{2} \\right)", "(3,\\frac{\\pi}{2})"), ("8 \\pi", "$8\\pi$"), ("٣", "٣"), ("",
    ""),
    ("18", "18\\text{ cm}^{2}"), ("18", "2^4 + 2\\text{ cubic feet}"),
    ("70 \\text{ or } 80", "70\\text{or }80"), ("5\\sqrt2\\text{ cu. ft}", "5\\sqrt{2}"),
])
def test_same(reference, candidate):
    assert same_answer(candidate, reference)


@pytest.mark.parametrize("reference, candidate", [
    ("18", "19"), ("18", "-18"), ("18", ""), ("18", "18 or 19"), ("5", "5x"), ("5", "x"), ("12", "12_3"),
    ("40_9", "41_9"),
    ("40_9", "40_8"), ("1", "1.0000001"), ("50\\%", "5000\\%"), ("1600",
    "441+2(21)(19)+361"),
    ("(1,2)", "(2,1)"), ("\\text{Evelyn}", "Carla"), ("\\text{(B)}", "(C)"), ("7\\pi", "21.99"), ("2k", "2"),
    ("[1,2]", "(1,2)"), ("2\\sqrt{5}", "2\\sqrt{6}"), ("\\text{even}", "e v e n"), ("\\text{east}",
    "s e a t"),
    ("70 \\text{ or } 80", "70"), ("70 \\text{ or } 80", "70\\text{ or }90"),
    ("18", "18\\text{ dollars and } 50 \\text{ cents}"), ("18", "18\\text{ hours }30"), ("5", "5\\text{ or more}"),
    ("5", "5\\text{ feet 3 inches}"), ("5", "5\\text{ dozen}"), ("5", "5\\text{ squared}"),
    ("x^2\\text{ yes}", "\\text{ no}"),
])
def test_different(reference, candidate):
    assert not same_answer(candidate, reference)


@pytest.mark.parametrize("hostile", [
    "9^{9^{9^{9}}}", "9**9**9**9", "9^9^9^9", "{" * 10**6, "\\frac{" * 10**5, "\\boxed{" * 10**5,
    "(" * 300, "2^{9999}^{9999}",
    "10^{99999999}", "10^{9999}^{99}", "9999999!", "999!!!!", "((9^{999})^{999})^{999}",
    "(((x+1)^{9999})^{9999})^{9999}",
    "(x+y+z+1)^{900}", "\\sum_{n=1}^{9999} n^{9999}", "\\prod_{n=1}^{9999} \\frac{n}{n+1}",
    "\\int_0^1 x^{x^{x^x}} dx",
    "\\lim_{n\\to\\infty} (1+1/n)^{n^n}", "9" * 10**6, "1/" * 10**5, "\\sqrt{" * 10 + "2" + "}" * 10,
    "x_" * 100, "\x00", "\ud800",
    '__import__("os").system("touch pwned")', "\\text{__import__('os').system('touch pwned')}",
    "$" * 10**5, "\\" * 399,
])
@pytest.mark.parametrize("reference", ["2\\sqrt{5}"])
def test_hostile_input_ends_within_a_second_and_is_wrong(hostile, reference, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    begun = time.perf_counter()
    assert not same_answer(hostile, reference)
    assert time.perf_counter() - begun < 1.0
    assert not list(tmp_path.iterdir())


def test_a_hostile_reference_is_survived_too():
    begun = time.perf_counter()
    assert not same_answer("5x", "((9^{999})^{999})^{999}")
    assert time.perf_counter() - begun < 1.0


def test_equal_strings_and_plain_numbers_need_no_worker(monkeypatch):
    monkeypatch.setattr(latex._CLIENT, "ask", lambda *_: pytest.fail("the worker was asked"))
    latex._compared.cache_clear()
    assert same_answer("\\cot x", " \\cot x ") and same_answer("1,000", "1000")
    assert not same_answer("3+4", "7") and not same_answer("Carla", "\\text{Evelyn}")


def test_the_worker_is_reused_and_replaced_when_killed():
    assert latex.latex_equal("x+2", "2+x")
    first = latex._CLIENT._process.pid
    assert latex.latex_equal("x+3", "3+x") and latex._CLIENT._process.pid == first
    os.kill(first, signal.SIGKILL)
    assert latex.latex_equal("x+4", "4+x") and latex._CLIENT._process.pid != first


def test_the_worker_survives_a_comparison_that_does_not_end():
    first = latex._CLIENT._process.pid
    assert not latex.latex_equal("\\pi", "((8^{999})^{999})^{999}")
    assert latex.latex_equal("x+5", "5+x") and latex._CLIENT._process.pid == first


def test_nothing_is_printed_and_the_worker_dies_with_its_parent():
    code = (
        "import os, signal, sys\n"
        "from maskgrpo_cli.domains import latex\n"
        "assert latex.latex_equal('x+1', '1+x') and not latex.latex_equal('x', '((9^{999})^{999})^{999}')\n"
        "sys.stdout.write(str(latex._CLIENT._process.pid)); sys.stdout.flush()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stderr == "" and done.stdout.isdigit()
    deadline = time.monotonic() + 5
    while _alive(int(done.stdout)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(int(done.stdout))


def test_rewards_and_tasks_import_fast():
    code = (
        "import sys, maskgrpo_cli.rewards.math, maskgrpo_cli.rewards.countdown, maskgrpo_cli.tasks.gsm8k\n"
        "heavy = {'torch', 'sympy', 'math_verify', 'datasets', 'transformers', 'numpy'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


def _alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and only waits to be reaped does not."""
    try:
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/stat")
        return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")
    except (ProcessLookupError, FileNotFoundError):
        return False
