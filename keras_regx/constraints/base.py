"""The base class of all constraints and the registry that names them."""

from collections.abc import Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from keras_regx._core import validation as check
from keras_regx._core.config import Configurable
from keras_regx._core.registry import Registry
from keras_regx.ops.numerics import EPSILON, compute_dtype, dtype_of, safe_norm, upcast

registry = Registry(
    "constraint", keras.constraints, unlike=keras.regularizers.Regularizer
)
register = registry.register


class Constraint(Configurable, keras.constraints.Constraint):
    """Base class of constraints: the Euclidean projection onto a set of weights.

    A subclass keeps every `__init__` argument under its own name and writes its
    mathematics: `_project(w)`, which receives a floating tensor, half precision
    already cast to float32. Overriding `__call__` itself, as with Keras' base
    class, works too.

    Attributes:
        convex: Whether the set is convex.
        exact: Whether a call is the Euclidean projection onto the set.
        separable: Whether the set bounds each entry on its own.
        keeps_zeros: Whether a call leaves zero weights at zero.
        min_rank: Smallest rank of a tensor that the set is defined on.
        sees_matrix: Whether it sees a kernel as a matrix of shape `(fan_in, units)`,
            so that a `Policy` shows it kernels of another layout that way.

    Constraints intersect: `NonNeg() & MaxNorm(2.0)`.

    Example:

    >>> from keras import ops
    >>> from keras_regx.constraints import Constraint
    >>> class AtMostOne(Constraint):
    ...     convex = True
    ...     def _project(self, w, dtype):
    ...         return ops.minimum(w, 1)
    >>> [float(v) for v in AtMostOne()([0.5, 3.0])]
    [0.5, 1.0]
    >>> AtMostOne().contains([0.5, 3.0])
    False
    >>> float(AtMostOne().distance([0.5, 3.0]))
    2.0
    """

    convex: bool = False
    exact: bool = True
    separable: bool = False
    keeps_zeros: bool = False
    min_rank: ClassVar[int] = 0
    sees_matrix: ClassVar[bool] = False

    def __call__(self, w: Any) -> Any:
        """Return the member of the set that is nearest to `w`.

        Args:
            w: Floating tensor or variable of any shape (of rank >= `min_rank`).

        Returns:
            Tensor of the same shape and dtype. A member of the set comes back
            bitwise unchanged, and so does an empty tensor. NaN stays NaN.

        Raises:
            ValueError: If `w` is not real and floating, or its rank is too low.
        """
        w = check.floating(self, w, min_rank=self.min_rank, argument="w")
        if 0 in w.shape:
            return w
        dtype = dtype_of(w)
        if compute_dtype(dtype) == dtype:  # Eager PyTorch pays for every operation.
            return self._project(w, dtype)
        return ops.cast(self._project(ops.cast(w, compute_dtype(dtype)), dtype), dtype)

    def distance(self, w: Any) -> Any:
        """Return the Euclidean distance between `w` and the set.

        Args:
            w: Floating tensor or variable of any shape (of rank >= `min_rank`).

        Returns:
            Scalar tensor; float32 for half-precision input. 0 for an empty tensor.
        """
        w = upcast(check.floating(self, w, min_rank=self.min_rank, argument="w"))
        return ops.sum(w) if 0 in w.shape else safe_norm(self._gap(w))

    def contains(self, w: Any, tol: float | None = None) -> bool:
        """Return whether `w` is a member of the set, up to rounding.

        Args:
            w: Floating tensor or variable of any shape; its values must be known,
                so this cannot be compiled.
            tol: Number >= 0. The largest violation allowed, absolute; `None`
                means 10 units of rounding of the dtype of `w`, times the scale
                of the set.

        Returns:
            Boolean. A tensor with NaN is in no set.
        """
        w = check.floating(self, w, min_rank=self.min_rank, argument="w")
        if 0 in w.shape:
            return True
        if tol is None:
            tol = self._rounding(dtype_of(w)) * self._scale(upcast(w))
        else:
            tol = check.number(self, "tol", tol, minimum=0)
        violation = ops.max(ops.absolute(self._gap(upcast(w))))
        return bool(ops.convert_to_numpy(violation) <= tol)

    def __and__(self, other: Any) -> "Intersection":
        return Intersection([self, other]) if callable(other) else NotImplemented

    def _project(self, w: Any, dtype: str) -> Any:  # noqa: ARG002
        """Return the projection of `w`, which is to be stored as `dtype`."""
        raise TypeError(
            f"{type(self).__name__} defines no projection. Define "
            "`_project(self, w, dtype)` or `__call__(self, w)`."
        )

    def _gap(self, w: Any) -> Any:
        """Return a tensor whose Euclidean norm is the distance to the set."""
        return w - self(w)

    def _scale(self, w: Any) -> float:  # noqa: ARG002
        """Return the size of the numbers that `contains` compares."""
        return 1.0

    def _rounding(self, dtype: str) -> float:
        return 10 * EPSILON[dtype]


