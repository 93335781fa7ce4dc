# ruff: noqa: E501 (tests read better in few lines)
"""What a test may do with the functions, objects and exceptions of a program that runs in another process."""

import pytest

from maskgrpo_cli.errors import UserError
from maskgrpo_cli.sandbox import make
from maskgrpo_cli.types import Program

SOURCE = '''
import datetime
import functools
import math
import operator
import re
from collections import Counter, deque, namedtuple
from typing import List

SIZE = 3
TABLE = {"a": [1, 2]}

def double(x): return x * 2
def same(x): return x
def same_pair(*values, **named): return values, named
def change(l): l.append(3); l[0][0] = 9
def change_all(d, s, b): d["x"] = 1; s.add(4); b[0] = 1; return d
def fail(kind): raise kind
def boo(): raise ValueError("boo")
def count(n):
    yield from range(n)
def apply(f, *values): return f(*values)
def adder(n): return lambda x: x + n
def total(values): return math.fsum(values)
def noisy(): print("out"); import sys; print("err", file=sys.stderr)
def typed(): return Counter("aab"), deque([1]), namedtuple("P", "x y")(1, 2), range(3), {1: 2}.keys()
def head(node): return node.value, node.next.value
def put(node): node.value = 7; return node.get()
def kind_of(x): return type(x)
def sqrt(x): return math.sqrt(x)
def bump():
    global SIZE
    SIZE += 1

@functools.lru_cache(None)
def remembered(n): return n if n < 2 else remembered(n - 1) + remembered(n - 2)
twice = functools.partial(lambda a, b: a * b, 2)
second = operator.itemgetter(1)
gcd_of, unique = math.gcd, set
Place = namedtuple("Place", "name x")
def place(x): return Place("p", x)
def x_of(place): return place.x
def found(pattern, text): return re.search(pattern, text)
def gcd_itself(): return math.gcd
def day_after(day): return day + datetime.timedelta(days=1)

class Oops(Exception): pass
class Late(Oops, KeyError): pass
def oops(n): raise (Oops if n else Late)(n, "why")

class Stack:
    limit = 5
    def __init__(self, *items): self.items = list(items)
    def push(self, x): self.items.append(x); return self
    def pop(self): return self.items.pop()
    def __len__(self): return len(self.items)
    def __getitem__(self, i): return self.items[i]
    def __contains__(self, x): return x in self.items
    def __iter__(self): return iter(self.items)
    def __eq__(self, other): return isinstance(other, Stack) and self.items == other.items
    def __lt__(self, other): return len(self) < len(other)
    def __add__(self, other): return Stack(*self.items, *other.items)
    def __mul__(self, n): return Stack(*self.items * n)
    def __repr__(self): return f"Stack{self.items}"
    def __enter__(self): return self
    def __exit__(self, *_): self.items.clear()
    @classmethod
    def of(cls, n): return cls(*range(n))
    @property
    def top(self): return self.items[-1]
class Deep(Stack): pass
class Text:
    def __init__(self, text): self.text = text
    def isalnum(self): return self.text.isalnum()
    def startswith(self, start): return self.text.startswith(start)
def sum(a, b): return a + b + 1000
'''

