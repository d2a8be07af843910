"""Folded concave penalties: L1 near zero, and less and less of it far away."""

from typing import Any

from keras import ops

from keras_regx._core import validation as check
from keras_regx.ops.numerics import absolute, dtype_of
from keras_regx.ops.thresholds import soft_threshold
from keras_regx.regularizers.base import Regularizer, register


@register
class LogSum(Regularizer):
    """Sum of logarithms: close to counting the non-zero weights.

        f(x) = factor sum_i log(1 + |x_i| / eps)

    Args:
        factor: Finite float >= 0. Regularization factor.
        eps: Finite float > 0. Smaller is closer to a count; the slope at zero is
            `factor / eps`.

    Call: floating tensor of any shape -> scalar, float32 for half-precision input.
    Prox: the better one of 0 and the larger root of
        `(y - |x|) (eps + y) + factor step_size = 0`, with the sign of `x`. The
        penalty is not convex: the minimiser jumps.
    Gradient at 0: 0 on every backend.
    Raises: ValueError naming the argument and the value received.
    Reference: Candes, Wakin and Boyd (2008), J. Fourier Anal. Appl. 14.

    Example:

    >>> from keras_regx.regularizers import LogSum
    >>> round(float(LogSum(1.0, eps=1.0)([1.0, -3.0])), 6)
    2.079442
    >>> [float(v) for v in LogSum(1.0, eps=1.0).prox([3.0, -1.0], step_size=3.0)]
    [2.0, 0.0]
    """

    separable = True

    def __init__(self, factor: float, eps: float = 0.1) -> None:
        self.factor = check.number(self, "factor", factor, minimum=0)
        self.eps = check.number(self, "eps", eps, above=0)

    def _entries(self, x: Any) -> Any:
        return self.factor * ops.log1p(absolute(x) / self.eps)

    def _prox(self, x: Any, step_size: Any) -> Any:
        t = self.factor * step_size
        size, eps = ops.absolute(x), self.eps
        # Both factors under the root are kept apart: a square could overflow.
        root = 2 * ops.sqrt(ops.convert_to_tensor(t, dtype_of(x)))
        low = ops.maximum(size + eps - root, 0)
        real = ops.sqrt(low) * ops.sqrt(size + eps + root)
        # The larger root of y^2 - (size - eps) y + t - eps size, written so that
        # nothing cancels where size < eps: 2 c / (b - root) for b < 0.
        y = ops.maximum((size - eps + real) / 2, 0)
        gain = y * (size - y / 2) - t * ops.log1p(y / eps)
        kept = (size + eps >= root) & (gain > 0)
        return ops.where(ops.isnan(x), x, ops.where(kept, ops.sign(x) * y, 0 * y))


@register
class MCP(Regularizer):
    """Minimax concave penalty: L1 near zero, constant far from it.

        f(x) = sum_i rho(|x_i|),
        rho(t) = factor t - t^2 / (2 gamma)    t <= gamma factor
                 gamma factor^2 / 2            otherwise

    Args:
        factor: Finite float >= 0. Slope at zero; large weights have none.
        gamma: Finite float > 1. Larger is closer to L1.

    Call: floating tensor of any shape -> scalar, float32 for half-precision input.
    Prox: closed form for every step size `t`. For `t < gamma` the soft threshold
        by `t factor`, divided by `1 - t / gamma`, up to `|x| = gamma factor`, and
        `x` beyond; for `t >= gamma` the hard threshold at `factor sqrt(gamma t)`.
    Gradient at 0: 0 on every backend.
    Raises: ValueError naming the argument and the value received.
    Reference: Zhang (2010), Ann. Stat. 38(2).

    Example:

    >>> from keras_regx.regularizers import MCP
    >>> float(MCP(1.0, gamma=2.0)([1.0, -8.0]))
    1.75
    >>> penalty = MCP(1.0, gamma=2.0)
    >>> [float(v) for v in penalty.prox([0.5, 1.5, -4.0], step_size=1.0)]
    [0.0, 1.0, -4.0]
    """

    separable = True

    def __init__(self, factor: float, gamma: float = 3.0) -> None:
        self.factor = check.number(self, "factor", factor, minimum=0)
        self.gamma = check.number(self, "gamma", gamma, above=1)

    def _entries(self, x: Any) -> Any:
        # With y = min(|x|, gamma factor) both pieces read factor y - y^2 / (2 gamma).
        y = ops.clip(absolute(x), 0, self.gamma * self.factor)
        return y * (self.factor - y / (2 * self.gamma))

    def _prox(self, x: Any, step_size: Any) -> Any:
        t = ops.convert_to_tensor(step_size, dtype_of(x))
        size = ops.absolute(x)
        is_small = t < self.gamma
        one = ops.ones_like(t)
        shrunk = soft_threshold(x, t * self.factor)
        firm = shrunk / ops.where(is_small, 1 - t / self.gamma, one)
        firm = ops.where(size <= self.gamma * self.factor, firm, x)
        threshold = self.factor * ops.sqrt(self.gamma * t)
        hard = ops.where(size <= threshold, ops.zeros_like(x), x)
        return ops.where(is_small, firm, hard)


