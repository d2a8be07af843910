"""The base class of all constraints and the registry that names them."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from keras_regx._core import validation as check
from keras_regx._core.config import Configurable
from keras_regx._core.registry import Registry
from keras_regx.ops.axes import resolve_axis
from keras_regx.ops.numerics import (
    EPSILON,
    dtype_of,
    feasibility_tolerance,
    safe_norm,
    upcast,
)

registry = Registry(
    "constraint", keras.constraints, unlike=keras.regularizers.Regularizer
)
register = registry.register


class Constraint(Configurable, keras.constraints.Constraint):
    """Base class of constraints: the Euclidean projection onto a set of weights.

    A subclass keeps every `__init__` argument under its own name and writes its
    mathematics, in one of two forms:

    - `_project(w)`: the projection of the floating tensor `w` as it is stored.
      Mostly it is a primitive of `keras_regx.ops`, which computes half precision in
      float32 and tells members by the dtype that they are stored in; the result is
      cast back to that dtype.
    - `_nearest(w)`, half precision already cast to float32: the nearest member,
      how far each group is outside (>= 0), and the scale that this is compared
      with. Groups that are outside by rounding only stay as they are.

    Overriding `__call__` itself, as with Keras' base class, works too.

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
    ...     def _project(self, w):
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
    # The set's own scale; where it is 0, that of the weights stands in.
    _size: Any = 0.0

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "dtype" in inspect.signature(cls._project).parameters:
            cls._project = _on_stored(cls._project)  # type: ignore[method-assign]

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
        projected, dtype = self._project(w), dtype_of(w)
        # Eager PyTorch pays for every operation.
        return projected if dtype_of(projected) == dtype else ops.cast(projected, dtype)

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
                of the set. A cone has none: there it is that of `w`.

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

    def _project(self, w: Any) -> Any:
        """Return the projection of `w`, a tensor as it is stored."""
        wide = upcast(w)
        nearest, excess, scale = self._nearest(wide)
        # A comparison with NaN is False.
        kept = excess <= self._slack(wide, dtype_of(w)) * scale
        return ops.where(kept, wide, nearest)

    def _nearest(self, w: Any) -> tuple[Any, Any, Any]:  # noqa: ARG002
        """Return the nearest member, the excess of each group, and its scale."""
        raise TypeError(
            f"{type(self).__name__} defines no projection. Define "
            "`_project(self, w)` or `__call__(self, w)`."
        )

    def _slack(self, w: Any, dtype: str) -> float:  # noqa: ARG002
        """Return the excess, relative to its scale, that is rounding in `dtype`."""
        return feasibility_tolerance(dtype)

    def _gap(self, w: Any) -> Any:
        """Return a tensor whose Euclidean norm is the distance to the set."""
        return w - self(w)

    def _scale(self, w: Any) -> float:
        """Return the size of the numbers that `contains` compares."""
        return self._size or magnitude(w)

    def _rounding(self, dtype: str) -> float:
        return 10 * EPSILON[dtype]


class Grouped(Constraint):
    """A constraint on each group of weights along its argument `axis`."""

    axis: check.Axis

    def _axes(self, w: Any) -> tuple[int, ...]:
        """Return the axes of a group; an axis that `w` lacks is an error."""
        return resolve_axis(self.axis, len(w.shape), type(self).__name__)


def magnitude(w: Any) -> float:
    """Return the largest magnitude of `w` as a Python float."""
    return float(ops.convert_to_numpy(ops.max(ops.absolute(upcast(w)))))


def _on_stored(project: Callable[..., Any]) -> Callable[..., Any]:
    """Return a projection of version 0.1, which got float32 and the dtype to store."""

    def stored(self: Any, w: Any) -> Any:
        return project(self, upcast(w), dtype_of(w))

    return stored


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

    def _project(self, w: Any) -> Any:
        stored, w = w, upcast(w)
        # A stable sort: sets that bound each entry on its own are met last.
        ordered = sorted(self.constraints, key=lambda c: getattr(c, "separable", False))
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
