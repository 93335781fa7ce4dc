"""What tests import from pytest, as far as a single test needs it: raises, approx, fail, skip, mark, fixture."""

import contextlib
import math
import re
import types


class Skipped(Exception):
    """A test that calls `pytest.skip`."""


class Caught:
    """What `raises` gives: the exception, afterwards."""

    value = None
    type = None

    def match(self, pattern):
        """Whether the text of the exception matches, as an assertion."""
        if not re.search(pattern, str(self.value)):
            raise AssertionError(f"{pattern!r} does not match {str(self.value)!r}")
        return True


@contextlib.contextmanager
def expecting(expected, match):
    """The block has to raise."""
    caught = Caught()
    try:
        yield caught
    except expected as error:
        caught.value, caught.type = error, type(error)
        if match is not None:
            caught.match(match)
    else:
        raise AssertionError(f"DID NOT RAISE {expected}")


def raises(expected, *arguments, match=None, **keywords):
    """`pytest.raises`, as a context or with a function to call."""
    if not arguments:
        return expecting(expected, match)
    with expecting(expected, match) as caught:
        arguments[0](*arguments[1:], **keywords)
    return caught


class Approx:
    """`pytest.approx` of numbers, and of lists, tuples and dicts of numbers."""

    __hash__ = None

    def __init__(self, expected, rel=None, abs=None, nan_ok=False):
        self.expected, self.nan_ok = expected, nan_ok
        self.rel = 1e-6 if rel is None and abs is None else rel or 0.0
        self.abs = 1e-12 if abs is None else abs

    def __eq__(self, actual):
        return self.close(self.expected, actual)

    def close(self, expected, actual):
        """Whether all numbers are close."""
        if isinstance(expected, dict):
            same = isinstance(actual, dict) and expected.keys() == actual.keys()
            return same and all(self.close(expected[key], actual[key]) for key in expected)
        if isinstance(expected, (list, tuple)):
            same = isinstance(actual, (list, tuple)) and len(expected) == len(actual)
            return same and all(map(self.close, expected, actual))
        if not isinstance(expected, (int, float, complex)) or not isinstance(actual, (int, float, complex)):
            return expected == actual
        if expected != expected:
            return self.nan_ok and actual != actual
        if expected == actual:
            return True
        return not math.isinf(abs(expected)) and abs(expected - actual) <= max(self.rel * abs(expected), self.abs)

    def __repr__(self):
        return f"approx({self.expected!r})"


class Marks:
    """`pytest.mark.ANYTHING`: decorators that leave a function as it is."""

    def __getattr__(self, name):
        return lambda *arguments, **keywords: plain(*arguments)


def plain(*arguments):
    """A decorator, with or without brackets."""
    return arguments[0] if len(arguments) == 1 and isinstance(arguments[0], types.FunctionType) else plain


def fail(reason="", *, msg=None):
    """`pytest.fail`."""
    raise AssertionError(reason or msg)


def skip(reason=""):
    """`pytest.skip`."""
    raise Skipped(reason)


def module():
    """The stand-in, as a module to be imported."""
    made = types.ModuleType("pytest")
    made.__dict__.update(raises=raises, approx=Approx, fail=fail, skip=skip, mark=Marks(), fixture=plain,
                         main=lambda *arguments, **keywords: 0)  # fmt: skip
    return made
