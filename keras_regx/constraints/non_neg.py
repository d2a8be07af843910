"""Keras' NonNeg: the non-negative orthant."""

from typing import Any

from keras_regx.constraints.base import Constraint, register
from keras_regx.ops.numerics import positive_part


@register
class NonNeg(Constraint):
    """Every weight at least zero.

        P(w) = max(w, 0)

    Call: floating tensor or variable of any shape -> same shape and dtype. NaN
        stays NaN.
    Exact: yes. Convex: yes.
    Raises: ValueError if the tensor is not real and floating.
    Reference: as in Keras.

    Example:

    >>> from keras_regx.constraints import NonNeg
    >>> [float(v) for v in NonNeg()([-1.0, 2.0])]
    [0.0, 2.0]
    """

    convex = True
    separable = True
    keeps_zeros = True
    cone = True
    uniform = True

    def _project(self, w: Any) -> Any:
        return positive_part(w)
