"""What the tests' side knows by itself: exceptions, iterators, the standard library; and arguments that change."""

import builtins
import sys

from . import wire

EXCEPTIONS = {
    name: kind
    for name, kind in vars(builtins).items()
    if isinstance(kind, type) and issubclass(kind, BaseException)
}  # fmt: skip
ITERATORS = tuple(map(type, (iter([]), iter(()), iter({}), iter(set()), iter(range(0)), (_ for _ in ()), zip(),
                             map(str, ()), filter(None, ()), reversed([]), enumerate(()), iter(""))))  # fmt: skip

TYPES = {
    "builtins": ("int", "float", "bool", "str", "bytes", "bytearray", "complex", "list", "tuple", "dict", "set",
                 "frozenset", "range", "object"),
    "collections": ("Counter", "OrderedDict", "defaultdict", "deque"),
    "datetime": ("date", "time", "datetime", "timedelta", "timezone"),
    "decimal": ("Decimal",),
    "fractions": ("Fraction",),
}  # fmt: skip
PURE = {"bisect", "cmath", "collections", "copy", "datetime", "decimal", "fractions", "functools", "heapq", "itertools",
        "json", "math", "operator", "random", "re", "statistics", "string", "time", "typing"}  # fmt: skip


def become(old, new):
    """Give a mutable argument its new contents; inner lists and dicts stay the objects they were."""
    if type(old) is not type(new):
        return
    if isinstance(old, (list, tuple)):
        items = [kept(before, after) for before, after in zip(old, new, strict=False)] + list(new)[len(old) :]
        if isinstance(old, list):
            old[:] = items
    elif isinstance(old, dict):
        items = {key: kept(old[key], value) if key in old else value for key, value in new.items()}
        old.clear()
        old.update(items)
    elif isinstance(old, set):
        old.clear()
        old.update(new)
    elif isinstance(old, bytearray):
        old[:] = new


def kept(old, new):
    """The old container with the new contents, where it is a container of the same kind; else the new value."""
    if type(old) is type(new) and type(old) in (list, dict, set, bytearray, tuple):
        become(old, new)
        return new if type(old) is tuple else old
    return new


def known(value):
    """Whether a class can be found under its name in its module."""
    return getattr(sys.modules.get(value.__module__), value.__name__, None) is value


def library_type(home, name):
    """The builtin or standard class of that name, where calling it with whatever a program hands over does no harm."""
    if home == "builtins" and name in EXCEPTIONS:
        return EXCEPTIONS[name]
    if name not in TYPES.get(home, ()):
        raise wire.Malformed("a library class that does not cross")
    return getattr(__import__(home), name)


def library(name, form):
    """What the program imported under its own name from a pure module, taken from here; None for all else."""
    [(tag, body)] = form.items()
    if tag == "module" and body == name and name in PURE:
        return __import__(name)
    if tag == "library" and body[1] == name and body[0] in PURE and not name.startswith("_"):
        return getattr(__import__(body[0]), name, None)
    return None
