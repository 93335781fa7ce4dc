"""Reads pickles of plain values without the pickle module: what published reward servers answer.

A pickle is a program for a small machine. This one has the instructions that make containers, numbers, strings and
bytes; the only things that it can be told to call are the few of numpy's by which arrays and scalars are pickled, and
in their place it calls functions of its own (`arrays`). Everything else is refused by name, and nothing is imported.
Whatever the bytes say, time and memory stay in proportion to their number: no instruction can ask for more.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any

from maskgrpo_cli.rewards.remote import arrays

LARGEST = 16 * 2**20  # bytes of a pickle
LONGEST = 1_000_000  # instructions
WIDEST = 2**53  # keys that are numbers; beyond it they could be chosen to collide
LONGEST_KEY = 1000  # characters; two that are equal are compared to the end each time that one is looked up
MARK = object()  # on the stack, where a list of things begins
CONSTANTS = {
    "NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set,
    "EMPTY_TUPLE": tuple,
}  # fmt: skip
VALUES = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "UNICODE", "BINUNICODE",
    "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
IGNORED = {"PROTO", "FRAME", "STOP"}
PUTS, GETS = {"PUT", "BINPUT", "LONG_BINPUT"}, {"GET", "BINGET", "LONG_BINGET"}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class NotPlain(ValueError):
    """A pickle that is damaged, too large, or asks for more than plain values and arrays of numbers."""


def loads(data: bytes) -> Any:
    """The plain value in a pickle: None, bool, int, float, str, bytes, list, tuple, dict, set, or a numpy array.

    Raises:
        NotPlain: says what it asks for, or how it is damaged. Nothing was called, imported or made in its name.
    """
    if len(data) > LARGEST:
        raise NotPlain(f"it has {len(data)} bytes; at most {LARGEST} are read")
    try:
        return _Machine().run(data)
    except NotPlain:
        raise
    except arrays.NotAnArray as error:
        raise NotPlain(str(error)) from error
    except Exception as error:  # the bytes are a stranger's: whatever trips over them, they are what is wrong
        raise NotPlain(f"it is damaged ({type(error).__name__})") from error


class _Arguments(tuple):
    """A tuple that holds names, dtypes or unfilled arrays: good for a call, never a part of the result."""


class _Machine:
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}  # not a list, whose length an index could choose

    def run(self, data: bytes) -> Any:
        """Carry out the instructions up to the first STOP; one value is left."""
        name = ""
        for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if count >= LONGEST:
                raise NotPlain(f"it has more than {LONGEST} instructions")
            name = opcode.name
            self.step(name, argument)
        if name != "STOP" or len(self.stack) != 1 or _is_inner(self.stack[0]):
            raise NotPlain("it leaves no plain value")
        return self.stack[0]

    def step(self, name: str, argument: Any) -> None:
        """Carry out one instruction."""
        stack = self.stack
        if name in VALUES:
            stack.append(bytes(argument) if isinstance(argument, bytearray) else argument)
        elif name in CONSTANTS:
            made = CONSTANTS[name]
            stack.append(made() if isinstance(made, type) else made)
        elif name in PUTS:
            self.remember(argument)
        elif name in GETS:
            stack.append(self.memo[argument])
        elif name in TUPLES:
            stack.append(_tuple(self.popped(TUPLES[name])))
        elif name in STEPS:
            STEPS[name](self, argument)
        elif name not in IGNORED:
            raise NotPlain(f"it asks for {name}, which is more than plain values and arrays")

    def popped(self, count: int) -> list[Any]:
        """The topmost `count` values, none of them a mark."""
        if len(self.stack) < count:
            raise NotPlain("it is damaged (stack)")
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        if any(item is MARK for item in items):
            raise NotPlain("it is damaged (mark)")
        return items

    def marked(self) -> list[Any]:
        """Everything above the topmost mark, which goes with it."""
        for place in range(len(self.stack) - 1, -1, -1):
            if self.stack[place] is MARK:
                items = self.stack[place + 1 :]
                del self.stack[place:]
                return items
        raise NotPlain("it is damaged (mark)")

    def remember(self, place: int) -> None:
        """Keep the topmost value; one that is filled later says where it is to be replaced."""
        value = self.stack[-1]
        if value is MARK:
            raise NotPlain("it is damaged (mark)")
        if isinstance(value, arrays.Unfilled):
            value.places.append(place)
        self.memo[place] = value

    def top(self, kind: type) -> Any:
        """The topmost value, which is of a kind."""
        if not isinstance(self.stack[-1], kind):
            raise NotPlain(f"it is damaged (no {kind.__name__})")
        return self.stack[-1]

    def named(self, module: Any, attribute: Any) -> None:
        """A thing by its name: one of numpy's few."""
        found = None
        if isinstance(module, str) and isinstance(attribute, str):
            found = arrays.NAMES.get((module, attribute))
        if found is None:
            asked = f"{_shown(module)}.{_shown(attribute)}"
            raise NotPlain(f"it asks for {asked}, which is more than plain values and arrays")
        self.stack.append(found)

    def update(self, flat: list[Any]) -> None:
        """Put keys and values, in turn, into the dictionary on top."""
        if len(flat) % 2:
            raise NotPlain("it is damaged (a key without a value)")
        for key, value in zip(flat[::2], flat[1::2], strict=True):
            self.top(dict)[_key(key)] = _plain(value)


