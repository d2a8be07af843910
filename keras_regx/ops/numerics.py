"""Elementary functions with a stated gradient at zero, safe at every scale."""

import math
from collections.abc import Callable
from numbers import Real
from typing import Any

import keras
from keras import ops

from keras_regx._core import validation as check
from keras_regx._core.dtypes import EPSILON as EPSILON
from keras_regx._core.dtypes import as_tensor as as_tensor
from keras_regx._core.dtypes import compute_dtype as compute_dtype
from keras_regx._core.dtypes import dtype_of as dtype_of
from keras_regx._core.dtypes import upcast as upcast
from keras_regx.ops.axes import resolve_axis


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
    x = as_tensor(x)
    if keras.config.backend() == "jax":  # Elsewhere the slope at zero is 0 already.
        x = ops.where(ops.equal(x, 0), ops.stop_gradient(x), x)
    return abs(x)


def positive_part(x: Any) -> Any:
    """Return `max(x, 0)`; NaN stays NaN, and -0.0 stays -0.0 on every backend."""
    if keras.config.backend() == "torch":
        return ops.relu(x)  # One kernel; elsewhere it turns -0.0 into 0.0.
    return ops.where(x < 0, ops.zeros_like(x), x)


def sum_of_squares(x: Any) -> Any:
    """Return `sum x^2`, a scalar.

    A product has a cheaper gradient than `keras.ops.square` on PyTorch, which
    raises to a power there and back.
    """
    return ops.sum(x * x)


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
    >>> round(float(safe_norm([3e30, 4e30])) / 1e30, 5)
    5.0
    """
    x = upcast(check.floating("safe_norm", x))
    axes = resolve_axis(axis, len(x.shape), "safe_norm")
    if not axes:
        return absolute(x)
    if 0 in x.shape:
        return ops.sum(x, axis=axes, keepdims=keepdims)
    scale = ops.stop_gradient(ops.max(ops.absolute(x), axis=axes, keepdims=True))
    usable = (scale > 0) & (scale < float("inf"))
    scale = ops.where(usable, scale, 1.0)
    total = ops.sum(ops.square(x / scale), axis=axes, keepdims=True)
    is_zero = ops.equal(total, 0)
    root = ops.sqrt(ops.where(is_zero, 1.0, total))
    norm = ops.where(is_zero, 0.0, scale * root)
    return norm if keepdims else ops.squeeze(norm, axis=axes)


def as_parameter(
    value: Any,
    dtype: str,
    owner: str,
    argument: str,
    *,
    minimum: float | None = 0.0,
    above: float | None = None,
    finite: bool = False,
) -> Any:
    """Convert a threshold or radius to a tensor of `dtype`.

    A Python number is validated as by `check.number`; a tensor, such as a
    learning rate inside a compiled step, is taken as it is.
    """
    if isinstance(value, Real):
        number = check.number(
            owner, argument, value, minimum=minimum, above=above, finite=finite
        )
        return ops.convert_to_tensor(number, dtype=dtype)
    return ops.cast(ops.convert_to_tensor(value), dtype)


def feasibility_tolerance(dtype: str) -> float:
    """Return the relative slack under which a point counts as feasible.

    A projection computes in the compute dtype and is stored in the storage
    dtype, and both round: the result may miss its set by about one epsilon of
    the first and a few of the second. Without this slack the next projection
    would see an infeasible point and move it again, one rounding at a time.

    Args:
        dtype: Storage dtype of the tensor that is projected.

    Returns:
        Python float, relative to the scale of the set.

    Example:

    >>> from keras_regx.ops.numerics import feasibility_tolerance
    >>> feasibility_tolerance("float32") == 9 * 2.0**-23
    True
    """
    return EPSILON[dtype] + 8 * EPSILON[compute_dtype(dtype)]


def accurate_sum(rows: Any) -> Any:
    """Sum over the last axis in blocks, keeping it with length 1.

    A running float32 sum of a million terms loses digits; sums of sums of
    1024 terms do not, whatever the backend's own order of summation.

    Args:
        rows: Floating tensor of shape `(..., n)`.

    Returns:
        Tensor of shape `(..., 1)`.
    """
    block = 1024
    size = rows.shape[-1]
    if size > block:
        lead = tuple(-1 if n is None else n for n in rows.shape[:-1])
        blocks = -(-size // block)
        padding = [[0, 0]] * len(lead) + [[0, blocks * block - size]]
        rows = ops.reshape(ops.pad(rows, padding), (*lead, blocks, block))
        return accurate_sum(ops.sum(rows, axis=-1))
    return ops.sum(rows, axis=-1, keepdims=True)


def with_gradient_of(value: Any, smooth: Any) -> Any:
    """Return `value` bit for bit, differentiated as if it were `smooth`."""
    return ops.stop_gradient(value) + (smooth - ops.stop_gradient(smooth))


def spread_nan(source: Any, result: Any) -> Any:
    """Make the rows of `result` NaN whose `source` has a NaN or +infinity.

    Comparisons with NaN are false, so that a threshold search hides it.

    Args:
        source: Floating tensor of shape `(..., n)`.
        result: Tensor of that shape.

    Returns:
        Tensor of that shape.
    """
    broken = ops.isnan(source) | ops.equal(source, float("inf"))
    broken = ops.any(broken, axis=-1, keepdims=True)
    return ops.where(broken, ops.full_like(result, float("nan")), result)


def bisection_trips(x: Any) -> int:
    """Return how many halvings take a bracket below one epsilon of its width.

    Loop bodies that use it are module-level functions with all tensors in the
    carried state: JAX then compiles each loop once, not once a call.
    """
    return 2 - math.frexp(EPSILON[dtype_of(x)])[1]


def larger(a: Any, b: Any) -> Any:
    """Return the larger of two tensors, entry by entry; `b` at a tie or NaN in `a`.

    `keras.ops.maximum` rounds float64 to float32 on PyTorch.
    """
    return ops.where(a > b, a, b)


def smaller(a: Any, b: Any) -> Any:
    """Return the smaller of two tensors; see `larger`."""
    return ops.where(a < b, a, b)


def choose(
    predicate: Any, yes: Callable[..., Any], no: Callable[..., Any], *operands: Any
) -> Any:
    """Return `yes(*operands)` or `no(*operands)`; only that one is computed.

    Args:
        predicate: Boolean scalar tensor.
        yes: Function of the operands; module-level or cached, as JAX compiles a
            switch anew for functions that it has not seen.
        no: Function of the operands with results like those of `yes`.
        *operands: Tensors.

    Returns:
        What the function returns.
    """
    if keras.config.backend() == "torch" and not isinstance(
        predicate, keras.KerasTensor
    ):
        return yes(*operands) if predicate else no(*operands)  # Eager: a plain if.
    return ops.switch(ops.cast(predicate, "int32"), [no, yes], *operands)


def fixed_loop(trips: int, body: Callable[[Any, Any], Any], state: Any) -> Any:
    """Run `state = body(i, state)` a fixed number of times, forward only.

    Keras infers no shapes for a loop over several tensors: on symbolic input
    the loop is unrolled.
    """
    if any(isinstance(part, keras.KerasTensor) for part in state):
        for trip in range(trips):
            state = body(trip, state)
        return state
    return ops.fori_loop(0, trips, body, state)
