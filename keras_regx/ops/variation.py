"""Differences along an axis and the proximal operator of their L1 norm."""

from typing import Any

from keras import ops

from keras_regx._core import validation as check
from keras_regx.ops.numerics import (
    as_parameter,
    bisection_trips,
    dtype_of,
    fixed_loop,
    larger,
    smaller,
    spread_nan,
    upcast,
    with_gradient_of,
)
from keras_regx.ops.order import single_axis_rows


def difference(x: Any, order: int = 1, axis: int = -1, *, cyclic: bool = False) -> Any:
    """Return the finite differences of an order along an axis.

    `(D x)_i = x_{i+1} - x_i`, applied `order` times.

    Args:
        x: Floating tensor of rank >= 1.
        order: Int >= 0.
        axis: Int.
        cyclic: Boolean. The entry after the last is the first, and the length
            is kept.

    Returns:
        Tensor shorter by `order` along the axis, with length 0 where there is
        nothing to compare; float32 for half-precision input.

    Gradient: the transpose of D.

    Raises:
        ValueError: If `x` is not floating, `order` is not an int >= 0, or
            `axis` is not one of its axes.

    Example:

    >>> from keras_regx.ops import difference
    >>> [float(v) for v in difference([1.0, 2.0, 4.0, 8.0])]
    [1.0, 2.0, 4.0]
    >>> [float(v) for v in difference([1.0, 2.0, 4.0, 8.0], order=2)]
    [1.0, 2.0]
    """
    x = upcast(check.floating("difference", x))
    single_axis_rows(x, axis, "difference")
    order = check.integer("difference", "order", order, minimum=0)
    x = ops.moveaxis(x, axis, -1)
    for _ in range(order):
        x = ops.roll(x, -1, axis=-1) - x if cyclic else x[..., 1:] - x[..., :-1]
    return ops.moveaxis(x, -1, axis)


def _delayed(x: Any, shift: int, filler: Any) -> Any:
    """Shift along the last axis, with `filler` entering at the start."""
    head = ops.cast(ops.full_like(x[..., :shift], filler), dtype_of(x))
    return ops.concatenate([head, x[..., :-shift]], axis=-1)


def _messages(drift: Any, low: Any, high: Any) -> Any:
    """Return z_i with `z_0 = 0, z_{i+1} = clip(z_i + drift_i, low_i, high_i)`.

    Such clipped shifts are closed under composition: all prefixes are composed
    in `log2(n)` steps.
    """
    size, shift = drift.shape[-1], 1
    while shift < size:
        earlier = _delayed(drift, shift, 0.0)
        earlier_low = _delayed(low, shift, -float("inf")) + drift
        earlier_high = _delayed(high, shift, float("inf")) + drift
        low, high = (
            smaller(larger(earlier_low, low), high),
            smaller(larger(earlier_high, low), high),
        )
        drift = drift + earlier
        shift *= 2
    after = smaller(larger(drift, low), high)
    return _delayed(after, 1, 0.0)


