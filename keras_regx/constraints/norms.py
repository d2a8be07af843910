"""Keras' constraints on the norm of each group: MaxNorm, UnitNorm, MinMaxNorm."""

from functools import cache
from typing import Any

from keras import ops

from keras_regx._core import validation as check
from keras_regx.constraints.base import Grouped, register
from keras_regx.constraints.multiplier import Multiplier, ball_multiplier
from keras_regx.ops.numerics import (
    choose,
    dtype_of,
    feasibility_tolerance,
    safe_norm,
    upcast,
)

_ORDINARY = 1e12  # Norms between its inverse and it have ordinary squares.
_TINY = 2.0**-126  # The smallest normal float32; below it 1 / norm overflows.

Bounds = tuple[float, float]


def _is_kept(norms: Any, bounds: Bounds, dtype: str) -> Any:
    """Return whether groups are in the set, up to rounding."""
    low, high = bounds
    slack = feasibility_tolerance(dtype)
    if low == high:
        return abs(norms - high) <= high * slack
    kept = norms <= high * (1 + slack)
    return kept & (norms >= low * (1 - slack)) if low > 0 else kept


def _nearest(norms: Any, bounds: Bounds) -> Any:
    """Return the nearest norms in the set of groups outside of it."""
    low, high = bounds
    return high if low in (0, high) else ops.clip(norms, low, high)


@cache
def _projections(axes: tuple[int, ...], bounds: Bounds, rate: float, dtype: str) -> Any:
    """Return two functions of `(w, norms)`: for ordinary scales, and for any.

    Going over the weights twice more for the sake of extreme scales would double
    the time of a step, so only such weights pay for it. The functions are kept:
    JAX compiles a switch anew for functions that it has not seen.
    """

    def at_ordinary_scale(w: Any, norms: Any) -> Any:
        factors = _nearest(norms, bounds) / norms
        if rate < 1:
            factors = rate * factors + (1 - rate)
        # One by name, not by division: TensorFlow's compiled 1 / 1 is below 1.
        return w * ops.where(_is_kept(norms, bounds, dtype), 1.0, factors)

    def at_any_scale(w: Any, norms: Any) -> Any:
        largest = ops.absolute(ops.stop_gradient(w))
        if axes:
            largest = ops.max(largest, axis=axes, keepdims=True)
        has_direction = (largest >= _TINY) & (largest < float("inf"))
        largest = ops.where(has_direction, largest, 1.0)
        scaled = w / largest  # Its entries and norms, and their slopes, are ordinary.
        squares = ops.sum(scaled * scaled, axes, keepdims=True) if axes else scaled**2
        lengths = ops.sqrt(ops.where(has_direction, squares, 1.0))
        norms = largest * lengths
        moved = scaled * (_nearest(norms, bounds) / lengths)
        if rate < 1:
            moved = rate * moved + (1 - rate) * w
        is_kept = _is_kept(norms, bounds, dtype) | ops.logical_not(has_direction)
        return ops.where(is_kept, w, moved)

    return at_ordinary_scale, at_any_scale


class _NormRange(Grouped):
    """Groups whose Euclidean norm lies between two bounds."""

    keeps_zeros = True
    even = True
    _bounds: Bounds
    _rate: float = 1.0

    def _project(self, w: Any) -> Any:
        axes, (low, high) = self._axes(w), self._bounds
        dtype, w = dtype_of(w), upcast(w)
        if high == 0:
            return w * (1 - self._rate)
        ordinary, at_any_scale = _projections(axes, (low, high), self._rate, dtype)
        if not axes or not 1 / _ORDINARY < high < _ORDINARY:
            return at_any_scale(w, w)
        # Vanished norms have no slope; under a maximum they are inside anyway.
        least = 1e-37 if low > 0 else max((1e-15 * high) ** 2, 1e-37)
        norms = ops.sqrt(ops.sum(w * w, axis=axes, keepdims=True) + least)
        sizes = ops.stop_gradient(norms)
        if low > 0:
            sizes = sizes + 1 / sizes
        is_ordinary = ops.max(sizes) < _ORDINARY
        return choose(is_ordinary, ordinary, at_any_scale, w, norms)

    def _gap(self, w: Any) -> Any:
        norms = safe_norm(w, self._axes(w), keepdims=True)
        return norms - ops.clip(norms, *self._bounds)

    def _multiplier(self, w: Any) -> Multiplier | None:
        (low, radius), axes = self._bounds, self._axes(w)
        if low > 0 or radius == 0 or not axes:
            return None
        return ball_multiplier(axes, radius)

    @property
    def _size(self) -> float:
        return self._bounds[1]


