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


def fit(owner: Any, mask: Any, x: Any, argument: str) -> Any:
    """Return what `pack` kept as a boolean tensor that broadcasts against `x`.

    Raises:
        ValueError: If it does not, naming `argument` and its shape.
    """
    array, shape = unpack(mask), tuple(x.shape)
    tail = shape[len(shape) - array.ndim :]
    fits = array.ndim <= len(shape) and all(
        m in (1, n) for m, n in zip(array.shape, tail, strict=True)
    )
    if not fits:
        expected = f"a tensor that a mask of shape {array.shape} broadcasts against"
        check.fail(owner, argument, expected, check.describe(x, dtype_of(x)))
    return ops.convert_to_tensor(array)


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
