"""Ratios of norms, which ask for sparsity at any scale, and the largest entry."""

from typing import Any

from keras import ops

from keras_regx._core import validation as check
from keras_regx.ops.axes import group_rows
from keras_regx.ops.numerics import absolute, dtype_of, safe_norm
from keras_regx.ops.simplex import project_l1_ball
from keras_regx.regularizers.base import Regularizer, register


def unit_scale(rows: Any) -> Any:
    """Divide each row by its largest magnitude, a constant; a zero row stays zero."""
    size = ops.absolute(ops.stop_gradient(rows))
    scale = ops.max(size, axis=-1, keepdims=True)
    return rows / ops.where(scale == 0, ops.ones_like(scale), scale)


def largest(values: Any, axis: int | None = None) -> Any:
    """Return the maximum, whose gradient is shared equally between ties."""
    top = ops.max(ops.stop_gradient(values), axis=axis, keepdims=True)
    is_top = ops.cast((values == top) | ops.isnan(top), dtype_of(values))
    share = is_top / ops.sum(is_top, axis=axis, keepdims=True)
    return ops.sum(ops.where(share > 0, values, 0 * values) * share, axis=axis)


def _nonzero(x: Any) -> Any:
    """Return `x` with zeros replaced by ones: a safe denominator."""
    return ops.where(x == 0, ops.ones_like(x), x)


@register
class Hoyer(Regularizer):
    """Ratio of the L1 to the L2 norm: sparsity that does not shrink the weights.

        f(x) = factor ||x||_1 / ||x||_2,    0 at zero

    Between `factor` for a single non-zero weight and `factor sqrt(n)` for equal
    ones; the same for `c x` as for `x`.

    Args:
        factor: Finite float >= 0. Regularization factor.

    Call: floating tensor of any shape -> scalar, float32 for half-precision input.
    Prox: none in closed form.
    Gradient at 0: 0 on every backend.
    Raises: ValueError naming the argument and the value received.
    Reference: Hoyer (2004), J. Mach. Learn. Res. 5.

    Example:

    >>> from keras_regx.regularizers import Hoyer
    >>> round(float(Hoyer(1.0)([3.0, -4.0])), 6)
    1.4
    >>> round(float(Hoyer(1.0)([300.0, -400.0])), 6)
    1.4
    """

    def __init__(self, factor: float) -> None:
        self.factor = check.number(self, "factor", factor, minimum=0)

    def _value(self, x: Any) -> Any:
        x = unit_scale(ops.reshape(x, (1, -1)))
        return self.factor * ops.sum(absolute(x)) / _nonzero(safe_norm(x))


@register
class HoyerSquare(Regularizer):
    """Square of the ratio of the L1 to the L2 norm, in each group.

        f(x) = factor sum_g ||x_g||_1^2 / ||x_g||_2^2,    0 for a zero group

    Close to the number of non-zero weights, and the same for `c x` as for `x`.

    Args:
        factor: Finite float >= 0. Regularization factor.
        axis: Int, tuple of ints, `"units"`, `"inputs"` or `None`: the axes that
            form a group; `None` is the whole tensor.

    Call: floating tensor of any shape -> scalar, float32 for half-precision input.
    Prox: none in closed form.
    Gradient at 0: 0 on every backend.
    Raises: ValueError naming the argument and the value received.
    Reference: Yang, Wen and Li (2020), DeepHoyer, arXiv:1908.09979.

    Example:

    >>> from keras_regx.regularizers import HoyerSquare
    >>> round(float(HoyerSquare(1.0)([3.0, -4.0])), 6)
    1.96
    >>> round(float(HoyerSquare(1.0)([0.0, -4.0])), 6)
    1.0
    """

    def __init__(self, factor: float, axis: check.Axis = None) -> None:
        self.factor = check.number(self, "factor", factor, minimum=0)
        self.axis = check.axis(self, axis)

    def _value(self, x: Any) -> Any:
        rows = unit_scale(group_rows(x, self.axis)[0])
        total = ops.sum(absolute(rows), axis=-1)
        squares = ops.sum(ops.square(rows), axis=-1)
        return self.factor * ops.sum(ops.square(total) / _nonzero(squares))


@register
class LInf(Regularizer):
    """Largest magnitude of each group: draws the large weights together.

        f(x) = factor sum_g max_{i in g} |x_i|

    Args:
        factor: Finite float >= 0. Regularization factor.
        axis: Int, tuple of ints, `"units"`, `"inputs"` or `None`: the axes that
            form a group; `None` is the whole tensor.

    Call: floating tensor of any shape -> scalar, float32 for half-precision input.
    Prox: `x_g` minus its projection onto the L1 ball of radius `factor step_size`.
    Gradient at 0: 0; among equal magnitudes it is shared equally.
    Raises: ValueError naming the argument and the value received.
    Reference: Parikh and Boyd (2014), Proximal Algorithms, section 6.5.

    Example:

    >>> from keras_regx.regularizers import LInf
    >>> float(LInf(2.0)([1.0, -3.0, 2.0]))
    6.0
    >>> [round(float(v), 6) for v in LInf(2.0).prox([1.0, -3.0, 2.0], step_size=1.0)]
    [1.0, -1.5, 1.5]
    """

    convex = True

    def __init__(self, factor: float, axis: check.Axis = None) -> None:
        self.factor = check.number(self, "factor", factor, minimum=0)
        self.axis = check.axis(self, axis)

    def _value(self, x: Any) -> Any:
        rows = absolute(group_rows(x, self.axis)[0])
        return self.factor * ops.sum(largest(rows, axis=-1))

    def _prox(self, x: Any, step_size: Any) -> Any:
        rows, restore = group_rows(x, self.axis)
        return restore(rows - project_l1_ball(rows, step_size * self.factor, axis=-1))
