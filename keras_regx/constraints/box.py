"""Bounds on each entry: Box, NonPos, SignConstraint."""

from typing import Any

import numpy as np
from keras import ops

from keras_regx._core import masks
from keras_regx._core import validation as check
from keras_regx.constraints.base import Constraint, register
from keras_regx.ops.projections import project_box


@register
class Box(Constraint):
    """Every weight between two bounds.

        P(w) = min(max(w, min_value), max_value)

    Args:
        min_value: Finite float, or `None` for no lower bound.
        max_value: Finite float >= `min_value`, or `None` for no upper bound.

    Call: floating tensor or variable of any shape -> same shape and dtype. A
        bound is met as it rounds in that dtype. NaN stays NaN.
    Exact: yes. Convex: yes.
    Raises: ValueError naming the argument and the value received.
    Reference: Courbariaux, Bengio and David (2015), NeurIPS (weight clipping).

    Example:

    >>> from keras_regx.constraints import Box
    >>> [float(v) for v in Box(-1.0, 1.0)([-3.0, 0.5, 2.0])]
    [-1.0, 0.5, 1.0]
    """

    convex = True
    separable = True
    uniform = True

    def __init__(
        self, min_value: float | None = None, max_value: float | None = None
    ) -> None:
        if min_value is not None:
            min_value = check.number(self, "min_value", min_value)
        if max_value is not None:
            max_value = check.number(self, "max_value", max_value)
        if min_value is not None and max_value is not None and max_value < min_value:
            expected = f"a number >= min_value={min_value:g}"
            check.fail(self, "max_value", expected, max_value)
        self.min_value = min_value
        self.max_value = max_value

    @property
    def cone(self) -> bool:  # type: ignore[override]
        """Whether the only bound, if any, is zero."""
        return not (self.min_value or self.max_value)

    @property
    def keeps_zeros(self) -> bool:  # type: ignore[override]
        """Whether zero is between the bounds."""
        return (self.min_value or 0) <= 0 <= (self.max_value or 0)

    @property
    def _size(self) -> float:
        return max(abs(self.min_value or 0.0), abs(self.max_value or 0.0))

    def _project(self, w: Any) -> Any:
        return project_box(w, self.min_value, self.max_value)


@register
class NonPos(Constraint):
    """Every weight at most zero.

        P(w) = min(w, 0)

    Call: floating tensor or variable of any shape -> same shape and dtype. NaN
        stays NaN.
    Exact: yes. Convex: yes.
    Raises: ValueError if the tensor is not real and floating.
    Reference: Boyd and Vandenberghe (2004), Convex Optimization, section 8.1.

    Example:

    >>> from keras_regx.constraints import NonPos
    >>> [float(v) for v in NonPos()([-1.0, 2.0])]
    [-1.0, 0.0]
    """

    convex = True
    separable = True
    keeps_zeros = True
    cone = True
    uniform = True

    def _project(self, w: Any) -> Any:
        return ops.where(w > 0, ops.zeros_like(w), w)


@register
class SignConstraint(Constraint):
    """A prescribed sign for each weight, or for all weights of an input.

        P(w)_i = max(w_i, 0) where the sign is 1, min(w_i, 0) where it is -1,
                 w_i where it is 0

    With the signs of the inputs' known effects, a layer is monotonic in them.

    Args:
        signs: -1, 0 or 1, or a nested list of these. It is matched with the
            leading axes of the weights and holds for all entries below: a list
            with one sign per input fits a `Dense` kernel. An axis of length 1
            holds for the whole of its axis.

    Call: floating tensor or variable whose leading axes `signs` broadcast
        against -> same shape and dtype. NaN stays NaN.
    Exact: yes. Convex: yes.
    Raises: ValueError if a sign is not -1, 0 or 1, or the shapes do not fit.
    Reference: Archer and Wang (1993), Decision Sciences 24(1).

    Example:

    >>> from keras_regx.constraints import SignConstraint
    >>> w = SignConstraint([1, -1])([[-3.0, 0.5], [-2.0, 4.0]])
    >>> [[float(v) for v in row] for row in w]
    [[0.0, 0.5], [-2.0, 0.0]]
    """

    convex = True
    separable = True
    keeps_zeros = True
    cone = True

    def __init__(self, signs: Any) -> None:
        values = np.asarray(masks.numbers(self, "signs", signs))
        if not np.isin(values, (-1, 0, 1)).all():
            check.fail(self, "signs", "only -1, 0 and 1", signs)
        self.signs = values.astype(int).tolist()

    def _project(self, w: Any) -> Any:
        signs = self._fitting(tuple(w.shape))
        wrong = (ops.convert_to_tensor(signs > 0) & (w < 0)) | (
            ops.convert_to_tensor(signs < 0) & (w > 0)
        )
        return ops.where(wrong, ops.zeros_like(w), w)

    def _fitting(self, shape: tuple[int, ...]) -> Any:
        """Return the signs as an array that broadcasts against `shape`."""
        signs = np.asarray(self.signs)
        padded = signs.shape + (1,) * len(shape)
        lead, rest = padded[: len(shape)], padded[len(shape) :]
        fits = all(m in (1, n) for m, n in zip(lead, shape, strict=True))
        if not fits or any(m != 1 for m in rest):
            expected = f"a tensor whose shape begins with {signs.shape}"
            check.fail(self, "w", expected, shape)
        return signs.reshape(lead)
