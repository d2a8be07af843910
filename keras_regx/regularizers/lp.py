"""Powers of absolute values below one, and their limit, the number of non-zeros."""

from typing import Any, NoReturn

from keras import ops

from keras_regx._core import validation as check
from keras_regx.ops.numerics import dtype_of
from keras_regx.ops.thresholds import hard_threshold, soft_threshold
from keras_regx.regularizers.base import Regularizer, register


@register
class Lp(Regularizer):
    """Bridge penalty: the sum of p-th powers, smoothed at zero.

        f(x) = factor sum_i (x_i^2 + eps)^(p / 2)

    Args:
        factor: Finite float >= 0. Regularization factor.
        p: Float in (0, 2]. Below 1 it drives weights to zero harder than L1.
        eps: Finite float >= 0. Smoothing: without it the slope at zero would be
            infinite for `p < 1`. It is not zero at zero weights.

    Call: floating tensor of any shape -> scalar, float32 for half-precision input.
    Prox: that of the limit `factor sum_i |x_i|^p` without smoothing; closed form
        for `p` = 1/2 (half thresholding), 1 and 2.
    Gradient at 0: 0.
    Raises: ValueError naming the argument and the value received.
        NotImplementedError from `prox` for other values of `p`.
    Reference: Xu, Chang, Xu and Zhang (2012), IEEE Trans. Neural Netw. 23(7).

    Example:

    >>> from keras_regx.regularizers import Lp
    >>> float(Lp(1.0, p=0.5, eps=0.0)([4.0, -9.0]))
    5.0
    >>> [round(float(v), 4) for v in Lp(1.0).prox([1.0, -4.0], step_size=1.0)]
    [0.0, -3.7415]
    """

    separable = True
    no_prox_reason = "a closed form is known for p = 1/2, 1 and 2"

    def __init__(self, factor: float, p: float = 0.5, eps: float = 1e-6) -> None:
        self.factor = check.number(self, "factor", factor, minimum=0)
        self.p = check.number(self, "p", p, above=0, maximum=2)
        self.eps = check.number(self, "eps", eps, minimum=0)

    @property
    def convex(self) -> bool:  # type: ignore[override]
        """Whether the powers are convex: `p >= 1`."""
        return self.p >= 1

    @property
    def proximable(self) -> bool:
        """Whether `p` is one of those with a closed form."""
        return self.p in (0.5, 1.0, 2.0)

    def _entries(self, x: Any) -> Any:
        square = ops.square(x) + self.eps
        is_zero = square == 0
        power = ops.power(ops.where(is_zero, ops.ones_like(x), square), self.p / 2)
        return self.factor * ops.where(is_zero, ops.zeros_like(x), power)

    def _prox(self, x: Any, step_size: Any) -> Any:
        t = self.factor * step_size
        if self.p == 1:
            return soft_threshold(x, t)
        if self.p == 2:
            return x / (1 + 2 * t)
        t = ops.convert_to_tensor(t, dtype_of(x))
        size = ops.absolute(x)
        kept = size > 1.5 * ops.power(t, 2 / 3)
        size = ops.where(kept, size, ops.ones_like(size))
        ratio = (t / size) / ops.sqrt(size)
        angle = ops.arccos(ops.clip(-(3**1.5) / 4 * ratio, -1, 1))
        y = x * (2 / 3) * (1 + ops.cos(2 / 3 * angle))
        return ops.where(kept | ops.isnan(x), y, ops.zeros_like(y))


@register
class L0(Regularizer):
    """Number of non-zero weights: for proximal training only.

        f(x) = factor #{i : x_i != 0}

    Its gradient is zero wherever it exists, so as a loss it would do nothing,
    silently: calling it is an error. Use it with
    `keras_regx.optimizers.Proximal`, or take `LogSum`, `MCP` or `Lp` as a loss.

    Args:
        factor: Finite float >= 0. Cost of one weight.

    Call: always an error.
    Prox: hard threshold, `x` where `|x| > sqrt(2 factor step_size)`, else 0.
    Gradient at 0: none.
    Raises: ValueError naming the argument and the value received.
        NotImplementedError when called.
    Reference: Blumensath and Davies (2008), J. Fourier Anal. Appl. 14.

    Example:

    >>> from keras_regx.regularizers import L0
    >>> [float(v) for v in L0(0.5).prox([0.5, -2.0], step_size=1.0)]
    [0.0, -2.0]
    """

    separable = True

    def __init__(self, factor: float) -> None:
        self.factor = check.number(self, "factor", factor, minimum=0)

    def __call__(self, x: Any) -> NoReturn:
        """Raise an error: as a loss, a count has no gradient."""
        raise NotImplementedError(
            "L0 counts weights: its gradient is zero, so as a loss it would do "
            "nothing. Use it with keras_regx.optimizers.Proximal, which applies "
            "its prox, or take LogSum, MCP or Lp as a loss."
        )

    def _entries(self, x: Any) -> Any:
        return self.factor * ops.cast(x != 0, x.dtype)

    def _prox(self, x: Any, step_size: Any) -> Any:
        t = ops.convert_to_tensor(self.factor * step_size, dtype_of(x))
        return hard_threshold(x, ops.sqrt(2 * t))
