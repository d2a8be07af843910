"""Intersection: all of several convex constraints at once."""

import warnings
from collections.abc import Callable, Sequence
from itertools import permutations
from operator import attrgetter
from typing import Any

from keras import ops

from keras_regx import keras_internals as internals
from keras_regx._core import validation as check
from keras_regx.constraints import splitting
from keras_regx.constraints.base import (
    Constraint,
    Grouped,
    adapted,
    magnitude,
    members,
    register,
)
from keras_regx.constraints.multiplier import Nearest
from keras_regx.ops.numerics import dtype_of, larger, upcast


@register
class Intersection(Constraint):
    """All of several convex constraints at once.

        P(w) = argmin ||y - w||    over y in every set

    Found in one of three ways, the first that fits the members, in any order:

    - one after the other, where that is the projection: sets that bound each entry;
      signs and masks before balls that know no signs; an order or equal weights
      before bounds that are the same for all, or an L1 ball; a cone before a ball
      around zero;
    - by the Lagrange multipliers of one or two members: Euclidean balls, planes,
      half-spaces, means, simplices; and of an L1 ball with bounds;
    - else by the alternating direction method of multipliers, until the sets and the
      optimality are met to some roundings.

    Args:
        constraints: Non-empty list of convex constraints whose call is their
            projection: instances, names or configs. Intersections inside it are
            flattened.
        iterations: Integer >= 1. The most rounds that are made; most points need a
            tenth of the default. Sets that meet at a small angle need more.

    Call: floating tensor or variable that every member accepts -> same shape and
        dtype. If the sets do not meet, or the rounds do not suffice, a UserWarning
        says so outside of compiled functions; what is returned is then a member of
        one of the sets, near the others.
    Exact: to 1e-4 of its size, sets that bound each entry exactly; a point in every
        set is bitwise unchanged. The iteration may need more rounds, and end up to
        1e-3 off, where weights are a hundred times larger than the result.
    Convex: yes.
    Gradient: one after another, as the chain's; by multipliers, exact; else the
        members' one after another, each at the point that it projects.
    Raises: ValueError if a member is not convex or no projection, naming it.
    Reference: Bauschke and Combettes (2017), Convex Analysis and Monotone Operator
        Theory in Hilbert Spaces, sections 24 and 29; Boyd et al. (2011), Foundations
        and Trends in Machine Learning 3(1).

    Example:

    >>> from keras_regx.constraints import Centered, LInfBall
    >>> both = Centered(0.5) & LInfBall(1.0)
    >>> [round(float(v), 3) for v in both([3.0, 0.5, 0.5])]
    [1.0, 0.25, 0.25]
    """

    convex = True
    constraints: list[Any]

    def __init__(self, constraints: Sequence[Any], iterations: int = 1000) -> None:
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
            tol = max(1e-4, self._rounding(dtype_of(w))) * magnitude(w)
            if tol != tol:  # noqa: PLR0124  (NaN)
                return False
        return all(item.contains(w, tol) for item in self._members())

    def distance(self, w: Any) -> Any:
        """Return the Euclidean distance between `w` and the set.

        At least the distance to each member: of sets that do not meet, no point is
        at distance 0. It is then that to the point which a call returns, or more.
        """
        away = super().distance(w)
        for item in self._members():
            away = larger(away, ops.cast(item.distance(w), dtype_of(away)))
        return away

    def _project(self, w: Any) -> Any:
        items = self._members()
        chain = merged(items, w)
        if len(chain) == 1:
            y = chain[0](w)
        else:
            kept = ops.convert_to_tensor(True)  # noqa: FBT003
            for item in items:
                kept = kept & ops.all(item(w) == w)
            wide = upcast(w)
            y = ops.where(kept, wide, self._solved(wide, chain))
        self._warn(y)
        return y

    def _solved(self, w: Any, chain: list[Constraint]) -> Any:
        """Return the projection where no chain is the projection."""
        pieces = [piece for item in self._members() for piece in item._pieces(w)]  # noqa: SLF001
        project = by_multipliers(merged(pieces, w), w, self.iterations)
        if project is None:
            ordered = sorted(chain, key=attrgetter("separable"))
            for item in ordered:  # No point on a plane is nearer to one side of it.
                plane = item._multiplier(w)  # noqa: SLF001
                w = plane.onto(w) if plane is not None and plane.is_equation else w
            close = max(item._rounding(dtype_of(w)) for item in ordered)  # noqa: SLF001
            y = splitting.nearest(w, ordered, close, self.iterations)
        else:
            y = project(w)
        for item in self._members():
            y = item(y) if item.separable else y
        return y

    def _warn(self, y: Any) -> None:
        if not internals.is_known(y):
            return
        wide = upcast(ops.stop_gradient(y))
        gap = max(magnitude(item(wide) - wide) for item in self._members())
        if gap > 1e-3 * magnitude(wide):
            warnings.warn(
                f"{self!r} found no point in all of its sets: the one that it returns "
                f"is {gap:.2g} away from one of them. The sets do not meet, or they "
                f"need more rounds than iterations={self.iterations}.",
                stacklevel=4,
            )


