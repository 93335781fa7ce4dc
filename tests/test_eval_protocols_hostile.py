"""Both protocols on texts that nobody meant as an answer: never an exception, never a wait, never a lucky verdict."""

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskgrpo_cli import registry
from maskgrpo_cli.domains import d1
from maskgrpo_cli.domains.python_arithmetic import python_value

PROBLEMS = {
    "gsm8k": ("q", 5.0),
    "math500": ("q", "\\frac{1}{2}"),
    "countdown": ("q", [[9, 9, 9], 81]),
    "sudoku": ("puzzle: 4320004330100004", "4321124334122134"),
}
PIECES = ["<answer>", "</answer>", "\\boxed{", "\\boxed ", "\\boxed", "\\fbox{", "}", "{", "$", "\n", " ", "```",
          "=", "= 5", "<|eot_id|>", "<|endoftext|>", "\\frac", "\\sqrt", "\\text{ ", "1234432112344321",
          "4321124334122134", "12", "0", "007", ".", "...", "+", "-", "*", "/", "**", "//", "(", ")",
          "\\div", ",", "１", "\u00a0", "\r", "\f", "_", "nan"]
LONG = 200_000
HOSTILE = [
    *(piece * (LONG // len(piece)) for piece in (*PIECES, "```1 ", "1 ", "1=", "9**", "1+", "1/", "is 5 ", "5 = ")),
    "\\boxed{1" * 20_000, "\\boxed{1\n" * 20_000,
    "<answer>" + "1 " * 90_000, "\\boxed{" + "9" * LONG + "}", "<answer>" + "9" * 5000 + "</answer>",
    "\\boxed{" + "(" * LONG + "}", "\\boxed{9**9**9**9}", "\\boxed{9**9**9}", "\\boxed{9 ** 99999999 ** 9}",
    "\\boxed{1" + "0" * 4000 + "}", "\\boxed{" + "-" * 5000 + "9 + 9 + 9}", "1234123412341234" + " " * LONG,
    "\\boxed{" * 30_000 + "}" * 30_000, "\ud800<answer>\ud800</answer>", "\x00\\boxed{\x00}", "<answer>" * 20_000 + "5",
]


def judged(task, text):
    """The verdicts by every protocol, and what is said of the difference."""
    found = registry.resolve("task", task)
    problem = found.restore(*PROBLEMS[task], "0")
    own, other = (found.judge(text, problem, name) for name in ("maskgrpo", "d1"))
    why = found.difference(text, problem, "d1", own, other)
    assert 0.0 <= own.score <= 1.0 and 0.0 <= other.score <= 1.0
    assert why and "\n" not in why and len(why) < 300
    return own, other


@pytest.mark.parametrize("task", ["countdown", "sudoku", "gsm8k", "math500"])
def test_hostile_texts_are_judged_and_wrong(task):
    """A quadratic reader would take hours here: 60 texts of 200 KB."""
    for text in HOSTILE:
        own, other = judged(task, text)
        if task != "gsm8k":  # where a number in a heap of numbers may be the right one
            assert not own.correct and not other.correct, text[:40]


texts = st.lists(st.sampled_from(PIECES) | st.text(max_size=5) | st.integers(0, 99).map(str), max_size=25).map("".join)


@pytest.mark.parametrize("task", PROBLEMS)
@settings(max_examples=60, deadline=None)
@given(text=texts)
def test_any_text_is_judged(task, text):
    judged(task, text)


@settings(max_examples=300, deadline=None)
@given(text=texts)
def test_a_grid_has_16_cells_or_none(text):
    assert len(d1.sudoku_grid(text)) in (0, 16)


# --- Python's arithmetic without Python's eval ------------------------------------------------------------

NUMBERS = st.sampled_from(["0", "1", "2", "7", "00", "12", ".5", "2.", "1.5", "09.5", "(3)", "(-2)", "( 4 )"])
OPERATORS = st.sampled_from(["+", "-", "*", "/", "//", " - -", " * +", " / ", "\t+ ", "+(1)-"])


@st.composite
def expressions(draw):
    """Expressions of Python's grammar, some of them broken, with one power at most."""
    text = draw(NUMBERS)
    for _ in range(draw(st.integers(0, 4))):
        text += draw(OPERATORS) + draw(NUMBERS)
        if draw(st.booleans()):
            text = draw(st.sampled_from(["(%s)", "-(%s)", "+%s", "(\n%s)"])) % text
    if draw(st.booleans()):
        text += draw(st.sampled_from(["**", " ** -", "**+"])) + draw(st.sampled_from(["2", "0", "3", ".5", "(1/2)"]))
    if draw(st.integers(0, 9)) == 0:
        place = draw(st.integers(0, len(text)))
        text = text[:place] + draw(st.sampled_from(["(", ")", "5", "\n", "*", ".", "()"])) + text[place:]
    return text.strip()


@settings(max_examples=400, deadline=None)
@given(text=expressions())
def test_the_value_is_python_s(text):
    """Against Python itself, on expressions that are made here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            wanted = eval(text, {"__builtins__": {}})
        except Exception:
            wanted = None
    if isinstance(wanted, (tuple, type(...))):  # `()` is a value of Python's, and no number
        wanted = None
    found = python_value(text)
    assert type(found) is type(wanted) and (found == wanted or found != found), text


@pytest.mark.parametrize("text, value", [
    ("-2**2", -4), ("2**-1", 0.5), ("2**3**2", 512), ("-7//2", -4), ("7/2", 3.5), ("1 - -1", 2), ("+-+1", -1),
    ("007", None), ("00", 0), ("007.", 7.0), ("1..5", None), ("1 2", None), ("(1)(2)", None), ("()", None),
    ("...", None),
    ("", None), ("1+\n2", None), ("(1+\n2)", 3), ("1/0", None), ("0**-1", None), ("(-1)**.5//1", None), ("1_0", None),
    ("１", None), ("1\u00a0+1", None), ("1\v+1", None), ("*1", None), ("1+", None), ("(1", None), ("1)", None),
    ("9**9**9", None), ("1**9**9", 1), ("0**9**9", 0), ("(" * 200 + "1" + ")" * 200, 1),
    ("(" * 201 + "1" + ")" * 201, None),
    ("9" * 5000, None), ("2.5**99999", None), ("__import__('os')", None), ("1e5", None),
])
def test_values_by_hand(text, value):
    found = python_value(text)
    assert found == value and type(found) is type(value)
