"""Frames of plain data over a file descriptor: four bytes of length, then JSON.

Plain: None, bool, int, float, str, bytes, bytearray, complex, list, tuple, dict, set, frozenset, range, Decimal,
Fraction, what `collections` makes of them, and dates and times. Everything is rebuilt from its text by exact type, so
nothing that the other side defined ever arrives. A subclass is written as the plain type it extends. Other objects
cross as numbers that stand for them (`hook`).
"""

import posix
import sys

from .quick_json import dumps, loads

MAX_FRAME = 8 << 20  # bytes
MAX_DEPTH = 150
HEADER = 4
SMALL = 1 << 53


class Malformed(Exception):
    """What came over the wire is no frame of plain data."""


class Closed(Exception):
    """The other side is gone."""


class NotPlain(TypeError):
    """A value cannot be written as plain data."""


# --- frames ---------------------------------------------------------------------------------------


def frame(message):
    """The bytes of one JSON-able message; raises NotPlain for what is too long or too deep."""
    try:
        data = dumps(message).encode("ascii")
    except (TypeError, RecursionError) as error:
        raise NotPlain(str(error)) from error
    if len(data) > MAX_FRAME:
        raise NotPlain(f"more than {MAX_FRAME >> 20} MiB of plain data")
    return len(data).to_bytes(HEADER, "big") + data


def send(fd, message):
    """Write one message."""
    view = memoryview(frame(message))
    try:
        while view:
            view = view[posix.write(fd, view) :]
    except (BrokenPipeError, ConnectionError) as error:
        raise Closed from error


def receive(fd):
    """Read one message; raises Closed at the end, Malformed for what is no JSON of the right size."""
    size = int.from_bytes(exactly(fd, HEADER), "big")
    if size > MAX_FRAME:
        raise Malformed("a frame that is too long")
    try:
        return loads(exactly(fd, size).decode("ascii"))
    except (ValueError, RecursionError) as error:
        raise Malformed("a frame that is no JSON") from error


def exactly(fd, count):
    """`count` bytes."""
    parts = []
    while count:
        try:
            part = posix.read(fd, min(count, 1 << 20))
        except ConnectionError as error:
            raise Closed from error
        if not part:
            raise Closed
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


# --- plain data to JSON ---------------------------------------------------------------------------


def encode(value, hook=None, depth=0):
    """The JSON form of a value; `hook(value)` writes what is not plain, or raises NotPlain."""
    kind = type(value)
    if value is None or kind is bool or kind is str or kind is float:
        return value
    if kind is int:
        return value if -SMALL < value < SMALL else {"int": hex(value)}
    if depth > MAX_DEPTH:
        raise NotPlain(f"data nested more than {MAX_DEPTH} deep")
    deeper = depth + 1
    if kind is list:
        return [encode(item, hook, deeper) for item in value]
    if kind is tuple or kind is set or kind is frozenset:
        return {kind.__name__: [encode(item, hook, deeper) for item in value]}
    if kind is dict:
        return {"dict": [[encode(key, hook, deeper), encode(item, hook, deeper)] for key, item in value.items()]}
    if kind is bytes or kind is bytearray:
        return {kind.__name__: value.decode("latin-1")}
    if kind is complex:
        return {"complex": [value.real, value.imag]}
    if kind is range:
        return {"range": [encode(value.start), encode(value.stop), encode(value.step)]}
    if tuple in kind.__mro__ and type(getattr(kind, "_fields", None)) is tuple:
        items = [encode(item, hook, deeper) for item in tuple.__iter__(value)]
        return {"named": [kind.__name__, list(kind._fields), items]}
    known = library(kind)
    if known:
        return {known: [encode(item, hook, deeper) for item in TAKEN_APART[known](value)]}
    for base in PLAIN_BASES:
        if base in kind.__mro__:  # not isinstance, which asks the value
            return encode(as_base(value, base), hook, deeper)
    if hook is None:
        raise NotPlain(f"{kind.__name__} is no plain data")
    return hook(value)


