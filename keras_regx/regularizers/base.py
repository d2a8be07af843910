"""The base class of all penalties, their algebra, and the registry of names."""

from collections.abc import Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from keras_regx._core import validation as check
from keras_regx._core.config import Configurable
from keras_regx._core.registry import Registry
from keras_regx.ops.numerics import absolute, compute_dtype, dtype_of, upcast
from keras_regx.ops.thresholds import soft_threshold

registry = Registry(
    "regularizer", keras.regularizers, unlike=keras.constraints.Constraint
)
register = registry.register


class Regularizer(Configurable, keras.regularizers.Regularizer):
    """Base class of penalties: a value to add to the loss, and a proximal operator.

    A subclass keeps every `__init__` argument under its own name and writes its
    mathematics: `_value(x)`, or, for a sum over entries, `_entries(x)` with its
    terms; and `_prox(x, step_size)` where a closed or exact finite form exists.
    All receive a floating tensor, half precision already cast to float32.
    Overriding `__call__` itself, as with Keras' base class, works too.

    Penalties add and scale: `L1(0.1) + L2(0.2)`, `0.5 * L2(0.1)`, `sum([...])`.

    Attributes:
        convex: Whether the penalty is a convex function of the weights.
        separable: Whether it is a sum over single entries.
        proximable: Whether `prox` is available.
        entrywise: Whether the terms of a sum over single entries are known, so that
            `Weighted` can weight them.
        min_rank: Smallest rank of a tensor that the penalty is defined on.
        sees_matrix: Whether it sees a kernel as a matrix of shape `(fan_in, units)`,
            so that a `Policy` shows it kernels of another layout that way.

    Example:

    >>> from keras import ops
    >>> from keras_regx.regularizers import Regularizer
    >>> class L4(Regularizer):
    ...     def __init__(self, factor):
    ...         self.factor = factor
    ...     def _value(self, x):
    ...         return self.factor * ops.sum(ops.square(ops.square(x)))
    >>> float(L4(0.5)([1.0, -2.0]))
    8.5
    >>> L4(0.5)
    L4(factor=0.5)
    """

    convex: bool = False
    separable: bool = False
    min_rank: ClassVar[int] = 0
    sees_matrix: ClassVar[bool] = False
    no_prox_reason: ClassVar[str] = "it has no closed-form proximal operator"

    def __call__(self, x: Any) -> Any:
        """Return the penalty of a floating tensor.

        Args:
            x: Floating tensor of any shape (of rank >= `min_rank`).

        Returns:
            Scalar tensor; float32 for half-precision input, otherwise of the
            dtype of `x`. An empty tensor has penalty 0.

        Raises:
            ValueError: If `x` is not real and floating, or its rank is too low.
        """
        if isinstance(x, keras.Variable) and x.regularizer is self:
            bound = self.for_variable(x)
            if bound is not self:
                x.regularizer = bound
                return bound(x)
        x = check.floating(self, x, min_rank=self.min_rank)
        dtype = dtype_of(x)
        if compute_dtype(dtype) != dtype:  # Eager PyTorch pays for every operation.
            x = ops.cast(x, compute_dtype(dtype))
        return ops.sum(x) if 0 in x.shape else self._value(x)

    def prox(self, x: Any, step_size: Any) -> Any:
        """Return `argmin_y f(y) + ||y - x||^2 / (2 step_size)`.

        Args:
            x: Floating tensor of any shape (of rank >= `min_rank`).
            step_size: Number >= 0 or scalar tensor, such as a learning rate. For
                a separable penalty also a tensor of the shape of `x`: the prox
                in a diagonal metric, one step size per entry.

        Returns:
            Tensor of the shape and dtype of `x`.

        Raises:
            NotImplementedError: If the penalty has no proximal operator.
            ValueError: If an argument is invalid.
        """
        if not self.proximable:
            raise NotImplementedError(
                f"{type(self).__name__}.prox is not available: {self.no_prox_reason}."
            )
        x = check.floating(self, x, min_rank=self.min_rank)
        dtype = dtype_of(x)
        shape = tuple(x.shape) if self.separable else ()
        step_size = check.step_size(self, step_size, compute_dtype(dtype), shape)
        if 0 in x.shape:
            return x
        return ops.cast(self._prox(upcast(x), step_size), dtype)

    @property
    def proximable(self) -> bool:
        """Whether `prox` is available."""
        return type(self)._prox is not Regularizer._prox  # noqa: SLF001

    @property
    def entrywise(self) -> bool:
        """Whether the terms of a sum over single entries are known."""
        is_own = type(self)._entries is not Regularizer._entries  # noqa: SLF001
        return is_own or self._l1_l2() is not None

    def _value(self, x: Any) -> Any:
        if not self.entrywise:
            raise TypeError(
                f"{type(self).__name__} defines no penalty. Define `_value(self, x)`, "
                "`_entries(self, x)` or `__call__(self, x)`."
            )
        return ops.sum(self._entries(x))

    def _entries(self, x: Any) -> Any:
        """Return the terms of a sum over single entries, in the shape of `x`."""
        factors = self._l1_l2()
        assert factors is not None  # noqa: S101  (one asks `entrywise` first)
        l1, l2 = factors
        return l1 * absolute(x) + l2 * (x * x)

    def _prox(self, x: Any, step_size: Any) -> Any:
        raise NotImplementedError

    def _l1_l2(self) -> tuple[float, float] | None:
        """Return `(l1, l2)` if the penalty is `l1 ||x||_1 + l2 ||x||^2`, or None."""
        return None

    def __add__(self, other: Any) -> "Regularizer":
        if isinstance(other, int | float) and other == 0:
            return self  # So that sum([...]) works.
        return Sum([self, other]) if callable(other) else NotImplemented

    def __radd__(self, other: Any) -> "Regularizer":
        if isinstance(other, int | float) and other == 0:
            return self
        return Sum([other, self]) if callable(other) else NotImplemented

    def __mul__(self, other: Any) -> "Regularizer":
        return Scaled(self, other)

    __rmul__ = __mul__


