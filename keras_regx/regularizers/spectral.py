"""Penalties on the singular values of a kernel: low rank, small Lipschitz constant."""

from typing import Any

from keras import ops

from keras_regx._core import validation as check
from keras_regx.ops.axes import as_matrix
from keras_regx.ops.matrix import (
    map_singular_values,
    singular_value_threshold,
    singular_values,
)
from keras_regx.ops.numerics import dtype_of, safe_norm
from keras_regx.ops.simplex import project_l1_ball
from keras_regx.ops.thresholds import group_soft_threshold
from keras_regx.regularizers.base import Regularizer, register


class _Spectral(Regularizer):
    """A function of the singular values of the `(fan_in, units)` matrix."""

    convex = True
    min_rank = 2
    sees_matrix = True

    def _value(self, x: Any) -> Any:
        return self._of_values(singular_values(as_matrix(x)))

    def _of_values(self, s: Any) -> Any:
        raise NotImplementedError


@register
class NuclearNorm(_Spectral):
    """Sum of the singular values: drives the rank down.

        f(W) = factor sum_i sigma_i(W)

    A kernel of rank > 2 is seen as a matrix of shape `(fan_in, units)`.

    Args:
        factor: Finite float >= 0. Regularization factor.

    Call: floating tensor of rank >= 2 -> scalar, float32 for half-precision input.
    Prox: soft threshold of the singular values.
    Gradient at 0: 0, and 0 along every zero singular value.
    Raises: ValueError naming the argument and the value received.
    Reference: Cai, Candes and Shen (2010), SIAM J. Optim. 20(4).

    Example:

    >>> from keras_regx.regularizers import NuclearNorm
    >>> round(float(NuclearNorm(0.5)([[3.0, 0.0], [0.0, -4.0]])), 5)
    3.5
    """

    def __init__(self, factor: float) -> None:
        self.factor = check.number(self, "factor", factor, minimum=0)

    def _of_values(self, s: Any) -> Any:
        return self.factor * ops.sum(s)

    def _prox(self, x: Any, step_size: Any) -> Any:
        y = singular_value_threshold(as_matrix(x), step_size * self.factor)
        return ops.reshape(y, x.shape)


@register
class SpectralNorm(_Spectral):
    """Largest singular value: the Lipschitz constant of a dense layer.

        f(W) = factor sigma_max(W),    factor / 2 sigma_max(W)^2 if squared

    A kernel of rank > 2 is seen as a matrix of shape `(fan_in, units)`.

    Args:
        factor: Finite float >= 0. Regularization factor.
        squared: Boolean. Half the square, as Yoshida and Miyato use it.

    Call: floating tensor of rank >= 2 -> scalar, float32 for half-precision input.
        Exact, from all singular values.
    Prox: the singular values minus their projection onto the L1 ball of radius
        `t = factor step_size`; if squared, clipped at `max_k S_k / (k + t)` with
        the sum `S_k` of the `k` largest.
    Gradient at 0: 0; for a repeated largest value that of one of its pairs.
    Raises: ValueError naming the argument and the value received.
    Reference: Yoshida and Miyato (2017), arXiv:1705.10941.

    Example:

    >>> from keras_regx.regularizers import SpectralNorm
    >>> round(float(SpectralNorm(0.5)([[3.0, 0.0], [0.0, -4.0]])), 5)
    2.0
    >>> round(float(SpectralNorm(0.5, squared=True)([[3.0, 0.0], [0.0, -4.0]])), 5)
    4.0
    """

    def __init__(self, factor: float, squared: bool = False) -> None:
        self.factor = check.number(self, "factor", factor, minimum=0)
        self.squared = check.boolean(self, "squared", squared)

    def _of_values(self, s: Any) -> Any:
        largest = s[0]
        return self.factor * (ops.square(largest) / 2 if self.squared else largest)

    def _prox(self, x: Any, step_size: Any) -> Any:
        t = ops.convert_to_tensor(step_size * self.factor, dtype_of(x))

        def shrink(s: Any) -> Any:
            if not self.squared:
                return s - project_l1_ball(s, t)
            counts = ops.arange(1, s.shape[0] + 1, dtype=dtype_of(s))
            return ops.minimum(s, ops.max(ops.cumsum(s) / (counts + t)))

        return ops.reshape(map_singular_values(as_matrix(x), shrink), x.shape)


@register
class SchattenNorm(_Spectral):
    """The p-norm of the singular values.

        f(W) = factor (sum_i sigma_i(W)^p)^(1 / p)

    `p` = 1 is the nuclear, 2 the Frobenius norm; below 1 it is no longer convex
    and closer to the rank. A kernel of rank > 2 is seen as a matrix of shape
    `(fan_in, units)`.

    Args:
        factor: Finite float >= 0. Regularization factor.
        p: Finite float > 0.

    Call: floating tensor of rank >= 2 -> scalar, float32 for half-precision input.
    Prox: closed form for `p` = 1, the soft threshold of the singular values, and
        for `p` = 2, that of the whole matrix.
    Gradient at 0: 0, and 0 along every zero singular value.
    Raises: ValueError naming the argument and the value received.
        NotImplementedError from `prox` for other values of `p`.
    Reference: Nie, Huang and Ding (2012), AAAI.

    Example:

    >>> from keras_regx.regularizers import SchattenNorm
    >>> round(float(SchattenNorm(1.0, p=2)([[3.0, 0.0], [0.0, -4.0]])), 5)
    5.0
    """

    no_prox_reason = "a closed form is known for p = 1 and 2"

    def __init__(self, factor: float, p: float) -> None:
        self.factor = check.number(self, "factor", factor, minimum=0)
        self.p = check.number(self, "p", p, above=0)

    @property
    def convex(self) -> bool:  # type: ignore[override]
        """Whether it is a norm: `p >= 1`."""
        return self.p >= 1

    @property
    def proximable(self) -> bool:
        """Whether `p` is one of those with a closed form."""
        return self.p in (1.0, 2.0)

    def _of_values(self, s: Any) -> Any:
        scale = ops.stop_gradient(s[0])
        scale = ops.where(scale == 0, ops.ones_like(scale), scale)
        s = s / scale
        is_zero = s == 0
        powers = ops.power(ops.where(is_zero, ops.ones_like(s), s), self.p)
        total = ops.sum(ops.where(is_zero, ops.zeros_like(s), powers))
        empty = total == 0
        root = ops.power(ops.where(empty, ops.ones_like(total), total), 1 / self.p)
        return self.factor * scale * ops.where(empty, ops.zeros_like(total), root)

    def _value(self, x: Any) -> Any:
        if self.p == 2:
            return self.factor * safe_norm(x)
        return super()._value(x)

    def _prox(self, x: Any, step_size: Any) -> Any:
        t = step_size * self.factor
        if self.p == 2:
            return group_soft_threshold(x, t)
        return ops.reshape(singular_value_threshold(as_matrix(x), t), x.shape)
