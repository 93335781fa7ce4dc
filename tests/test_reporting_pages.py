"""Intervals, the summary and the trace."""

import io
import json
import re
from html.parser import HTMLParser

import pytest
from rich.console import Console

from maskgrpo_cli.engine.reporting.statistics import wilson
from maskgrpo_cli.engine.reporting.summary import plain, render, show
from maskgrpo_cli.engine.reporting.trace import changes, revealed, show_trace, thinned, write_html
from maskgrpo_cli.errors import UserError

SUMMARY = {
    "evaluations": [
        {
            "name": "greedy accuracy",
            "before": {"accuracy": 0.5, "correct": 5, "total": 10},
            "after": {"accuracy": 0.8, "correct": 8, "total": 10, "interval": [0.49, 0.943]},
        }
    ],
    "styles": [{"name": "terse", "before": {"share": 0.58, "accuracy": 0.5}, "after": {"share": 0.0}}],
    "solved_now": [{"prompt": "Ann has [b]3[/b]?", "before": "\\boxed{4}", "after": "a\nb", "answer": "3"}],
    "steps": 100, "seconds": 112.3, "peak_memory_bytes": 3 << 29, "output_dir": "runs/a",
    "next_command": "maskgrpo grpo --recipe math-llada-8b",
}


@pytest.mark.parametrize(
    ("correct", "total", "interval"),
    [(0, 10, (0, 0.2775)), (5, 10, (0.2366, 0.7634)), (10, 10, (0.7225, 1)), (0, 0, (0, 1))],
)
def test_wilson(correct, total, interval):
    assert wilson(correct, total) == pytest.approx(interval, abs=5e-5)


def test_the_plain_summary_says_everything_once():
    assert plain(SUMMARY).splitlines() == [
        "greedy accuracy: 50.0 % [23.7 to 76.3] -> 80.0 % [49.0 to 94.3]  +30.0 points on 10 problems",
        "style terse: share 58.0 % -> 0.0 %, accuracy 50.0 % -> -",
        "solved now: Ann has [b]3[/b]?",
        "  before: \\boxed{4}",
        "  after: a ⏎ b",
        "  answer: 3",
        "steps: 100",
        "time: 1:52",
        "peak memory: 1.5 GiB",
        "in: runs/a",
        "next: maskgrpo grpo --recipe math-llada-8b",
    ]


def test_the_table_holds_the_same_numbers_and_takes_no_markup_from_a_model():
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(render(SUMMARY))
    text = console.file.getvalue()
    for part in ("greedy accuracy", "50.0 %", "23.7 to 76.3", "80.0 %", "49.0 to 94.3", "+30.0",
                 "Ann has [b]3[/b]?", "maskgrpo grpo --recipe math-llada-8b"):
        assert part in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(("terminal", "escapes"), [(True, True), (False, False)])
def test_a_pipe_gets_the_plain_summary(terminal, escapes):
    console = Console(file=io.StringIO(), width=40, force_terminal=terminal, _environ={"TERM": "xterm"})
    show(SUMMARY, console)
    text = console.file.getvalue()
    assert ("\x1b" in text) is escapes
    assert (plain(SUMMARY) in text) is not escapes


@pytest.mark.parametrize(
    "summary",
    [{}, {"evaluations": [{"name": "x", "before": None, "after": None}]}, {"solved_now": [], "styles": None}],
)
def test_a_summary_with_gaps_is_shown(summary):
    Console(file=io.StringIO()).print(render(summary))
    assert plain(summary).count("\n") == 0


# --- trace --------------------------------------------------------------------------------------------

FRAMES = [[None, None, None], [None, " 8", None], ["4", " 8", None], ["4", None, None], ["4", " 9", "\n"]]


def test_changes_rebuild_every_frame_even_when_a_token_is_masked_again():
    state = [None] * 3
    for changed, frame in zip(changes(FRAMES), FRAMES, strict=True):
        for position, token in changed:
            state[position] = token
        assert state == frame
    assert revealed(FRAMES) == [2, 4, 4]
    assert revealed(FRAMES[:4]) == [2, None, None]


def test_thinning_keeps_the_ends():
    assert thinned(3, 8) == [0, 1, 2]
    assert thinned(101, 5) == [0, 25, 50, 75, 100]


def test_the_terminal_shows_each_step_and_marks_what_is_new():
    console = Console(file=io.StringIO(), width=60, force_terminal=True, color_system="standard", _environ={})
    show_trace(FRAMES, console)
    shown = console.file.getvalue().splitlines()
    assert len(shown) == 1 + len(FRAMES)
    plain_rows = [re.sub("\x1b\\[[0-9;]*m", "", line).split(maxsplit=2) for line in shown[1:]]
    assert [cells[:2] for cells in plain_rows] == [["0", "3"], ["1", "2"], ["2", "1"], ["3", "2"], ["4", "0"]]
    assert plain_rows[1][2].rstrip() == "░ 8░"
    assert plain_rows[4][2].rstrip() == "4 9⏎"
    assert re.search("\x1b\\[1;30;42m4\x1b", shown[3]) and not re.search("\x1b\\[1;30;42m4\x1b", shown[4])


class Page(HTMLParser):
    """Collects elements, their text and what they would load."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.loads, self.scripts, self.inside = [], [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.inside = tag
        self.loads += [value for name, value in attributes if name in ("src", "href", "data", "action")]
        assert not any(name.startswith("on") for name, _ in attributes)

    def handle_data(self, data):
        if self.inside == "script":
            self.scripts.append(data)


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"


def test_nothing_that_a_model_or_user_writes_becomes_markup(tmp_path):
    path = tmp_path / "new" / "trace.html"
    frames = [[None, None], [HOSTILE, None], [HOSTILE, "half \ud83d $steps <!--"]]
    write_html(path, HOSTILE + " $prompt", [frames, FRAMES], {HOSTILE: HOSTILE})
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert page.tags.count("script") == 2 and "img" not in page.tags
    assert page.loads == []
    assert "default-src 'none'" in text
    embedded = json.loads(page.scripts[0])
    assert embedded[0][1] == [[0, HOSTILE]]
    assert embedded[0][2] == [[1, "half \ud83d $steps <!--"]]


def test_without_javascript_the_final_text_and_a_filmstrip_are_there(tmp_path):
    write_html(tmp_path / "t.html", "p", [FRAMES], {"seed": 0})
    text = (tmp_path / "t.html").read_text(encoding="utf-8")
    final = re.search(r'class="text live">(.*?)</div>', text)[1]
    assert re.findall("<i[^>]*>(.*?)</i>", final) == ["4", " 9", "⏎"]
    assert re.findall("--t:([0-9.]+)", final) == ["0.500", "1.000", "1.000"]
    assert [int(step) for step in re.findall('class="when">step (\\d+)', text)] == [0, 1, 2, 3, 4]
    assert "<details open>" in text


def test_a_trace_that_cannot_be_written_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="cannot be written"):
        write_html(tmp_path, "p", [FRAMES], {})
