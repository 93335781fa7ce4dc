"""Numpy arrays and scalars as they lie in pickles, made anew from their bytes; nothing of numpy is called by name.

Numpy pickles an array as `_reconstruct(ndarray, (0,), b"b")` filled with (version, shape, dtype, fortran, bytes), or
from protocol 5 on as `_frombuffer(bytes, dtype, shape, order)`; a scalar as `scalar(dtype, bytes)`; a dtype as
`dtype("f8", False, True)` filled with its byte order. Its modules were renamed from numpy.core to numpy._core.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

KINDS = re.compile(r"b1|[iu][1248]|f[248]|S\d{1,5}|U\d{1,5}")  # no objects, no records, nothing of other sizes
DIMENSIONS = 32


class NotAnArray(ValueError):
    """An array of objects or records, or one whose bytes do not fit its shape."""


@dataclass(frozen=True)
class Known:
    """What a pickle may name, and what is called in its place."""

    name: str
    call: Callable[[tuple], Any]


@dataclass
class Kind:
    """A dtype of numbers or text."""

    name: str
    order: str = "<"

    def fill(self, state: Any) -> Kind:
        """Take its byte order, from the state that numpy writes: (version, order, subarray, names, fields, ...)."""
        if not (isinstance(state, tuple) and len(state) >= 5 and state[1] in ("<", ">", "|", "=")):
            raise NotAnArray("a dtype is damaged")
        if any(part is not None for part in state[2:5]):
            raise NotAnArray("an array of records is not read")
        self.order = "<" if state[1] in "|=" else state[1]
        return self

    def read(self, data: Any, shape: Any, fortran: bool) -> np.ndarray:
        """The array of a shape that `data` holds to the byte: a view of it, for many may be made of the same bytes."""
        if not isinstance(data, bytes):
            raise NotAnArray("an array holds no bytes")
        if not (isinstance(shape, tuple) and len(shape) <= DIMENSIONS and all(map(_is_size, shape))):
            raise NotAnArray("the shape of an array is none")
        dtype = np.dtype(self.order + self.name)
        if dtype.itemsize * math.prod(shape) != len(data) or not dtype.itemsize:
            raise NotAnArray(f"an array of {len(data)} bytes does not have the shape that it says")
        return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


@dataclass
class Unfilled:
    """An array before its state has come."""

    places: list[int] = field(default_factory=list)  # in the memo

    def fill(self, state: Any) -> np.ndarray:
        """The array of a state (version, shape, dtype, fortran, bytes)."""
        if not (isinstance(state, tuple) and len(state) == 5 and isinstance(state[2], Kind)):
            raise NotAnArray("an array is damaged")
        _, shape, kind, fortran, data = state
        return kind.read(data, shape, fortran is True)


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**40


def _dtype(arguments: tuple) -> Kind:
    name = arguments[0] if arguments else None
    if not isinstance(name, str) or not KINDS.fullmatch(name):
        what = "objects" if name in ("O", "O8") else "what is neither numbers nor text"
        raise NotAnArray(f"an array of {what} is not read")
    return Kind(name)


def _scalar(arguments: tuple) -> Any:
    if len(arguments) != 2 or not isinstance(arguments[0], Kind):
        raise NotAnArray("a scalar is damaged")
    kind, data = arguments
    if kind.name[0] in "SU":
        raise NotAnArray("a scalar of text is not read")
    return kind.read(data, (), False).item()


def _reconstruct(arguments: tuple) -> Unfilled:
    if not arguments or arguments[0] is not NDARRAY:
        raise NotAnArray("an array of a class of its own is not read")
    return Unfilled()


def _frombuffer(arguments: tuple) -> np.ndarray:
    if len(arguments) != 4 or not isinstance(arguments[1], Kind):
        raise NotAnArray("an array is damaged")
    data, kind, shape, order = arguments
    return kind.read(data, shape, order == "F")


def _no_call(arguments: tuple) -> Any:
    raise NotAnArray("an array is not made by calling its class")


NDARRAY = Known("ndarray", _no_call)
NAMES: dict[tuple[str, str], Known] = {("numpy", "ndarray"): NDARRAY, ("numpy", "dtype"): Known("dtype", _dtype)}
for _core in ("numpy.core", "numpy._core"):
    NAMES[_core + ".multiarray", "_reconstruct"] = Known("_reconstruct", _reconstruct)
    NAMES[_core + ".multiarray", "scalar"] = Known("scalar", _scalar)
    NAMES[_core + ".numeric", "_frombuffer"] = Known("_frombuffer", _frombuffer)
