"""Non-negative weights with a prescribed sum: Simplex, CappedSimplex."""

from operator import attrgetter
from typing import Any

from keras_regx._core import validation as check
from keras_regx.constraints.affine import Centered
from keras_regx.constraints.base import Constraint, Grouped, register
from keras_regx.constraints.box import Box
from keras_regx.constraints.non_neg import NonNeg
from keras_regx.ops.axes import group_size
from keras_regx.ops.simplex import project_capped_simplex, project_simplex


@register
class Simplex(Grouped):
    """Non-negative weights that sum to `total` in each group.

        P(w) = max(w - t, 0)    with t such that the entries sum to total

    Each unit takes a weighted mean of its inputs.

    Args:
        total: Finite float >= 0.
        axis: Int, tuple of ints, `"units"`, `"inputs"` or `None`: the axes that
            a sum is taken over.

    Call: floating tensor or variable of any shape -> same shape and dtype.
    Exact: yes, with exact zeros; right for millions of entries.
    Convex: yes.
    Raises: ValueError naming the argument and the value received.
    Reference: Condat (2016), Mathematical Programming 158.

    Example:

    >>> from keras_regx.constraints import Simplex
    >>> [float(v) for v in Simplex(axis=None)([1.0, 0.5, -2.0])]
    [0.75, 0.25, 0.0]
    """

    convex = True
    _size = property(attrgetter("total"))

    def __init__(self, total: float = 1.0, axis: check.Axis = "units") -> None:
        self.total = check.number(self, "total", total, minimum=0)
        self.axis = check.axis(self, axis)

    def _project(self, w: Any) -> Any:
        return project_simplex(w, self.total, self._axes(w))

    def _pieces(self, w: Any) -> list[Constraint]:
        mean = self.total / group_size(tuple(w.shape), self._axes(w))
        return [Centered(mean, self.axis), NonNeg()]


@register
class CappedSimplex(Grouped):
    """Weights from 0 to `cap` that sum to `total` in each group.

        P(w) = min(max(w - t, 0), cap)    with t such that the entries sum to total

    Args:
        total: Finite float >= 0.
        cap: Finite float > 0. A group of n entries needs `total <= n cap`.
        axis: Int, tuple of ints, `"units"`, `"inputs"` or `None`: the axes that
            a sum is taken over.

    Call: floating tensor or variable whose groups are large enough -> same
        shape and dtype.
    Exact: yes. Convex: yes.
    Raises: ValueError naming the argument and the value received, or if a group
        is too small for the total.
    Reference: Wang and Lu (2015), arXiv:1503.01002.

    Example:

    >>> from keras_regx.constraints import CappedSimplex
    >>> w = CappedSimplex(1.5, 1.0, axis=None)([3.0, 1.0, 0.5])
    >>> [round(float(v), 6) for v in w]
    [1.0, 0.5, 0.0]
    """

    convex = True
    _size = property(attrgetter("total"))

    def __init__(self, total: float, cap: float, axis: check.Axis = "units") -> None:
        self.total = check.number(self, "total", total, minimum=0)
        self.cap = check.number(self, "cap", cap, above=0)
        self.axis = check.axis(self, axis)

    def _project(self, w: Any) -> Any:
        axes = self._axes(w)
        size = group_size(tuple(w.shape), axes)
        if self.total > size * self.cap:
            expected = f"at most cap={self.cap:g} times the group size {size}"
            check.fail(self, "total", expected, self.total)
        return project_capped_simplex(w, self.total, self.cap, axes)

    def _pieces(self, w: Any) -> list[Constraint]:
        mean = self.total / group_size(tuple(w.shape), self._axes(w))
        return [Centered(mean, self.axis), Box(0, self.cap)]
