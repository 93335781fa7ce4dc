"""Pickles of strangers: plain values and arrays are read, and nothing else is, nor called, nor allocated."""

import os
import pickle
import pickletools
import struct
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskgrpo_cli.rewards.remote.pickles import LARGEST, NotPlain, loads

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)
    | st.text(max_size=8) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=4), inner)
    | st.sets(st.text(max_size=3), max_size=3),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(PLAIN, st.sampled_from([4, 5]))
def test_plain_values_come_back_as_they_were(value, protocol):
    found = loads(pickle.dumps(value, protocol=protocol))
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("value", [[1, 2.5, None, True, "é"], {"scores": (1, 2)}, 2**100, -(2**40)])
def test_every_version_of_plain_values(value, protocol):
    assert loads(pickle.dumps(value, protocol=protocol)) == value


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("array", [
    np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3)), np.array(2.5),
    np.zeros((0, 4)), np.arange(3, dtype=">i8"), np.array([True, False]), np.array(["ab", "c"]), np.array([b"x"]),
    np.float16([0.5]), np.arange(8)[::2],
], ids=lambda array: f"{array.dtype.str}-{array.shape}")  # fmt: skip
def test_arrays_come_back_with_type_shape_and_values(array, protocol):
    data = pickle.dumps({"scores": array, "twice": [array]}, protocol=protocol)
    found = loads(data)
    for one in (found["scores"], found["twice"][0]):
        assert isinstance(one, np.ndarray) and one.dtype == array.dtype and one.shape == array.shape
        assert np.array_equal(one, array)


@pytest.mark.parametrize("name", [b"numpy.core", b"numpy._core"])
def test_both_names_of_numpys_core(name):
    own = np.zeros(0).__reduce__()[0].__module__.removesuffix(".multiarray").encode()
    data = pickle.dumps(np.arange(3), protocol=3)
    assert own in data
    assert loads(data.replace(own, name)).tolist() == [0, 1, 2]


def test_scalars_are_python_numbers():
    found = loads(pickle.dumps([np.float32(0.5), np.float64(1e-300), np.int64(-3), np.bool_(True)]))
    assert found == [0.5, 1e-300, -3, True] and [type(x) for x in found] == [float, float, int, bool]


# --- hostile ones -----------------------------------------------------------------------------------