class Both(Constraint):
    """Two sets, the projections onto which are, in this order, that onto both."""

    convex = True

    def __init__(self, first: Constraint, then: Constraint) -> None:
        self.first = first
        self.then = then
        for flag in ("separable", "uniform", "even", "cone"):
            setattr(self, flag, getattr(first, flag) and getattr(then, flag))

    def __call__(self, w: Any) -> Any:
        """Apply both."""
        return self.then(self.first(w))


def merged(items: list[Constraint], w: Any) -> list[Constraint]:
    """Return fewer sets with the same intersection: what follows becomes one."""
    for first, then in permutations(items, 2):
        if follows(first, then, w):
            others = [item for item in items if item is not first and item is not then]
            return merged([*others, Both(first, then)], w)
    return items


def follows(first: Constraint, then: Constraint, w: Any) -> bool:
    """Return whether the projections, one after the other, are that onto both."""
    if first.separable:
        return then.separable or (first.cone and then.even)
    if first.pools and then.uniform:
        return True
    ball = then._multiplier(w) if first.cone else None  # noqa: SLF001
    if ball is None or not splits(first, ball.axes, w):
        return False
    # An L1 ball lowers all magnitudes by one number: pooled entries stay together.
    return ball.is_centred_ball or (first.pools and ball.is_elementwise)


def splits(item: Constraint, axes: tuple[int, ...], w: Any) -> bool:
    """Return whether a set is one set for each group along these axes."""
    if item.separable or len(axes) == len(w.shape):
        return True
    if isinstance(item, Both):
        return splits(item.first, axes, w) and splits(item.then, axes, w)
    return isinstance(item, Grouped) and set(item._axes(w)) <= set(axes)  # noqa: SLF001


def by_multipliers(
    items: list[Constraint], w: Any, trips: int, depth: int = 2
) -> Callable[[Any], Any] | None:
    """Return the projection by the multipliers of all sets but one, if they have any.

    Args:
        items: The sets.
        w: The weights: their shape is asked.
        trips: The most projections for one multiplier.
        depth: How many multipliers may be nested.
    """
    if len(items) == 1:
        return items[0]
    found = [(item, item._multiplier(w)) for item in items] if depth else []  # noqa: SLF001
    found = [(item, m) for item, m in found if m is not None]
    for item, m in sorted(found, key=lambda pair: -len(pair[1].axes)):
        others = [other for other in items if other is not item]
        if all(splits(other, m.axes, w) for other in others):
            inner = by_multipliers(others, w, trips, depth - 1)
            elementwise = all(other.separable for other in others)
            if inner is not None and (elementwise or not m.is_elementwise):
                return Nearest(m, inner, trips)
    return None
