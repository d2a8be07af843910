"""The largest singular value by products of matrices, without a decomposition."""

from typing import Any

from keras import ops

from keras_regx._core import validation as check
from keras_regx.ops.matrix import normalized
from keras_regx.ops.numerics import (
    EPSILON,
    dtype_of,
    fixed_loop,
    upcast,
)


def _unit(v: Any) -> Any:
    """Scale column vectors of moderate size to length 1, zero to zero."""
    square = ops.sum(ops.square(v), axis=(-2, -1), keepdims=True)
    return v / ops.sqrt(ops.where(square > 0, square, ops.ones_like(square)))


def _power_trip(_: Any, state: tuple[Any, Any]) -> tuple[Any, Any]:
    x, v = state
    return x, _unit(ops.swapaxes(x, -1, -2) @ _unit(x @ v))


def spectral_norm(x: Any, iterations: int = 32) -> Any:
    """Estimate the largest singular value by power iteration.

    The start is fixed, so equal input gives equal output. The estimate never
    exceeds the norm by more than rounding; it falls short of it by a fraction
    of about `(sigma_2 / sigma_1)^(4 iterations)` or less. For the exact value
    take the first of `singular_values`.

    Args:
        x: Floating tensor of shape `(..., m, n)`.
        iterations: Int >= 1. Number of products with `x^T x`.

    Returns:
        Tensor of shape `(...)`; float32 for half-precision input. NaN for a
        matrix that is not finite.

    Gradient: `u v^T` with the vectors that the iteration ends with; 0 for a
        zero matrix.

    Raises:
        ValueError: If `x` is not floating, its rank is below 2, or
            `iterations` is not a positive int.

    Example:

    >>> from keras_regx.ops import spectral_norm
    >>> round(float(spectral_norm([[0.0, 2.0], [-3.0, 0.0]])), 5)
    3.0

    Reference:
        Yoshida and Miyato (2017), arXiv:1705.10941.
    """
    x = check.floating("spectral_norm", x, min_rank=2)
    check.integer("spectral_norm", "iterations", iterations, minimum=1)
    dtype = dtype_of(upcast(x))
    if 0 in x.shape:
        return ops.zeros(x.shape[:-2], dtype=dtype)
    y, scale, finite = normalized(x)
    fixed = ops.stop_gradient(y)
    # Incommensurate angles: orthogonal to no vector that a kernel is likely to have.
    angles = 2.4 * ops.arange(1, x.shape[-2] + 1, dtype=dtype)
    start = ops.reshape(1.0 + ops.cos(angles), (x.shape[-2], 1))
    v = _unit(ops.swapaxes(fixed, -1, -2) @ _unit(start))
    v = ops.stop_gradient(fixed_loop(iterations, _power_trip, (fixed, v))[1])
    u = ops.stop_gradient(_unit(fixed @ v))
    sigma = ops.sum(u * (y @ v), axis=(-2, -1)) * scale[..., 0, 0]
    return ops.where(finite[..., 0, 0], sigma, ops.full_like(sigma, float("nan")))


def norm_bound(w: Any) -> Any:
    """Return an upper bound of the largest singular value of a matrix.

    `||W||_2^(2^k) <= ||(W^T W)^(2^(k-1))||_F`: squaring the Gram matrix seven
    times, scaled to norm one each time, leaves a factor of `rank^(1/256)`.
    """
    matrix, scale, finite = normalized(w)
    t = ops.transpose(matrix)
    power = t @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ t
    log_norm, exponent = ops.zeros((), dtype=matrix.dtype), 0.5
    for _ in range(7):
        size = ops.sqrt(ops.sum(ops.square(power)))
        size = ops.where(size > 0, size, ops.ones_like(size))
        log_norm = log_norm + exponent * ops.log(size)
        power = power / size
        power = power @ power
        exponent /= 2
    size = ops.sqrt(ops.sum(ops.square(power)))
    is_zero = size == 0
    last = exponent * ops.log(ops.where(is_zero, ops.ones_like(size), size))
    bound = ops.exp(log_norm + last) * (1 + 64 * EPSILON[dtype_of(matrix)])
    bound = ops.where(is_zero, ops.zeros_like(bound), bound) * scale[0, 0]
    return ops.where(finite[0, 0], bound, ops.full_like(bound, float("nan")))
