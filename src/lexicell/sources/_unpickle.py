"""Pickles without their danger: numbers, strings, containers and arrays of numbers, and nothing else.

A pickle is a program that may call any function. Here every name in it is looked up in a short list; each name on the
list means a small class of ours that can build an array from bytes and do nothing more. numpy's own code for
unpickling is never called, so a crafted array cannot harm it either.
"""

from __future__ import annotations

import codecs
import math
import pickle
from collections.abc import Callable
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["RefusedError", "load"]

_KINDS = "biufUS"
_ORDERS = "<>=|"


class RefusedError(Exception):
    """The pickle asks for something that is not allowed; the message names it."""


class _Call:
    """One allowed function: may be called, and nothing else."""

    __slots__ = ("_function", "_name")

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self._name, self._function = name, function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise RefusedError(f"a change of {self._name}")


class _Type:
    """``numpy.ndarray``, which pickles name but need not call."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise RefusedError("a change of numpy.ndarray")


class _Dtype:
    """A dtype: its letter and size, and its byte order, which comes later."""

    __slots__ = ("code", "order")

    def __init__(self, code: Any, align: Any = False, copy: Any = True) -> None:
        if not isinstance(code, str) or not code.lstrip("<>=|")[:1].isalpha():
            raise RefusedError(f"a numpy dtype {code!r}")
        self.code, self.order = code.lstrip("<>=|"), code[0] if code[0] in _ORDERS else "="

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 5 or state[2] is not None or state[3] or state[4]:
            raise RefusedError("a structured numpy dtype")
        if state[1] not in _ORDERS:
            raise RefusedError(f"a numpy byte order {state[1]!r}")
        self.order = state[1]

    def real(self) -> np.dtype[Any]:
        try:
            found = np.dtype(self.order + self.code if self.order != "|" else self.code)
        except TypeError:
            raise RefusedError(f"a numpy dtype {self.code!r}") from None
        if found.kind == "O":
            raise RefusedError("a numpy array of objects")
        if found.kind not in _KINDS or found.itemsize == 0:
            raise RefusedError(f"a numpy dtype {self.code!r}")
        return found


class _Array:
    """An array whose content comes later."""

    __slots__ = ("value",)

    def __init__(self, kind: Any, shape: Any, code: Any) -> None:
        if not isinstance(kind, _Type):
            raise RefusedError("an array of a class of its own")
        self.value: NDArray[Any] | None = None

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise RefusedError("an array in an unknown form")
        _, shape, dtype, fortran, content = state
        self.value = _array(content, dtype, shape, "F" if fortran is True else "C")


def _array(content: Any, dtype: Any, shape: Any, order: Any = "C") -> NDArray[Any]:
    if isinstance(shape, int) and not isinstance(shape, bool):
        shape = (shape,)
    if not isinstance(dtype, _Dtype):
        raise RefusedError("an array without a plain dtype")
    kind = dtype.real()
    if not isinstance(content, bytes | bytearray):
        raise RefusedError("a numpy array of objects")
    whole = isinstance(shape, tuple) and all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in shape)
    # math.prod is exact where numpy's product would wrap around.
    if not whole or order not in ("C", "F") or math.prod(shape) * kind.itemsize != len(content):
        raise RefusedError("an array whose size does not fit its content")
    return np.frombuffer(bytes(content), dtype=kind).reshape(shape, order=order)


def _scalar(dtype: Any, content: Any = b"") -> Any:
    return _array(content, dtype, ())[()]


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """How pickles of protocol 2 and below write bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise RefusedError("_codecs.encode of something else than latin1 text")
    return codecs.encode(text, "latin1")


def _ordered(*arguments: Any) -> dict[Any, Any]:
    if arguments:
        raise RefusedError("collections.OrderedDict with arguments")
    return {}


_FUNCTIONS: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): _ordered,
    ("_codecs", "encode"): _encode,
    ("numpy", "dtype"): _Dtype,
}
for _core in ("core", "_core"):  # numpy 1 and numpy 2
    _FUNCTIONS[f"numpy.{_core}.multiarray", "_reconstruct"] = _Array
    _FUNCTIONS[f"numpy.{_core}.multiarray", "scalar"] = _scalar
    _FUNCTIONS[f"numpy.{_core}.numeric", "_frombuffer"] = _array


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) == ("numpy", "ndarray"):
            return _Type()
        function = _FUNCTIONS.get((module_name, global_name))
        if function is None:
            raise RefusedError(f"{module_name}.{global_name}")
        # A new object each time, so that nothing a pickle does to one outlives it.
        return _Call(global_name, function)

    def persistent_load(self, pid: Any) -> Any:
        raise RefusedError("a persistent reference")


def load(file: IO[bytes]) -> Any:
    """Read a pickle of numbers, strings, lists, tuples, dicts and numpy arrays of numbers or strings.

    Raises
    ------
    RefusedError
        If it holds anything else.
    pickle.UnpicklingError
        If it is damaged.
    """
    try:
        return _finished(_Unpickler(file).load(), {})
    except RefusedError:
        raise
    # Hand-made pickles can make the machine itself stumble in many ways; all mean that the file cannot be used.
    except Exception as error:
        raise pickle.UnpicklingError(f"{type(error).__name__}: {error}") from error


def _finished(value: Any, done: dict[int, Any]) -> Any:
    """The content with arrays in place of our own classes."""
    if id(value) in done:
        if done[id(value)] is _OPEN:
            raise RefusedError("a container that holds itself")
        return done[id(value)]
    if isinstance(value, _Array):
        if value.value is None:
            raise RefusedError("an array without content")
        return value.value
    if isinstance(value, str | bytes | bytearray | int | float | complex | bool | np.generic | np.ndarray | None):
        return value
    done[id(value)] = _OPEN
    if isinstance(value, dict):
        made: Any = {_finished(key, done): _finished(item, done) for key, item in value.items()}
    elif isinstance(value, list | tuple | set | frozenset):
        made = type(value)(_finished(item, done) for item in value)
    else:
        raise RefusedError(f"an object of {type(value).__name__.lstrip('_')}")
    done[id(value)] = made
    return made


_OPEN = object()
