"""Penalties made from other objects: distance to a set, smoothed penalty, mask."""

from typing import Any

from keras import ops

from keras_regx._core import masks
from keras_regx._core import validation as check
from keras_regx._core.config import parts
from keras_regx.constraints.base import adapted, member
from keras_regx.ops.numerics import safe_norm
from keras_regx.regularizers.base import Regularizer, Wrapper, register, registry


@register
class SetDistance(Regularizer):
    """Distance of the weights to a set: a constraint that may be violated.

        f(x) = factor dist(x, C),    factor / 2 dist(x, C)^2 if squared

    Args:
        constraint: The set `C`: a constraint instance, name or config. Its call
            must be the Euclidean projection.
        factor: Finite float >= 0. Regularization factor.
        squared: Boolean. The smooth half of the square, or the distance itself,
            which reaches the set exactly.

    Call: floating tensor that the constraint accepts -> scalar, float32 for
        half-precision input.
    Prox: with `t = factor step_size`, `(x + t P(x)) / (1 + t)` if squared, else
        `x + min(1, t / dist) (P(x) - x)`.
    Gradient at 0: `factor (x - P(x))` in general, over the distance if not squared;
        0 on the set. The projection itself is never differentiated.
    Raises: ValueError naming the argument and the value received.
    Reference: Parikh and Boyd (2014), Proximal Algorithms, section 6.6.

    Example:

    >>> from keras_regx.constraints import MaxNorm
    >>> from keras_regx.regularizers import SetDistance
    >>> penalty = SetDistance(MaxNorm(1.0, axis=None), factor=2.0)
    >>> float(penalty([3.0, 0.0]))
    4.0
    >>> [float(v) for v in penalty.prox([3.0, 0.0], step_size=0.5)]
    [2.0, 0.0]
    """

    def __init__(
        self, constraint: Any, factor: float = 1.0, squared: bool = True
    ) -> None:
        self.constraint = member(self, constraint)
        if any(callable(getattr(p, "fraction", None)) for p in parts(self.constraint)):
            must = "a set that stays: a penalty does not see the optimizer's count"
            check.fail(self, "constraint", must, constraint)
        self.factor = check.number(self, "factor", factor, minimum=0)
        self.squared = check.boolean(self, "squared", squared)

    @property
    def convex(self) -> bool:  # type: ignore[override]
        """Whether the set is convex."""
        return adapted(self.constraint).convex

    def _nearest(self, x: Any) -> Any:
        return ops.stop_gradient(self.constraint(ops.stop_gradient(x)))

    def _value(self, x: Any) -> Any:
        gap = x - self._nearest(x)
        if self.squared:
            return self.factor / 2 * ops.sum(ops.square(gap))
        return self.factor * safe_norm(gap)

    def _prox(self, x: Any, step_size: Any) -> Any:
        t = step_size * self.factor
        gap = self._nearest(x) - x
        if self.squared:
            return x + gap * (t / (1 + t))
        distance = safe_norm(gap)
        safe = ops.where(distance == 0, ops.ones_like(distance), distance)
        return x + ops.minimum(t / safe, ops.ones_like(safe)) * gap