@register
class SCAD(Regularizer):
    """Smoothly clipped absolute deviation: L1, then a bend, then constant.

        f(x) = sum_i rho(|x_i|),
        rho(t) = factor t                                            t <= factor
                 (2 a factor t - t^2 - factor^2) / (2 (a - 1))       t <= a factor
                 (a + 1) factor^2 / 2                                otherwise

    Args:
        factor: Finite float >= 0. Slope at zero; large weights have none.
        a: Finite float > 2. Where the penalty stops growing, in units of `factor`.

    Call: floating tensor of any shape -> scalar, float32 for half-precision input.
    Prox: closed form for every step size `t`. For `t < a - 1` the soft threshold
        by `t factor` up to `|x| = (1 + t) factor`, a line to `a factor`, `x`
        beyond; for `t >= a - 1` the better one of the soft threshold and `x`.
    Gradient at 0: 0 on every backend.
    Raises: ValueError naming the argument and the value received.
    Reference: Fan and Li (2001), J. Am. Stat. Assoc. 96(456).

    Example:

    >>> from keras_regx.regularizers import SCAD
    >>> float(SCAD(1.0, a=3.0)([0.5, -9.0]))
    2.5
    >>> penalty = SCAD(1.0, a=3.0)
    >>> [float(v) for v in penalty.prox([1.5, 2.5, -4.0], step_size=1.0)]
    [0.5, 2.0, -4.0]
    """

    separable = True

    def __init__(self, factor: float, a: float = 3.7) -> None:
        self.factor = check.number(self, "factor", factor, minimum=0)
        self.a = check.number(self, "a", a, above=2)

    def _entries(self, x: Any) -> Any:
        factor, a = self.factor, self.a
        size = absolute(x)
        linear = ops.clip(size, 0, factor)
        bend = ops.clip(size, factor, a * factor) - factor
        return factor * linear + bend * (factor - bend / (2 * (a - 1)))

    def _prox(self, x: Any, step_size: Any) -> Any:
        factor, a = self.factor, self.a
        t = ops.convert_to_tensor(step_size, dtype_of(x))
        size, sign = ops.absolute(x), ops.sign(x)
        soft = soft_threshold(x, t * factor)
        is_small = t < a - 1
        slope = ops.where(is_small, a - 1 - t, ops.ones_like(t))
        line = ((a - 1) * x - sign * a * t * factor) / slope
        small = ops.where(size <= a * factor, line, x)
        small = ops.where(size <= (1 + t) * factor, soft, small)
        # Beyond a - 1 the objective is concave between `factor` and `a factor`:
        # the minimiser is the best of the points left of it, and x itself.
        near = ops.clip(ops.absolute(soft), 0, factor)
        loss_near = t * factor * near + ops.square(size - near) / 2
        loss_far = t * (a + 1) * factor**2 / 2
        stays = (size >= a * factor) & (loss_far < loss_near)
        large = ops.where(stays, x, sign * near)
        return ops.where(is_small, small, large)
