"""Programs in what a model wrote: where the code stands, whether it parses, and what is run of it.

Nothing here runs or imports anything of a program; it is read as text.
"""

from __future__ import annotations

import ast
import builtins
import re
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from maskgrpo_cli.types import Program

PYTHON = ("python", "py", "python3")
LONGEST = 100_000  # characters of code that are parsed; what is longer parses not
FENCE = re.compile(r"^[ \t]*(```+)[ \t]*(?![ \t])([^\s`]*)(?:[^\S\n][^\n`]*)?$", re.MULTILINE)  # in linear time
STOPS = ("\nclass ", "\ndef ", "\n#", "\nif ", "\nprint(")  # where HumanEval's paper ends a completion
SOLUTION = "solution"  # the module that tests may import a program from


@dataclass(frozen=True)
class Block:
    """A fenced block: the word behind its fence, its code, and whether it is closed."""

    language: str
    code: str
    closed: bool


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a text, in order; a fence of more backticks is closed by as many."""
    text = text.replace("\r\n", "\n")
    found, place = [], 0
    while opening := FENCE.search(text, place):
        start = opening.end() + 1
        closing = re.compile(rf"^[ \t]*{opening[1]}`*[ \t]*$", re.MULTILINE).search(text, start)
        found.append(Block(opening[2].lower(), text[start : closing.start() if closing else None], closing is not None))
        if closing is None:
            break
        place = closing.end()
    return found


def fenced(code: str) -> str:
    """Code as a worked answer shows it."""
    return f"```python\n{code.strip(chr(10))}\n```"


def tree_of(code: str) -> ast.Module | None:
    """The syntax tree of a program; None where it is no Python, too long or nested too deeply."""
    if len(code) > LONGEST:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of invalid escapes, which are the model's business
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def parses(code: str) -> bool:
    """Whether a program is Python and not empty."""
    tree = tree_of(code)
    return tree is not None and bool(tree.body)


def defines(code: str, name: str) -> bool:
    """Whether a program defines a function or class at its top level; read by lines where it does not parse."""
    tree = tree_of(code)
    if tree is None:
        return re.search(rf"^(?:async[ \t]+def|def|class)[ \t]+{re.escape(name)}\b", code, re.MULTILINE) is not None
    return any(name in names_of(node) for node in tree.body)


def names_of(node: ast.stmt) -> tuple[str, ...]:
    """The names that a statement at the top level binds by defining or assigning them."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return (node.name,)
    targets = node.targets if isinstance(node, ast.Assign) else ()
    return tuple(target.id for target in targets if isinstance(target, ast.Name))


def code_of(text: str, entry_point: str = "") -> str | None:
    """The code of the fenced block that answers; None without a block.

    The last one that defines `entry_point`, else the last one; one that the end of the text cut off counts too.
    """
    found = [block for block in blocks(text) if block.language in ("", *PYTHON)]
    if not found:
        return None
    answering = [block for block in found if entry_point and defines(block.code, entry_point)]
    return (answering or found)[-1].code


def source_of(text: str, entry_point: str = "", opening: str = "") -> str:
    """The program that a completion stands for.

    Without `opening`: the code of its block, or the whole text. With the `opening` of a function that the completion
    is to go on with (HumanEval): code that defines `entry_point` is a whole program, which finds what stands before
    the function (imports, helpers) above it; anything else follows the opening.
    """
    code = code_of(text, entry_point)
    if not opening:
        return _between_marks(text) if code is None else code
    code = text.replace("\r\n", "\n") if code is None else code
    if entry_point and defines(code, entry_point):
        return before(opening, entry_point) + code if "from __future__" not in code else code
    return _continued(opening, code)


def before(opening: str, entry_point: str) -> str:
    """What stands before the function in an opening: imports, and helpers that it may call."""
    start = re.search(rf"^(?:async[ \t]+)?def[ \t]+{re.escape(entry_point)}\b", opening, re.MULTILINE)
    return opening[: start.start()] if start else ""


def _continued(opening: str, code: str) -> str:
    """The opening and what follows it, up to the first of the paper's ends where the whole does not parse."""
    if tree_of(opening + code) is None:
        end = min((place for stop in STOPS if (place := code.find(stop)) >= 0), default=len(code))
        code = code[:end]
    return opening + code


def _between_marks(text: str) -> str:
    """A text without MBPP's marks, up to the second of them."""
    text = text.replace("\r\n", "\n").partition("[DONE]")[0]
    return text.partition("[BEGIN]")[2] if "[BEGIN]" in text else text


def program_of(
    text: str, tests: tuple[str, ...], setup: str = "", entry_point: str = "", opening: str = ""
) -> Program:
    """What is run of a completion: its program with the tests of its problem."""
    return Program(source_of(text, entry_point, opening), tuple(tests), setup, SOLUTION, asked=entry_point)


def imports_of(tests: Sequence[str]) -> str:
    """Imports of the standard modules that tests use without importing them (`sys.getsizeof(...)`).

    As published, tests run where the program's own imports are at hand; kept apart from it, they need theirs.
    """
    used, bound = set(), set()
    for node in (node for test in tests for node in ast.walk(tree_of(test) or ast.Module([], []))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            used.add(node.value.id)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            bound |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
    return "\n".join(f"import {name}" for name in sorted((used - bound) & sys.stdlib_module_names))


def called_in(test: str) -> str:
    """The name of the function that a test is about: the outermost that it calls by its plain name; "" without one.

    Names of the language itself, such as `abs` or `set`, are passed over where another one is called.
    """
    tree = tree_of(test)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)] if tree else []
    names = [call.func.id for call in calls if isinstance(call.func, ast.Name)]
    own = [name for name in names if not hasattr(builtins, name)]
    return (own or names or [""])[0]
