"""Expressions are parsed and computed exactly; nothing is evaluated."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskgrpo_cli.domains.expression import NotAnExpression, parse_expression


@pytest.mark.parametrize("text, value, numbers", [
    ("7", 7, (7,)), ("1+2*3", 7, (1, 2, 3)), ("(1+2)*3", 9, (1, 2, 3)), ("8-3-2", 3, (8, 3, 2)),
    ("8/4/2", 1, (8, 4, 2)), ("1/3+2/3", 1, (1, 3, 2, 3)), ("-3+8", 5, (3, 8)), ("2*-3", -6, (2, 3)),
    ("--4", 4, (4,)), ("+4", 4, (4,)), (" ( 1 + 2 ) ", 3, (1, 2)), ("2×3÷4", Fraction(3, 2), (2, 3, 4)),
    ("2 \\times 3 \\cdot 4 \\div 6", 4, (2, 3, 4, 6)), ("\\frac{6}{1+2}-1", 1, (6, 1, 2, 1)),
    ("\\left(1+2\\right)*3", 9, (1, 2, 3)), ("5 − 2", 3, (5, 2)), ("$5-2$", 3, (5, 2)), ("[1+2]*3", 9, (1,
    2, 3)),
    ("\\frac{\\frac{8}{2}}{2}", 2, (8, 2, 2)), ("\\dfrac{1}{2}", Fraction(1, 2), (1, 2)),
])
def test_parse(text, value, numbers):
    tree = parse_expression(text)
    assert (tree.value, tree.numbers) == (value, numbers)


@pytest.mark.parametrize("text", [
    "", " ", "+", "1+", "*2", "(1", "1)", "()", "1 2", "2(3)", "2**3", "7//2", "1=1", "1.5", "x", "1+x",
    "a.b", "2^3",
    "__import__('os')", "9" * 10, "(" * 41 + "1" + ")" * 41, "-" * 41 + "1", "1+" * 150 + "1", "\\frac{1}",
    "\\frac12",
    "٣+1", "²", "{1", "lambda: 0", "1,2", "1;2", "9**9**9**9",
])
def test_not_an_expression(text):
    with pytest.raises(NotAnExpression):
        parse_expression(text)


def test_depth_and_length_at_the_limit():
    assert parse_expression("(" * 40 + "1" + ")" * 40).value == 1
    assert parse_expression("1" + "+1" * 99 + " ").value == 100


def test_division_by_zero_is_found_when_computed():
    with pytest.raises(ZeroDivisionError):
        parse_expression("4/(2-2)").value


@given(st.recursive(
    st.integers(0, 99).map(str),
    lambda inner: st.tuples(inner, st.sampled_from("+-*"),
    inner).map(lambda part: f"({part[0]}{part[1]}{part[2]})"),
    max_leaves=8,
))
def test_agrees_with_python_on_python_s_own_subset(text):
    assert parse_expression(text).value == eval(text)


@given(st.text(alphabet="0123456789+-*/()×÷{}\\frac ", max_size=60))
def test_any_text_parses_or_says_why(text):
    try:
        parse_expression(text).value
    except (NotAnExpression, ZeroDivisionError):
        pass
