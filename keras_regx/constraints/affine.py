"""Means, planes and half-spaces: Centered, Standardized, Hyperplane, Halfspace."""

import math
from typing import Any, ClassVar

import numpy as np
from keras import ops

from keras_regx._core import masks
from keras_regx._core import validation as check
from keras_regx.constraints.base import Constraint, Grouped, magnitude, register
from keras_regx.constraints.multiplier import Multiplier, plane_multiplier
from keras_regx.ops.numerics import dtype_of, feasibility_tolerance, larger, safe_norm


def _largest(w: Any, axes: Any) -> Any:
    """Return the largest magnitude of each group, at least 0."""
    return (
        ops.max(ops.absolute(w), axis=axes, keepdims=True) if axes else ops.absolute(w)
    )


def _mean(w: Any, axes: tuple[int, ...]) -> Any:
    """Return the mean of each group, summed around its own first estimate."""
    if not axes:
        return w
    count = math.prod(w.shape[a] for a in axes)
    mean = ops.sum(w, axis=axes, keepdims=True) / count
    return mean + ops.sum(w - mean, axis=axes, keepdims=True) / count


@register
class Centered(Grouped):
    """A prescribed mean of each group of weights.

        P(w) = w - mean(w) + mean

    Args:
        mean: Finite float.
        axis: Int, tuple of ints, `"units"`, `"inputs"` or `None` (the whole
            tensor): the axes that a mean is taken over.

    Call: floating tensor or variable of any shape -> same shape and dtype.
    Exact: yes; projecting twice moves no weight by more than one rounding.
    Convex: yes, an affine subspace.
    Raises: ValueError naming the argument and the value received.
    Reference: Huang et al. (2017), ICCV (centred weight normalization).

    Example:

    >>> from keras_regx.constraints import Centered
    >>> [float(v) for v in Centered()([1.0, 2.0, 6.0])]
    [-2.0, -1.0, 3.0]
    """

    convex = True

    def __init__(self, mean: float = 0.0, axis: check.Axis = None) -> None:
        self.mean = check.number(self, "mean", mean)
        self.axis = check.axis(self, axis)

    def _nearest(self, w: Any) -> tuple[Any, Any, Any]:
        axes = self._axes(w)
        excess = _mean(w, axes) - self.mean
        scale = _largest(w, axes) + abs(self.mean)
        return w - excess, ops.absolute(excess), scale

    @property
    def cone(self) -> bool:  # type: ignore[override]
        """Whether the mean is zero."""
        return self.mean == 0

    def _multiplier(self, w: Any) -> Multiplier | None:
        axes = self._axes(w)
        size = math.prod(w.shape[a] for a in axes)
        return None if not axes else plane_multiplier(axes, 1 / size, self.mean)

    def _scale(self, w: Any) -> float:
        return max(abs(self.mean), magnitude(w))


@register
class Standardized(Grouped):
    """A prescribed mean and standard deviation of each group of weights.

        P(w) = mean + std (w - mean(w)) / std(w)

    Args:
        mean: Finite float.
        std: Finite float > 0. Population standard deviation, divisor n.
        axis: Int, tuple of ints, `"units"`, `"inputs"` or `None`: the axes that
            the statistics are taken over.

    Call: floating tensor or variable of any shape -> same shape and dtype. A
        group whose entries are all equal, such as zero, has no direction: it
        stays as it is, and `contains` is False.
    Exact: yes, the projection onto a sphere inside a subspace.
    Convex: no.
    Raises: ValueError naming the argument and the value received.
    Reference: Qiao et al. (2019), arXiv:1903.10520.

    Example:

    >>> from keras_regx.constraints import Standardized
    >>> [round(float(v), 6) for v in Standardized(axis=None)([1.0, 5.0])]
    [-1.0, 1.0]
    """

    def __init__(
        self, mean: float = 0.0, std: float = 1.0, axis: check.Axis = "units"
    ) -> None:
        self.mean = check.number(self, "mean", mean)
        self.std = check.number(self, "std", std, above=0)
        self.axis = check.axis(self, axis)

    def _moments(self, w: Any) -> tuple[Any, Any, Any, Any]:
        """Return mean, deviations, their standard deviation, and where it is 0."""
        axes = self._axes(w)
        count = math.prod(w.shape[a] for a in axes)
        mean = _mean(w, axes)
        deviation = w - mean
        std = safe_norm(deviation, axes, keepdims=True) / math.sqrt(count)
        noise = feasibility_tolerance(dtype_of(w)) * _largest(w, axes)
        return mean, deviation, std, std <= noise

    @property
    def _size(self) -> float:
        return abs(self.mean) + self.std

    def _nearest(self, w: Any) -> tuple[Any, Any, Any]:
        mean, deviation, std, flat = self._moments(w)
        excess = larger(ops.absolute(mean - self.mean), ops.absolute(std - self.std))
        moved = deviation * (self.std / ops.where(flat, ops.ones_like(std), std))
        excess = ops.where(flat, ops.zeros_like(excess), excess)
        return moved + self.mean, excess, self._size

    def _gap(self, w: Any) -> Any:
        mean, _, _, flat = self._moments(w)
        # From a flat group every direction is as far as any other.
        away = ops.sqrt(ops.square(mean - self.mean) + self.std**2)
        return ops.where(flat, away, w - self(w))


