"""Intersection: all of several convex constraints at once."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from keras import ops

from keras_regx._core import validation as check
from keras_regx.constraints.base import Constraint, adapted, members, register
from keras_regx.ops.numerics import dtype_of, upcast


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
            if not adapted(item).convex or not adapted(item).exact:
                expected = f"convex sets with their projections, unlike {item!r}"
                check.fail(self, "constraints", expected, constraints)
            flat += item.constraints if isinstance(item, Intersection) else [item]
        self.constraints = flat
        self.iterations = check.integer(self, "iterations", iterations, minimum=1)

    def _members(self) -> list[Constraint]:
        return [adapted(item) for item in self.constraints]

    @property
    def separable(self) -> bool:  # type: ignore[override]
        """Whether every member bounds each entry on its own."""
        return all(item.separable for item in self._members())

    @property
    def keeps_zeros(self) -> bool:  # type: ignore[override]
        """Whether every member keeps zero weights at zero."""
        return all(item.keeps_zeros for item in self._members())

    def contains(self, w: Any, tol: float | None = None) -> bool:
        """Return whether `w` is in every set; by default to 1e-4 of its size."""
        w = check.floating(self, w, argument="w")
        if tol is None and 0 not in w.shape:
            size = float(ops.convert_to_numpy(ops.max(ops.absolute(upcast(w)))))
            tol = max(1e-4, self._rounding(dtype_of(w))) * max(size, 1.0)
            if size != size:  # noqa: PLR0124  (NaN)
                return False
        return all(item.contains(w, tol) for item in self._members())

    def _project(self, w: Any) -> Any:
        stored, w = w, upcast(w)
        # A stable sort: sets that bound each entry on its own are met last.
        ordered = sorted(self._members(), key=attrgetter("separable"))
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