@register
class Sum(Regularizer):
    """Sum of penalties.

        f(x) = sum_k f_k(x)

    Args:
        regularizers: Non-empty list of penalties: instances, names, configs or any
            callable that returns a scalar. Sums inside it are flattened.

    Call: floating tensor that every member accepts -> scalar.
    Prox: closed form where at most one member is not a multiple of L2, or all
        of them are L1, L2 and L1L2. With the quadratic part `c ||x||^2`,
        `prox_{t f}(x) = prox_{t' g}(x / (1 + 2 t c))`, `t' = t / (1 + 2 t c)`.
        A chain of the members' proxes would be another function's prox.
    Gradient: the sum of the members' gradients.
    Raises: ValueError if the list is empty or a member is not callable.
    Reference: Parikh and Boyd (2014), Proximal Algorithms, section 2.2.

    Example:

    >>> from keras_regx.regularizers import L1, L2
    >>> penalty = L1(1.0) + L2(0.5)
    >>> penalty
    Sum(regularizers=[L1(l1=1.0), L2(l2=0.5)])
    >>> float(penalty([3.0]))
    7.5
    >>> [float(v) for v in penalty.prox([3.0, -0.5], step_size=1.0)]
    [1.0, 0.0]
    """

    def __init__(self, regularizers: Sequence[Any]) -> None:
        if not isinstance(regularizers, list | tuple) or not regularizers:
            expected = "a non-empty list of regularizers"
            check.fail(self, "regularizers", expected, regularizers)
        members: list[Any] = []
        for item in regularizers:
            member = registry.get(item)
            if member is None:
                check.fail(self, "regularizers", "no None inside", regularizers)
            members += member.regularizers if isinstance(member, Sum) else [member]
        self.regularizers: list[Any] = members

    @property
    def convex(self) -> bool:  # type: ignore[override]
        """Whether all members are convex."""
        return all(getattr(r, "convex", False) for r in self.regularizers)

    @property
    def separable(self) -> bool:  # type: ignore[override]
        """Whether all members are sums over single entries."""
        return all(getattr(r, "separable", False) for r in self.regularizers)

    @property
    def entrywise(self) -> bool:
        """Whether the terms of all members are known."""
        return all(getattr(r, "entrywise", False) for r in self.regularizers)

    @property
    def proximable(self) -> bool:
        """Whether a closed form is known for this sum."""
        return self._split() is not None

    no_prox_reason = (
        "a closed form is known for L1, L2 and L1L2 together, or for L2 with one "
        "more proximable member"
    )

    def _value(self, x: Any) -> Any:
        return sum(ops.cast(r(x), x.dtype) for r in self.regularizers)

    def _entries(self, x: Any) -> Any:
        return sum(r._entries(x) for r in self.regularizers)  # noqa: SLF001

    def _split(self) -> tuple[float, float, Any] | None:
        """Return `(l1, l2, g)`: the sum is `l1 ||x||_1 + l2 ||x||^2 + g(x)`."""
        l1, l2 = 0.0, 0.0
        others: list[Any] = []
        for regularizer in self.regularizers:
            r, factor = unscaled(regularizer)
            factors = r._l1_l2() if isinstance(r, Regularizer) else None  # noqa: SLF001
            if factors is not None:
                l1 += factor * factors[0]
                l2 += factor * factors[1]
            elif getattr(r, "proximable", False):
                others.append(regularizer)
            else:
                return None
        if len(others) > 1 or (others and l1 > 0):
            return None
        return l1, l2, (others[0] if others else None)

    def _prox(self, x: Any, step_size: Any) -> Any:
        split = self._split()
        assert split is not None  # noqa: S101  (prox asked `proximable` first)
        l1, l2, other = split
        shrink = 1 / (1 + 2 * step_size * l2)
        if other is None:
            return soft_threshold(x, step_size * l1) * shrink
        return other.prox(x * shrink, step_size * shrink)


