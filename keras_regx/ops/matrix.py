"""Functions of singular values, batched over leading axes.

Singular vectors have no derivative where singular values coincide, matrix
functions mostly do: their derivative is written here in divided differences,
which stay finite at ties and at zero.

TensorFlow's XLA stops its decompositions at a residual of about 5e-7 of the
largest singular value, in float64 too; everywhere else they are good to rounding.
"""

from collections.abc import Callable
from typing import Any

from keras import ops

from keras_regx._core import validation as check
from keras_regx.ops.numerics import (
    EPSILON,
    as_parameter,
    dtype_of,
    upcast,
)


def normalized(x: Any) -> tuple[Any, Any, Any]:
    """Divide every matrix by its largest magnitude.

    Args:
        x: Floating tensor of shape `(..., m, n)`, not empty.

    Returns:
        `(y, scale, finite)`: the matrices in the compute dtype with entries in
        `[-1, 1]`, their scales, constant for the gradient, and which of them
        are finite. Decompositions do not bear NaN on every backend: a matrix
        that is not finite is replaced by zeros.
    """
    y = upcast(x)
    top = ops.max(ops.absolute(ops.stop_gradient(y)), axis=(-2, -1), keepdims=True)
    # A maximum may drop NaN, a sum does not.
    finite = ops.isfinite(ops.sum(ops.stop_gradient(y) * 0, (-2, -1), keepdims=True))
    scale = ops.where(finite & (top > 0), top, ops.ones_like(top))
    y = ops.where(finite, y, ops.zeros_like(y))
    return y / scale, scale, finite


def svd(x: Any) -> tuple[Any, Any, Any]:
    """Return the thin singular value decomposition, constant for the gradient.

    Args:
        x: Floating tensor of shape `(..., m, n)`.

    Returns:
        `(u, s, vt)` of shapes `(..., m, p)`, `(..., p)` and `(..., p, n)` with
        `p = min(m, n)`; float32 for half-precision input. Values of a matrix
        that is not finite are NaN.

    Gradient: none. Use `map_singular_values` for a differentiable function of
        the singular values and `singular_values` for the values alone.

    Raises:
        ValueError: If `x` is not floating or its rank is below 2.

    Example:

    >>> from keras_regx.ops import svd
    >>> [round(float(s), 6) for s in svd([[0.0, 2.0], [-3.0, 0.0]])[1]]
    [3.0, 2.0]
    """
    x = check.floating("svd", x, min_rank=2)
    y, scale, finite = normalized(x)
    u, s, vt = ops.svd(ops.stop_gradient(y), full_matrices=False)
    s = s * scale[..., 0]
    s = ops.where(finite[..., 0], s, ops.full_like(s, float("nan")))
    return ops.stop_gradient(u), ops.stop_gradient(s), ops.stop_gradient(vt)


def singular_values(x: Any) -> Any:
    """Return the singular values in non-increasing order.

    Args:
        x: Floating tensor of shape `(..., m, n)`.

    Returns:
        Tensor of shape `(..., min(m, n))`; float32 for half-precision input.
        The values of a matrix that is not finite are NaN.

    Gradient: `u_i v_i^T` for value i, finite at ties, where it is the one of
        some choice of singular vectors (symmetric functions of the values do
        not depend on it). 0 for values that are zero to rounding, at most
        `epsilon max(m, n)` of the largest.

    Raises:
        ValueError: If `x` is not floating or its rank is below 2.

    Example:

    >>> from keras_regx.ops import singular_values
    >>> [round(float(s), 6) for s in singular_values([[0.0, 2.0], [-3.0, 0.0]])]
    [3.0, 2.0]
    """
    x = check.floating("singular_values", x, min_rank=2)
    y = upcast(x)
    if 0 in x.shape:
        return ops.zeros((*x.shape[:-2], min(x.shape[-2:])), dtype=dtype_of(y))
    y, scale, finite = normalized(x)
    s = ops.svd(y, full_matrices=False, compute_uv=False)
    largest = ops.max(s, axis=-1, keepdims=True)
    floor = largest * (EPSILON[dtype_of(y)] * max(x.shape[-2:]))
    s = ops.where(s > floor, s, ops.stop_gradient(s)) * scale[..., 0]
    return ops.where(finite[..., 0], s, ops.full_like(s, float("nan")))