PASS = {
    "plain data of every kind": "v = [None, True, 1, -2**70, 1.5, float('inf'), 'é\\ud800', b'\\xff', bytearray(b'x'), 2j,"
                                " (1, (2,)), {1, (2, 3)}, frozenset([1]), {'k': [1], (1, 2): None}, range(1, 9, 2)]\n"
                                "r = same(v)\nassert r == v and [type(x) for x in r] == [type(x) for x in v]",
    "not a number": "r = same(float('nan'))\nassert r != r",
    "arguments by position and by name": "assert same_pair(1, [2], a=3) == ((1, [2]), {'a': 3})",
    "constants": "assert SIZE == 3 and TABLE == {'a': [1, 2]}",
    "a constant as it is now": "import solution\nbump()\nassert solution.SIZE > 3",
    "a constant changed here stays there": "TABLE['b'] = 1\nfrom solution import TABLE as again\nassert 'b' not in again",
    "arguments changed in place": "l = [[1], 2]\ninner = l[0]\nassert change(l) is None\n"
                                  "assert l == [[9], 2, 3] and inner == [9] and l[0] is inner",
    "other containers changed in place": "d, s, b = {}, {1}, bytearray(b'ab')\nr = change_all(d, s, b)\n"
                                         "assert r is d and d == {'x': 1} and s == {1, 4} and b == b'\\x01b'",
    "the same list comes back": "l = [1]\nassert same(l) is l and same([1]) is not l",
    "builtin exceptions": "import pytest\nwith pytest.raises(ValueError, match='bo+') as e: boo()\n"
                          "assert str(e.value) == 'boo' and e.value.args == ('boo',)",
    "exceptions by try": "try: fail(KeyError('k'))\nexcept KeyError as e: assert e.args == ('k',)\nelse: assert False",
    "exceptions of its own": "import pytest\nfrom solution import Oops, Late\n"
                             "with pytest.raises(Oops) as e: oops(1)\nassert e.value.args == (1, 'why')\n"
                             "with pytest.raises(Late): oops(0)\nwith pytest.raises(KeyError): oops(0)",
    "generators": "g = count(3)\nassert next(g) == 0 and list(g) == [1, 2] and sorted(count(2)) == [0, 1]",
    "a function handed over": "assert apply(lambda a, b: a * b, 3, 4) == 12 and apply(len, 'abc') == 3",
    "a function that raises": "import pytest\ndef bad(x): raise IndexError('no')\n"
                              "with pytest.raises(IndexError, match='no'): apply(bad, 1)",
    "a function that comes back": "f = adder(3)\nassert f(4) == 7 and apply(f, 1) == 4",
    "a generator handed over": "assert total(i * i for i in range(4)) == 14 and total(iter([1, 2])) == 3",
    "objects of the tests": "class Node:\n    def __init__(self, v, n=None): self.value, self.next = v, n\n"
                            "    def get(self): return self.value * 2\n"
                            "assert head(Node(1, Node(2))) == (1, 2)\nn = Node(1)\nassert put(n) == 14 and n.value == 7",
    "types of the library": "import collections\nc, d, p, r, k = typed()\nassert c == {'a': 2, 'b': 1} and c.most_common(1)"
                            " == [('a', 2)]\nassert d == collections.deque([1]) and p == (1, 2) and r == range(3)\n"
                            "assert list(k) == [1] and kind_of(3) is int",
    "what the program imported": "assert math.isclose(sqrt(2.0) ** 2, 2.0) and Counter('a')['a'] == 1 and List[int]",
    "functions made by the library": "assert remembered(50) == 12586269025 and remembered.cache_info().misses == 51\n"
                                     "assert twice(3) == 6 and second([1, 2]) == 2 and gcd_itself()(8, 12) == 4",
    "other names for what the library has": "assert gcd_of(8, 12) == 4 and unique([1, 1]) == {1}",
    "objects of the library": "assert found('b+', 'abb') and found('b(b)', 'abb').group(1) == 'b' and found('c', 'a') is None",
    "dates and times": "import datetime as d\nassert day_after(d.date(2024, 2, 28)) == d.date(2024, 2, 29)\n"
                       "v = [d.datetime(2024, 2, 3, 4, 5, 6, 7), d.time(1, 2, 3, 4), d.timedelta(1, 2, 3),\n"
                       "     d.datetime(2024, 2, 3, tzinfo=d.timezone(d.timedelta(hours=2)))]\n"
                       "r = same(v)\nassert r == v and [type(x) for x in r] == [type(x) for x in v]",
    "named tuples": "p = place(3)\nassert p == ('p', 3) == Place('p', 3) and p.x == 3 and x_of(p) == 3\n"
                    "from collections import namedtuple\nassert x_of(namedtuple('Q', 'x')(4)) == 4",
    "objects of the program": "s = Stack(1, 2)\nassert s.push(3) is s and s.pop() == 3 and len(s) == 2 and s[0] == 1\n"
                              "assert list(s) == [1, 2] and s.items == [1, 2] and s.top == 2 and repr(s) == 'Stack[1, 2]'\n"
                              "assert isinstance(s, Stack) and s and 2 in s and 5 not in s and Stack.limit == 5",
    "objects in containers": "a, b = Stack(1), Stack(2)\nassert same([a, {'k': b}])[1]['k'] is b",
    "objects compared by the program": "assert Stack(1) == Stack(1) and Stack(1) != Stack(2) and Stack(1) < Stack(1, 2)\n"
                                       "assert Stack(1) + Stack(2) == Stack(1, 2) and Stack(1) * 2 == Stack(1, 1)",
    "attributes that are set": "s = Stack()\ns.items = [4]\nassert s.pop() == 4",
    "a context": "with Stack(1) as s: assert len(s) == 1\nassert len(s) == 0",
    "subclasses and class methods": "assert isinstance(Deep(1), Stack) and not isinstance(Stack(), Deep)\n"
                                    "assert issubclass(Deep, Stack) and Stack.of(3).items == [0, 1, 2]",
    "check of HumanEval": "def check(candidate):\n    assert candidate(2) == 4\n    assert abs(candidate(0.1) - 0.2) < 1e-9\n"
                          "check(double)",
    "pytest functions": "from solution import double, Stack as S\ndef test_a():\n    assert double('a') == 'aa'\n"
                        "def test_b():\n    assert len(S()) == 0\ntest_a()\ntest_b()",
    "everything imported": "from solution import *\nassert double(SIZE) == 2 * SIZE and sum([1, 2]) == 3",
    "the end of an iterator": "import pytest\ng = count(0)\nwith pytest.raises(StopIteration): next(g)\n"
                              "with pytest.raises(StopIteration): fail(StopIteration())",
    "questions to objects that the test made": "t = Text('a1')\nassert t.isalnum() and not t.startswith('b')",
    "approximately": "import pytest\nassert double(0.1) == pytest.approx(0.2) and [0.1 + 0.2] == pytest.approx([0.3])",
}  # fmt: skip

