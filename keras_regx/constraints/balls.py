"""Balls and the non-negative sphere: L1Ball, L2Ball, LInfBall, NonNegUnitNorm."""

from operator import attrgetter
from typing import Any

from keras import ops

from keras_regx._core import validation as check
from keras_regx.constraints.base import Constraint, Grouped, register
from keras_regx.constraints.multiplier import Multiplier
from keras_regx.constraints.norms import _NormRange
from keras_regx.ops.axes import group_rows
from keras_regx.ops.numerics import (
    dtype_of,
    feasibility_tolerance,
    safe_norm,
    upcast,
)
from keras_regx.ops.projections import project_linf_ball
from keras_regx.ops.simplex import project_l1_ball
from keras_regx.ops.thresholds import soft_threshold


@register
class L1Ball(Grouped):
    """Sum of magnitudes of each group at most `radius`.

        P(w) = sign(w) max(|w| - t, 0)    with t >= 0 as small as the radius allows

    Args:
        radius: Finite float >= 0.
        axis: Int, tuple of ints, `"units"`, `"inputs"` or `None`: the axes that
            a sum is taken over.

    Call: floating tensor or variable of any shape -> same shape and dtype.
    Exact: yes, with exact zeros; right for millions of entries.
    Convex: yes.
    Raises: ValueError naming the argument and the value received.
    Reference: Duchi, Shalev-Shwartz, Singer and Chandra (2008), ICML.

    Example:

    >>> from keras_regx.constraints import L1Ball
    >>> [float(v) for v in L1Ball(1.0, axis=None)([1.0, -0.5, 0.125])]
    [0.75, -0.25, 0.0]
    """

    convex = True
    keeps_zeros = True
    even = True
    _size = property(attrgetter("radius"))

    def __init__(self, radius: float = 1.0, axis: check.Axis = "units") -> None:
        self.radius = check.number(self, "radius", radius, minimum=0)
        self.axis = check.axis(self, axis)

    def _project(self, w: Any) -> Any:
        return project_l1_ball(w, self.radius, self._axes(w))

    def _multiplier(self, w: Any) -> Multiplier | None:
        axes = self._axes(w)
        if self.radius == 0 or not axes:
            return None

        def magnitudes(y: Any) -> Any:
            return ops.sum(ops.absolute(y), axis=axes, keepdims=True)

        return Multiplier(
            axes,
            move=soft_threshold,
            excess=lambda y: magnitudes(y) - self.radius,
            scale=lambda y: magnitudes(y) + self.radius,
            guess=lambda w: ops.max(ops.absolute(w), axis=axes, keepdims=True) / 2,
            is_elementwise=True,
        )


@register
class L2Ball(_NormRange):
    """Euclidean norm of each group at most `radius`.

        P(w) = w min(1, radius / ||w||_2)    for each group w

    Args:
        radius: Finite float >= 0.
        axis: Int, tuple of ints, `"units"`, `"inputs"` or `None`: the axes that
            a norm is taken over.

    Call: floating tensor or variable of any shape -> same shape and dtype.
    Exact: a group inside the ball is bitwise unchanged; right at every scale.
    Convex: yes.
    Raises: ValueError naming the argument and the value received.
    Reference: Srebro and Shraibman (2005), COLT.

    Example:

    >>> from keras_regx.constraints import L2Ball
    >>> [round(float(v), 6) for v in L2Ball(1.0, axis=None)([3.0, 4.0])]
    [0.6, 0.8]
    """

    convex = True

    def __init__(self, radius: float = 1.0, axis: check.Axis = "units") -> None:
        self.radius = check.number(self, "radius", radius, minimum=0)
        self.axis = check.axis(self, axis)

    @property
    def _bounds(self) -> tuple[float, float]:  # type: ignore[override]
        return 0.0, self.radius


@register
class LInfBall(Constraint):
    """Every weight at most `radius` in magnitude.

        P(w) = min(max(w, -radius), radius)

    Args:
        radius: Finite float >= 0.

    Call: floating tensor or variable of any shape -> same shape and dtype. NaN
        stays NaN.
    Exact: yes. Convex: yes.
    Raises: ValueError naming the argument and the value received.
    Reference: Arjovsky, Chintala and Bottou (2017), ICML.

    Example:

    >>> from keras_regx.constraints import LInfBall
    >>> [float(v) for v in LInfBall(1.0)([-3.0, 0.5, 2.0])]
    [-1.0, 0.5, 1.0]
    """

    convex = True
    separable = True
    keeps_zeros = True
    uniform = True
    even = True
    _size = property(attrgetter("radius"))

    def __init__(self, radius: float = 1.0) -> None:
        self.radius = check.number(self, "radius", radius, minimum=0)

    def _project(self, w: Any) -> Any:
        return project_linf_ball(w, self.radius)


@register
class NonNegUnitNorm(Grouped):
    """Non-negative weights with norm one in each group.

        P(w) = max(w, 0) / ||max(w, 0)||_2    for each group w

    Where no entry is positive the nearest member is the unit vector of the
    largest entry (the first of them).

    Args:
        axis: Int, tuple of ints, `"units"`, `"inputs"` or `None`: the axes that
            a norm is taken over.

    Call: floating tensor or variable of any shape -> same shape and dtype.
    Exact: yes, and right at every scale.
    Convex: no.
    Raises: ValueError naming the argument and the value received.
    Reference: Bauschke, Bui and Wang (2018), SIAM Journal on Optimization 28(3).

    Example:

    >>> from keras_regx.constraints import NonNegUnitNorm
    >>> constraint = NonNegUnitNorm(axis=None)
    >>> [round(float(v), 6) for v in constraint([3.0, -1.0, 4.0])]
    [0.6, 0.0, 0.8]
    >>> [float(v) for v in constraint([-3.0, -1.0, -4.0])]
    [0.0, 1.0, 0.0]
    """

    _size = 1.0

    def __init__(self, axis: check.Axis = "units") -> None:
        self.axis = check.axis(self, axis)

    def _project(self, w: Any) -> Any:
        rows, restore = group_rows(upcast(w), self._axes(w))
        positive = ops.where(rows < 0, ops.zeros_like(rows), rows)
        norms = safe_norm(positive, -1, keepdims=True)
        vanishes = norms < 2.0**-126
        unit = ops.one_hot(ops.argmax(rows, axis=-1), rows.shape[-1], dtype=rows.dtype)
        norms = ops.where(vanishes, ops.ones_like(norms), norms)
        slack = feasibility_tolerance(dtype_of(w))
        norms = ops.where(ops.absolute(norms - 1) <= slack, ops.ones_like(norms), norms)
        return restore(ops.where(vanishes, unit, positive / norms))
