"""Penalties on differences between neighbours: steps, jumps and curvature."""

import functools
from typing import Any

import numpy as np
from keras import ops

from keras_regx._core import validation as check
from keras_regx.ops.axes import group_rows, resolve_axis
from keras_regx.ops.numerics import absolute, dtype_of
from keras_regx.ops.thresholds import soft_threshold
from keras_regx.ops.variation import difference, prox_total_variation
from keras_regx.regularizers.base import Regularizer, register


def _variation(x: Any, axes: tuple[int, ...]) -> Any:
    """Return the sum of the sizes of all steps along the axes."""
    sums = [ops.sum(absolute(difference(x, axis=axis))) for axis in axes]
    return sum(sums, start=ops.zeros((), dtype_of(x)))


@register
class TotalVariation(Regularizer):
    """Sum of the sizes of all steps along an axis: piecewise constant weights.

        f(x) = factor sum_a sum_i |x_{i+1} - x_i|    along each axis a

    Over several axes the sum of each one's: the anisotropic total variation.

    Args:
        factor: Finite float >= 0. Regularization factor.
        axis: Int, tuple of ints, `"units"`, `"inputs"` or `None`: the axes along
            which neighbours are compared. `(0, 1)` are the pixels of a `Conv2D`
            kernel.

    Call: floating tensor with that axis -> scalar, float32 for half-precision
        input. An axis of length 1 has no steps.
    Prox: exact along one axis; none over several.
    Gradient at 0: 0; an equal pair of neighbours contributes 0.
    Raises: ValueError naming the argument and the value received.
    Reference: Rudin, Osher and Fatemi (1992), Physica D 60; Condat (2013), IEEE
        Signal Process. Lett. 20(11).

    Example:

    >>> from keras_regx.regularizers import TotalVariation
    >>> float(TotalVariation(0.5, axis=0)([1.0, 1.0, 4.0, 2.0]))
    2.5
    >>> y = TotalVariation(1.0, axis=0).prox([0.0, 0.0, 8.0, 8.0], step_size=2.0)
    >>> [round(float(v), 5) for v in y]
    [1.0, 1.0, 7.0, 7.0]
    """

    convex = True
    min_rank = 1
    no_prox_reason = "it is exact along one axis only"

    def __init__(self, factor: float, axis: check.Axis) -> None:
        self.factor = check.number(self, "factor", factor, minimum=0)
        self.axis = check.axis(self, axis)

    @property
    def proximable(self) -> bool:
        """Whether one axis is named."""
        return isinstance(self.axis, int) or (
            isinstance(self.axis, tuple) and len(self.axis) == 1
        )

    def _value(self, x: Any) -> Any:
        axes = resolve_axis(self.axis, len(x.shape), "TotalVariation")
        return self.factor * _variation(x, axes)

    def _prox(self, x: Any, step_size: Any) -> Any:
        (axis,) = resolve_axis(self.axis, len(x.shape), "TotalVariation")
        return prox_total_variation(x, step_size * self.factor, axis=axis)


@register
class FusedLasso(Regularizer):
    """L1 and total variation: few weights, equal among neighbours.

        f(x) = l1 sum_i |x_i| + tv sum_i |x_{i+1} - x_i|

    Args:
        l1: Finite float >= 0. Factor of the absolute values.
        tv: Finite float >= 0. Factor of the steps.
        axis: Int. The axis along which neighbours are compared.

    Call: floating tensor with that axis -> scalar, float32 for half-precision
        input.
    Prox: that of the total variation, then the soft threshold by
        `step_size l1`, in this order.
    Gradient at 0: 0; an equal pair of neighbours contributes 0.
    Raises: ValueError naming the argument and the value received.
    Reference: Tibshirani et al. (2005), J. R. Stat. Soc. B 67(1).

    Example:

    >>> from keras_regx.regularizers import FusedLasso
    >>> float(FusedLasso(1.0, 0.5, axis=0)([1.0, -1.0, -1.0]))
    4.0
    """

    convex = True
    min_rank = 1

    def __init__(self, l1: float, tv: float, axis: int) -> None:
        self.l1 = check.number(self, "l1", l1, minimum=0)
        self.tv = check.number(self, "tv", tv, minimum=0)
        self.axis = check.integer(self, "axis", axis)

    def _value(self, x: Any) -> Any:
        axes = resolve_axis(self.axis, len(x.shape), "FusedLasso")
        return self.l1 * ops.sum(absolute(x)) + self.tv * _variation(x, axes)

    def _prox(self, x: Any, step_size: Any) -> Any:
        (axis,) = resolve_axis(self.axis, len(x.shape), "FusedLasso")
        fused = prox_total_variation(x, step_size * self.tv, axis=axis)
        return soft_threshold(fused, step_size * self.l1)