FAIL = {
    "wrong": ("assert double(2) == 5", "failed", "AssertionError: assert double(2) == 5"),
    "wrong with words": ("assert double(2) == 5, 'no five'", "failed", "AssertionError: no five"),
    "missing": ("assert triple(2) == 6", "error", "NameError: name 'triple' is not defined"),
    "missing in an import": ("from solution import triple", "error", "ImportError: cannot import name 'triple'"),
    "raises": ("double()", "error", "TypeError: double() missing 1 required positional argument: 'x'"),
    "no exception": ("import pytest\nwith pytest.raises(ValueError): double(1)", "failed", "DID NOT RAISE"),
    "no syntax": ("assert (", "error", "SyntaxError"),
    "an object is no plain value": ("assert same(Stack(4)) == [4]", "failed", ""),
    "a value that cannot cross": ("import sys\ndouble(sys)", "error", "module cannot be handed to a program"),
    "skipped": ("import pytest\npytest.skip('later')", "error", "the test skipped itself"),
}


@pytest.fixture(scope="module", params=["bubblewrap", "unsafe-local"])
def executor(request):
    try:
        made = make(workers=1, timeout=60.0, unsafe_local=request.param == "unsafe-local")
    except UserError as error:
        pytest.skip(str(error))
    with made:
        yield made


def test_what_passes(executor):
    [results] = executor.run([Program(SOURCE, tuple(PASS.values()))])
    wrong = {name: result for name, result in zip(PASS, results) if result.status != "passed"}
    assert not wrong, "\n".join(f"{name}: {result}" for name, result in wrong.items())


def test_only_objects_that_compared_themselves_are_marked(executor):
    [results] = executor.run([Program(SOURCE, tuple(PASS.values()))])
    marked = {name for name, result in zip(PASS, results) if result.reason}
    assert marked == {"objects compared by the program"}


def test_what_does_not_pass(executor):
    [results] = executor.run([Program(SOURCE, tuple(test for test, _, _ in FAIL.values()))])
    for (name, (_, status, reason)), result in zip(FAIL.items(), results):
        assert result.status == status and reason in result.reason, (name, result)