class Wrapper(Regularizer):
    """Base class of a penalty made of one other, `regularizer`, and like it.

    Attributes:
        regularizer: The penalty inside: an instance or any callable.
    """

    regularizer: Any
    no_prox_reason = "the penalty inside has no proximal operator"

    def _inner(self, regularizer: Any) -> Any:
        """Return the penalty that an instance, name, config or callable stands for."""
        inner = registry.get(regularizer)
        if inner is None:
            check.fail(self, "regularizer", "a regularizer", regularizer)
        return inner

    @property
    def convex(self) -> bool:  # type: ignore[override]
        """Whether the penalty inside is convex."""
        return bool(getattr(self.regularizer, "convex", False))

    @property
    def separable(self) -> bool:  # type: ignore[override]
        """Whether the penalty inside is a sum over single entries."""
        return bool(getattr(self.regularizer, "separable", False))

    @property
    def proximable(self) -> bool:
        """Whether the penalty inside has a proximal operator."""
        return bool(getattr(self.regularizer, "proximable", False))


@register
class Scaled(Wrapper):
    """A multiple of a penalty.

        f(x) = factor g(x)

    Args:
        regularizer: The penalty `g`: an instance, name, config or callable.
        factor: Finite float >= 0. Multiples of multiples are merged.

    Call: floating tensor that `g` accepts -> scalar.
    Prox: `prox_{t f} = prox_{(t factor) g}`.
    Gradient: `factor` times the gradient of `g`.
    Raises: ValueError naming the argument and the value received.
    Reference: Parikh and Boyd (2014), Proximal Algorithms, section 2.2.

    Example (TensorFlow 1's convention, half the sum of squares):

    >>> from keras_regx.regularizers import L2
    >>> float((0.5 * L2(0.1))([2.0, 4.0]))
    1.0
    """

    def __init__(self, regularizer: Any, factor: float) -> None:
        factor = check.number(self, "factor", factor, minimum=0)
        self.regularizer, inner = unscaled(self._inner(regularizer))
        self.factor = factor * inner

    @property
    def shown_as(self) -> Any:
        """The penalty whose name a listing shows: half an L2 is an L2."""
        return self.regularizer

    def _value(self, x: Any) -> Any:
        return self.factor * self.regularizer(x)

    @property
    def entrywise(self) -> bool:
        """Whether the terms of the penalty inside are known."""
        return bool(getattr(self.regularizer, "entrywise", False))

    def _entries(self, x: Any) -> Any:
        return self.factor * self.regularizer._entries(x)  # noqa: SLF001

    def _prox(self, x: Any, step_size: Any) -> Any:
        return self.regularizer.prox(x, step_size * self.factor)


def unscaled(regularizer: Any) -> tuple[Any, float]:
    """Return `(g, c)` with `regularizer = c g` and `g` not a multiple itself."""
    if isinstance(regularizer, Scaled):
        return regularizer.regularizer, regularizer.factor
    return regularizer, 1.0
