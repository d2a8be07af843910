"""The base class of all constraints and the registry that names them."""

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import keras
from keras import ops

from keras_regx._core import validation as check
from keras_regx._core.config import Configurable
from keras_regx._core.counter import Moment
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
        cone: Whether multiples of members are members, by any number >= 0.
        uniform: Whether it bounds each entry on its own, and all of them alike.
        even: Whether members stay members when signs of entries change.
        pools: Whether a call replaces entries by their means, so that uniform bounds
            may follow it: then both are met by the nearest such point.
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
    cone: bool = False
    uniform: bool = False
    even: bool = False
    pools: bool = False
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

    def at(self, w: Any, moment: Moment) -> Any:  # noqa: ARG002
        """Return what a call at a moment gives; most are the same at all times."""
        return self(w)

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

    def __and__(self, other: Any) -> "Constraint":
        intersection: Any = registry.class_of("Intersection")
        return intersection([self, other]) if callable(other) else NotImplemented

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

    def _multiplier(self, w: Any) -> Any:  # noqa: ARG002
        """Return this as one inequality per group, a `Multiplier`, if it is one."""
        return None

    def _pieces(self, w: Any) -> "list[Constraint]":  # noqa: ARG002
        """Return simpler sets whose intersection this is."""
        return [self]

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


class Foreign(Constraint):
    """A constraint of Keras, or a function, asked as if it were of this package.

    It is taken for the projection onto the points that it leaves alone. It stands
    in where a member is asked and is never kept: configs hold what was given.
    """

    def __init__(self, inner: Callable[[Any], Any]) -> None:
        self.inner = inner
        for flag in ("convex", "exact", "separable", "keeps_zeros"):
            setattr(self, flag, getattr(inner, flag, getattr(self, flag)))

    def __call__(self, w: Any) -> Any:
        """Apply what is inside."""
        return self.inner(w)


def adapted(constraint: Any) -> Constraint:
    """Return a constraint of this package as it is, any other as a `Foreign` one."""
    return constraint if isinstance(constraint, Constraint) else Foreign(constraint)


def member(owner: Any, value: Any) -> Any:
    """Return one constraint from an instance, name or config."""
    constraint = registry.get(value)
    if constraint is None:
        check.fail(owner, "constraint", "a constraint", value)
    return constraint


def members(owner: Any, value: Any) -> list[Any]:
    """Return a list of constraints from instances, names and configs."""
    if not isinstance(value, list | tuple) or not value:
        check.fail(owner, "constraints", "a non-empty list of constraints", value)
    found = [registry.get(item) for item in value]
    if any(item is None for item in found):
        check.fail(owner, "constraints", "no None inside", value)
    return found
