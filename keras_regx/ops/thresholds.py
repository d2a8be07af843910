"""Thresholding: the proximal operators of the elementary sparse penalties.

`prox_f(x) = argmin_y f(y) + ||y - x||^2 / 2`.
"""

from typing import Any

from keras import ops

from keras_regx._core import validation as check
from keras_regx.ops.numerics import (
    as_parameter,
    dtype_of,
    safe_norm,
    upcast,
)


def soft_threshold(x: Any, threshold: Any) -> Any:
    """Shrink every entry towards zero: the proximal operator of the L1 norm.

        argmin_y  threshold sum_i |y_i| + ||y - x||^2 / 2
            = sign(x) max(|x| - threshold, 0)

    Args:
        x: Floating tensor of any shape.
        threshold: Number >= 0, or a tensor that broadcasts against `x`.

    Returns:
        Tensor of the shape and dtype of `x`. NaN stays NaN.

    Gradient: 1 where `|x| > threshold`, and 0 elsewhere, ties included.

    Raises:
        ValueError: If `x` is not floating or `threshold` is a negative number.

    Example:

    >>> from keras_regx.ops import soft_threshold
    >>> [float(v) for v in soft_threshold([-3.0, 0.5, 2.0], 1.0)]
    [-2.0, 0.0, 1.0]

    Reference:
        Donoho (1995), IEEE Transactions on Information Theory 41(3).
    """
    x = check.floating("soft_threshold", x)
    y = upcast(x)
    t = as_parameter(threshold, dtype_of(y), "soft_threshold", "threshold")
    shrunk = y - ops.stop_gradient(ops.sign(y)) * t
    shrunk = ops.where(ops.absolute(y) <= t, ops.zeros_like(y), shrunk)
    return ops.cast(shrunk, dtype_of(x))


def hard_threshold(x: Any, threshold: Any) -> Any:
    """Zero the entries that are not larger than the threshold in magnitude.

        argmin_y  threshold^2 / 2 #{i : y_i != 0} + ||y - x||^2 / 2

    At `|x_i| = threshold` both 0 and `x_i` are minimisers; 0 is returned.

    Args:
        x: Floating tensor of any shape.
        threshold: Number >= 0, or a tensor that broadcasts against `x`.

    Returns:
        Tensor of the shape and dtype of `x`. NaN stays NaN.

    Gradient: 1 where `|x| > threshold`, and 0 elsewhere, ties included.

    Raises:
        ValueError: If `x` is not floating or `threshold` is a negative number.

    Example:

    >>> from keras_regx.ops import hard_threshold
    >>> [float(v) for v in hard_threshold([-3.0, 0.5, 1.0, 2.0], 1.0)]
    [-3.0, 0.0, 0.0, 2.0]

    Reference:
        Blumensath and Davies (2008), Journal of Fourier Analysis and
        Applications 14.
    """
    x = check.floating("hard_threshold", x)
    y = upcast(x)
    t = as_parameter(threshold, dtype_of(y), "hard_threshold", "threshold")
    kept = ops.where(ops.absolute(y) <= t, ops.zeros_like(y), y)
    return ops.cast(kept, dtype_of(x))


def firm_threshold(x: Any, threshold: Any, gamma: Any = 3.0) -> Any:
    """Soft near zero, identity far from it: the proximal operator of MCP.

        argmin_y  sum_i rho(|y_i|) + ||y - x||^2 / 2,
        rho(s) = threshold s - s^2 / (2 gamma)    if s <= gamma threshold
                 gamma threshold^2 / 2            otherwise

    The entries up to `threshold` become 0, those beyond `gamma threshold` are
    kept, and in between the answer is `soft_threshold(x) / (1 - 1 / gamma)`.

    Args:
        x: Floating tensor of any shape.
        threshold: Number >= 0, or a tensor that broadcasts against `x`.
        gamma: Number > 1, or such a tensor. Infinity is soft thresholding;
            towards 1 it becomes hard thresholding.

    Returns:
        Tensor of the shape and dtype of `x`. NaN stays NaN.

    Gradient: 0, `1 / (1 - 1 / gamma)` and 1 on the three pieces; a tie belongs
        to the piece nearer to zero.

    Raises:
        ValueError: If `x` is not floating, `threshold` is a negative number or
            `gamma` is a number <= 1.

    Example:

    >>> from keras_regx.ops import firm_threshold
    >>> [float(v) for v in firm_threshold([0.5, 1.5, 4.0], 1.0, gamma=2.0)]
    [0.0, 1.0, 4.0]

    Reference:
        Gao and Bruce (1997), Statistica Sinica 7; Zhang (2010), Annals of
        Statistics 38(2).
    """
    x = check.floating("firm_threshold", x)
    y = upcast(x)
    t = as_parameter(threshold, dtype_of(y), "firm_threshold", "threshold")
    g = as_parameter(gamma, dtype_of(y), "firm_threshold", "gamma", above=1)
    size = ops.absolute(y)
    shrunk = (y - ops.stop_gradient(ops.sign(y)) * t) / (1 - 1 / g)
    result = ops.where(size <= g * t, shrunk, y)
    result = ops.where(size <= t, ops.zeros_like(y), result)
    return ops.cast(result, dtype_of(x))


def group_soft_threshold(x: Any, threshold: Any, axis: Any = None) -> Any:
    """Shrink every group towards zero: the proximal operator of the group lasso.

        argmin_y  threshold sum_g ||y_g||_2 + ||y - x||^2 / 2
            = max(0, 1 - threshold / ||x_g||_2) x_g

    Args:
        x: Floating tensor of any shape.
        threshold: Number >= 0, or a tensor that broadcasts against the group
            norms taken with `keepdims=True`.
        axis: Axes that form a group; see `resolve_axis`.

    Returns:
        Tensor of the shape and dtype of `x`. A group with a NaN becomes NaN.

    Gradient: that of the formula, and 0 where `||x_g|| <= threshold`.

    Raises:
        ValueError: If `x` is not floating, `threshold` is a negative number or
            `axis` does not fit.

    Example:

    >>> from keras_regx.ops import group_soft_threshold
    >>> y = group_soft_threshold([[3.0, 0.1], [4.0, 0.2]], 2.5, axis=0)
    >>> [[float(v) for v in row] for row in y]
    [[1.5, 0.0], [2.0, 0.0]]

    Reference:
        Yuan and Lin (2006), Journal of the Royal Statistical Society B 68(1).
    """
    x = check.floating("group_soft_threshold", x)
    y = upcast(x)
    t = as_parameter(threshold, dtype_of(y), "group_soft_threshold", "threshold")
    norm = safe_norm(y, axis=axis, keepdims=True)
    return ops.cast(shrink_by_norm(y, norm, t), dtype_of(x))


def shrink_by_norm(x: Any, norm: Any, threshold: Any) -> Any:
    """Return `max(0, 1 - threshold / norm) x` for tensors that broadcast to `x`."""
    is_zero = norm <= threshold
    divisor = ops.where(is_zero, ops.ones_like(norm), norm)
    factor = ops.where(is_zero, ops.zeros_like(norm), (norm - threshold) / divisor)
    # A product of 0 and infinity would be NaN: zero groups are selected instead.
    return ops.where(is_zero, ops.zeros_like(x), x * factor)