PLAIN_BASES = (int, float, str, list, tuple, dict, set, frozenset, bytes, bytearray, complex)
DICT_VIEWS = {type({}.keys()): "keys", type({}.values()): "values", type({}.items()): "items"}
TAKEN_APART = {
    "Counter": lambda value: [dict(value)],
    "OrderedDict": lambda value: [dict(value)],
    "defaultdict": lambda value: [dict(value)],
    "deque": lambda value: [list(value)],
    "Decimal": lambda value: [str(value)],
    "Fraction": lambda value: [value.numerator, value.denominator],
    "date": lambda value: [value.year, value.month, value.day],
    "time": lambda value: [value.hour, value.minute, value.second, value.microsecond, value.tzinfo],
    "datetime": lambda value: [*value.timetuple()[:6], value.microsecond, value.tzinfo],
    "timedelta": lambda value: [value.days, value.seconds, value.microseconds],
    "timezone": lambda value: [value.utcoffset(None)],
    "keys": lambda value: [list(value)],
    "values": lambda value: [list(value)],
    "items": lambda value: [list(value)],
}
HOMES = {"Counter": "collections", "OrderedDict": "collections", "defaultdict": "collections", "deque": "collections",
         "Decimal": "decimal", "Fraction": "fractions", "date": "datetime", "time": "datetime", "datetime": "datetime",
         "timedelta": "datetime", "timezone": "datetime"}  # fmt: skip


def library(kind):
    """The name under which a type of the standard library crosses, None for others; loads nothing."""
    if kind in DICT_VIEWS:
        return DICT_VIEWS[kind]
    home = HOMES.get(kind.__name__)
    return kind.__name__ if home and getattr(sys.modules.get(home), kind.__name__, None) is kind else None


def as_base(value, base):
    """The plain value inside an instance of a subclass, by the methods of the plain type itself."""
    if base in (int, float, complex):
        return base.__add__(value, base(0)) if base is not complex else complex.__add__(value, 0j)
    if base is str:
        return str.__str__(value)
    if base is dict:
        return dict(dict.items(value))
    if base in (bytes, bytearray):
        return base(base.__iter__(value))
    return base(base.__iter__(value))


# --- JSON to plain data ---------------------------------------------------------------------------


def decode(data, hook=None, depth=0):
    """The value of a JSON form; `hook(tag, body)` reads what is not plain. Raises Malformed for all else."""
    kind = type(data)
    if data is None or kind in (bool, int, float, str):
        return data
    if depth > MAX_DEPTH * 2:
        raise Malformed("data nested too deep")
    deeper = depth + 1
    if kind is list:
        return [decode(item, hook, deeper) for item in data]
    if len(data) != 1:
        raise Malformed("an object that is no tagged value")
    [(tag, body)] = data.items()
    if tag in BUILT:
        try:
            return BUILT[tag](body if tag in RAW else [decode(item, hook, deeper) for item in body])
        except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError) as error:
            raise Malformed(f"no {tag}") from error
    if hook is None:
        raise Malformed(f"the unknown tag {tag!r}")
    return hook(tag, body)


def made(home, name):
    """A builder of a library type from its parts."""

    def build(parts):
        return getattr(__import__(home), name)(*parts)

    return build


def default_dict(parts):
    """A defaultdict; its factory stays behind."""
    return made("collections", "defaultdict")([None, *parts])


def named_tuple(parts):
    """A named tuple; a plain one where a field would stand in for a method that tests ask of a text or a set."""
    name, fields, items = parts
    if any(hasattr(kind, field) for kind in (str, set, tuple) for field in fields):
        return tuple(items)
    known = (name, *fields)
    if known not in NAMED:
        NAMED[known] = __import__("collections").namedtuple(name, fields)
    return NAMED[known](*items)


NAMED = {}  # name and fields -> class
BUILT = {
    "int": lambda body: int(body, 16),
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "dict": dict,
    "named": named_tuple,
    "bytes": lambda body: body.encode("latin-1"),
    "bytearray": lambda body: bytearray(body.encode("latin-1")),
    "complex": lambda parts: complex(*parts),
    "range": lambda parts: range(*parts),
    **{name: made(home, name) for name, home in HOMES.items()},
    "defaultdict": default_dict,
    "keys": lambda parts: dict.fromkeys(parts[0]).keys(),
    "values": lambda parts: dict(enumerate(parts[0])).values(),
    "items": lambda parts: dict(parts[0]).items(),
}
RAW = {"int", "bytes", "bytearray"}
