"""Plain data over a line: what goes in comes out by exact type, and nothing else comes out."""

import os
import struct
import threading
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from maskgrpo_cli.sandbox import seccomp
from maskgrpo_cli.sandbox.guest import quick_json, wire

KEYS = some.one_of(
    some.none(), some.booleans(), some.integers(), some.floats(allow_nan=False), some.text(), some.binary()
)
PLAIN = some.recursive(
    KEYS | some.complex_numbers(allow_nan=False) | some.binary().map(bytearray) | some.frozensets(KEYS)
    | some.builds(range, some.integers(-9, 9), some.integers(-9, 9), some.integers(1, 3)),
    lambda inner: some.lists(inner) | some.lists(inner).map(tuple) | some.dictionaries(KEYS, inner) | some.sets(KEYS),
)  # fmt: skip


def types(value):
    """The value with all its types, so that 1, 1.0 and True differ."""
    if isinstance(value, dict):
        return [(types(key), types(item)) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value), [types(item) for item in value]
    return type(value), repr(value) if not isinstance(value, (set, frozenset)) else sorted(map(repr, value))


@settings(max_examples=60, deadline=None)
@given(PLAIN)
def test_plain_data_comes_back_as_it_was(value):
    back = wire.decode(quick_json.loads(quick_json.dumps(wire.encode(value))))
    assert back == value and types(back) == types(value)


@pytest.mark.parametrize(
    "value",
    [Counter("aab"), OrderedDict(a=1), deque([1]), Decimal("0.10"), Fraction(1, 3), 2**200, -(2**53), float("inf")],
)
def test_library_types_and_large_numbers(value):
    back = wire.decode(wire.encode(value))
    assert back == value and type(back) is type(value)
    assert wire.decode(wire.encode(defaultdict(int, a=1))) == {"a": 1}


class Text(str):
    def __eq__(self, other):
        return True

    __hash__ = str.__hash__

    def __str__(self):
        return "another"


class Number(int):
    def __eq__(self, other):
        return True

    __hash__ = int.__hash__

    def __add__(self, other):
        return 99


Pair = namedtuple("Pair", "x y")
Colour = IntEnum("Colour", "RED GREEN")


@pytest.mark.parametrize(
    "value, plain",
    [(Text("ab"), "ab"), (Number(5), 5), (Colour.GREEN, 2), ([Text("x")], ["x"])],
)
def test_subclasses_cross_as_what_they_extend(value, plain):
    back = wire.decode(wire.encode(value))
    assert type(back) is type(plain) and back == plain


def test_named_tuples_keep_their_names_alone():
    class Lying(Pair):
        def __eq__(self, other):
            return True

    back = wire.decode(wire.encode(Lying(1, (2,))))
    assert back == (1, (2,)) != (1, 3) and back.y == (2,) and type(back).__eq__ is tuple.__eq__
    plain = wire.decode(wire.encode(namedtuple("Text", "startswith x")(1, 2)))
    assert type(plain) is tuple and plain == (1, 2)


@pytest.mark.parametrize("value", [object(), len, Exception("x"), type, iter([])])
def test_other_objects_do_not_cross_without_a_hook(value):
    with pytest.raises(wire.NotPlain):
        wire.encode([value])


@pytest.mark.parametrize(
    "form",
    [{}, {"list": [1], "set": [1]}, {"eval": "1"}, {"int": 5}, {"int": "zz"}, {"range": [1, 2, 0]}, {"set": [[1]]},
     {"bytes": 3}, {"bytes": "\u1234"}, {"dict": [[1]]}, {"dict": [[[1], 2]]}, {"Decimal": ["x"]},
     {"Fraction": [1, 0]}, {"complex": ["a", 1]}, {"tuple": None}, {"date": [2024, 2, 30]},
     {"named": ["P", ["x"], [1, 2]]}, {"named": ["P", ["x; y"], [1]]}, {"named": ["P", [1], [1]]}, {"named": []}],
)  # fmt: skip
def test_malformed_forms_are_refused(form):
    with pytest.raises((wire.Malformed, TypeError)):
        wire.decode(form)