class Calls:
    """Pickled as a call of `function(*arguments)`."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


class Filled:
    """Pickled as an instance with a state, by NEWOBJ and BUILD."""

    def __init__(self):
        self.state = 1


def touch(path):
    return f"touch {path}"


def hostile(target):
    """Name -> a pickle that would leave a file at `target`, or hand over an object, were it loaded as pickles are."""
    command, code = touch(target), f"open({str(target)!r}, 'w')"
    raw = b"cos\nsystem\n(S'" + command.encode() + b"'\ntR."
    return {
        "os.system": pickle.dumps(Calls(os.system, command)),
        "within a list": pickle.dumps({"scores": [1.0, Calls(os.system, command)]}),
        "subprocess": pickle.dumps(Calls(subprocess.Popen, ["touch", str(target)])),
        "eval": pickle.dumps(Calls(eval, code)),
        "exec": pickle.dumps(Calls(exec, code)),
        "getattr": pickle.dumps(Calls(getattr, "x", "format")),
        "import": pickle.dumps(Calls(__import__, "os")),
        "protocol 0": raw,
        "inst": b"(S'" + command.encode() + b"'\nios\nsystem\n.",
        "obj": b"(cos\nsystem\nS'" + command.encode() + b"'\no.",
        "an object": pickle.dumps(Filled()),
        "a class": pickle.dumps(Filled),
        "numpy.load": pickle.dumps(Calls(np.load, str(target))),
        "numpy beyond the few": b"cnumpy\nsave\n.",
        "another ndarray": b"cnumpy.core.multiarray\n_reconstruct\n(cos\nsystem\n(K\x00tC\x01btR.",
        "a dotted way out": b"\x80\x04\x8c\x05numpy\x8c\x0fndarray.__class__\x93.",
        "a way through dtype": b"cnumpy\ndtype\n(S'O'\ntR.",
        "persistent": b"Pcommand\n.",
        "extension": b"\x82\x01.",
        "a nested build": b"\x80\x04]}\x8c\x09__class__K\x01sb.",
        "a build of a dict": b"\x80\x04}}\x8c\x01aK\x01sb.",
    }


@pytest.mark.parametrize("name", hostile("/nowhere"))
def test_fault_21_nothing_of_a_hostile_pickle_runs(name, tmp_path):
    target = tmp_path / "touched"
    before = set(sys.modules)
    with pytest.raises(NotPlain):
        loads(hostile(target)[name])
    assert not target.exists()
    assert set(sys.modules) == before


def test_the_refusal_names_what_was_asked_for():
    with pytest.raises(NotPlain, match=r"it asks for (posix|nt)\.system, which is more than plain values and arrays"):
        loads(pickle.dumps(Calls(os.system, "true")))


def test_the_same_would_run_in_the_pickle_module(tmp_path):
    target = tmp_path / "touched"
    pickle.loads(hostile(target)["os.system"])
    assert target.exists()  # so that the tests above can fail


@pytest.mark.parametrize(("value", "why"), [
    (np.array([1, "a", None], dtype=object), "an array of objects is not read"),
    (np.zeros(2, dtype=[("a", "f8")]), "neither numbers nor text"),
    (np.array(["2020-01-01"], dtype="M8[D]"), "neither numbers nor text"),
    (np.zeros(1, dtype=np.longdouble), "neither numbers nor text"),
    (np.array([1 + 2j]), "neither numbers nor text"),
    ({(1, 2): 3}, "a key is a tuple"),
    ({2.5: 3}, "a key is a float"),
    ({2**60: 3}, "a key is a int"),
    (np.dtype("f8"), "no plain value"),
    ([np.dtype("f8")], "keeps a name or a dtype"),
    (np.ndarray, "no plain value"),
    (np.ma.masked_array([1.0]), "it asks for numpy.ma"),
    (np.random.default_rng, "it asks for numpy"),
])  # fmt: skip
def test_values_that_are_more_than_plain(value, why):
    with pytest.raises(NotPlain, match=why):
        loads(pickle.dumps(value, protocol=4))


def array(shape, data, kind=b"f8"):
    """A pickled array of a shape, whatever its bytes."""
    shape_bytes = pickle.dumps(shape, protocol=2)[2:-1]  # without its version and its end
    body = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tC\x01btR"
    dtype = b"cnumpy\ndtype\n(V" + kind + b"\nK\x00K\x01tR(K\x03V<\nNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    return b"\x80\x03" + body + b"(K\x01" + shape_bytes + dtype + b"\x89C" + bytes([len(data)]) + data + b"tb."


def test_the_array_of_the_next_test_is_right_otherwise():
    assert loads(array((2,), bytes(16))).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("shape", [
    (2**40,), (10**6, 10**6, 10**6), (3,), (-2,), (2**63, 2**63), (0, 0), (True, 2), ("2",), (2.0,), (1,) * 40, ((2,),),
])  # fmt: skip
def test_shapes_that_do_not_fit_the_bytes_allocate_nothing(shape):
    tracemalloc.start()
    with pytest.raises(NotPlain):
        loads(array(shape, bytes(16)))
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def bombs():
    """Name -> a short pickle that would take much memory or time."""
    doubling = b"\x80\x04]\x94" + b"(h\x00h\x00e" * 2000 + b"."
    return {
        "a memo index of 4 billion": b"\x80\x04]r\xff\xff\xff\xff.",
        "text of 2**62 bytes": b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"a.",
        "bytes of 2**62": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"a.",
        "a bytearray of 2**62": b"\x80\x05\x96" + struct.pack("<Q", 2**62) + b"a.",
        "a frame of 2**62": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b".",
        "a number of 2 GB": b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"a.",
        "a number of a million digits": b"L" + b"9" * 1_000_000 + b"L\n.",
        "text of scalars, over and over": b"\x80\x04(cnumpy\ndtype\n(VU99999\nK\x00K\x01tR\x94C\xff" + bytes(255)
        + b"\x94cnumpy.core.multiarray\nscalar\nh\x00h\x01\x86Rl.",
        "a list that holds itself": doubling,
    }


@pytest.mark.parametrize("name", bombs())
def test_bombs_take_no_memory(name):
    tracemalloc.start()
    try:
        loads(bombs()[name])
    except NotPlain:
        pass
    else:
        # plain, and as long as its bytes say
        assert name in ("a memo index of 4 billion", "a list that holds itself")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * 2**20


def slow_ones():
    """Name -> a pickle whose instructions together would take the square of their number."""
    filled = array((1,), bytes(8))
    call, state = filled[2 : filled.index(b"R") + 1], filled[filled.index(b"R") + 1 : -2]  # without BUILD and STOP
    text = b"\x8d" + struct.pack("<Q", 7_000_000) + b"a" * 7_000_000
    return {
        "an array in many places, filled often":
            b"\x80\x03" + state + b"q\x000" + call + b"q\x01" * 40_000 + b"2h\x00b0" * 40_000 + b"0N.",
        "two long keys that are equal":
            b"\x80\x04" + text + b"\x940" + text + b"\x940}(h\x00N" + b"h\x01N" * 40_000 + b"u.",
    }  # fmt: skip


@pytest.mark.parametrize("name", slow_ones())
def test_time_is_in_proportion_to_the_instructions(name):
    started = time.process_time()
    try:
        assert loads(slow_ones()[name]) is None
    except NotPlain as error:
        assert "a key has 7000000 characters; at most 1000 are read" in str(error)
    assert time.process_time() - started < 5  # else each takes half a minute


def test_deep_nesting_is_read_without_recursion():
    found = loads(b"\x80\x04" + b"]" * 50_000 + b"a" * 49_999 + b".")
    depth = 0
    while found:
        found, depth = found[0], depth + 1
    assert depth == 49_999


def test_limits_of_bytes_and_instructions():
    with pytest.raises(NotPlain, match=f"at most {LARGEST} are read"):
        loads(bytes(LARGEST + 1))
    with pytest.raises(NotPlain, match="more than 1000000 instructions"):
        loads(b"\x80\x04" + b"N0" * 500_000 + b"N.")


@pytest.mark.parametrize("data", [
    b"", b".", b"garbage", b"\x80\x04", b"\x80\x04N", b"NN.", b"(.", b"0.", b"\x85.", b"t.", b"e.", b"(Ka.", b"]s.",
    b"}K\x01s.", b"}(K\x01u.", b"h\x05.", b"R.", b"b.", b"(2.", b"(h.", b"(q\x00.", b"\x93.", b"NK\x01\x93.",
    b"\x80\x04]]b.",
])  # fmt: skip
def test_damaged_pickles_are_refused(data):
    with pytest.raises(NotPlain):
        loads(data)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_plain_or_refused(data):
    try:
        found = loads(data)
    except NotPlain:
        return
    assert isinstance(found, (type(None), bool, int, float, str, bytes, list, tuple, dict, set, frozenset, np.ndarray))


CODES = [opcode.code.encode("latin-1") for opcode in pickletools.opcodes]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(CODES) | st.sampled_from([b"K\x01", b"h\x00", b"q\x00", b"cnumpy\ndtype\n", b"Vf8\n",
                                                          b"cnumpy\nndarray\n", b"cnumpy.core.multiarray\nscalar\n"]),
                max_size=30))  # fmt: skip
def test_any_instructions_are_plain_or_refused(pieces):
    try:
        found = loads(b"".join(pieces) + b".")
    except NotPlain:
        return
    assert type(found).__module__ in ("builtins", "numpy")
