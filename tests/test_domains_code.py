"""Programs read out of text: blocks, what is run of a completion, and code that wants to harm its reader."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskgrpo_cli.domains.code import (
    Block,
    before,
    blocks,
    called_in,
    code_of,
    defines,
    fenced,
    imports_of,
    parses,
    program_of,
    source_of,
)

OPENING = 'import math\n\n\ndef helper(x):\n    return x\n\n\ndef f(x):\n    """Double it."""\n'


@pytest.mark.parametrize("text, found", [
    ("```python\nx = 1\n```", [Block("python", "x = 1\n", True)]),
    ("a\n```py\nx\n```\nb\n```\ny\n```\n", [Block("py", "x\n", True), Block("", "y\n", True)]),
    ("```python\nx = 1", [Block("python", "x = 1", False)]),
    ("```python", [Block("python", "", False)]),
    ("````\n```python\nx\n```\n````", [Block("", "```python\nx\n```\n", True)]),
    ("```Python title=a\r\nx\r\n```", [Block("python", "x\n", True)]),
    ("  ```python\n  x\n  ```", [Block("python", "  x\n", True)]),
    ("a ```python x```", []), ("`x`", []), ("", []),
    ("```python\nx = '```'\n```", [Block("python", "x = '```'\n", True)]),
])
def test_blocks(text, found):
    assert blocks(text) == found


@given(st.text(st.characters(blacklist_characters="`\r", blacklist_categories=["Cs"]), min_size=1))
def test_what_is_fenced_is_found_again(code):
    (block,) = blocks(fenced(code))
    assert block == Block("python", code.strip("\n") + "\n", True)


@given(st.text(alphabet="`\n pythonx=1'\"("))
def test_no_text_stops_the_reader(text):
    for block in blocks(text):
        assert block.code in text.replace("\r\n", "\n")
    assert isinstance(source_of(text, "f", OPENING), str) and parses(text) in (True, False)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("line", ["```" + "a" * 90_000 + "`", "```" + " " * 90_000 + "`", "```a" + " " * 90_000 + "`"])
def test_a_long_line_does_not_hold_up_the_reader(line):
    assert blocks(line) == [] and blocks(line[:-1])[0].closed is False


@pytest.mark.parametrize("code, right", [
    ("x = 1", True), ("def f():\n  return", True), ("'\\d'", True), ("", False), ("\n# nothing\n", False),
    ("def f(:", False), ("x = \0", False), ("1" * 90_000, False), ("(" * 90_000, False), ("-" * 90_000 + "1", False),
    ("a" + ".b" * 40_000, False), ("x = 1\n" * 20_000, False), ("lambda:" * 12_000 + "1", False),
])
def test_parses(code, right, recwarn):
    assert parses(code) is right and not recwarn.list


@pytest.mark.parametrize("text, name, code", [
    ("```python\ndef f(): pass\n```\nuse it:\n```python\nprint(f())\n```", "f", "def f(): pass\n"),
    ("```python\ndef f(): pass\n```\nbetter:\n```python\ndef f(): return 1\n```", "f", "def f(): return 1\n"),
    ("```python\na\n```\n```bash\nrm\n```", "f", "a\n"), ("```\na\n```\n```\nb\n```", "", "b\n"),
    ("```python\ndef f(\n", "f", "def f(\n"), ("def f(): pass", "f", None), ("```bash\nrm\n```", "f", None),
])
def test_the_block_that_answers(text, name, code):
    assert code_of(text, name) == code


@pytest.mark.parametrize("code, found", [
    ("def f(): pass", True), ("class f: pass", True), ("f = lambda: 1", True), ("async def f(): pass", True),
    ("def ff(): pass", False), ("x = 'def f'", False), ("if 1:\n  def f(): pass", False),
    ("def f(:", True), ("    def f(:", False), ("# def f(\n(", False),
])
def test_defines(code, found):
    assert defines(code, "f") is found


@pytest.mark.parametrize("text, source", [
    ("    return 2 * x\n", OPENING + "    return 2 * x\n"),
    ("```python\n    return 2 * x\n```", OPENING + "    return 2 * x\n"),
    ("```python\ndef f(x):\n    return 2 * x\n```",
     OPENING[: OPENING.index("def f")] + "def f(x):\n    return 2 * x\n"),
    ("def f(x):\n    return 2 * x", OPENING[: OPENING.index("def f")] + "def f(x):\n    return 2 * x"),
    ("```python\nfrom __future__ import annotations\ndef f(x): pass\n```",
     "from __future__ import annotations\ndef f(x): pass\n"),
    ("    return 2\n\ndef g(:\n", OPENING + "    return 2\n"),
    ("    return 2\n\ndef g(x):\n    return 3\n", OPENING + "    return 2\n\ndef g(x):\n    return 3\n"),
    ("    return 2\nprint(f(\n", OPENING + "    return 2"), ("", OPENING),
])
def test_completions_of_an_opening(text, source):
    assert source_of(text, "f", OPENING) == source


@pytest.mark.parametrize("text, source", [
    ("def f(): pass", "def f(): pass"), ("[BEGIN]\ndef f(): pass\n[DONE]\nmore", "\ndef f(): pass\n"),
    ("def f(): pass\n[DONE]", "def f(): pass\n"), ("Here:\n```python\ndef f(): pass\n```", "def f(): pass\n"),
])
def test_whole_programs(text, source):
    assert source_of(text, "f") == source
    assert program_of(text, ("assert f",), "import math", "f").source == source


def test_what_stands_before_a_function():
    assert before(OPENING, "f") == OPENING[: OPENING.index("def f(")]
    assert before(OPENING, "helper") == "import math\n\n\n" and before(OPENING, "none") == ""


@pytest.mark.parametrize("tests, imports", [
    (["assert f(1) == sys.getsizeof(1)", "assert math.isclose(f(1), 2)"], "import math\nimport sys"),
    (["import math\nassert math.pi"], ""), (["from x import math\nassert math.pi"], ""), (["sys = f(1)\nsys.x"], ""),
    (["assert numpy.sum(f(1))"], ""), (["assert f(sys)"], ""), (["assert ("], ""), ([], ""),
])
def test_the_modules_that_tests_use_without_importing_them(tests, imports):
    assert imports_of(tests) == imports


@pytest.mark.parametrize("test, name", [
    ("assert f(1) == 2", "f"), ("assert set(f(1)) == set(g())", "f"), ("assert math.isclose(f(1), 2)", "f"),
    ("assert sum(1, 2) == 3", "sum"), ("assert x.f() == 1", ""), ("assert f(", ""), ("", ""),
    ("assert not f(g(1))", "f"),
])
def test_the_function_that_a_test_is_about(test, name):
    assert called_in(test) == name
