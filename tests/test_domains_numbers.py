"""Numbers as people write them, boxes and tags."""

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskgrpo_cli.domains.numbers import parse_number
from maskgrpo_cli.domains.text import hash_answer, last_boxed, reasoning_of, tagged


@pytest.mark.parametrize("text, value", [
    ("18", 18), (" 18 ", 18), ("18.0", 18), ("18.", 18), ("+18", 18), ("-3", -3), ("\u22123", -3), ("- 3",
    -3),
    ("1,000", 1000), ("1{,}000", 1000), ("1,\\!000", 1000), ("11,\\! 111,\\! 111,\\! 100", 11_111_111_100),
    ("58,500", 58_500), ("1,234,567.5", Fraction(2469135, 2)),
    ("$18", 18), ("\\$18", 18), ("$18$", 18), ("-$5", -5), ("$-5", -5), ("\\$32,\\!348", 32_348), ("€5", 5),
    ("\\$18.90", Fraction(189, 10)), ("$18 per day", 18), ("\\text{\\$}5", 5),
    ("18 apples", 18), ("18\\text{ dollars}", 18), ("5.4 \\text{ cents}", Fraction(27, 5)), ("5 cm", 5),
    ("5cm", 5), ("15\\mbox{ cm}^2", 15), ("864 \\mbox{ inches}^2", 864), ("18\\,\\text{cm}", 18),
    ("5 km/h", 5),
    ("60 miles per hour", 60), ("145^\\circ", 145), ("30^{\\circ}", 30), ("90°", 90), ("75 degrees", 75),
    ("50%", 50), ("50\\%", 50), ("12.5 %", Fraction(25, 2)),
    ("1/2", Fraction(1, 2)), ("-1/2", Fraction(-1, 2)), ("1 1/2", Fraction(3, 2)), ("\\frac{1}{2}",
    Fraction(1, 2)),
    ("\\dfrac{33}{100}", Fraction(33, 100)), ("\\frac43", Fraction(4, 3)), ("\\frac 59", Fraction(5, 9)),
    ("\\frac9{19}", Fraction(9, 19)), ("\\frac{270}7\\text{ degrees}", Fraction(270, 7)),
    ("1\\frac{4}{5}", Fraction(9, 5)), ("137 \\frac{1}{2}", Fraction(275, 2)), ("-\\frac{3}{8}",
    Fraction(-3, 8)),
    ("\\frac{-3}{4}", Fraction(-3, 4)), (".5", Fraction(1, 2)), (".0000672", Fraction(672, 10**7)),
    ("x = 5", 5), ("x=5", 5), ("**18**", 18), ("\\textbf{18}", 18), ("{18}", 18), ("\\(18\\)", 18),
    ("2 million", 2 * 10**6),
])
def test_read(text, value):
    assert parse_number(text) == value


@pytest.mark.parametrize("text", [
    "", " ", "-", "$", ".", "..5", "1..2", "abc", "eighteen", "1,2", "1,00", "0,123", "-2,1", "3, 5, 7",
    "18 or 19",
    "18 hours 30 minutes", "2k", "5x", "2 k", "2i", "2^3", "3^{2}", "2\\sqrt{5}", "8 \\pi", "8 pi", "40_9",
    "4210_{5}", "1/0", "1/2/3", "\\frac{1}{2}\\frac{1}{3}", "(1,2)", "18 + 2", "3 \\times 4", "1e5",
    "2**3", "٣",
    "²", "1$8", "2 dozen", "9" * 201, "18 = 18", "\\text{(B)}", "2 plus 3", "__import__('os')", "0x10",
    "nan", "inf", "5 squared", "4 factorial", "3 halves", "2 thirds", "5\\text{ thousandths}", "5 hundred thousand",
])
def test_not_a_number(text):
    assert parse_number(text) is None


@given(st.text(alphabet="0123456789.,/-+$%\\{}frac textx^_ ", max_size=60) | st.text(max_size=300))
def test_any_text_is_a_number_or_none(text):
    assert parse_number(text) is None or isinstance(parse_number(text), Fraction)


@given(st.integers(-10**12, 10**12))
def test_integers_survive_every_dress(number):
    for dress in (f"{number}", f"{number:,}", f"${number:,}$", f"{number}.00", f"\\${number:,}",
    f"{number} apples"):
        assert parse_number(dress) == number


@pytest.mark.parametrize("text, content", [
    ("\\boxed{42}", "42"), ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"), ("\\boxed{1} \\boxed{2}", "2"),
    ("\\boxed{\\boxed{6}}", "6"), ("\\boxed{}", ""), ("\\boxed{ 5 }", " 5 "), ("\\boxed{5}}", "5"),
    ("}\\boxed{8}", "8"),
    ("\\boxed{\\{1,2\\}}", "\\{1,2\\}"), ("\\boxed{(1,2\\}}", "(1,2\\}"), ("\\boxed{a\\\\}b", "a\\\\"),
    ("\\boxed 7", "7"), ("so \\boxed 7$ done", "7"), ("\\boxed {7}", "7"), ("\\boxed 7\nmore", "7"),
    ("no box", None), ("", None), ("\\boxed", None), ("\\boxed{3", None), ("\\boxed ", None), ("\\fbox{9}",
    None),
    ("\\boxed7", None), ("boxed{5}", None), ("\\boxed{1} then \\boxed{2", None),
])
def test_last_boxed(text, content):
    assert last_boxed(text) == content


def test_a_million_braces_take_no_time():
    begun = time.perf_counter()
    assert last_boxed("\\boxed" + "{" * 10**6) is None
    assert last_boxed("\\boxed{" * 10**5) is None
    assert last_boxed("\\boxed" + "{" * 10**5 + "}" * 10**5) is None
    assert last_boxed("\\boxed{" + "x" * 10**6 + "}") == "x" * 10**6
    assert parse_number("{" * 10**6) is None
    assert time.perf_counter() - begun < 1.0


@pytest.mark.parametrize("text, content", [
    ("<answer>5</answer>", "5"), ("<answer>1</answer><answer>\n2\n</answer>", "2"), ("<answer></answer>", ""),
    ("<answer>5", None), ("5</answer>", None), ("</answer>5<answer>", None), ("", None),
    ("<answer>1<answer>2</answer>", "2"),
])
def test_tagged(text, content):
    assert tagged(text, "answer") == content


@given(st.lists(st.sampled_from(["\\boxed", "{", "}", " ", "7", "\\", "$", "<reasoning>", "</reasoning>",
                                 "<answer>", "</answer>", "####", "\n"])).map("".join))
def test_readers_never_raise(text):
    for read in (last_boxed, hash_answer, reasoning_of, lambda text: tagged(text, "answer")):
        assert read(text) is None or isinstance(read(text), str)