@register
class MoreauEnvelope(Regularizer):
    """The smooth version of a penalty: its infimal convolution with a square.

        f(x) = min_z g(z) + ||z - x||_2^2 / (2 mu)

    Its minimisers are those of `g`, and its gradient is Lipschitz with `1 / mu`.
    `Huber` is the envelope of `L1`.

    Args:
        regularizer: The penalty `g`, which must have a prox.
        mu: Finite float > 0. Larger is smoother.

    Call: floating tensor that `g` accepts -> scalar, float32 for half-precision
        input.
    Prox: `(mu x + t prox_{(mu + t) g}(x)) / (mu + t)` for step size `t`.
    Gradient at 0: `(x - prox_{mu g}(x)) / mu` in general; 0 if zero minimises `g`.
    Raises: ValueError naming the argument and the value received.
    Reference: Moreau (1965), Bull. Soc. Math. France 93; Beck (2017), First-Order
        Methods in Optimization, theorem 6.63.

    Example:

    >>> from keras_regx.regularizers import L1, MoreauEnvelope
    >>> float(MoreauEnvelope(L1(1.0), mu=1.0)([0.5, -3.0]))
    2.625
    """

    def __init__(self, regularizer: Any, mu: float) -> None:
        self.regularizer = registry.get(regularizer)
        if not getattr(self.regularizer, "proximable", False):
            check.fail(self, "regularizer", "a penalty with a prox", regularizer)
        self.mu = check.number(self, "mu", mu, above=0)

    @property
    def convex(self) -> bool:  # type: ignore[override]
        """Whether the smoothed penalty is convex."""
        return bool(self.regularizer.convex)

    @property
    def separable(self) -> bool:  # type: ignore[override]
        """Whether the smoothed penalty is a sum over single entries."""
        return bool(self.regularizer.separable)

    def _value(self, x: Any) -> Any:
        z = ops.stop_gradient(self.regularizer.prox(ops.stop_gradient(x), self.mu))
        # Not a call: L0 has a value, and as a loss refuses to give it.
        inner = ops.stop_gradient(self.regularizer._value(z))  # noqa: SLF001
        return inner + ops.sum(ops.square(x - z)) / (2 * self.mu)

    @property
    def entrywise(self) -> bool:
        """Whether the terms of the smoothed penalty are known."""
        return bool(self.regularizer.entrywise)

    def _entries(self, x: Any) -> Any:
        z = ops.stop_gradient(self.regularizer.prox(ops.stop_gradient(x), self.mu))
        inner = ops.stop_gradient(self.regularizer._entries(z))  # noqa: SLF001
        return inner + ops.square(x - z) / (2 * self.mu)

    def _prox(self, x: Any, step_size: Any) -> Any:
        total = self.mu + step_size
        y = self.regularizer.prox(x, total)
        return x + (y - x) * (step_size / total)


@register
class Masked(Wrapper):
    """A penalty on some of the entries; the others are seen as zeros.

        f(x) = g(m x),    m the mask of zeros and ones

    Args:
        regularizer: The penalty `g`: an instance, name, config or callable.
        mask: Array or nested list of booleans or of 0 and 1 that broadcasts
            against the weights. A big mask is kept as a string of compressed
            bits, at most a twentieth of its float32 weights in a saved model.

    Call: floating tensor that `g` accepts -> scalar. Masked entries get gradient
        zero, even where they are NaN or infinite.
    Prox: that of `g` where the mask is one, `x` elsewhere, for separable `g`.
    Gradient at 0: that of `g` where the mask is one, 0 elsewhere.
    Raises: ValueError naming the argument and the value received.
    Reference: Parikh and Boyd (2014), Proximal Algorithms, section 2.1.

    Example:

    >>> from keras_regx.regularizers import L1, Masked
    >>> penalty = Masked(L1(1.0), [1, 0, 1])
    >>> float(penalty([1.0, -5.0, 2.0]))
    3.0
    >>> [float(v) for v in penalty.prox([1.0, -5.0, 2.0], step_size=1.0)]
    [0.0, -5.0, 1.0]
    """

    no_prox_reason = "the masked penalty is not separable, or has no prox"

    def __init__(self, regularizer: Any, mask: Any) -> None:
        self.regularizer = self._inner(regularizer)
        self.mask = masks.pack(self, "mask", mask)

    @property
    def proximable(self) -> bool:
        """Whether the masked penalty is separable and has a prox."""
        return self.separable and super().proximable

    def _mask(self, x: Any) -> Any:
        return masks.fit(self, self.mask, x, "x")

    def _value(self, x: Any) -> Any:
        return self.regularizer(self._seen(x))

    @property
    def entrywise(self) -> bool:
        """Whether the terms of the masked penalty are known."""
        return bool(getattr(self.regularizer, "entrywise", False))

    def _entries(self, x: Any) -> Any:
        return self.regularizer._entries(self._seen(x))  # noqa: SLF001

    def _seen(self, x: Any) -> Any:
        return ops.where(self._mask(x), x, ops.zeros_like(x))

    def _prox(self, x: Any, step_size: Any) -> Any:
        return ops.where(self._mask(x), self.regularizer.prox(x, step_size), x)