def test_depth_is_limited_both_ways():
    deep = []
    for _ in range(wire.MAX_DEPTH + 5):
        deep = [deep]
    with pytest.raises(wire.NotPlain, match="nested"):
        wire.encode(deep)
    form = []
    for _ in range(2 * wire.MAX_DEPTH + 5):
        form = [form]
    with pytest.raises(wire.Malformed, match="deep"):
        wire.decode(form)


def over_a_pipe(data: bytes):
    reader, writer = os.pipe()
    thread = threading.Thread(target=lambda: (os.write(writer, data), os.close(writer)))
    thread.start()
    try:
        return wire.receive(reader)
    finally:
        thread.join()
        os.close(reader)


def test_frames():
    assert over_a_pipe(wire.frame(["ok", 1.5, "é"])) == ["ok", 1.5, "é"]
    for broken in (b"", b"\0\0", b"\0\0\0\5[1]"):
        with pytest.raises(wire.Closed):
            over_a_pipe(broken)
    for nonsense in (b"\0\0\0\1[", b"\0\0\0\4[1]x", b"\xff\xff\xff\xff[", b"\0\0\0\2\xff\xff", b"\0\0\0\0"):
        with pytest.raises((wire.Malformed, UnicodeDecodeError)):
            over_a_pipe(nonsense)
    with pytest.raises(wire.NotPlain, match="MiB"):
        wire.frame("x" * (wire.MAX_FRAME + 1))
    loop = []
    loop.append(loop)
    with pytest.raises(wire.NotPlain):
        wire.frame(loop)


# --- the filter of system calls, read by a small machine of the same kind -----------------------------


def decide(program: bytes, machine: int, number: int, first: int = 0, second: int = 0) -> int:
    """What the filter answers to one call (struct seccomp_data: number, machine, address, six arguments)."""
    data = struct.pack("<IIQ6Q", number, machine, 0, first, second, 0, 0, 0, 0)
    code = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    at, register = 0, 0
    while True:
        operation, when_true, when_false, value = code[at]
        at += 1
        if operation == seccomp.LOAD:
            register = struct.unpack_from("<I", data, value)[0]
        elif operation == seccomp.RETURN:
            return value
        else:
            met = {seccomp.JUMP_EQUAL: register == value, seccomp.JUMP_AT_LEAST: register >= value,
                   seccomp.JUMP_ANY: bool(register & value)}[operation]  # fmt: skip
            at += when_true if met else when_false


REFUSED, DENIED, UNKNOWN = 0x00050000 | 13, 0x00050000 | 1, 0x00050000 | 38
CALLS = {  # machine: AUDIT_ARCH, then number and answer
    "x86_64": (0xC000003E, [(0, 0x7FFF0000), (41, REFUSED), (101, REFUSED), (165, REFUSED), (319, REFUSED),
                            (435, UNKNOWN), (449, UNKNOWN), (0x40000000, UNKNOWN), (53, 0x7FFF0000)]),
    "aarch64": (0xC00000B7, [(63, 0x7FFF0000), (198, REFUSED), (117, REFUSED), (40, REFUSED), (279, REFUSED),
                             (435, UNKNOWN), (449, UNKNOWN), (199, 0x7FFF0000)]),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_filter_of_calls(name):
    machine, calls = CALLS[name]
    program = seccomp.filter_program(name)
    for number, answer in calls:
        assert decide(program, machine, number) == answer, number
    clone, prctl = (56, 157) if name == "x86_64" else (220, 167)
    assert decide(program, machine, clone, 0x3D0F00) == seccomp.ALLOW  # what starts a thread
    assert decide(program, machine, clone, 0x10000000 | 17) == DENIED
    assert decide(program, machine, prctl, 1, 0) == DENIED
    assert decide(program, machine, prctl, 1, 9) == seccomp.ALLOW
    assert decide(program, machine, prctl, 15) == seccomp.ALLOW
    assert decide(program, 0x40000003, 0) == seccomp.KILL  # 32-bit x86
    assert seccomp.filter_program("riscv64") == b""
