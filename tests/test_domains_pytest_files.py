"""Pytest files taken apart: set-up and one piece of code a test, run here as their author would expect."""

import pytest

from maskgrpo_cli.domains.pytest_files import cases, imported_from_solution

FILE = '''
import pytest
from solution import double, Other

VALUES = [1, 2]

@pytest.fixture
def three():
    return 3

@pytest.fixture
def nine(three):
    yield three * three

def helper(x):
    return 2 * x

def test_plain():
    assert double(2) == helper(2)

@pytest.mark.parametrize("x, y", [(1, 2), (2, 4)])
@pytest.mark.parametrize("z", VALUES)
def test_cases(x, y, z):
    """Each of them."""
    assert double(x) == y and z in VALUES
    SEEN.append((x, z))

@pytest.mark.parametrize(["x"], [(1,), (5,)])
def test_one_name_in_a_list(x):
    assert double(x) == x + x and x < 6

def test_fixture(nine, three):
    assert double(nine) == 18 and three == 3

class TestIt:
    def setup_method(self, method):
        self.x = 4

    @pytest.mark.parametrize("y", [8])
    def test_method(self, y):
        assert double(self.x) == y

    def helper(self):
        return 1

def test_unknown(capsys):
    assert True

if __name__ == "__main__":
    pytest.main()
'''


def run(file, double):
    """The exceptions of the tests of a file (None: passed), and what they noted."""
    setup, tests = cases(file)
    found, seen = [], []
    for test in tests:
        names = {"double": double, "SEEN": seen}
        exec(setup.replace("from solution import double, Other", "").replace("import pytest", ""), names)
        try:
            exec(test, names)
            found.append(None)
        except Exception as error:
            found.append(error)
    return found, seen


def test_every_test_stands_alone():
    found, seen = run(FILE, lambda x: 2 * x)
    assert found[:-1] == [None] * 5
    assert isinstance(found[-1], TypeError) and "capsys" in str(found[-1])
    assert seen == [(1, 1), (2, 1), (1, 2), (2, 2)] or seen == [(1, 1), (1, 2), (2, 1), (2, 2)]


def test_wrong_programs_fail_them():
    found, _ = run(FILE, lambda x: x + 1)
    assert all(isinstance(error, (AssertionError, TypeError)) for error in found)


def test_the_names_of_the_program():
    assert imported_from_solution(FILE) == ["double", "Other"]
    assert imported_from_solution("import solution") == [] == imported_from_solution("def (")


def test_unittest_classes():
    file = ("import unittest\nclass TestX(unittest.TestCase):\n    def setUp(self):\n        self.x = 1\n"
            "    def test_x(self):\n        self.assertEqual(double(self.x), 2)\n")
    assert run(file, lambda x: 2 * x)[0] == [None]
    assert isinstance(run(file, lambda x: x)[0][0], AssertionError)


@pytest.mark.parametrize("file, count", [("", 0), ("x = 1", 0), ("def helper(): pass", 0), ("def test_a(:", 1)])
def test_files_without_tests(file, count):
    assert len(cases(file)[1]) == count