def keeps_zeros(constraint: Any) -> bool:
    """Return whether a constraint leaves zero weights at zero; if unknown, False."""
    return bool(getattr(constraint, "keeps_zeros", False))


def members(owner: Any, value: Any) -> list[Any]:
    """Return a list of constraints from instances, names and configs."""
    if not isinstance(value, list | tuple) or not value:
        check.fail(owner, "constraints", "a non-empty list of constraints", value)
    found = [registry.get(item) for item in value]
    if any(item is None for item in found):
        check.fail(owner, "constraints", "no None inside", value)
    return found


@register
class Intersection(Constraint):
    """All of several convex constraints at once.

        P(w) = argmin ||y - w||    over y in every set

    Dykstra's algorithm: alternating projections that remember what each set took
    away, so that they end at the nearest point of the intersection, where plain
    alternation ends at some point of it. Plain rounds follow, which close what is
    left of the gap; sets that bound each entry on its own come last and are met
    exactly.

    Args:
        constraints: Non-empty list of convex constraints whose call is their
            projection: instances, names or configs. Intersections inside it are
            flattened.
        iterations: Integer >= 1. Rounds through all sets, a fixed number that
            compiled steps need. Sets that meet at a small angle need more.

    Call: floating tensor or variable that every member accepts -> same shape and
        dtype.
    Exact: to about 1e-4 of the weights' size, depending on the sets; a point in
        every set is bitwise unchanged. The intersection must not be empty.
    Convex: yes.
    Raises: ValueError if a member is not convex or no projection, naming it.
    Reference: Boyle and Dykstra (1986), Advances in Order Restricted Statistical
        Inference.

    Example:

    >>> from keras_regx.constraints import Centered, LInfBall
    >>> both = Centered(0.5) & LInfBall(1.0)
    >>> [round(float(v), 3) for v in both([3.0, 0.5, 0.5])]
    [1.0, 0.25, 0.25]
    """

    convex = True
    constraints: list[Any]

    def __init__(self, constraints: Sequence[Any], iterations: int = 100) -> None:
        flat: list[Any] = []
        for item in members(self, constraints):
            if not getattr(item, "convex", False) or not getattr(item, "exact", True):
                expected = f"convex sets with their projections, unlike {item!r}"
                check.fail(self, "constraints", expected, constraints)
            flat += item.constraints if isinstance(item, Intersection) else [item]
        self.constraints = flat
        self.iterations = check.integer(self, "iterations", iterations, minimum=1)

    @property
    def separable(self) -> bool:  # type: ignore[override]
        """Whether every member bounds each entry on its own."""
        return all(getattr(item, "separable", False) for item in self.constraints)

    @property
    def keeps_zeros(self) -> bool:  # type: ignore[override]
        """Whether every member keeps zero weights at zero."""
        return all(map(keeps_zeros, self.constraints))

    def contains(self, w: Any, tol: float | None = None) -> bool:
        """Return whether `w` is in every set; by default to 1e-4 of its size."""
        w = check.floating(self, w, argument="w")
        if tol is None and 0 not in w.shape:
            size = float(ops.convert_to_numpy(ops.max(ops.absolute(upcast(w)))))
            tol = max(1e-4, self._rounding(dtype_of(w))) * max(size, 1.0)
            if size != size:  # noqa: PLR0124  (NaN)
                return False
        return all(item.contains(w, tol) for item in self.constraints)

    def _project(self, w: Any, dtype: str) -> Any:
        # A stable sort: sets that bound each entry on its own are met last.
        ordered = sorted(self.constraints, key=lambda c: getattr(c, "separable", False))
        stored = ops.cast(w, dtype)
        kept = ops.convert_to_tensor(True)  # noqa: FBT003
        for item in ordered:
            kept = kept & ops.all(item(stored) == stored)
        zeros = tuple(ops.zeros_like(w) for _ in ordered)

        def dykstra(_: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
            x, *taken = state
            left = []
            for item, before in zip(ordered, taken, strict=True):
                y = x + before
                x = ops.cast(item(y), y.dtype)
                left.append(y - x)
            return (x, *left)

        def plain(_: Any, x: Any) -> Any:
            for item in ordered:
                x = ops.cast(item(x), x.dtype)
            return x

        x = ops.fori_loop(0, self.iterations, dykstra, (w, *zeros))[0]
        x = ops.fori_loop(0, self.iterations // 2 + 1, plain, x)
        return ops.where(kept, w, x)