def map_singular_values(
    x: Any,
    function: Callable[[Any], Any],
    slope: Callable[[Any], Any] | None = None,
) -> Any:
    """Apply a function to the singular values: `U diag(f(s)) V^T`.

    Args:
        x: Floating tensor of shape `(..., m, n)`.
        function: Function of the singular values, shape `(..., p)` in
            non-increasing order, `p = min(m, n)`, returning that shape. It may
            treat them jointly, as a projection of their vector does.
        slope: Derivative of `function` for each value, of the same shapes. It
            stands in for divided differences at ties and at zero. By default
            1 where the function is positive and 0 elsewhere.

    Returns:
        Tensor of the shape and dtype of `x`. A matrix that is not finite
        becomes NaN.

    Gradient: exact for odd functions differentiable at the singular values,
        ties included; finite everywhere.

    Raises:
        ValueError: If `x` is not floating or its rank is below 2.

    Example:

    >>> from keras import ops
    >>> from keras_regx.ops import map_singular_values
    >>> y = map_singular_values([[3.0, 0.0], [0.0, 1.0]], lambda s: ops.minimum(s, 2.0))
    >>> [[round(float(v), 5) + 0.0 for v in row] for row in y]
    [[2.0, 0.0], [0.0, 1.0]]

    Reference:
        Lewis and Sendov (2005), Set-Valued Analysis 13, for the derivative.
    """
    x = check.floating("map_singular_values", x, min_rank=2)
    if 0 in x.shape:
        return x
    y = upcast(x)
    finite = normalized(x)[2]
    y = ops.where(finite, y, ops.zeros_like(y))
    u, s, vt = svd(y)
    ut, v = ops.swapaxes(u, -1, -2), ops.swapaxes(vt, -1, -2)
    # Zero in value: it carries the derivative through constant U and V.
    change = y - ops.stop_gradient(y)
    core = ut @ change @ v
    moved = s + ops.sum(core * ops.eye(s.shape[-1], dtype=dtype_of(y)), axis=-1)
    mapped = function(moved)
    result = (u * mapped[..., None, :]) @ vt

    f = ops.stop_gradient(mapped)
    d = ops.cast(f > 0, dtype_of(y)) if slope is None else ops.stop_gradient(slope(s))
    largest = ops.max(s, axis=-1, keepdims=True)
    eps = EPSILON[dtype_of(y)]
    difference = s[..., :, None] - s[..., None, :]
    total = s[..., :, None] + s[..., None, :]
    mean_slope = (d[..., :, None] + d[..., None, :]) / 2
    tied = ops.absolute(difference) <= eps**0.5 * largest[..., None]
    lost = total <= eps * largest[..., None]
    ratio_of_differences = ops.where(
        tied,
        mean_slope,
        (f[..., :, None] - f[..., None, :])
        / ops.where(tied, ops.ones_like(difference), difference),
    )
    ratio_of_sums = ops.where(
        lost,
        mean_slope,
        (f[..., :, None] + f[..., None, :])
        / ops.where(lost, ops.ones_like(total), total),
    )
    flipped = ops.swapaxes(core, -1, -2)
    off_diagonal = 1 - ops.eye(s.shape[-1], dtype=dtype_of(y))
    inner = (core + flipped) / 2 * ratio_of_differences * off_diagonal
    inner = inner + (core - flipped) / 2 * ratio_of_sums
    # Directions outside the span of U (tall) or V (wide) turn the vectors.
    small = s <= eps * largest
    ratio = ops.where(small, d, f / ops.where(small, ops.ones_like(s), s))
    result = result + u @ inner @ vt
    if x.shape[-2] >= x.shape[-1]:
        result = result + ((change @ v - u @ core) * ratio[..., None, :]) @ vt
    else:
        result = result + u @ (ratio[..., :, None] * (ut @ change - core @ vt))
    result = ops.where(finite, result, ops.full_like(result, float("nan")))
    return ops.cast(result, dtype_of(x))


def singular_value_threshold(x: Any, threshold: Any) -> Any:
    """Soft-threshold the singular values: the proximal operator of the nuclear norm.

        argmin_y  threshold sum_i sigma_i(y) + ||y - x||_F^2 / 2
            = U diag(max(s - threshold, 0)) V^T

    Args:
        x: Floating tensor of shape `(..., m, n)`.
        threshold: Number >= 0, or a tensor that broadcasts against the
            singular values, of shape `(..., min(m, n))`.

    Returns:
        Tensor of the shape and dtype of `x`. A matrix that is not finite
        becomes NaN.

    Gradient: exact, repeated singular values included; a value equal to the
        threshold counts as below it.

    Raises:
        ValueError: If `x` is not floating, its rank is below 2, or `threshold`
            is a negative number.

    Example:

    >>> from keras_regx.ops import singular_value_threshold
    >>> y = singular_value_threshold([[3.0, 0.0], [0.0, 1.0]], 2.0)
    >>> [[round(float(v), 5) + 0.0 for v in row] for row in y]
    [[1.0, 0.0], [0.0, 0.0]]

    Reference:
        Cai, Candes and Shen (2010), SIAM Journal on Optimization 20(4).
    """
    x = check.floating("singular_value_threshold", x, min_rank=2)
    t = as_parameter(
        threshold, dtype_of(upcast(x)), "singular_value_threshold", "threshold"
    )

    def shrink(s: Any) -> Any:
        return ops.where(s > t, s - t, ops.zeros_like(s))

    return map_singular_values(x, shrink, lambda s: ops.cast(s > t, dtype_of(s)))
