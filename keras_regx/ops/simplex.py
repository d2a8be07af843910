"""Projections onto simplices and the L1 ball: one threshold for all entries."""

import math
from typing import Any

from keras import ops

from keras_regx._core import validation as check
from keras_regx.ops.axes import group_rows, resolve_axis
from keras_regx.ops.numerics import (
    EPSILON,
    absolute,
    accurate_sum,
    as_parameter,
    bisection_trips,
    dtype_of,
    feasibility_tolerance,
    fixed_loop,
    larger,
    smaller,
    spread_nan,
    upcast,
    with_gradient_of,
)
from keras_regx.ops.projections import project_box


def _simplex_newton(rows: Any, total: Any, t: Any) -> tuple[Any, Any]:
    """Return `sum max(rows - t, 0) - total` and the Newton step from t."""
    above = rows > t
    excess = ops.where(above, rows - t, ops.zeros_like(rows))
    gap = accurate_sum(excess) - total
    count = accurate_sum(ops.cast(above, dtype_of(rows)))
    return gap, t + gap / larger(count, ops.ones_like(count))


def _simplex_trip(_: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
    rows, total, low, high = state
    middle = low + (high - low) / 2
    gap, step = _simplex_newton(rows, total, middle)
    high = ops.where(gap < 0, middle, high)
    return rows, total, smaller(larger(low, step), high), high


def _simplex_threshold(rows: Any, total: Any) -> Any:
    """Return t with `sum max(rows - t, 0) = total`; rows must be <= 0, max 0.

    The sum is convex and falls in t, so a Newton step from any t stays on the
    left of the root: each trip halves the bracket from one side and improves
    it by Newton from the other. After the trips the bracket is narrower than
    an epsilon of `total`; the last steps make the sum right to rounding.
    """
    rows, total = ops.stop_gradient(rows), ops.stop_gradient(total)
    zero = ops.zeros_like(rows[..., :1])
    state = (rows, total, zero - total, zero - total / rows.shape[-1])
    t = fixed_loop(bisection_trips(rows), _simplex_trip, state)[2]
    for _ in range(2):
        t = _simplex_newton(rows, total, t)[1]
    return ops.stop_gradient(t)


def _simplex_rows(rows: Any, total: Any) -> Any:
    """Project every row onto the simplex, without looking for feasible rows."""
    top = ops.stop_gradient(ops.max(rows, axis=-1, keepdims=True))
    usable = (top > -float("inf")) & (top < float("inf"))
    top = ops.where(usable, top, ops.zeros_like(top))
    shifted = rows - top
    t = _simplex_threshold(shifted, total)
    support = shifted > t
    excess = ops.where(support, shifted - t, ops.zeros_like(rows))
    count = accurate_sum(ops.cast(support, dtype_of(rows)))
    # A last Newton step, the one that is differentiated: the support is fixed.
    shift = (accurate_sum(excess) - total) / larger(count, ops.ones_like(count))
    return ops.where(support, larger(excess - shift, ops.zeros_like(rows)), excess)


def project_simplex(x: Any, total: Any = 1.0, axis: Any = None) -> Any:
    """Project every group onto the simplex `y >= 0, sum(y) = total`.

        max(x - t, 0)  with t such that the entries sum to total

    The threshold is found by a fixed number of bracketed Newton steps, not
    from a cumulative sum, which float32 cannot hold for a million entries.

    Args:
        x: Floating tensor of any shape.
        total: Finite number >= 0, or a scalar tensor.
        axis: Axes that form a group; see `resolve_axis`.

    Returns:
        Tensor of the shape and dtype of `x`. A group with a NaN or +infinity
        becomes NaN.

    Gradient: centring on the support and 0 off it; an entry that only touches
        zero is off the support.

    Raises:
        ValueError: If `x` is not floating, `total` is a negative or infinite
            number or `axis` does not fit.

    Example:

    >>> from keras_regx.ops import project_simplex
    >>> [float(v) for v in project_simplex([1.0, 0.5, -2.0])]
    [0.75, 0.25, 0.0]

    Reference:
        Condat (2016), Mathematical Programming 158.
    """
    x = check.floating("project_simplex", x)
    y = upcast(x)
    s = as_parameter(total, dtype_of(y), "project_simplex", "total", finite=True)
    if 0 in x.shape:
        resolve_axis(axis, len(x.shape), "project_simplex")
        return x
    rows, restore = group_rows(y, axis)
    projected = _simplex_rows(rows, s)
    gap = ops.absolute(accurate_sum(rows) - s)
    feasible = ops.all(rows >= 0, axis=-1, keepdims=True)
    feasible = feasible & (gap <= s * feasibility_tolerance(dtype_of(x)))
    kept = with_gradient_of(rows, projected)
    result = spread_nan(rows, ops.where(feasible, kept, projected))
    return ops.cast(restore(result), dtype_of(x))


def project_l1_ball(x: Any, radius: Any = 1.0, axis: Any = None) -> Any:
    """Project every group onto the ball `sum_i |y_i| <= radius`.

    Outside the ball this is soft thresholding at the level that makes the
    magnitudes sum to the radius, found as in `project_simplex`.

    Args:
        x: Floating tensor of any shape.
        radius: Finite number >= 0, or a scalar tensor.
        axis: Axes that form a group; see `resolve_axis`.

    Returns:
        Tensor of the shape and dtype of `x`. A group with a NaN or an infinity
        becomes NaN.

    Gradient: identity inside the ball and on its boundary; outside, signed
        centring on the support and 0 off it.

    Raises:
        ValueError: If `x` is not floating, `radius` is a negative or infinite
            number or `axis` does not fit.

    Example:

    >>> from keras_regx.ops import project_l1_ball
    >>> [float(v) for v in project_l1_ball([1.0, -0.5, 0.125])]
    [0.75, -0.25, 0.0]

    Reference:
        Duchi, Shalev-Shwartz, Singer and Chandra (2008), ICML.
    """
    x = check.floating("project_l1_ball", x)
    y = upcast(x)
    r = as_parameter(radius, dtype_of(y), "project_l1_ball", "radius", finite=True)
    if 0 in x.shape:
        resolve_axis(axis, len(x.shape), "project_l1_ball")
        return x
    rows, restore = group_rows(y, axis)
    size = absolute(rows)
    projected = _simplex_rows(size, r) * ops.stop_gradient(ops.sign(rows))
    norm = accurate_sum(ops.absolute(rows))
    feasible = norm <= r * (1 + feasibility_tolerance(dtype_of(x)))
    result = spread_nan(size, ops.where(feasible, rows, projected))
    return ops.cast(restore(result), dtype_of(x))


def _capped_newton(rows: Any, total: Any, cap: Any, t: Any) -> tuple[Any, Any]:
    """Return `sum clip(rows - t, 0, cap) - total` and the change of t it asks for."""
    excess = rows - t
    free = (excess > 0) & (excess < cap)
    inside = ops.where(free, excess, ops.zeros_like(rows))
    part = ops.where(excess >= cap, cap, inside)
    gap = accurate_sum(part) - total
    count = accurate_sum(ops.cast(free, dtype_of(rows)))
    return gap, gap / larger(count, ops.ones_like(count))


def _capped_trip(_: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
    rows, total, cap, low, high = state
    middle = low + (high - low) / 2
    too_low = _capped_newton(rows, total, cap, middle)[0] >= 0
    low, high = ops.where(too_low, middle, low), ops.where(too_low, high, middle)
    return rows, total, cap, low, high


def project_capped_simplex(
    x: Any, total: float = 1.0, cap: float = 1.0, axis: Any = None
) -> Any:
    """Project every group onto `0 <= y <= cap, sum(y) = total`.

        clip(x - t, 0, cap)  with t such that the entries sum to total

    Args:
        x: Floating tensor of any shape.
        total: Number >= 0, at most the group size times `cap`.
        cap: Number > 0.
        axis: Axes that form a group; see `resolve_axis`.

    Returns:
        Tensor of the shape and dtype of `x`. A group with a NaN or +infinity
        becomes NaN.

    Gradient: centring on the entries strictly between 0 and `cap`, 0 on the
        others.

    Raises:
        ValueError: If `x` is not floating, the set is empty or `axis` does not
            fit.

    Example:

    >>> from keras_regx.ops import project_capped_simplex
    >>> y = project_capped_simplex([3.0, 1.0, 0.5], total=1.5, cap=1.0)
    >>> [round(float(v), 5) for v in y]
    [1.0, 0.5, 0.0]

    Reference:
        Wang and Lu (2015), arXiv:1503.01002.
    """
    x = check.floating("project_capped_simplex", x)
    y = upcast(x)
    dtype = dtype_of(y)
    axes = resolve_axis(axis, len(x.shape), "project_capped_simplex")
    size = math.prod(x.shape[a] for a in axes)
    check.number("project_capped_simplex", "cap", cap, above=0)
    check.number("project_capped_simplex", "total", total, minimum=0)
    if total > size * cap * (1 + EPSILON["float64"]):
        expected = f"at most cap={cap:g} times the group size {size}"
        check.fail("project_capped_simplex", "total", expected, total)
    if 0 in x.shape:
        return x
    rows, restore = group_rows(y, axis)
    # With k = floor(total / cap) the root lies less than a cap below entry k + 1.
    rank = min(math.floor(total / cap), size - 1)
    pivot = ops.stop_gradient(ops.sort(rows, axis=-1)[..., size - 1 - rank, None])
    shifted = rows - ops.where(ops.isnan(pivot), ops.zeros_like(pivot), pivot)
    s = as_parameter(total, dtype, "project_capped_simplex", "total")
    c = as_parameter(cap, dtype, "project_capped_simplex", "cap")

    fixed = ops.stop_gradient(shifted)
    zero = ops.zeros_like(fixed[..., :1])
    state = (fixed, s, c, zero - c, zero)
    low = fixed_loop(bisection_trips(fixed) + 2, _capped_trip, state)[3]
    t = ops.stop_gradient(low)
    t = t + ops.stop_gradient(_capped_newton(fixed, s, c, t)[1])
    t = t + _capped_newton(shifted, s, c, t)[1]
    projected = project_box(shifted - t, 0.0, cap)
    gap = ops.absolute(accurate_sum(rows) - s)
    tolerance = feasibility_tolerance(dtype_of(x))
    feasible = (rows >= 0) & (rows <= c * (1 + tolerance))
    feasible = ops.all(feasible, axis=-1, keepdims=True)
    feasible = feasible & (gap <= s * tolerance)
    kept = with_gradient_of(rows, projected)
    result = spread_nan(rows, ops.where(feasible, kept, projected))
    return ops.cast(restore(result), dtype_of(x))
