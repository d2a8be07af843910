"""Penalties on leaving a range: soft walls and barriers."""

from typing import Any

from keras import ops

from keras_regx._core import validation as check
from keras_regx.ops.numerics import dtype_of
from keras_regx.regularizers.base import Regularizer, register


@register
class RangeHinge(Regularizer):
    """Squared distance of each weight to a range.

        f(x) = factor sum_i max(min_value - x_i, 0)^2 + max(x_i - max_value, 0)^2

    Args:
        factor: Finite float >= 0. Regularization factor.
        min_value: Finite float, or `None` for no lower end.
        max_value: Finite float >= `min_value`, or `None` for no upper end.

    Call: floating tensor of any shape -> scalar, float32 for half-precision input.
    Prox: with `t = factor step_size`, a weight outside moves to
        `(x + 2 t bound) / (1 + 2 t)`; a weight inside stays.
    Gradient at 0: 0 if 0 is in the range, else `-2 factor` times the distance to
        it, upwards.
    Raises: ValueError naming the argument and the value received.
    Reference: Parikh and Boyd (2014), Proximal Algorithms, section 6.

    Example:

    >>> from keras_regx.regularizers import RangeHinge
    >>> float(RangeHinge(1.0, -1.0, 1.0)([0.5, 3.0, -2.0]))
    5.0
    >>> float(RangeHinge(0.5, -1.0, 1.0).prox(3.0, step_size=1.0))
    2.0
    """

    convex = True
    separable = True

    def __init__(
        self,
        factor: float,
        min_value: float | None = None,
        max_value: float | None = None,
    ) -> None:
        self.factor = check.number(self, "factor", factor, minimum=0)
        if min_value is not None:
            min_value = check.number(self, "min_value", min_value)
        if max_value is not None:
            max_value = check.number(self, "max_value", max_value, minimum=min_value)
        if min_value is None and max_value is None:
            check.fail(self, "min_value", "at least one of the two ends", min_value)
        self.min_value = min_value
        self.max_value = max_value

    def _nearest(self, x: Any) -> Any:
        y = x
        if self.min_value is not None:
            y = ops.where(y < self.min_value, ops.full_like(y, self.min_value), y)
        if self.max_value is not None:
            y = ops.where(y > self.max_value, ops.full_like(y, self.max_value), y)
        return y

    def _entries(self, x: Any) -> Any:
        return self.factor * ops.square(x - self._nearest(x))

    def _prox(self, x: Any, step_size: Any) -> Any:
        t = self.factor * step_size
        nearest = self._nearest(x)
        return nearest + (x - nearest) / (1 + 2 * t)


@register
class LogBarrier(Regularizer):
    """Logarithmic barrier: keeps weights positive.

        f(x) = -factor sum_i log(x_i)    if all x_i > 0, else infinity

    Args:
        factor: Finite float >= 0. Regularization factor.

    Call: floating tensor of any shape -> scalar, float32 for half-precision input;
        infinity if an entry is not positive. Start from positive weights and
        keep them there, by a constraint such as `Box(1e-3)` or by the prox.
    Prox: `(x + sqrt(x^2 + 4 factor step_size)) / 2`, always positive.
    Gradient at 0: 0, and so for all entries <= 0, which are outside of the domain.
    Raises: ValueError naming the argument and the value received.
    Reference: Boyd and Vandenberghe (2004), Convex Optimization, section 11.2.

    Example:

    >>> from keras_regx.regularizers import LogBarrier
    >>> round(float(LogBarrier(1.0)([1.0, 2.0])), 6)
    -0.693147
    >>> [float(v) for v in LogBarrier(1.0).prox([1.5, 0.0], step_size=1.0)]
    [2.0, 1.0]
    """

    convex = True
    separable = True

    def __init__(self, factor: float) -> None:
        self.factor = check.number(self, "factor", factor, minimum=0)

    def _entries(self, x: Any) -> Any:
        if self.factor == 0:
            return 0 * x
        inside = (x > 0) | ops.isnan(x)
        logs = ops.log(ops.where(inside, x, ops.ones_like(x)))
        outside = ops.full_like(x, -float("inf"))
        return -self.factor * ops.where(inside, logs, outside)

    def _prox(self, x: Any, step_size: Any) -> Any:
        t = ops.convert_to_tensor(self.factor * step_size, dtype_of(x))
        size = ops.absolute(x)
        scale = ops.maximum(size, 2 * ops.sqrt(t))
        scale = ops.where(scale > 0, scale, ops.ones_like(scale))
        root = scale * ops.sqrt(ops.square(x / scale) + 4 * (t / scale) / scale)
        total = size + root
        safe = ops.where(total > 0, total, ops.ones_like(total))
        # For x < 0 the sum cancels; the other root's reciprocal does not.
        return ops.where(x < 0, 2 * t / safe, total / 2)
