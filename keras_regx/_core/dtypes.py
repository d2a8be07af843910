"""The dtypes of tensors: their names, their rounding, and what is computed in."""

import functools
from typing import Any

import keras
from keras import ops

EPSILON = {
    "float16": 2.0**-10,
    "bfloat16": 2.0**-7,
    "float32": 2.0**-23,
    "float64": 2.0**-52,
}


@functools.cache
def _dtype_name(dtype: Any) -> str:
    return str(keras.backend.standardize_dtype(dtype))


def dtype_of(x: Any) -> str:
    """Return the dtype of a tensor as a string, on every backend."""
    return _dtype_name(x.dtype)


def compute_dtype(dtype: str) -> str:
    """Return the dtype to compute in: float32 for half precision."""
    return "float32" if dtype in ("float16", "bfloat16") else dtype


def as_tensor(x: Any) -> Any:
    """Convert a tensor, a variable of Keras or of the backend, an array or a list.

    Keras hands TensorFlow's own variables back as they are, and they lack some of
    what tensors have.
    """
    x = ops.convert_to_tensor(x)
    is_variable = keras.config.backend() == "tensorflow" and hasattr(x, "assign")
    return ops.reshape(x, x.shape) if is_variable else x


def upcast(x: Any) -> Any:
    """Convert `x` to a tensor, half precision to float32."""
    x = as_tensor(x)
    dtype = dtype_of(x)
    target = compute_dtype(dtype)
    return x if target == dtype else ops.cast(x, target)
