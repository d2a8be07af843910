"""Order along an axis: Monotonic, Convex."""

from typing import Any

from keras import ops

from keras_regx._core import validation as check
from keras_regx.constraints.base import Grouped, register
from keras_regx.ops.axes import group_rows
from keras_regx.ops.convex import nearest_convex
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
        iterations: Integer >= 1. The most fits that are made; a thousand noisy
            entries take some forty.

    Call: floating tensor or variable that has this axis -> same shape and dtype.
        A sequence with a NaN or an infinity becomes NaN.
    Exact: to 1e-5 of the size of a sequence, up to thousands of entries. One that is
        convex within the rounding of its entries is bitwise unchanged.
    Convex: yes.
    Gradient: the linear map onto the sequences with the knots of the result.
    Raises: ValueError naming the argument and the value received.
    Reference: Hildreth (1954), Journal of the American Statistical Association
        49; Groeneboom, Jongbloed and Wellner (2008), Scandinavian Journal of
        Statistics 35(3), for the method.

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
        size = ops.stop_gradient(ops.max(ops.absolute(rows), axis=-1, keepdims=True))
        usable = ops.isfinite(size) & (size > 0)
        safe = ops.where(usable, size, ops.ones_like(size))
        unit = ops.where(usable, rows / safe, ops.zeros_like(rows))
        nearest = nearest_convex(unit, self.iterations)
        moved = ops.max(ops.absolute(nearest - unit), axis=-1, keepdims=True)
        kept = moved <= feasibility_tolerance(dtype_of(w))
        nearest = ops.where(kept, rows, nearest * safe)
        broken = ops.isnan(size) | (size == float("inf"))
        return restore(ops.where(broken, ops.full_like(rows, float("nan")), nearest))