@register
class MaxNorm(_NormRange):
    """Norm of each group at most `max_value`: a Euclidean ball per group.

        P(w) = w min(1, max_value / ||w||_2)    for each group w

    Args:
        max_value: Finite float >= 0. Largest norm of a group.
        axis: Int, tuple of ints, `"units"`, `"inputs"` or `None`: the axes that
            a norm is taken over. 0 suits `Dense` kernels; `"units"` suits every
            kernel whose last axis is the units or filters.

    Call: floating tensor or variable of any shape -> same shape and dtype.
    Exact: a group inside the ball is bitwise unchanged; right at every scale.
    Convex: yes.
    Raises: ValueError naming the argument and the value received.
    Reference: Srebro and Shraibman (2005), COLT; as in Keras.

    Example:

    >>> from keras_regx.constraints import MaxNorm
    >>> w = MaxNorm(2.0)([[3.0, 0.5], [4.0, 0.0]])
    >>> [[round(float(v), 6) for v in row] for row in w]
    [[1.2, 0.5], [1.6, 0.0]]
    """

    convex = True

    def __init__(self, max_value: float = 2, axis: check.Axis = 0) -> None:
        self.max_value = check.number(self, "max_value", max_value, minimum=0)
        self.axis = check.axis(self, axis)

    @property
    def _bounds(self) -> Bounds:  # type: ignore[override]
        return 0.0, self.max_value


@register
class UnitNorm(_NormRange):
    """Norm of each group exactly one: a unit sphere per group.

        P(w) = w / ||w||_2    for each group w

    Args:
        axis: Int, tuple of ints, `"units"`, `"inputs"` or `None`: the axes that
            a norm is taken over.

    Call: floating tensor or variable of any shape -> same shape and dtype. A
        zero group has no direction: it stays zero, and `contains` is False.
    Exact: yes, and right at every scale.
    Convex: no.
    Gradient: finite everywhere; through a zero group it is the identity.
    Raises: ValueError naming the argument and the value received.
    Reference: as in Keras.

    Example:

    >>> from keras_regx.constraints import UnitNorm
    >>> w = UnitNorm(axis=None)([3.0, 4.0])
    >>> [round(float(v), 6) for v in w]
    [0.6, 0.8]
    """

    _bounds = (1.0, 1.0)

    def __init__(self, axis: check.Axis = 0) -> None:
        self.axis = check.axis(self, axis)


@register
class MinMaxNorm(_NormRange):
    """Norm of each group between two bounds, enforced fully or by degrees.

        P(w) = w (rate clip(||w||, min_value, max_value) + (1 - rate) ||w||) / ||w||

    Args:
        min_value: Finite float >= 0. Smallest norm of a group.
        max_value: Finite float >= `min_value`. Largest norm of a group.
        rate: Float in [0, 1]. 1 is the exact projection; less moves a group part
            of the way at each step.
        axis: Int, tuple of ints, `"units"`, `"inputs"` or `None`: the axes that
            a norm is taken over.

    Call: floating tensor or variable of any shape -> same shape and dtype. A
        zero group under a positive minimum has no direction: it stays zero,
        and `contains` is False.
    Exact: with `rate=1`; a group within the bounds is bitwise unchanged.
    Convex: only with `min_value=0`.
    Raises: ValueError naming the argument and the value received.
    Reference: as in Keras.

    Example:

    >>> from keras_regx.constraints import MinMaxNorm
    >>> w = MinMaxNorm(1.0, 2.0)([[0.3, 3.0], [0.4, 4.0]])
    >>> [[round(float(v), 6) for v in row] for row in w]
    [[0.6, 1.2], [0.8, 1.6]]
    """

    def __init__(
        self,
        min_value: float = 0.0,
        max_value: float = 1.0,
        rate: float = 1.0,
        axis: check.Axis = 0,
    ) -> None:
        self.min_value = check.number(self, "min_value", min_value, minimum=0)
        self.max_value = check.number(self, "max_value", max_value, minimum=0)
        if self.max_value < self.min_value:
            expected = f"a number >= min_value={self.min_value:g}"
            check.fail(self, "max_value", expected, max_value)
        self.rate = check.number(self, "rate", rate, minimum=0, maximum=1)
        self.axis = check.axis(self, axis)

    @property
    def convex(self) -> bool:  # type: ignore[override]
        """Whether the set is a ball, without a hole."""
        return self.min_value == 0

    @property
    def exact(self) -> bool:  # type: ignore[override]
        """Whether a call goes all the way to the set."""
        return self.rate == 1

    @property
    def _bounds(self) -> Bounds:  # type: ignore[override]
        return self.min_value, self.max_value

    @property
    def _rate(self) -> float:  # type: ignore[override]
        return self.rate