class _Plane(Constraint):
    """What Hyperplane and Halfspace share: `<normal, w>` against an offset."""

    convex = True
    is_half: ClassVar[bool]

    def __init__(self, normal: Any, offset: float) -> None:
        self.normal = masks.numbers(self, "normal", normal)
        if not np.any(self.normal):
            check.fail(self, "normal", "at least one entry that is not 0", normal)
        self.offset = check.number(self, "offset", offset)

    def _nearest(self, w: Any) -> tuple[Any, Any, Any]:
        array = np.asarray(self.normal)
        if array.ndim and tuple(w.shape) != array.shape:
            expected = f"a tensor of the shape {array.shape} of `normal`"
            check.fail(self, "w", expected, tuple(w.shape))
        array, offset = self._scaled(w)
        normal = ops.convert_to_tensor(array, dtype=dtype_of(w))
        terms = normal * w
        excess = ops.sum(terms) - offset
        if self.is_half:
            excess = ops.where(excess < 0, ops.zeros_like(excess), excess)
        nearest = w - excess / float(np.sum(array**2)) * normal
        return nearest, ops.absolute(excess), ops.sum(ops.absolute(terms)) + abs(offset)

    @property
    def cone(self) -> bool:  # type: ignore[override]
        """Whether zero is on the plane."""
        return self.offset == 0

    def _multiplier(self, w: Any) -> Multiplier | None:
        array, offset = self._scaled(w)
        normal = ops.convert_to_tensor(array, dtype=dtype_of(w))
        axes = tuple(range(len(w.shape)))
        return plane_multiplier(axes, normal, offset, is_half=self.is_half)

    def _scaled(self, w: Any) -> tuple[np.ndarray[Any, Any], float]:
        """Return normal and offset over the normal's largest magnitude."""
        array = np.broadcast_to(np.asarray(self.normal), tuple(w.shape))
        largest = float(np.abs(array).max())
        return array / largest, self.offset / largest

    def _scale(self, w: Any) -> float:
        array, offset = self._scaled(w)
        return max(abs(offset) / float(np.linalg.norm(array)), magnitude(w))


@register
class Hyperplane(_Plane):
    """A linear equation that the weights satisfy.

        P(w) = w - (<normal, w> - offset) normal / ||normal||^2

    Args:
        normal: Array or nested list of the weights' shape, not all zero; or one
            number, for an equation on the sum of all weights.
        offset: Finite float. `<normal, w> = offset`.

    Call: floating tensor or variable of the shape of `normal` -> same shape and
        dtype.
    Exact: yes; projecting twice moves no weight by more than one rounding.
    Convex: yes, an affine subspace.
    Raises: ValueError naming the argument and the value received, or the shape.
    Reference: Boyd and Vandenberghe (2004), Convex Optimization, section 8.1.

    Example:

    >>> from keras_regx.constraints import Hyperplane
    >>> [float(v) for v in Hyperplane([1.0, 1.0], 2.0)([3.0, 1.0])]
    [2.0, 0.0]
    """

    is_half = False


@register
class Halfspace(_Plane):
    """A linear inequality that the weights satisfy.

        P(w) = w - max(<normal, w> - offset, 0) normal / ||normal||^2

    Args:
        normal: Array or nested list of the weights' shape, not all zero; or one
            number, for an inequality on the sum of all weights.
        offset: Finite float. `<normal, w> <= offset`.

    Call: floating tensor or variable of the shape of `normal` -> same shape and
        dtype.
    Exact: yes. Convex: yes.
    Raises: ValueError naming the argument and the value received, or the shape.
    Reference: Boyd and Vandenberghe (2004), Convex Optimization, section 8.1.

    Example:

    >>> from keras_regx.constraints import Halfspace
    >>> [float(v) for v in Halfspace([1.0, 1.0], 2.0)([3.0, 1.0])]
    [2.0, 0.0]
    >>> [float(v) for v in Halfspace([1.0, 1.0], 2.0)([-3.0, 1.0])]
    [-3.0, 1.0]
    """

    is_half = True
