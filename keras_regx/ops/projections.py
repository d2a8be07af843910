"""Euclidean projections onto boxes and balls; `simplex` has those with a threshold.

`P_C(x) = argmin_{y in C} ||y - x||^2`. Each comes back bit for bit where it is
feasible up to `feasibility_tolerance`, so that projecting twice is projecting
once.
"""

from numbers import Real
from typing import Any

from keras import ops

from keras_regx._core import validation as check
from keras_regx.ops.numerics import (
    as_parameter,
    dtype_of,
    feasibility_tolerance,
    safe_norm,
    upcast,
)


def project_box(x: Any, min_value: Any = None, max_value: Any = None) -> Any:
    """Project onto the box `min_value <= y <= max_value`, entry by entry.

    Args:
        x: Floating tensor of any shape.
        min_value: Number, tensor that broadcasts against `x`, or `None` for no
            lower bound.
        max_value: As `min_value`, the upper bound.

    Returns:
        Tensor of the shape and dtype of `x`. NaN stays NaN.

    Gradient: 1 inside the box and on its boundary, 0 outside.

    Raises:
        ValueError: If `x` is not floating, a bound is NaN, or the bounds are
            numbers with `min_value > max_value`.

    Example:

    >>> from keras_regx.ops import project_box
    >>> [float(v) for v in project_box([-2.0, 0.5, 3.0], -1.0, 1.0)]
    [-1.0, 0.5, 1.0]
    """
    x = check.floating("project_box", x)
    both = isinstance(min_value, Real) and isinstance(max_value, Real)
    if both and float(min_value) > float(max_value):
        expected = f"min_value <= max_value, not {min_value!r} > {max_value!r}"
        check.fail("project_box", "min_value", expected, min_value)
    y = x
    for bound, name in ((min_value, "min_value"), (max_value, "max_value")):
        if bound is None:
            continue
        # Compared in the storage dtype: the rounded bound is its own projection.
        limit = as_parameter(bound, dtype_of(x), "project_box", name, minimum=None)
        outside = y < limit if name == "min_value" else y > limit
        y = ops.where(outside, limit, y)
    return y


def project_linf_ball(x: Any, radius: Any = 1.0) -> Any:
    """Project onto the box `max_i |y_i| <= radius`.

    Args:
        x: Floating tensor of any shape.
        radius: Number >= 0, or a tensor that broadcasts against `x`.

    Returns:
        Tensor of the shape and dtype of `x`. NaN stays NaN.

    Gradient: 1 where `|x| <= radius`, 0 elsewhere.

    Raises:
        ValueError: If `x` is not floating or `radius` is a negative number.

    Example:

    >>> from keras_regx.ops import project_linf_ball
    >>> [float(v) for v in project_linf_ball([-2.0, 0.5, 3.0], 1.0)]
    [-1.0, 0.5, 1.0]
    """
    x = check.floating("project_linf_ball", x)
    r = as_parameter(radius, dtype_of(x), "project_linf_ball", "radius")
    return ops.where(ops.absolute(x) > r, ops.sign(x) * r, x)


def project_l2_ball(x: Any, radius: Any = 1.0, axis: Any = None) -> Any:
    """Project every group onto the Euclidean ball `||y||_2 <= radius`.

        x min(1, radius / ||x||_2)

    Args:
        x: Floating tensor of any shape.
        radius: Number >= 0, or a tensor that broadcasts against the norms
            taken with `keepdims=True`.
        axis: Axes that form a group; see `resolve_axis`.

    Returns:
        Tensor of the shape and dtype of `x`. A group with a NaN becomes NaN.

    Gradient: identity inside the ball and on its boundary, that of the formula
        outside.

    Raises:
        ValueError: If `x` is not floating, `radius` is a negative number or
            `axis` does not fit.

    Example:

    >>> from keras_regx.ops import project_l2_ball
    >>> [round(float(v), 6) for v in project_l2_ball([3.0, 4.0], 2.5)]
    [1.5, 2.0]
    """
    x = check.floating("project_l2_ball", x)
    y = upcast(x)
    r = as_parameter(radius, dtype_of(y), "project_l2_ball", "radius")
    norm = safe_norm(y, axis=axis, keepdims=True)
    feasible = norm <= r * (1 + feasibility_tolerance(dtype_of(x)))
    divisor = ops.where(feasible, ops.ones_like(norm), norm)
    scaled = ops.where(feasible, y, y * ops.divide(r, divisor))
    return ops.cast(scaled, dtype_of(x))