@register
class Smoothness(Regularizer):
    """Sizes and squares of the differences of an order along an axis.

        f(x) = l1 ||D^order x||_1 + l2 ||D^order x||_2^2

    Order 1 keeps neighbours equal, 2 keeps them on a line, 3 on a parabola.

    Args:
        l1: Finite float >= 0. Factor of the absolute differences.
        l2: Finite float >= 0. Factor of the squared differences.
        order: Int >= 1.
        axis: Int. The axis along which neighbours are compared.
        cyclic: Boolean. The last entry is a neighbour of the first.

    Call: floating tensor with that axis -> scalar, float32 for half-precision
        input. An axis too short for the order costs nothing.
    Prox: with `l1 = 0`, `(I + 2 step_size l2 D^T D)^{-1} x`; none otherwise.
    Gradient at 0: 0 on every backend.
    Raises: ValueError naming the argument and the value received.
    Reference: Whittaker (1923), Proc. Edinburgh Math. Soc. 41; Eilers (2003),
        Anal. Chem. 75(14).

    Example:

    >>> from keras_regx.regularizers import Smoothness
    >>> float(Smoothness(l2=1.0)([0.0, 1.0, 3.0]))
    5.0
    >>> float(Smoothness(l2=1.0, order=2)([0.0, 1.0, 3.0]))
    1.0
    """

    convex = True
    min_rank = 1
    no_prox_reason = "a closed form is known for l1=0 only"

    def __init__(
        self,
        l1: float = 0.0,
        l2: float = 0.01,
        order: int = 1,
        axis: int = 0,
        cyclic: bool = False,
    ) -> None:
        self.l1 = check.number(self, "l1", l1, minimum=0)
        self.l2 = check.number(self, "l2", l2, minimum=0)
        self.order = check.integer(self, "order", order, minimum=1)
        self.axis = check.integer(self, "axis", axis)
        self.cyclic = check.boolean(self, "cyclic", cyclic)

    @property
    def proximable(self) -> bool:
        """Whether the penalty is quadratic."""
        return self.l1 == 0

    def _axis(self, x: Any) -> int:
        return resolve_axis(self.axis, len(x.shape), "Smoothness")[0]

    def _value(self, x: Any) -> Any:
        d = difference(x, self.order, self._axis(x), cyclic=self.cyclic)
        value = self.l2 * ops.sum(ops.square(d))
        return value + self.l1 * ops.sum(absolute(d)) if self.l1 else value

    def _prox(self, x: Any, step_size: Any) -> Any:
        axis = self._axis(x)
        vectors, values = _modes(x.shape[axis], self.order, self.cyclic)
        q = ops.convert_to_tensor(vectors, dtype_of(x))
        shrink = 1 / (
            1 + 2 * step_size * self.l2 * ops.convert_to_tensor(values, dtype_of(x))
        )
        rows, restore = group_rows(x, axis)
        return restore(((rows @ q) * shrink) @ ops.transpose(q))


@functools.lru_cache(maxsize=32)
def _modes(size: int, order: int, cyclic: bool) -> tuple[Any, Any]:
    """Return the eigenvectors and eigenvalues of `D^T D`, in float64."""
    d = np.eye(size)
    for _ in range(order):
        d = np.roll(d, -1, axis=0) - d if cyclic else d[1:] - d[:-1]
    values, vectors = np.linalg.eigh(d.T @ d)
    return vectors, np.maximum(values, 0)
