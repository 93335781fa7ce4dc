"""Numbers that a sentence or a calculation states, and sentences that hold a number and state another one or none."""

import pytest

from maskgrpo_cli.domains.statements import states_number


@pytest.mark.parametrize("text, number", [
    ("The answer is 18 dollars", "18"), ("In 3 days she has 18 eggs", "18"), ("5 + 13 = 18", "18"),
    ("Total cost = \\$18", "18"), ("8 + 8 + 15 = 31 \\text{ units}", "31"), ("Total cost: $18", "18"),
    ("She will pay $1,800.50 in total", "1800.5"), ("The population is 18 million", "18000000"),
    ("The answer is \u221218", "-18"), ("The answer is minus 18", "-18"), ("The answer is negative $18.", "-18"),
    ("The probability is 1/2", "0.5"), ("The length is 1.8cm", "1.8"), ("It takes 18 m to stop", "18"),
    ("At 5 pm she has 18kg", "18"), ("She needs at least 18 eggs", "18"), ("He has 18 quarters", "18"),
    ("On the third day she sells 18 eggs", "18"), ("She has 18 more eggs than Tom", "18"), ("18 is the answer", "18"),
    ("18", "18"), ("6:00 PM", "6"), ("6 p.m.", "6"), ("6:00", "6"), ("5 o'clock", "5"), ("It opens at 6:00 am", "6"),
    ("\\approx 18", "18"), ("about 18 eggs", "18"), ("5 h", "5"), ("5\\text{ s}", "5"), ("Cost: $18", "18"),
    ("(18)", "18"), ("18 (eggs)", "18"), ("18 \\frac{\\text{miles}}{\\text{hour}}", "18"),
    ("20\\text{ cm} - 2\\text{ cm} = 18\\text{ cm}", "18"), ("\\frac{36}{2} = 18", "18"),
    ("Tom has 5 apples, Ann has 18", "18"), ("The rate is 18%", "18"), ("It's 18 dollars", "18"),
])
def test_stated(text, number):
    assert states_number(text, number)


@pytest.mark.parametrize("text, number", [
    ("The answer is 18", "19"), ("The answer is 18", "x"), ("5 + 13 = 18", "5"),
    ("5 + 13 = 19", "19"), ("5 + 13", "18"), ("2x = 18", "18"), ("The sum is 18 x", "18"), ("The sum is 18x", "18"),
    ("The answer is 18 + x", "18"), ("the answer is 2^18", "18"), ("The answer is 18!", "18"),
    ("The number is 18 squared", "18"), ("the square root of 18", "18"), ("It is 18/2/3", "3"), ("It is 18 / 2", "2"),
    ("The population is 18 million", "18"), ("18 dozen eggs", "18"), ("18 hundredths of it", "18"),
    ("It is half of 18", "18"), ("It is 18 and a half", "18"), ("twice 18 is her age", "18"), ("3/4 of 18", "18"),
    ("It is three times 18", "18"), ("one less than 18", "18"), ("18 divided by 2", "18"), ("It is 1 8", "8"),
    ("The answer is \u221218", "18"), ("The answer is minus 18", "18"), ("The answer is - 18", "18"),
    ("The answer is not 18", "18"), ("It isn't 18 eggs", "18"), ("18 or more apples", "18"), ("ten or 18", "18"),
    ("The ratio is 3:18", "18"), ("The solution is a > 18", "18"), ("The solution is (18, infinity)", "18"),
    ("6:30 PM", "6"), ("16:00:00", "16"), ("6:005", "6"), ("about half of 18", "18"), ("5 x", "5"), ("Tom 18", "18"),
    ("18 (or 20)", "18"), ("(18", "18"), ("18 cm - 2 cm = 18 cm", "18"), ("half of 36 = 18", "18"),
    ("5h + 2", "5"), ("about 18 or 20", "18"),
    ("Answer: 3, 18", "18"), ("3 hours 18 minutes it takes", "18"), ("5 feet 18 inches", "18"),
    ("The length is 1.8cm", "1"), ("At 5 pm there are 18ab", "5"), ("On the 18th it is", "18"), ("It is 1.8", "8"),
    ("The answer is 18" + " and so on" * 40, "18"), ("", "18"),
])
def test_not_stated(text, number):
    assert not states_number(text, number)
