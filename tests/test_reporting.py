"""Run directory, plain lines and live view."""

import io
import json
import math
import os
import sys
import types

import numpy as np
import pytest
from rich.console import Console

from maskgrpo_cli.engine.reporting import run_directory
from maskgrpo_cli.engine.reporting.display import PlainLines, draws, make_reporter
from maskgrpo_cli.engine.reporting.live import LiveView
from maskgrpo_cli.engine.reporting.progress import Curve, Progress
from maskgrpo_cli.engine.reporting.run_directory import RunDirectory, environment, peak_memory_bytes
from maskgrpo_cli.engine.reporting.text import curve, duration, number, printable
from maskgrpo_cli.errors import RunFailed, UserError


class Clock:
    """A clock that a test moves by hand."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def row(step, **more):
    return {
        "step": step, "rollout": 0, "update": 0, "reward": 0.81, "reward_std": 0.31,
        "reward/math-correct": 0.6, "zero_std": 0.2, "loss": -0.0123, "kl": 0.002, "clip_ratio": 0.01,
        "mask_ratio": 0.6, "entropy": 0.4, "completion_length": 21.3, "grad_norm": 0.33, "lr": 1e-4,
        "time/rollout": 0.5, "time/score": 0.25, "time/update": 0.25, "tokens_per_second": 5123.4,
        "style/terse": 0.58, **more,
    }


def lines(path):
    return path.read_text(encoding="utf-8").splitlines()


# --- run directory ------------------------------------------------------------------------------------


def test_a_new_run_directory_holds_its_config(tmp_path):
    run = RunDirectory(tmp_path / "a" / "b").create("seed: 1\n")
    assert (run.path / "config.yaml").read_text() == "seed: 1\n"
    assert run.checkpoints.is_dir()


def test_a_second_run_is_not_written_over_the_first(tmp_path):
    RunDirectory(tmp_path).create("first: 1\n")
    with pytest.raises(UserError, match="--output-dir"):
        RunDirectory(tmp_path).create("second: 1\n")
    assert (tmp_path / "config.yaml").read_text() == "first: 1\n"


def test_a_directory_that_cannot_be_made_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--output-dir"):
        RunDirectory(tmp_path / "file" / "run").create("a: 1\n")


def test_every_metrics_row_is_strict_json(tmp_path):
    run = RunDirectory(tmp_path).create("")
    run.metrics({"step": 1, "loss": math.nan, "kl": math.inf, "nested": [{"x": -math.inf}]})
    run.metrics({"step": np.int64(2), "loss": np.float32(0.5), "eval/accuracy": np.float64("nan")})

    def refuse(constant):
        raise AssertionError(constant)

    first, second = (json.loads(line, parse_constant=refuse) for line in lines(tmp_path / "metrics.jsonl"))
    assert first == {"step": 1, "loss": None, "kl": None, "nested": [{"x": None}]}
    assert second == {"step": 2, "loss": 0.5, "eval/accuracy": None}


def test_completions_keep_line_breaks_and_half_characters_on_one_line(tmp_path):
    run = RunDirectory(tmp_path)
    rows = [{"completion": "a\nb\u2028c"}, {"completion": "half \ud83d ä"}]
    run.completions(rows)
    text = (tmp_path / "completions.jsonl").read_bytes().decode("utf-8")
    assert [json.loads(line) for line in text.strip("\n").split("\n")] == rows


def test_the_log_has_time_stamps_and_indents_what_continues(tmp_path):
    RunDirectory(tmp_path).log("one\ntwo")
    first, second = lines(tmp_path / "log.txt")
    assert first[:2] == "20" and first.endswith("  one")
    assert second == "    two"


def test_a_summary_that_fails_leaves_the_old_one(tmp_path, monkeypatch):
    run = RunDirectory(tmp_path)
    run.summary({"accuracy": 0.5})

    def fail(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_directory.os, "replace", fail)
    with pytest.raises(RunFailed, match="No space left"):
        run.summary({"accuracy": 0.9})
    assert json.loads((tmp_path / "summary.json").read_text()) == {"accuracy": 0.5}
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def test_environment_names_versions_and_never_fails(monkeypatch):
    found = environment()
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["torch"] and found["platform"]
    monkeypatch.setenv("PATH", "")
    assert environment()["commit"] is None  # no git


@pytest.mark.parametrize(("platform", "peak"), [("linux", 5 * 1024), ("darwin", 5)])
def test_peak_memory_is_in_bytes_on_either_system(monkeypatch, platform, peak):
    resource = types.SimpleNamespace(
        getrusage=lambda who: types.SimpleNamespace(ru_maxrss=5), RUSAGE_SELF=0
    )
    monkeypatch.setitem(sys.modules, "resource", resource)
    monkeypatch.setattr(run_directory.sys, "platform", platform)
    assert peak_memory_bytes("cpu") == peak


# --- pace and text ------------------------------------------------------------------------------------


def test_pace_and_eta_leave_out_what_came_before_the_first_rollout():
    clock = Clock()
    progress = Progress("t", 10, clock)
    clock.now = 30  # loading
    progress.enter("evaluate", 1, 2)
    clock.now = 60
    progress.enter("evaluate", 2, 2)
    for step in (1, 2):
        clock.now += 3
        progress.step(row(step))
    assert progress.pace == 3
    clock.now += 1
    assert progress.left == 8 * 3 - 1


def test_a_resumed_run_counts_its_own_steps_only():
    clock = Clock()
    progress = Progress("t", 100, clock)
    clock.now = 2
    progress.step(row(51))
    assert progress.pace == 2
    assert progress.left == 49 * 2


@pytest.mark.parametrize(
    ("seconds", "shown"), [(7, "0:07"), (59.6, "1:00"), (754, "12:34"), (3723, "1:02:03"), (-1, "0:00")]
)
def test_duration(seconds, shown):
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"), (math.nan, "nan"), (0.00123456, "0.00123"), (1e-4, "0.0001"), (5123.4, "5123"),
        (51234, "51.2k"),
    ],
)
def test_number(value, shown):
    assert number(value) == shown


def test_curves():
    assert curve([0, 1, 2, 3, 4, 5, 6, 7], 8) == ["▁▂▃▄▅▆▇█"]
    assert curve([0, 1, 2, 3], 2) == ["▁█"]  # means 0.5 and 2.5
    assert curve([0, 7], 4) == ["▁▁██"]
    assert curve([None, 0, math.nan, 7], 4) == [" ▁ █"]
    assert curve([3, 3], 2) == ["▄▄"]
    assert curve([0, 15], 2, rows=2) == [" █", "▁█"]
    assert curve([], 5, rows=2) == ["", ""]


def test_a_long_history_is_thinned_to_averages():
    history = Curve(most=4)
    for value in (0, 2, 4, 6, 8, 10, 12, 14, None, 100):
        history.add(value)
    assert history.values == [3, 11, 100] and history.count == 10  # fours, then what is left
    assert len(Curve(most=4).values) == 0


def test_model_output_cannot_steer_the_terminal():
    assert printable("a\x1b[2Jb\n\u202ec\ud83d", "⏎") == "a�[2Jb⏎�c�"


# --- plain lines --------------------------------------------------------------------------------------


def plain(total, run=None, quiet=False):
    clock, stream = Clock(), io.StringIO()
    return PlainLines(run, Progress("grpo", total, clock), stream, quiet), clock, stream


def test_quick_steps_share_a_line_but_first_evaluated_and_last_speak():
    reporter, clock, stream = plain(6)
    with reporter:
        for step in range(1, 7):
            clock.now += 0.4
            reporter.step(row(step, **({"eval/accuracy": 0.7} if step == 3 else {})))
    shown = stream.getvalue().splitlines()
    assert [line.split()[1] for line in shown] == ["1/6", "3/6", "6/6"]
    assert shown[0] == (
        "step 1/6  reward 0.81 (±0.31)  loss -0.0123  kl 0.002  clip 0.01  entropy 0.4  grad 0.33  "
        "lr 0.0001  0.4 s/step  ETA 0:02"
    )
    assert "acc 0.70" in shown[1]


def test_slow_steps_each_have_a_line_and_phases_break_a_long_silence():
    reporter, clock, stream = plain(3)
    with reporter:
        for step in range(1, 4):
            clock.now += 16
            reporter.phase("rollout", 5, 24)
            clock.now += 3
            reporter.phase("rollout", 24, 24)
            reporter.step(row(step))
    shown = stream.getvalue().splitlines()
    assert [line.split("  ")[0] for line in shown] == [
        "rollout 5/24", "step 1/3", "rollout 5/24", "step 2/3", "rollout 5/24", "step 3/3",
    ]


def test_an_interrupted_run_still_shows_its_last_step():
    reporter, clock, stream = plain(100)
    with pytest.raises(KeyboardInterrupt), reporter:
        for step in range(1, 4):
            reporter.step(row(step))
        raise KeyboardInterrupt
    assert [line.split()[1] for line in stream.getvalue().splitlines()] == ["1/100", "3/100"]


def test_plain_lines_have_no_escapes_and_every_row_reaches_the_files(tmp_path, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    stream = io.StringIO()
    run = RunDirectory(tmp_path)
    with make_reporter(run, "grpo", 3, stream=stream) as reporter:
        assert isinstance(reporter, PlainLines)
        reporter.say("hello \x1b[31mred")
        reporter.warn("a reward raised")
        for step in (1, 2, 3):
            reporter.step(row(step, loss=math.nan))
        reporter.completion("p", "c", 1.0)
    assert "\x1b" not in stream.getvalue()
    assert stream.getvalue().splitlines()[:2] == ["hello �[31mred", "warning: a reward raised"]
    assert [json.loads(line)["step"] for line in lines(tmp_path / "metrics.jsonl")] == [1, 2, 3]
    log = (tmp_path / "log.txt").read_text()
    assert "warning: a reward raised" in log and "step 3/3" in log


def test_sft_rows_without_rewards_are_shown():
    reporter, clock, stream = plain(1)
    clock.now = 1.5
    reporter.step({"step": 1, "loss": 2.5, "lr": 1e-3, "grad_norm": 1.0, "tokens_per_second": 100.0})
    assert stream.getvalue() == "step 1/1  loss 2.5  grad 1  lr 0.001  1.5 s/step  ETA 0:00\n"


def test_a_stream_of_another_encoding_does_not_end_the_run():
    raw = io.BytesIO()
    reporter = PlainLines(None, Progress("t", 1), io.TextIOWrapper(raw, encoding="ascii"))
    reporter.say("± ok")
    assert raw.getvalue() == b"? ok\n"


def test_quiet_says_warnings_only(capsys):
    reporter, clock, stream = plain(1, quiet=True)
    reporter.say("hello")
    reporter.step(row(1))
    reporter.warn("bad")
    assert stream.getvalue() == ""
    assert capsys.readouterr().err == "warning: bad\n"


# --- live view ----------------------------------------------------------------------------------------


def test_the_view_is_drawn_only_where_it_can_be(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    assert draws(Terminal())
    assert not draws(io.StringIO())
    monkeypatch.setenv("TERM", "dumb")
    assert not draws(Terminal())
    monkeypatch.setenv("TERM", "xterm")
    latin = Terminal()
    latin.encoding = "iso-8859-1"
    assert not draws(latin)


def view(width, height, steps=40, total=100, **options):
    console = Console(
        file=io.StringIO(), width=width, height=height, force_terminal=True, _environ={}, **options
    )
    reporter = LiveView(None, Progress("grpo · math", total), console=console)
    reporter.progress.accuracies.append(0.69)
    for step in range(1, steps + 1):
        more = {"eval/accuracy": 0.7 + step / 1000} if step % 8 == 0 else {}
        reporter.step(row(step, reward=0.5 + step / 200, **more))
    reporter.phase("rollout", 5, 24)
    reporter.completion("漢字 " * 80, "<reasoning>4 * 2 = 8\n\x1b[2J</reasoning>" * 9, 1.25)
    return reporter


def drawn(reporter):
    with reporter.console.capture() as capture:
        reporter.console.print(reporter.render())
    return capture.get().splitlines()


@pytest.mark.parametrize("height", [8, 14, 24, 50])
@pytest.mark.parametrize("width", [20, 60, 80, 120])
def test_the_panel_fits_every_size(width, height):
    from rich.cells import cell_len

    reporter = view(width, height, color_system=None)
    shown = drawn(reporter)
    assert {cell_len(line) for line in shown} == {width}
    assert len(shown) < height
    assert "\x1b[2J" not in "".join(shown)
    assert "step 40/100" in shown[1]


def test_the_panel_shows_what_the_run_does():
    text = "\n".join(drawn(view(80, 30, color_system=None)))
    for part in ("ETA", "rollout ", "5/24", "0.70 ±0.31", "0.74 from 0.69", "kl         0.002",
                 "math-correct 0.60", "terse 0.58", "rollout 50%", "5123 tokens/s", "sample, reward 1.25"):
        assert part in text


def test_the_panel_before_the_first_step_and_of_sft_and_of_work_without_steps():
    empty = LiveView(None, Progress("t", 5), console=Console(width=60, height=30))
    assert "step 0/5" in drawn(empty)[1]
    empty.step({"step": 1, "loss": 2.5, "lr": 1e-3, "grad_norm": 1.0, "tokens_per_second": 100.0})
    assert any("2.5" in line and "loss" in line for line in drawn(empty))
    evaluation = LiveView(None, Progress("eval", 0), console=Console(width=60, height=30))
    evaluation.phase("evaluate", 3, 12)
    assert "3/12" in drawn(evaluation)[1]


def test_the_terminal_is_left_clean_when_the_run_is_interrupted():
    reporter = view(80, 30)
    stdout = sys.stdout
    with pytest.raises(KeyboardInterrupt), reporter:
        assert sys.stdout is not stdout  # what a library prints goes above the panel
        reporter.say("hello")
        reporter.warn("careful")
        raise KeyboardInterrupt
    assert sys.stdout is stdout
    text = reporter.console.file.getvalue()
    assert text.index("\x1b[?25l") < text.rindex("\x1b[?25h")  # the cursor was hidden and is back
    assert "hello" in text and "warning: careful" in text


def test_no_color_is_honoured(monkeypatch):
    console = Console(file=io.StringIO(), width=80, height=30, force_terminal=True, color_system="truecolor",
                      _environ={"NO_COLOR": "1"})
    reporter = LiveView(None, Progress("t", 2), console=console)
    reporter.step(row(1))
    colours = [f"\x1b[{code}m" for code in range(30, 38)]
    assert not any(colour in "".join(drawn(reporter)) for colour in colours)


def test_a_step_costs_the_training_thread_next_to_nothing():
    import time

    reporter = view(80, 30, steps=1, total=10**6)
    started = time.process_time()
    for step in range(2000):
        reporter.phase("rollout", step, 2000)
    assert time.process_time() - started < 0.2  # 0.1 ms a call


def test_importing_the_reporter_imports_no_torch():
    import subprocess

    code = (
        "import sys, maskgrpo_cli.engine.reporting.display, maskgrpo_cli.engine.reporting.summary, "
        "maskgrpo_cli.engine.reporting.trace; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], env={**os.environ}).returncode == 0
