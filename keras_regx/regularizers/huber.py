"""Huber's penalty: quadratic near zero, linear far from it."""

from typing import Any

from keras import ops

from keras_regx._core import validation as check
from keras_regx.regularizers.base import Regularizer, register


@register
class Huber(Regularizer):
    """Squares near zero, absolute values far from it: a smooth L1.

        f(x) = factor sum_i h(x_i),  h(t) = t^2 / 2                 if |t| <= delta
                                            delta (|t| - delta / 2)  otherwise

    `Huber(factor, delta)` is the Moreau envelope of `L1(factor delta)` with
    `mu = 1 / factor`.

    Args:
        factor: Finite float >= 0. Regularization factor.
        delta: Finite float > 0. Where the square becomes linear.

    Call: floating tensor of any shape -> scalar, float32 for half-precision input.
    Prox: with `t = factor step_size`, `x / (1 + t)` where
        `|x| <= delta (1 + t)`, and `x - t delta sign(x)` elsewhere.
    Gradient at 0: 0.
    Raises: ValueError naming the argument and the value received.
    Reference: Huber (1964), Ann. Math. Stat. 35(1).

    Example:

    >>> from keras_regx.regularizers import Huber
    >>> float(Huber(2.0, delta=1.0)([0.5, -3.0]))
    5.25
    >>> [float(v) for v in Huber(1.0).prox([1.0, -3.0], step_size=1.0)]
    [0.5, -2.0]
    """

    convex = True
    separable = True

    def __init__(self, factor: float, delta: float = 1.0) -> None:
        self.factor = check.number(self, "factor", factor, minimum=0)
        self.delta = check.number(self, "delta", delta, above=0)

    def _entries(self, x: Any) -> Any:
        inner = ops.clip(x, -self.delta, self.delta)
        # Equal to h on both pieces, and no square of a large entry is formed.
        return self.factor * (inner * (x - inner / 2))

    def _prox(self, x: Any, step_size: Any) -> Any:
        t = self.factor * step_size
        is_near = ops.absolute(x) <= self.delta * (1 + t)
        return ops.where(is_near, x / (1 + t), x - t * self.delta * ops.sign(x))