def test_ends_of_what_is_printed(executor):
    tests = ("noisy()", "double(1)", "noisy()\nnoisy()\nassert False")
    [results] = executor.run([Program(SOURCE, tests)])
    assert [(result.stdout, result.stderr) for result in results] == [
        ("out\n", "err\n"), ("", ""), ("out\nout\n", "err\nerr\n"),
    ]  # fmt: skip


def test_only_the_builtin_that_was_asked_for_is_the_program_s(executor):
    test = "assert sum(1, 2) == 1003 and abs(-1) == 1"
    program = Program(SOURCE + "def abs(x): return 7", (test,), asked="sum")
    [[asked], [not_asked]] = executor.run([program, Program(SOURCE, (test,), asked="double")])
    assert asked.status == "passed", asked
    assert not_asked.status == "error" and "'int' object is not iterable" in not_asked.reason


def test_what_is_said_can_be_written_and_shown(executor):
    source = "def f(x): raise ValueError('\\ud800 \\x1b[31m\\u202e \u00e9\\n')"
    [[result]] = executor.run([Program(source, ("f(1)",))])
    assert result.reason == r"ValueError: \ud800 \x1b[31m\u202e é", ascii(result.reason)


@pytest.mark.parametrize(
    "source, reason",
    [
        ("def f(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import nothing_of_that_name", "ModuleNotFoundError"),
        ("import os\nos._exit(3)", "the program ended with status 3"),
    ],
)
def test_a_program_that_does_not_stand(executor, source, reason):
    [results] = executor.run([Program(source, ("pass", "assert f(1) == 1"))])
    assert [result.status for result in results] == ["error", "error"]
    assert all(reason in result.reason for result in results), results


def test_set_up_runs_on_the_tests_side(executor):
    setup = "from solution import double\nimport math\ndef helper(x): return double(x) + 1\nabs = None\nSIZE = 10"
    tests = ("assert helper(2) == 5", "assert SIZE == 10 and math.pi > 3", "assert abs is None")
    [results] = executor.run([Program(SOURCE, tests, setup)])
    assert {result.status for result in results} == {"passed"}
    [results] = executor.run([Program(SOURCE, ("pass",) * 2, "raise ValueError('bad set-up')")])
    assert [(result.status, result.reason) for result in results] == [("error", "ValueError: bad set-up")] * 2


def test_a_slow_test_holds_nobody_up(executor):
    source = "import time\ndef f(x):\n    time.sleep(x)\n    return x"
    tests = tuple(f"assert f({x}) == {x}" for x in (0, 3.5, 3.5, 3.5, 0))
    [results] = executor.run([Program(source, tests, timeout=60.0)])
    assert [result.status for result in results] == ["passed"] * 5


def test_a_timeout_costs_only_its_own_test(executor):
    source = "def f(x):\n    while x == 1: pass\n    if x == 2: import os; os._exit(0)\n    return x"
    tests = tuple(f"assert f({x}) == {x}" for x in (0, 1, 2, 3))
    [results] = executor.run([Program(source, tests, timeout=2.5)])
    assert [result.status for result in results] == ["passed", "timeout", "error", "passed"]
    assert results[1].reason == "no end after 2.5 s"


def test_no_tests_and_too_much_text(executor):
    assert executor.run([Program("x = 1", ()), Program("x" * (2 << 20), ("pass",))])[0] == []
    [_, [result]] = executor.run([Program("x = 1", ()), Program("x" * (2 << 20), ("pass",))])
    assert result.status == "error" and "longer" in result.reason


def test_another_module_name(executor):
    [results] = executor.run([Program("def f(): return 1", ("from answer import f\nassert f() == 1",), module="answer")])
    assert results[0].status == "passed"


def test_tests_that_hang_or_die_harm_nobody(executor):
    tests = ("while True: pass", "import os\nos._exit(0)", "assert double(1) == 2")
    [results] = executor.run([Program(SOURCE, tests, timeout=3.0)])
    assert [result.status for result in results] == ["timeout", "error", "passed"]
    [results] = executor.run([Program(SOURCE, ("assert double(1) == 2",))])
    assert results[0].status == "passed"
