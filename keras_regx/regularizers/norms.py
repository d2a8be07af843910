"""Keras' L1, L2 and L1L2: the sum of absolute values and the sum of squares."""

from typing import Any, ClassVar

from keras import ops

from keras_regx._core import validation as check
from keras_regx.ops.numerics import absolute, sum_of_squares
from keras_regx.ops.thresholds import soft_threshold
from keras_regx.regularizers.base import Regularizer, register


@register
class L1(Regularizer):
    """Sum of absolute values: drives single weights to zero.

        f(x) = l1 sum_i |x_i|

    Args:
        l1: Finite float >= 0. Regularization factor; `None` means 0.01.

    Call: floating tensor of any shape -> scalar, float32 for half-precision input.
    Prox: soft threshold, `sign(x) max(|x| - step_size l1, 0)`.
    Gradient at 0: 0 on every backend.
    Raises: ValueError naming the argument and the value received.
    Reference: Tibshirani (1996), J. R. Stat. Soc. B 58(1).

    Example:

    >>> from keras_regx.regularizers import L1
    >>> float(L1(0.5)([[1.0, -2.0], [0.0, 3.0]]))
    3.0
    >>> [float(v) for v in L1(0.5).prox([1.0, -2.0, 0.25], step_size=1.0)]
    [0.5, -1.5, 0.0]
    """

    convex = True
    separable = True

    def __init__(self, l1: float | None = 0.01) -> None:
        l1 = 0.01 if l1 is None else l1
        self.l1 = check.number(self, "l1", l1, minimum=0)

    def _value(self, x: Any) -> Any:
        return self.l1 * ops.sum(absolute(x))

    def _prox(self, x: Any, step_size: Any) -> Any:
        return soft_threshold(x, step_size * self.l1)

    def _l1_l2(self) -> tuple[float, float]:
        return self.l1, 0.0


@register
class L2(Regularizer):
    """Sum of squares: shrinks all weights in proportion.

        f(x) = l2 sum_i x_i^2

    Half of it, TensorFlow 1's convention, is `0.5 * L2(l2)`.

    Args:
        l2: Finite float >= 0. Regularization factor; `None` means 0.01.

    Call: floating tensor of any shape -> scalar, float32 for half-precision input.
    Prox: `x / (1 + 2 step_size l2)`.
    Gradient at 0: 0.
    Raises: ValueError naming the argument and the value received.
    Reference: Hoerl and Kennard (1970), Technometrics 12(1).

    Example:

    >>> from keras_regx.regularizers import L2
    >>> float(L2(2.0)([[1.0, 2.0], [0.0, 2.0]]))
    18.0
    >>> float(L2(0.5).prox(3.0, step_size=2.0))
    1.0
    """

    convex = True
    separable = True

    def __init__(self, l2: float | None = 0.01) -> None:
        l2 = 0.01 if l2 is None else l2
        self.l2 = check.number(self, "l2", l2, minimum=0)

    def _value(self, x: Any) -> Any:
        return self.l2 * sum_of_squares(x)

    def _prox(self, x: Any, step_size: Any) -> Any:
        return x / (1 + 2 * step_size * self.l2)

    def _l1_l2(self) -> tuple[float, float]:
        return 0.0, self.l2


@register
class L1L2(Regularizer):
    """Sum of absolute values and sum of squares, each with its own factor.

        f(x) = l1 sum_i |x_i| + l2 sum_i x_i^2

    The names `"l1_l2"`, `"l1l2"` and `"L1L2"` and the function `l1_l2()` stand
    for `L1L2(l1=0.01, l2=0.01)`; the class alone keeps Keras' factors 0 and 0.

    Args:
        l1: Finite float >= 0. Factor of the absolute values; `None` means 0.
        l2: Finite float >= 0. Factor of the squares; `None` means 0.

    Call: floating tensor of any shape -> scalar, float32 for half-precision input.
    Prox: soft threshold by `step_size l1`, then division by `1 + 2 step_size l2`.
    Gradient at 0: 0 on every backend.
    Raises: ValueError naming the argument and the value received.
    Reference: Zou and Hastie (2005), J. R. Stat. Soc. B 67(2).

    Example:

    >>> from keras_regx.regularizers import L1L2
    >>> float(L1L2(l1=1.0, l2=0.5)([2.0, -4.0]))
    16.0
    >>> float(L1L2(l1=1.0, l2=0.5).prox(5.0, step_size=1.0))
    2.0
    """

    convex = True
    separable = True
    string_defaults: ClassVar[dict[str, float]] = {"l1": 0.01, "l2": 0.01}

    def __init__(self, l1: float | None = 0.0, l2: float | None = 0.0) -> None:
        self.l1 = check.number(self, "l1", 0.0 if l1 is None else l1, minimum=0)
        self.l2 = check.number(self, "l2", 0.0 if l2 is None else l2, minimum=0)

    def _value(self, x: Any) -> Any:
        if self.l1 and self.l2:
            l1 = self.l1 * ops.sum(absolute(x))
            return l1 + self.l2 * sum_of_squares(x)
        if self.l1:
            return self.l1 * ops.sum(absolute(x))
        if self.l2:
            return self.l2 * sum_of_squares(x)
        return ops.zeros((), x.dtype)

    def _prox(self, x: Any, step_size: Any) -> Any:
        return soft_threshold(x, step_size * self.l1) / (1 + 2 * step_size * self.l2)

    def _l1_l2(self) -> tuple[float, float]:
        return self.l1, self.l2


def l1_l2(l1: float = 0.01, l2: float = 0.01) -> L1L2:
    """Return `L1L2` with Keras' documented defaults of 0.01 each.

    Args:
        l1: Finite float >= 0. Factor of the absolute values.
        l2: Finite float >= 0. Factor of the squares.

    Example:

    >>> from keras_regx.regularizers import l1_l2
    >>> l1_l2()
    L1L2(l1=0.01, l2=0.01)
    """
    return L1L2(l1=l1, l2=l2)
