"""The elastic net, in scikit-learn's convention."""

from typing import Any

from keras import ops

from keras_regx._core import validation as check
from keras_regx.ops.numerics import absolute
from keras_regx.ops.thresholds import soft_threshold
from keras_regx.regularizers.base import Regularizer, register


@register
class ElasticNet(Regularizer):
    """L1 and half of L2, mixed by a ratio as in scikit-learn.

        f(x) = factor (l1_ratio sum_i |x_i| + (1 - l1_ratio) / 2 sum_i x_i^2)

    Args:
        factor: Finite float >= 0. Regularization factor, scikit-learn's `alpha`.
        l1_ratio: Float in [0, 1]. 1 is L1 alone, 0 is half the sum of squares.

    Call: floating tensor of any shape -> scalar, float32 for half-precision input.
    Prox: with `t = factor step_size`, soft threshold by `t l1_ratio`, then division
        by `1 + t (1 - l1_ratio)`.
    Gradient at 0: 0 on every backend.
    Raises: ValueError naming the argument and the value received.
    Reference: Zou and Hastie (2005), J. R. Stat. Soc. B 67(2).

    Example:

    >>> from keras_regx.regularizers import ElasticNet
    >>> float(ElasticNet(1.0, l1_ratio=0.5)([2.0, -4.0]))
    8.0
    >>> float(ElasticNet(1.0, l1_ratio=0.5).prox(3.5, step_size=1.0))
    2.0
    """

    convex = True
    separable = True

    def __init__(self, factor: float, l1_ratio: float = 0.5) -> None:
        self.factor = check.number(self, "factor", factor, minimum=0)
        self.l1_ratio = check.number(self, "l1_ratio", l1_ratio, minimum=0, maximum=1)

    def _value(self, x: Any) -> Any:
        l1, l2 = self._l1_l2()
        return l1 * ops.sum(absolute(x)) + l2 * ops.sum(ops.square(x))

    def _prox(self, x: Any, step_size: Any) -> Any:
        l1, l2 = self._l1_l2()
        return soft_threshold(x, step_size * l1) / (1 + 2 * step_size * l2)

    def _l1_l2(self) -> tuple[float, float]:
        return self.factor * self.l1_ratio, self.factor * (1 - self.l1_ratio) / 2
