"""Distance to a set of levels: binary, ternary and other quantized weights."""

import itertools
from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_regx._core import validation as check
from keras_regx.ops.numerics import absolute
from keras_regx.ops.thresholds import soft_threshold
from keras_regx.regularizers.base import Regularizer, register


@register
class Quantized(Regularizer):
    """Distance of each weight to the nearest of a few levels: a W-shaped penalty.

        f(x) = factor sum_i min_k |x_i - levels_k|

    `levels=[-1, 1]` gives binary and `[-1, 0, 1]` ternary weights.

    Args:
        factor: Finite float >= 0. Regularization factor.
        levels: Non-empty list of distinct finite floats.

    Call: floating tensor of any shape -> scalar, float32 for half-precision input.
    Prox: `q + soft_threshold(x - q, factor step_size)` with the nearest level `q`;
        halfway between two levels the lower one.
    Gradient at 0: 0 if 0 is a level; in general the sign of `x - q`, and 0 at `q`.
    Raises: ValueError naming the argument and the value received.
    Reference: Bai, Wang and Liberty (2019), ProxQuant, arXiv:1810.00861.

    Example:

    >>> from keras_regx.regularizers import Quantized
    >>> float(Quantized(2.0, levels=[-1, 0, 1])([0.25, 1.5, -1.0]))
    1.5
    >>> penalty = Quantized(2.0, levels=[-1, 0, 1])
    >>> [float(v) for v in penalty.prox([0.25, 1.75], step_size=0.25)]
    [0.0, 1.25]
    """

    separable = True

    def __init__(self, factor: float, levels: Sequence[float]) -> None:
        self.factor = check.number(self, "factor", factor, minimum=0)
        expected = "a non-empty list of distinct finite numbers"
        if isinstance(levels, str) or not isinstance(levels, Sequence) or not levels:
            check.fail(self, "levels", expected, levels)
        self.levels = sorted(check.number(self, "levels", level) for level in levels)
        if len(set(self.levels)) != len(self.levels):
            check.fail(self, "levels", expected, levels)

    @property
    def convex(self) -> bool:  # type: ignore[override]
        """Whether there is one level only."""
        return len(self.levels) == 1

    def _nearest(self, x: Any) -> Any:
        nearest = ops.full_like(x, self.levels[0])
        for low, high in itertools.pairwise(self.levels):
            nearest = ops.where(x - low > high - x, ops.full_like(x, high), nearest)
        return nearest

    def _entries(self, x: Any) -> Any:
        return self.factor * absolute(x - self._nearest(x))

    def _prox(self, x: Any, step_size: Any) -> Any:
        nearest = self._nearest(x)
        return nearest + soft_threshold(x - nearest, self.factor * step_size)