def _key(value: Any) -> Any:
    """A key of a dictionary, or an element of a set: nothing that takes long to hash or can be chosen to collide."""
    if isinstance(value, (str, bytes)) and len(value) > LONGEST_KEY:
        raise NotPlain(f"a key has {len(value)} characters; at most {LONGEST_KEY} are read")
    if value is None or isinstance(value, (str, bytes, bool)) or (isinstance(value, int) and abs(value) < WIDEST):
        return value
    raise NotPlain(f"a key is a {type(value).__name__}; only text and numbers are read")


def _is_inner(value: Any) -> bool:
    return value is MARK or isinstance(value, (arrays.Known, arrays.Unfilled, arrays.Kind, _Arguments))


def _plain(value: Any) -> Any:
    if _is_inner(value):
        raise NotPlain("it keeps a name or a dtype as a value")
    return value


def _unmarked(value: Any) -> Any:
    if value is MARK:
        raise NotPlain("it is damaged (mark)")
    return value


def _tuple(items: list[Any]) -> tuple:
    return _Arguments(items) if any(map(_is_inner, items)) else tuple(items)


def _shown(name: Any) -> str:
    text = name if isinstance(name, str) else type(name).__name__
    return "".join(c for c in text[:60] if c.isprintable())


def _global(machine: _Machine, argument: Any) -> None:
    module, _, attribute = str(argument).partition(" ")
    machine.named(module, attribute)


def _reduce(machine: _Machine, argument: Any) -> None:
    function, arguments = machine.popped(2)
    if not isinstance(function, arrays.Known) or not isinstance(arguments, tuple):
        raise NotPlain("it calls what is no function")
    machine.stack.append(function.call(arguments))


def _build(machine: _Machine, argument: Any) -> None:
    (state,) = machine.popped(1)
    target = machine.stack[-1]
    if not isinstance(target, (arrays.Kind, arrays.Unfilled)):
        raise NotPlain("it fills what is no array")
    filled = machine.stack[-1] = target.fill(state)
    places = getattr(target, "places", [])
    while places:  # each is looked at once, however often the same array is filled
        if machine.memo.get(place := places.pop()) is target:
            machine.memo[place] = filled


def _frozen(machine: _Machine, argument: Any) -> None:
    machine.stack.append(frozenset(map(_key, machine.marked())))


def _append(machine: _Machine, argument: Any) -> None:
    (item,) = machine.popped(1)
    machine.top(list).append(_plain(item))


def _appends(machine: _Machine, argument: Any) -> None:
    items = machine.marked()
    machine.top(list).extend(map(_plain, items))


def _adds(machine: _Machine, argument: Any) -> None:
    items = [_key(item) for item in machine.marked()]
    machine.top(set).update(items)


def _dict(machine: _Machine, argument: Any) -> None:
    flat = machine.marked()
    machine.stack.append({})
    machine.update(flat)


STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": lambda machine, _: machine.stack.append(MARK),
    "POP": lambda machine, _: machine.stack.pop(),
    "POP_MARK": lambda machine, _: machine.marked(),
    "DUP": lambda machine, _: machine.stack.append(_unmarked(machine.stack[-1])),
    "MEMOIZE": lambda machine, _: machine.remember(len(machine.memo)),
    "TUPLE": lambda machine, _: machine.stack.append(_tuple(machine.marked())),
    "LIST": lambda machine, _: machine.stack.append([*map(_plain, machine.marked())]),
    "DICT": _dict, "FROZENSET": _frozen, "APPEND": _append, "APPENDS": _appends, "ADDITEMS": _adds,
    "SETITEM": lambda machine, _: machine.update(machine.popped(2)),
    "SETITEMS": lambda machine, _: machine.update(machine.marked()),
    "GLOBAL": _global,
    "STACK_GLOBAL": lambda machine, _: machine.named(*machine.popped(2)),
    "REDUCE": _reduce, "BUILD": _build,
}  # fmt: skip
