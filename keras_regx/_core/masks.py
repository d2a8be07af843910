"""Masks and small arrays as arguments: plain Python values, compact when big."""

import base64
import functools
import math
import zlib
from typing import Any

import numpy as np
from keras import ops

from keras_regx._core import validation as check
from keras_regx._core.dtypes import dtype_of

_READABLE = 64  # A mask of at most this many entries is kept as a nested list.


def pack(owner: Any, argument: str, value: Any) -> Any:
    """Return a mask as a plain value: a nested list, or a string if it is big.

    A string holds the shape and one compressed bit per entry,
    `"bits:512x512:eJz..."`, so that a mask adds a small part of its weights'
    own size to a saved configuration.

    Args:
        owner: Object whose argument it is, for the error message.
        argument: Name of the argument.
        value: Array or nested list of booleans or of 0 and 1; or what this
            function returned.

    Raises:
        ValueError: If an entry is neither 0 nor 1, or the string is malformed.
    """
    expected = "an array or nested list of booleans or of 0 and 1"
    if isinstance(value, str):
        try:
            unpack(value)
        except (ValueError, zlib.error):
            check.fail(owner, argument, expected, value)
        return value
    try:
        array = np.asarray(value)
    except ValueError:
        check.fail(owner, argument, expected, value)
    binary = array.dtype.kind in "biuf" and bool(np.all((array == 0) | (array == 1)))
    if not binary or array.size == 0:
        check.fail(owner, argument, expected, value)
    array = array.astype(bool)
    if array.size <= _READABLE:
        return array.astype(int).tolist()
    shape = "x".join(str(n) for n in array.shape)
    bits = base64.b64encode(zlib.compress(np.packbits(array).tobytes(), 9))
    return f"bits:{shape}:{bits.decode('ascii')}"


def pack_numbers(owner: Any, argument: str, value: Any, above: float) -> Any:
    """Return an array of numbers as a nested list, or a string if it is big.

    A string holds the dtype, the shape and the compressed bytes,
    `"float32:512x512:eJz..."`: float32 where that keeps the values, else float64.

    Args:
        owner: Object whose argument it is, for the error message.
        argument: Name of the argument.
        value: Array or nested list of finite numbers; or what this function returned.
        above: Every number must be larger.

    Raises:
        ValueError: If an entry is not, or the string is malformed.
    """
    expected = f"an array or nested list of finite numbers > {above:g}"
    if isinstance(value, str):
        try:
            array = unpack_numbers(value)
        except (ValueError, TypeError, zlib.error):
            check.fail(owner, argument, expected, value)
    else:
        array = np.asarray(numbers(owner, argument, value))
    if array.size == 0 or not (np.isfinite(array) & (array > above)).all():
        check.fail(owner, argument, expected, value)
    if isinstance(value, str):
        return value
    if array.size <= _READABLE:
        return array.tolist()
    with np.errstate(over="ignore"):
        narrow = array.astype("<f4")
    kept, name = (narrow, "float32") if (narrow == array).all() else (array, "float64")
    shape = "x".join(str(n) for n in array.shape)
    data = base64.b64encode(zlib.compress(kept.astype(_STORED[name]).tobytes(), 1))
    return f"{name}:{shape}:{data.decode('ascii')}"


_STORED = {"float32": "<f4", "float64": "<f8"}


def unpack_numbers(value: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return what `pack_numbers` kept as a float64 array."""
    if not isinstance(value, str):
        return np.asarray(value, dtype="float64")
    return _unpacked_numbers(value)


@functools.lru_cache(maxsize=16)
def _unpacked_numbers(value: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    name, sizes, text = value.split(":")
    if name not in _STORED:
        raise ValueError(value[:20])
    shape = tuple(int(n) for n in sizes.split("x"))
    data = np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=_STORED[name])
    return data.astype("float64").reshape(shape)


def fit(owner: Any, mask: Any, x: Any, argument: str) -> Any:
    """Return what `pack` kept as a boolean tensor that broadcasts against `x`.

    Raises:
        ValueError: If it does not, naming `argument` and its shape.
    """
    return ops.convert_to_tensor(fitting(owner, unpack(mask), x, argument, "a mask"))


def fitting(owner: Any, array: Any, x: Any, argument: str, kind: str) -> Any:
    """Return `array`, which must broadcast against `x` without changing its shape."""
    shape = tuple(x.shape)
    tail = shape[len(shape) - array.ndim :]
    fits = array.ndim <= len(shape) and all(
        m in (1, n) for m, n in zip(array.shape, tail, strict=True)
    )
    if not fits:
        expected = f"a tensor against which {kind} of shape {array.shape} broadcasts"
        check.fail(owner, argument, expected, check.describe(x, dtype_of(x)))
    return array


def unpack(mask: Any) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return what `pack` kept as a boolean array."""
    return _unpacked(mask) if isinstance(mask, str) else np.asarray(mask, dtype=bool)


@functools.lru_cache(maxsize=256)
def _unpacked(mask: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    kind, sizes, text = mask.split(":")
    if kind != "bits":
        raise ValueError(mask[:20])
    shape = tuple(int(n) for n in sizes.split("x"))
    data = np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=np.uint8)
    return np.unpackbits(data, count=math.prod(shape)).astype(bool).reshape(shape)


def numbers(owner: Any, argument: str, value: Any) -> Any:
    """Return an array of finite numbers as a float or a nested list of floats.

    Raises:
        ValueError: If it is empty, ragged, or has an entry that is no finite number.
    """
    expected = "a finite number, or an array or nested list of finite numbers"
    try:
        array = np.asarray(value)
    except ValueError:
        check.fail(owner, argument, expected, value)
    if array.dtype.kind not in "iuf" or array.size == 0 or not np.isfinite(array).all():
        check.fail(owner, argument, expected, value)
    return array.astype("float64").tolist()
