"""Order along an axis: isotonic regression, the largest entries, differences."""

import math
from collections.abc import Callable
from typing import Any

from keras import ops

from keras_regx._core import validation as check
from keras_regx.ops.axes import group_rows, resolve_axis
from keras_regx.ops.numerics import (
    accurate_sum,
    bisection_trips,
    dtype_of,
    fixed_loop,
    larger,
    smaller,
    spread_nan,
    upcast,
    with_gradient_of,
)


def single_axis_rows(x: Any, axis: int, owner: str) -> tuple[Any, Callable[[Any], Any]]:
    """View `x` as one row per sequence along `axis`, which must be one axis."""
    axes = resolve_axis(axis, len(x.shape), owner)
    if len(axes) != 1:
        check.fail(owner, "axis", "a single axis", axis)
    return group_rows(x, axes)


def top_k_mask(x: Any, k: int, axis: Any = None) -> Any:
    """Mark the `k` largest entries of every group.

    Exactly `k` entries are marked on every backend: among equal entries those
    with the lowest index in the group come first. For the largest magnitudes
    pass `keras.ops.abs(x)`.

    Args:
        x: Floating tensor of any shape. NaN ranks above every number.
        k: Int, `0 <= k <= group size`.
        axis: Axes that form a group; see `resolve_axis`.

    Returns:
        Boolean tensor of the shape of `x`.

    Gradient: none, the mask is piecewise constant.

    Raises:
        ValueError: If `x` is not floating, `k` is out of range or `axis` does
            not fit.

    Example:

    >>> from keras_regx.ops import top_k_mask
    >>> [bool(m) for m in top_k_mask([1.0, 3.0, 1.0, 0.0], 2)]
    [True, True, False, False]
    """
    x = check.floating("top_k_mask", x)
    resolve_axis(axis, len(x.shape), "top_k_mask")
    rows, restore = group_rows(ops.stop_gradient(upcast(x)), axis)
    size = rows.shape[-1]
    k = check.integer("top_k_mask", "k", k, minimum=0)
    if k > size:
        check.fail("top_k_mask", "k", f"at most the group size {size}", k)
    if k == 0 or 0 in x.shape:
        return restore(ops.zeros_like(rows, dtype="bool"))
    if k == size:
        return restore(ops.ones_like(rows, dtype="bool"))
    rows = ops.where(ops.isnan(rows), ops.full_like(rows, float("inf")), rows)
    smallest = ops.sort(rows, axis=-1)[..., size - k, None]
    above = rows > smallest
    level = ops.equal(rows, smallest)
    # Integers: a cumulative sum in float32 stops counting at 2**24.
    room = k - ops.sum(ops.cast(above, "int32"), axis=-1, keepdims=True)
    place = ops.cumsum(ops.cast(level, "int32"), axis=-1)
    return restore(above | (level & (place <= room)))


def _pool(values: Any, level: Any) -> Any:
    """Mark the left half's entries above the level and the right half's below."""
    width = values.shape[-1] // 2
    over = values[..., :width] > level
    under = values[..., width:] < level
    return ops.concatenate([over, under], axis=-1)


def _pool_gap(values: Any, pool: Any, level: Any) -> tuple[Any, Any]:
    """Return the sum of `values - level` over the pool and its mean."""
    gap = accurate_sum(ops.where(pool, values - level, ops.zeros_like(values)))
    count = accurate_sum(ops.cast(pool, dtype_of(values)))
    return gap, gap / larger(count, ops.ones_like(count))


def _pool_trip(_: Any, state: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
    values, low, high = state
    middle = low + (high - low) / 2
    too_low = _pool_gap(values, _pool(values, middle), middle)[0] >= 0
    low, high = ops.where(too_low, middle, low), ops.where(too_low, high, middle)
    return values, low, high


def _merge_isotonic(values: Any) -> Any:
    """Fit sequences whose two halves are each non-decreasing along the last axis.

    The fit replaces an upper part of the left half and a lower part of the
    right half by one level v, the root of the decreasing function
    `sum max(left - v, 0) - sum max(v - right, 0)`.
    """
    fixed = ops.stop_gradient(values)
    width = fixed.shape[-1] // 2
    last, first = fixed[..., width - 1, None], fixed[..., width, None]
    violated = last > first
    state = (fixed, first, last)
    _, low, high = fixed_loop(bisection_trips(fixed), _pool_trip, state)
    level = low + (high - low) / 2
    for _ in range(2):
        level = level + _pool_gap(fixed, _pool(fixed, level), level)[1]
    level = ops.stop_gradient(level)
    # The last step is the one that is differentiated: the pool is fixed.
    pool = _pool(fixed, level) & violated
    level = level + _pool_gap(values, pool, level)[1]
    merged = ops.where(pool, level, values)
    # Rounding may not cost the order: each side is bounded by the level.
    low_part = smaller(merged[..., :width], ops.where(violated, level, last))
    high_part = larger(merged[..., width:], ops.where(violated, level, first))
    bounded = ops.concatenate([low_part, high_part], axis=-1)
    return with_gradient_of(bounded, merged)


def project_monotonic(x: Any, increasing: bool = True, axis: int = -1) -> Any:
    """Project onto the non-decreasing sequences along an axis (isotonic regression).

        argmin_y ||y - x||^2  subject to  y_1 <= y_2 <= ... <= y_n

    Neighbouring fits are merged pairwise, `log2(n)` times, for all groups at
    once; the order of the result is exact.

    Args:
        x: Floating tensor of rank >= 1.
        increasing: Boolean. `False` for non-increasing sequences.
        axis: Int. The axis along which the order holds.

    Returns:
        Tensor of the shape and dtype of `x`. A sequence with a NaN or an
        infinity becomes NaN.

    Gradient: averaging within each pooled block.

    Raises:
        ValueError: If `x` is not floating or `axis` is not one of its axes.

    Example:

    >>> from keras_regx.ops import project_monotonic
    >>> [float(v) for v in project_monotonic([1.0, 3.0, 2.0, 4.0])]
    [1.0, 2.5, 2.5, 4.0]

    Reference:
        Barlow, Bartholomew, Bremner and Brunk (1972), Statistical Inference
        under Order Restrictions.
    """
    x = check.floating("project_monotonic", x)
    rows, restore = single_axis_rows(upcast(x), axis, "project_monotonic")
    size = rows.shape[-1]
    if size < 2 or 0 in x.shape:
        return x
    fit = rows if increasing else -rows
    padded = 2 ** math.ceil(math.log2(size))
    # Copies of the largest entry at the end leave the fit of the others alone.
    top = ops.stop_gradient(ops.max(fit, axis=-1, keepdims=True))
    filler = ops.repeat(top, padded - size, axis=-1)
    fit = ops.concatenate([fit, filler], axis=-1) if padded > size else fit
    groups, width = -1 if fit.shape[0] is None else fit.shape[0], 1
    while width < padded:
        pairs = ops.reshape(fit, (groups, padded // (2 * width), 2 * width))
        fit = _merge_isotonic(pairs)
        width *= 2
    fit = ops.reshape(fit, (groups, padded))[..., :size]
    fit = spread_nan(ops.absolute(rows), fit if increasing else -fit)
    return ops.cast(restore(fit), dtype_of(x))
