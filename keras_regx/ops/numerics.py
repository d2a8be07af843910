"""Elementary functions with a stated gradient at zero, safe at every scale."""

from typing import Any

import keras
from keras import ops

from keras_regx.ops.axes import resolve_axis

EPSILON = {
    "float16": 2.0**-10,
    "bfloat16": 2.0**-7,
    "float32": 2.0**-23,
    "float64": 2.0**-52,
}


def dtype_of(x: Any) -> str:
    """Return the dtype of a tensor as a string, on every backend."""
    return str(keras.backend.standardize_dtype(x.dtype))


def compute_dtype(dtype: str) -> str:
    """Return the dtype to compute in: float32 for half precision."""
    return "float32" if dtype in ("float16", "bfloat16") else dtype


def upcast(x: Any) -> Any:
    """Convert `x` to a tensor, half precision to float32."""
    x = ops.convert_to_tensor(x)
    dtype = dtype_of(x)
    target = compute_dtype(dtype)
    return x if target == dtype else ops.cast(x, target)


def absolute(x: Any) -> Any:
    """Return `|x|` with gradient `sign(x)`, 0 at 0.

    `keras.ops.absolute` has slope 1 at zero on JAX, which moves dead weights.

    Args:
        x: Floating tensor of any shape.

    Returns:
        Tensor of the same shape and dtype.

    Example:

    >>> from keras_regx.ops import absolute
    >>> [float(v) for v in absolute([-2.0, 0.0, 3.0])]
    [2.0, 0.0, 3.0]
    """
    x = ops.convert_to_tensor(x)
    return x * ops.stop_gradient(ops.sign(x))


def safe_norm(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Return the Euclidean norm, right at every scale, with gradient 0 at 0.

    `||x||_2 = m ||x / m||_2` with `m = max |x_i|`, so that neither large nor
    tiny entries are squared as they are.

    Args:
        x: Floating tensor of any shape.
        axis: Axes of the norm; see `resolve_axis`.
        keepdims: Boolean. Keep the reduced axes with length 1.

    Returns:
        Tensor of norms; float32 for half-precision input.

    Gradient: `x / ||x||`, and 0 where the norm is 0.

    Example:

    >>> from keras_regx.ops import safe_norm
    >>> [round(float(safe_norm([3 * s, 4 * s])) / s, 4) for s in (1e-30, 1e20)]
    [5.0, 5.0]
    """
    x = upcast(x)
    axes = resolve_axis(axis, len(x.shape), "safe_norm")
    if not axes:
        return absolute(x)
    if 0 in x.shape:
        return ops.sum(x, axis=axes, keepdims=keepdims)
    scale = ops.stop_gradient(ops.max(ops.absolute(x), axis=axes, keepdims=True))
    usable = (scale > 0) & (scale < float("inf"))
    scale = ops.where(usable, scale, ops.ones_like(scale))
    total = ops.sum(ops.square(x / scale), axis=axes, keepdims=True)
    is_zero = total == 0
    root = ops.sqrt(ops.where(is_zero, ops.ones_like(total), total))
    norm = ops.where(is_zero, ops.zeros_like(total), scale * root)
    return norm if keepdims else ops.squeeze(norm, axis=axes)


def feasibility_tolerance(dtype: str) -> float:
    """Return how far outside a set, relative to its scale, still counts as inside.

    A rescaled vector is on its sphere only to rounding: half a unit in the last
    place of the dtype it is stored in, and a few of the dtype it was computed
    in. Without this margin projecting twice would move it again.
    """
    return EPSILON[dtype] + 8 * EPSILON[compute_dtype(dtype)]
