"""The ordered weighted L1 norm, and OSCAR, its linear case."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_regx._core import validation as check
from keras_regx.ops.numerics import absolute, dtype_of
from keras_regx.ops.order import project_monotonic
from keras_regx.regularizers.base import Regularizer, register


class _Ordered(Regularizer):
    """The largest magnitude gets the first weight, and so on down."""

    convex = True

    def _weights(self, size: int) -> Any:
        raise NotImplementedError

    def _value(self, x: Any) -> Any:
        size = ops.reshape(absolute(x), (-1,))
        # An explicit order: every backend breaks ties alike.
        order = ops.argsort(-ops.stop_gradient(size))
        weights = ops.convert_to_tensor(self._weights(size.shape[0]), dtype_of(x))
        return ops.sum(weights * ops.take(size, order, axis=0))

    def _prox(self, x: Any, step_size: Any) -> Any:
        flat = ops.reshape(x, (-1,))
        order = ops.argsort(-ops.absolute(flat))
        ranked = ops.take(ops.absolute(flat), order, axis=0)
        weights = ops.convert_to_tensor(self._weights(flat.shape[0]), dtype_of(x))
        fit = project_monotonic(ranked - step_size * weights, increasing=False)
        fit = ops.maximum(fit, 0)
        size = ops.take(fit, ops.argsort(order), axis=0)
        return ops.reshape(ops.sign(flat) * size, x.shape)


@register
class OrderedWeightedL1(_Ordered):
    """Sorted L1 norm (SLOPE): the larger a weight, the more it costs.

        f(x) = sum_k weights_k |x|_(k),    |x|_(1) >= |x|_(2) >= ...

    Args:
        weights: List of finite floats >= 0, non-increasing, one for each entry of
            the tensor that is penalized. Equal ones give L1.

    Call: floating tensor with as many entries -> scalar, float32 for half-precision
        input.
    Prox: isotonic regression of the sorted `|x| - step_size weights`, clipped at 0
        and put back in place.
    Gradient at 0: 0; among equal magnitudes that of the order they come in.
    Raises: ValueError naming the argument and the value received, or if the
        number of entries differs.
    Reference: Bogdan et al. (2015), Ann. Appl. Stat. 9(3).

    Example:

    >>> from keras_regx.regularizers import OrderedWeightedL1
    >>> penalty = OrderedWeightedL1([2.0, 1.0])
    >>> float(penalty([1.0, -3.0]))
    7.0
    >>> [float(v) for v in penalty.prox([2.5, -3.0], step_size=1.0)]
    [1.25, -1.25]
    """

    def __init__(self, weights: Sequence[float]) -> None:
        expected = "a non-empty, non-increasing list of finite numbers >= 0"
        if isinstance(weights, np.ndarray):
            weights = weights.tolist()
        if not isinstance(weights, list | tuple) or not weights:
            check.fail(self, "weights", expected, weights)
        self.weights = [check.number(self, "weights", w, minimum=0) for w in weights]
        if sorted(self.weights, reverse=True) != self.weights:
            check.fail(self, "weights", expected, weights)

    def _weights(self, size: int) -> Any:
        if size != len(self.weights):
            expected = f"a tensor with {len(self.weights)} entries, one for each weight"
            check.fail(self, "x", expected, f"{size} entries")
        return self.weights


@register
class OSCAR(_Ordered):
    """L1 and pairwise largest magnitudes: equal weights for related features.

        f(x) = l1 sum_i |x_i| + l2 sum_{i < j} max(|x_i|, |x_j|)
             = sum_k (l1 + l2 (n - k)) |x|_(k),    |x|_(1) >= |x|_(2) >= ...

    Args:
        l1: Finite float >= 0. Factor of the absolute values.
        l2: Finite float >= 0. Factor of the pairwise maxima.

    Call: floating tensor of any shape -> scalar, float32 for half-precision input.
    Prox: that of `OrderedWeightedL1`.
    Gradient at 0: 0; among equal magnitudes that of the order they come in.
    Raises: ValueError naming the argument and the value received.
    Reference: Bondell and Reich (2008), Biometrics 64(1).

    Example:

    >>> from keras_regx.regularizers import OSCAR
    >>> float(OSCAR(1.0, 1.0)([1.0, -3.0]))
    7.0
    """

    def __init__(self, l1: float, l2: float) -> None:
        self.l1 = check.number(self, "l1", l1, minimum=0)
        self.l2 = check.number(self, "l2", l2, minimum=0)

    def _weights(self, size: int) -> Any:
        return self.l1 + self.l2 * np.arange(size - 1, -1, -1.0)
