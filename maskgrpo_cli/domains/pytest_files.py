"""A pytest file as what an executor takes: set-up code, and one piece of code for each test function.

Known are test functions and methods, `parametrize`, and fixtures of the file itself. A test that asks for anything else
(`tmp_path`, `capsys`) fails where it is run, and says what it misses. The file is read, never run.
"""

from __future__ import annotations

import ast

from maskgrpo_cli.domains.code import SOLUTION, tree_of

Function = ast.FunctionDef


def cases(source: str) -> tuple[str, tuple[str, ...]]:
    """Set-up and tests of a pytest file; one that is no Python is a test that nothing passes."""
    tree = tree_of(source)
    if tree is None:
        return "", (source,)
    fixtures = {node.name: node for node in tree.body if isinstance(node, Function) and _is_fixture(node)}
    setup, tests = [], []
    for node in tree.body:
        if isinstance(node, Function) and node.name.startswith("test"):
            tests.append("\n".join([_bare(node), *_calls(node, node.name, _given(node, fixtures))]))
        elif isinstance(node, ast.ClassDef) and _holds_tests(node):
            tests += _methods(node, fixtures)
            setup.append(_bare(node))
        elif not _is_main(node):
            setup.append(_bare(node) if node in fixtures.values() else ast.unparse(node))
    return "\n\n".join(setup), tuple(tests)


def imported_from_solution(source: str) -> list[str]:
    """The names that a test file imports from the program, in order."""
    tree = tree_of(source)
    found = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)] if tree else []
    return [alias.name for node in found if node.module == SOLUTION for alias in node.names]


def _methods(node: ast.ClassDef, fixtures: dict[str, Function]) -> list[str]:
    """The tests of a class, each on an object of its own."""
    methods = {inner.name: inner for inner in node.body if isinstance(inner, Function)}
    found = []
    for name, method in methods.items():
        if not name.startswith("test"):
            continue
        if any("TestCase" in ast.unparse(base) for base in node.bases):
            found.append(f"{node.name}({name!r}).debug()")
            continue
        lines = [f"_tested = {node.name}()"]
        lines += [f"_tested.{first}()" if len(methods[first].args.args) == 1 else f"_tested.{first}(None)"
                  for first in ("setup_class", "setup_method", "setup") if first in methods]  # fmt: skip
        found.append("\n".join([*lines, *_calls(method, f"_tested.{name}", _given(method, fixtures))]))
    return found


def _calls(node: Function, name: str, given: dict[str, str]) -> list[str]:
    """The lines that call a test, once for every case of its parameters."""
    lines, indent = [], ""
    for depth, (names, values) in enumerate(_parameters(node)):
        lines.append(f"{indent}for _case{depth} in {values}:")
        indent += "    "
        if isinstance(names, str):
            given = given | {names: f"_case{depth}"}
        else:
            given = given | {one: f"_case{depth}[{place}]" for place, one in enumerate(names)}
    return [*lines, f"{indent}{name}({', '.join(f'{key}={value}' for key, value in given.items())})"]


def _parameters(node: Function) -> list[tuple[str | list[str], str]]:
    """(names, source of the list of their values) of each `parametrize` above a test; a lone name is no list."""
    found = []
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).endswith("parametrize"):
            arguments = [*decorator.args, *(keyword.value for keyword in decorator.keywords
                                            if keyword.arg in ("argnames", "argvalues"))]  # fmt: skip
            if len(arguments) >= 2 and (names := _names(arguments[0])):
                found.append((names, ast.unparse(arguments[1])))
    return found


def _names(node: ast.expr) -> str | list[str]:
    """`"a, b"`, `["a", "b"]` or `("a", "b")` as names; `"a"`, whose values are no tuples, as the name itself."""
    several = isinstance(node, (ast.List, ast.Tuple))
    parts = node.elts if several else [node]
    words = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    names = [name.strip() for word in words for name in word.split(",") if name.strip()]
    return names[0] if len(names) == 1 and not several else names


def _given(node: Function, fixtures: dict[str, Function], above: tuple[str, ...] = ()) -> dict[str, str]:
    """Argument -> the source of its value, of the arguments that fixtures of the file give."""
    given = {}
    for name in (argument.arg for argument in node.args.args):
        fixture = fixtures.get(name)
        if fixture is None or name in above:
            continue
        inner = _given(fixture, fixtures, (*above, name))
        value = f"{name}({', '.join(f'{key}={of}' for key, of in inner.items())})"
        yields = any(isinstance(part, ast.Yield) for part in ast.walk(fixture))
        given[name] = f"next({value})" if yields else value
    return given


def _bare(node: Function | ast.ClassDef) -> str:
    """A definition without what decorates it, or the tests in it."""
    tests = [inner for inner in node.body if isinstance(inner, Function) and inner.name.startswith("test")]
    bare = [node] if isinstance(node, Function) else tests
    kept = [one.decorator_list for one in bare]
    for one in bare:
        one.decorator_list = []
    text = ast.unparse(node)
    for one, decorators in zip(bare, kept, strict=True):
        one.decorator_list = decorators
    return text


def _is_fixture(node: Function) -> bool:
    return any("fixture" in ast.unparse(decorator).partition("(")[0] for decorator in node.decorator_list)


def _holds_tests(node: ast.ClassDef) -> bool:
    return any(isinstance(inner, Function) and inner.name.startswith("test") for inner in node.body)


def _is_main(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)
