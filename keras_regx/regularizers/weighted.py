"""A weight for each entry of a penalty: the adaptive lasso."""

from typing import Any

from keras import ops

from keras_regx._core import masks
from keras_regx._core import validation as check
from keras_regx.ops.numerics import dtype_of
from keras_regx.regularizers.base import Wrapper, register, unscaled
from keras_regx.regularizers.lp import L0


@register
class Weighted(Wrapper):
    """A penalty that counts each entry by a weight of its own.

        f(x) = sum_i w_i g(x_i)

    With `L1` and the inverse magnitudes of a first fit it is the adaptive lasso:
    what was large is hardly shrunk, what was small is dropped.

    Args:
        regularizer: The penalty `g`, a sum over single entries whose terms are
            known: an instance, name or config.
        weights: Array or nested list of finite numbers > 0 that broadcasts against
            the penalized tensor. A big one is kept as a string of compressed
            numbers.

    Call: floating tensor that the weights broadcast against -> scalar, float32 for
        half-precision input.
    Prox: that of `g`, with step size `step_size w_i` for entry `i`.
    Gradient at 0: `w_i` times that of `g`.
    Raises: ValueError naming the argument and the value received, or the shape.
    Reference: Zou (2006), J. Am. Stat. Assoc. 101(476).

    Example:

    >>> from keras_regx.regularizers import L1, Weighted
    >>> penalty = Weighted(L1(1.0), [0.5, 2.0])
    >>> float(penalty([3.0, -1.0]))
    3.5
    >>> [float(v) for v in penalty.prox([3.0, -1.0], step_size=1.0)]
    [2.5, 0.0]
    """

    separable = True

    def __init__(self, regularizer: Any, weights: Any) -> None:
        self.regularizer = self._inner(regularizer)
        is_sum = getattr(self.regularizer, "separable", False)
        if not (is_sum and getattr(self.regularizer, "entrywise", False)):
            expected = "a sum over single entries whose terms are known (`entrywise`)"
            check.fail(self, "regularizer", expected, regularizer)
        self.weights = masks.pack_numbers(self, "weights", weights, above=0)

    def __call__(self, x: Any) -> Any:
        """Return the penalty of a floating tensor; see `Regularizer`."""
        if isinstance(unscaled(self.regularizer)[0], L0):
            return self.regularizer(x)  # Which refuses, and says why.
        return super().__call__(x)

    entrywise = True

    def _weights(self, x: Any) -> Any:
        array = masks.unpack_numbers(self.weights)
        array = masks.fitting(self, array, x, "x", "an array")
        return ops.convert_to_tensor(array, dtype=dtype_of(x))

    def _entries(self, x: Any) -> Any:
        return self._weights(x) * self.regularizer._entries(x)  # noqa: SLF001

    def _value(self, x: Any) -> Any:
        return ops.sum(self._entries(x))

    def _prox(self, x: Any, step_size: Any) -> Any:
        steps = ops.broadcast_to(step_size * self._weights(x), x.shape)
        return self.regularizer.prox(x, steps)
