"""Order along an axis: Monotonic, Convex."""

from typing import Any

import numpy as np
from keras import ops

from keras_regx._core import validation as check
from keras_regx.constraints.base import Grouped, register
from keras_regx.ops.axes import group_rows
from keras_regx.ops.numerics import dtype_of, feasibility_tolerance, upcast
from keras_regx.ops.order import project_monotonic


@register
class Monotonic(Grouped):
    """Non-decreasing, or non-increasing, along an axis.

        P(w) = argmin ||y - w||    over y_1 <= y_2 <= ... <= y_n

    Isotonic regression: neighbours in the wrong order become their mean.

    Args:
        increasing: Boolean. `False` for non-increasing.
        axis: Int. The axis along which the order holds.

    Call: floating tensor or variable that has this axis -> same shape and dtype.
        A sequence with a NaN becomes NaN.
    Exact: yes, and the order of the result is exact.
    Convex: yes.
    Raises: ValueError naming the argument and the value received.
    Reference: Barlow, Bartholomew, Bremner and Brunk (1972), Statistical
        Inference under Order Restrictions.

    Example:

    >>> from keras_regx.constraints import Monotonic
    >>> [float(v) for v in Monotonic()([1.0, 3.0, 2.0, 4.0])]
    [1.0, 2.5, 2.5, 4.0]
    """

    convex = True
    cone = True
    pools = True
    min_rank = 1

    def __init__(self, increasing: bool = True, axis: int = 0) -> None:
        self.increasing = check.boolean(self, "increasing", increasing)
        self.axis = check.integer(self, "axis", axis)

    def _project(self, w: Any) -> Any:
        return project_monotonic(w, self.increasing, self._axes(w)[0])


@register
class Convex(Grouped):
    """Convex along an axis: second differences at least zero.

        P(w) = argmin ||y - w||    over y_{i-1} - 2 y_i + y_{i+1} >= 0

    Convex regression on a grid.

    Args:
        axis: Int. The axis along which the sequence is convex.
        iterations: Integer >= 1. Steps of the alternating direction method; a
            longer axis needs more.

    Call: floating tensor or variable that has this axis -> same shape and dtype.
        A sequence with a NaN or an infinity becomes NaN.
    Exact: convex to rounding for every number of steps; the nearest such
        sequence to 1e-5 of its size up to some twelve entries, to 1e-3 at fifty.
    Convex: yes.
    Raises: ValueError naming the argument and the value received.
    Reference: Hildreth (1954), Journal of the American Statistical Association
        49; Boyd et al. (2011), Foundations and Trends in Machine Learning 3(1).

    Example:

    >>> from keras_regx.constraints import Convex
    >>> [round(float(v), 4) + 0.0 for v in Convex()([0.0, 3.0, 0.0])]
    [1.0, 1.0, 1.0]
    """

    convex = True
    cone = True
    min_rank = 1

    def __init__(self, axis: int = 0, iterations: int = 300) -> None:
        self.axis = check.integer(self, "axis", axis)
        self.iterations = check.integer(self, "iterations", iterations, minimum=1)

    def _project(self, w: Any) -> Any:
        rows, restore = group_rows(upcast(w), self._axes(w))
        if rows.shape[-1] < 3:
            return w
        size = ops.max(ops.absolute(rows), axis=-1, keepdims=True)
        usable = ops.isfinite(size) & (size > 0)
        safe = ops.where(usable, size, ops.ones_like(size))
        unit = rows / safe
        bend = unit[:, 2:] - 2 * unit[:, 1:-1] + unit[:, :-2]
        slack = 4 * feasibility_tolerance(dtype_of(w))
        kept = ops.all(bend >= -slack, axis=-1, keepdims=True)
        nearest = self._fit(ops.where(usable, unit, ops.zeros_like(unit))) * safe
        broken = ops.isnan(size) | (size == float("inf"))
        nearest = ops.where(broken, ops.full_like(nearest, float("nan")), nearest)
        return restore(ops.where(kept, rows, nearest))

    def _fit(self, rows: Any) -> Any:
        """Return the projection of rows of size one."""
        n, dtype = rows.shape[-1], dtype_of(rows)
        second = np.diff(np.eye(n), n=2, axis=0)
        # The best step size for the slowest and the fastest bending mode.
        modes = np.linalg.eigvalsh(second @ second.T)
        rho = 1 / np.sqrt(modes[0] * modes[-1])
        inverse = np.linalg.inv(np.eye(n) + rho * second.T @ second)
        bend = ops.convert_to_tensor(second.T, dtype=dtype)
        back = ops.convert_to_tensor(rho * second @ inverse, dtype=dtype)
        start = ops.convert_to_tensor(inverse, dtype=dtype)
        from_data = rows @ start

        zero = ops.zeros_like(rows[:, 2:])
        state = (zero, zero, from_data, back, bend)
        z, u, *_ = ops.fori_loop(0, self.iterations, _bend_trip, state)
        return integrate(
            ops.where(z < 0, ops.zeros_like(z), z), from_data + (z - u) @ back
        )


def _bend_trip(_: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
    """Make one over-relaxed step of the alternating direction method."""
    z, u, from_data, back, bend = state
    bent = 1.6 * ((from_data + (z - u) @ back) @ bend) - 0.6 * z
    u = u + bent
    z = ops.where(u < 0, ops.zeros_like(u), u)
    return z, u - z, from_data, back, bend


def integrate(bend: Any, near: Any) -> Any:
    """Return the sequence of these second differences that is nearest to `near`."""
    n, dtype = near.shape[-1], dtype_of(near)
    # Column i: a ramp that starts after entry i + 1, less its best straight line.
    ramp = np.maximum(np.arange(n)[None, :] - np.arange(1, n - 1)[:, None], 0.0)
    line = np.stack([np.ones(n), np.arange(n) - (n - 1) / 2], axis=1)
    onto_line = line @ np.linalg.pinv(line)
    ramp = ramp - ramp @ onto_line
    tensors = [ops.convert_to_tensor(m, dtype=dtype) for m in (ramp, onto_line)]
    return bend @ tensors[0] + near @ tensors[1]