def _level_trip(_: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
    """Halve the interval of values that every entry of the answer lies in.

    Entry i exceeds a level c iff it does in the two-valued problem
    `min_b sum (c - x_i) b_i + t sum |b_i - b_{i+1}|`, which messages along the
    chain solve. Each interval asks about its own middle; a neighbour in a
    higher or lower interval has already decided.
    """
    rows, t, low, width = state
    level = low + width / 2
    drift = level - rows
    side = ops.sign(low[..., :-1] - low[..., 1:])
    edge = ops.zeros_like(rows[..., :1])
    unary = []
    for sign, cost, reverse in ((1, drift, False), (-1, drift, True)):
        towards = -t * side * sign
        together = ops.equal(side, 0)
        least = ops.where(together, -t, towards)
        most = ops.where(together, t, towards)
        bounds = [least, most]
        if reverse:
            bounds = [ops.flip(b, axis=-1) for b in bounds]
            cost = ops.flip(cost, axis=-1)  # noqa: PLW2901
        bounds = [ops.concatenate([b, edge], axis=-1) for b in bounds]
        message = _messages(cost, *bounds)
        unary.append(ops.flip(message, axis=-1) if reverse else message)
    above = drift + unary[0] + unary[1] < 0
    return rows, t, ops.where(above, level, low), width / 2


def _within_segments(values: Any, linked: Any, combine: Any) -> Any:
    """Accumulate along runs; `linked` says that entry i continues that of i - 1."""
    size, shift = values.shape[-1], 1
    while shift < size:
        joined = combine(values, _delayed(values, shift, 0.0))
        values = ops.where(linked, joined, values)
        linked = linked & _delayed(linked, shift, False)  # noqa: FBT003
        shift *= 2
    return values


def _over_segments(values: Any, linked: Any, combine: Any) -> tuple[Any, Any]:
    """Accumulate along runs from both ends."""
    forward = _within_segments(values, linked, combine)
    ended = ops.concatenate(
        [ops.zeros_like(linked[..., :1]), ops.flip(linked[..., 1:], axis=-1)], axis=-1
    )
    backward = _within_segments(ops.flip(values, axis=-1), ended, combine)
    return forward, ops.flip(backward, axis=-1)


def prox_total_variation(x: Any, threshold: Any, axis: int = -1) -> Any:
    """Flatten a sequence: the proximal operator of the total variation.

        argmin_y  threshold sum_i |y_{i+1} - y_i| + ||y - x||^2 / 2

    The answer's level sets solve two-valued problems on a chain. A fixed
    number of halvings finds the pieces on which it is constant, their means
    and jumps give the values: entries of a piece are equal bit for bit.

    Args:
        x: Floating tensor of rank >= 1.
        threshold: Number >= 0, or a scalar tensor.
        axis: Int. The axis along which neighbours are compared.

    Returns:
        Tensor of the shape and dtype of `x`. A sequence with a NaN or an
        infinity becomes NaN.

    Gradient: averaging within each constant piece.

    Raises:
        ValueError: If `x` is not floating, `threshold` is negative or infinite,
            or `axis` is not one of its axes.

    Example:

    >>> from keras_regx.ops import prox_total_variation
    >>> y = prox_total_variation([0.0, 0.0, 3.0, 3.0], 1.0)
    >>> [round(float(v), 5) for v in y]
    [0.5, 0.5, 2.5, 2.5]

    Reference:
        Hochbaum (2001), Journal of the ACM 48(4); Chambolle and Darbon (2009),
        International Journal of Computer Vision 84.
    """
    x = check.floating("prox_total_variation", x)
    y = upcast(x)
    t = as_parameter(
        threshold, dtype_of(y), "prox_total_variation", "threshold", finite=True
    )
    rows, restore = single_axis_rows(y, axis, "prox_total_variation")
    if rows.shape[-1] < 2 or 0 in x.shape:
        return x
    fixed = ops.stop_gradient(rows)
    bottom = ops.min(fixed, axis=-1, keepdims=True)
    span = ops.max(fixed, axis=-1, keepdims=True) - bottom
    span = ops.where((span > 0) & (span < float("inf")), span, ops.ones_like(span))
    # On [0, 1] every level is a dyadic number and exact.
    unit = (rows - bottom) / span
    step = ops.divide(t, span)
    fixed = ops.stop_gradient(unit)
    state = (
        fixed,
        ops.stop_gradient(step),
        ops.zeros_like(fixed),
        ops.ones_like(fixed[..., :1]),
    )
    trips = bisection_trips(fixed) - 1
    _, _, low, width = fixed_loop(trips, _level_trip, state)
    low, width = ops.stop_gradient(low), ops.stop_gradient(width)
    jump = ops.sign(low[..., 1:] - low[..., :-1])
    edge = ops.zeros_like(low[..., :1])
    jumps = ops.concatenate([edge, jump], -1) - ops.concatenate([jump, edge], -1)
    linked = ops.concatenate([ops.not_equal(edge, 0), ops.equal(jump, 0)], axis=-1)
    pulled = unit - step * jumps
    forward, backward = _over_segments(pulled, linked, ops.add)
    ones = ops.ones_like(low)
    count = sum(_over_segments(ones, linked, ops.add)) - ones
    mean = (forward + backward - pulled) / count
    # A level that equals an entry of the answer may split its piece in two.
    near = ops.stop_gradient(smaller(larger(mean, low - width), low + 2 * width))
    value = larger(*_over_segments(near, linked, larger))
    fit = with_gradient_of(bottom + span * value, bottom + span * mean)
    fit = ops.where(t > 0, fit, rows)
    fit = spread_nan(ops.absolute(rows), fit)
    return ops.cast(restore(fit), dtype_of(x))
