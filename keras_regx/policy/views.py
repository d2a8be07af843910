"""Kernels seen as matrices `(fan_in, units)`, whatever their own layout is."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_regx._core import validation as check
from keras_regx._core.counter import Moment
from keras_regx._core.memory import View
from keras_regx._core.registry import PACKAGE
from keras_regx.constraints.algebra import Wrapper as ConstraintWrapper
from keras_regx.constraints.base import member
from keras_regx.ops.axes import group_rows
from keras_regx.regularizers.base import Wrapper

Axes = tuple[int, ...]


def units_matrix(x: Any, unit_axes: Axes) -> tuple[Any, Callable[[Any], Any]]:
    """View a weight as a matrix `(fan_in, units)`; also return the way back."""
    others = tuple(a for a in range(len(x.shape)) if a not in unit_axes)
    rows, restore = group_rows(x, others)
    return ops.transpose(rows), lambda matrix: restore(ops.transpose(matrix))


class _OfMatrix:
    """What the penalty and the constraint of a matrix have in common."""

    unit_axes: Axes

    @property
    def shown_as(self) -> Any:
        """What the matrix has: what listings name."""
        raise NotImplementedError

    def _inner_view(self, view: View) -> View:
        return view.through(self._matrix)

    def _matrix(self, w: Any) -> Any:
        return units_matrix(ops.convert_to_tensor(w), self.unit_axes)[0]


@keras.saving.register_keras_serializable(package=PACKAGE)
class MatrixPenalty(_OfMatrix, Wrapper):
    """A penalty of a kernel seen as a matrix `(fan_in, units)`.

        f(W) = g(M),  M the matrix with one column per unit

    A `Policy` makes these for matrix penalties on kernels that do not end in
    their units.

    Args:
        regularizer: The penalty `g` of a matrix.
        unit_axes: Tuple of ints: the axes of the weight that number the units.

    Call: floating tensor that has these axes -> scalar.
    Prox: that of `g`, on the matrix.
    Gradient: that of `g`.
    Raises: ValueError naming the argument and the value received.

    Example:

    >>> from keras import ops
    >>> from keras_regx.policy.views import MatrixPenalty
    >>> from keras_regx.regularizers import OrthogonalRegularizer
    >>> penalty = MatrixPenalty(OrthogonalRegularizer(1.0, mode="columns"), (0,))
    >>> float(penalty(ops.ones((2, 5)))) == float(
    ...     OrthogonalRegularizer(1.0, mode="columns")(ops.ones((5, 2))))
    True
    """

    def __init__(self, regularizer: Any, unit_axes: Axes) -> None:
        self.regularizer = self._inner(regularizer)
        self.unit_axes = _unit_axes(self, unit_axes)

    @property
    def shown_as(self) -> Any:
        """The penalty of the matrix: what listings name."""
        return self.regularizer

    separable = False  # A step size per entry would have the shape of the weight.

    def _value(self, x: Any) -> Any:
        return self.regularizer(self._matrix(x))

    def _prox(self, x: Any, step_size: Any) -> Any:
        matrix, restore = units_matrix(x, self.unit_axes)
        return restore(self.regularizer.prox(matrix, step_size))


@keras.saving.register_keras_serializable(package=PACKAGE)
class MatrixConstraint(_OfMatrix, ConstraintWrapper):
    """A constraint on a kernel seen as a matrix `(fan_in, units)`.

    A `Policy` makes these for matrix sets on kernels that do not end in their
    units.

    Args:
        constraint: The constraint on a matrix.
        unit_axes: Tuple of ints: the axes of the weight that number the units.

    Call: floating tensor or variable that has these axes -> same shape and dtype.
    Exact: as the constraint on the matrix.
    Raises: ValueError naming the argument and the value received.

    Example:

    >>> from keras import ops
    >>> from keras_regx.constraints import NonNeg
    >>> from keras_regx.policy.views import MatrixConstraint
    >>> tuple(MatrixConstraint(NonNeg(), (1, 2))(ops.ones((4, 2, 3))).shape)
    (4, 2, 3)
    """

    def __init__(self, constraint: Any, unit_axes: Axes) -> None:
        self.constraint = member(self, constraint)
        self.unit_axes = _unit_axes(self, unit_axes)

    @property
    def shown_as(self) -> Any:
        """The constraint on the matrix: what listings name."""
        return self.constraint

    def _apply(self, w: Any, moment: Moment) -> Any:
        matrix, restore = units_matrix(w, self.unit_axes)
        return restore(self._member.at(matrix, moment))

    def distance(self, w: Any) -> Any:
        """Return the Euclidean distance between the matrix and the set."""
        return super().distance(self._matrix(w))

    def contains(self, w: Any, tol: float | None = None) -> bool:
        """Return whether the matrix is a member of the set, up to rounding."""
        return super().contains(self._matrix(w), tol)


def _unit_axes(owner: Any, value: Any) -> Axes:
    axes = check.axis(owner, value, "unit_axes")
    if not isinstance(axes, tuple) or any(a < 0 for a in axes):
        check.fail(owner, "unit_axes", "a tuple of ints >= 0", value)
    return axes
