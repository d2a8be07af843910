"""Convex regression on a grid: the nearest convex sequence.

A convex sequence is linear between its knots. An active-set method finds them: fit a
line between the knots there are; take one more where it helps most between any two of
them; drop those that would bend down. Fits are in the basis of hat functions, whose
normal equations are tridiagonal and well conditioned at every length, in float32 too.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from keras import ops

from keras_regx.ops.numerics import EPSILON, absolute, dtype_of, larger, smaller


def nearest_convex(rows: Any, trips: int) -> Any:
    """Return the convex sequences nearest to rows whose largest magnitude is one.

    Args:
        rows: Finite tensor of shape `(groups, n)`, n >= 3.
        trips: The most fits that are made.

    Returns:
        Tensor of that shape.

    Gradient: that of the fit with the knots that were found: the projection onto the
        active face.
    """
    fixed = ops.stop_gradient(rows)
    place = ops.arange(rows.shape[-1], dtype="int32")
    is_end = (place == 0) | (place == rows.shape[-1] - 1)
    knots = ops.broadcast_to(is_end, rows.shape)
    # Zero is convex: what follows goes down from there.
    state = (ops.zeros_like(fixed), knots, ops.ones_like(fixed[:, :1]) > 0, 0)

    def is_open(_: Any, __: Any, is_active: Any, trip: Any) -> Any:
        return ops.any(is_active) & (trip < trips)

    def body(y: Any, knots: Any, is_active: Any, trip: Any) -> tuple[Any, ...]:
        new, kept, moves = _step(fixed, y, knots, is_end)
        return (
            ops.where(is_active, new, y),
            ops.where(is_active, kept, knots),
            is_active & moves,
            trip + 1,
        )

    y, knots, _, _ = ops.while_loop(is_open, body, state)
    return _with_slope_of_fit(rows, y, ops.cast(knots, dtype_of(rows)))


@ops.custom_gradient
def _with_slope_of_fit(rows: Any, y: Any, knots: Any) -> tuple[Any, Callable[..., Any]]:
    """Return `y`, differentiated as the fit of the rows: a symmetric linear map."""

    def gradient(*args: Any, upstream: Any = None) -> tuple[Any, ...]:
        upstream = args[-1] if upstream is None else upstream
        slope = Knots.of(knots > 0).fit(upstream)[0]
        return slope, ops.zeros_like(y), ops.zeros_like(knots)

    return ops.where(knots > 1, rows, y), gradient


def _step(x: Any, y: Any, knots: Any, is_end: Any) -> tuple[Any, Any, Any]:
    """Return a better convex sequence, its knots, and whether there is more to do."""
    layout = Knots.of(knots)
    fitted, values = layout.fit(x)
    before, after = layout.bends(layout.at_knots(y)), layout.bends(values)
    slack = 4 * EPSILON[dtype_of(x)] / layout.shorter_side(dtype_of(x))
    inner = knots & ~is_end
    falls = inner & (after < -slack)
    is_blocked = ops.any(falls, axis=-1, keepdims=True)
    # How far towards the fit until a knot is straight.
    room = larger(before, ops.zeros_like(before))
    share = ops.where(falls, room / ops.where(falls, room - after, 1), 1)
    least = ops.min(share, axis=-1, keepdims=True)
    dropped = falls & (share <= least + 1e-6)
    y = ops.where(is_blocked, y + least * (fitted - y), fitted)
    added = layout.useful(y - x) & ~is_blocked
    moves = is_blocked | ops.any(added, axis=-1, keepdims=True)
    return y, (knots & ~dropped) | added, moves


class Knots(NamedTuple):
    """The knots of rows, numbered from the left, and the segments between them.

    Attributes:
        where: Boolean `(groups, n)`: the knots.
        places: Integers `(groups, n)`: the places of the knots, in order; the last
            place again in what is left.
        segment: Integers `(groups, n)`: the number of the knot left of each place.
    """

    where: Any
    places: Any
    segment: Any

    @classmethod
    def of(cls, where: Any) -> "Knots":
        """Return the layout of knots that are marked, the ends among them."""
        n = where.shape[-1]
        place = ops.arange(n, dtype="int32")
        places = ops.sort(ops.where(where, place, n - 1), axis=-1)
        segment = ops.cumsum(ops.cast(where, "int32"), axis=-1) - 1
        return cls(where, places, segment - ops.cast(place == n - 1, "int32"))

    def at_knots(self, y: Any) -> Any:
        """Return the values at the knots, in order."""
        return ops.take_along_axis(y, self.places, axis=-1)

    def _here(self, of_knots: Any, shift: int = 0) -> Any:
        """Return for each place what its left knot has, or its right one."""
        return ops.take_along_axis(of_knots, self.segment + shift, axis=-1)

    def _scan(self, function: Callable[..., Any], x: Any, sign: int = 1) -> Any:
        """Return running sums, or the like, that begin anew in each segment.

        From the left, or with `sign=-1` from the right.
        """

        def trip(_: Any, state: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
            x, segment, step = state
            # A segment has a number >= 0; what comes from outside has -1.
            same = _shift(segment + 1, sign * step) - 1 == segment
            return (
                ops.where(same, function(x, _shift(x, sign * step)), x),
                segment,
                step * 2,
            )

        return ops.fori_loop(0, _doublings(x), trip, (x, self.segment, 1))[0]

    def _last(self, scanned: Any, to_end: int = 0) -> Any:
        """Return what a scan has reached at the end of each segment, by number."""
        n = scanned.shape[-1]
        following = _shift(self.places, -1)
        last = following - 1 + to_end * ops.cast(following == n - 1, "int32")
        reached = ops.take_along_axis(scanned, ops.where(last < 0, 0, last), axis=-1)
        return ops.where(self.places < n - 1, reached, 0)

    def _sum(self, x: Any) -> Any:
        """Return sums over the segments, the last one with its end."""
        return self._last(self._scan(ops.add, x), to_end=1)

    def _lengths(self, dtype: str) -> Any:
        """Return the length of the segment that begins at each knot; else one."""
        length = _shift(self.places, -1) - self.places
        return ops.cast(ops.where(length > 0, length, 1), dtype)

    def _shares(self, dtype: str) -> tuple[Any, Any]:
        """Return the length of the segment at each place, and which part is left."""
        place = ops.arange(self.places.shape[-1], dtype="int32")
        length = self._here(self._lengths(dtype))
        return length, ops.cast(place - self._here(self.places), dtype) / length

    def fit(self, x: Any) -> tuple[Any, Any]:
        """Return the best sequence that is linear between knots, and it at knots."""
        dtype = dtype_of(x)
        right = self._shares(dtype)[1]
        is_last = self.places == x.shape[-1] - 1
        length = self._lengths(dtype)
        beside = ops.where(is_last, 0, (length - 1 / length) / 6)
        # Sums of the squares of what rises to a knot and of what falls from it.
        ends = _shift(ops.where(is_last, 0, (2 * length + 1 / length - 3) / 6), 1)
        starts = ops.where(is_last, 1, (2 * length + 1 / length + 3) / 6)
        values = solve_tridiagonal(
            _shift(beside, 1),
            starts + ends,
            beside,
            self._sum((1 - right) * x) + _shift(self._sum(right * x), 1),
        )
        return (1 - right) * self._here(values) + right * self._here(values, 1), values

    def bends(self, values: Any) -> Any:
        """Return by how much the slope changes at each knot, 0 at other places."""
        slope = (_shift(values, -1) - values) / self._lengths(dtype_of(values))
        bend = self._here(slope - _shift(slope, 1))
        return ops.where(self.where, bend, 0)

    def shorter_side(self, dtype: str) -> Any:
        """Return the length of the shorter segment beside each knot."""
        length = self._lengths(dtype)
        before = _shift(length - 1, 1) + 1
        return self._here(smaller(before, length))

    def useful(self, residual: Any) -> Any:
        """Mark one place in each segment where a knot would help most, if it would.

        The multiplier of a bend is the double sum of the residuals; at knots it is 0.
        """
        right = self._shares(dtype_of(residual))[1]
        is_last = ops.arange(residual.shape[-1]) == residual.shape[-1] - 1
        residual = ops.where(is_last, 0, residual)
        left = self._scan(ops.add, self._scan(ops.add, residual))
        across_left = right * self._here(self._last(left))
        left = ops.where(self.where, 0, _shift(left, 1))
        back = self._scan(ops.add, self._scan(ops.add, residual, -1), -1)
        back = ops.where(_shift(self.where, -1), 0, _shift(back, -1))
        across_back = (1 - right) * self._here(self.at_knots(back))
        # From the nearer end: the sums are small there, and so is their rounding.
        is_near = right <= 0.5
        sums = ops.where(is_near, left, back)
        across = ops.where(is_near, across_left, across_back)
        force = ops.where(self.where, 0, across - sums)
        best = self._here(self._last(self._scan(larger, force)))
        noise = 4 * EPSILON[dtype_of(residual)] * (absolute(across) + absolute(sums))
        return (force >= best) & (force > noise) & ~self.where


def _doublings(x: Any) -> int:
    """Return how many doublings of one reach the length of the last axis."""
    return (x.shape[-1] - 1).bit_length()


def _shift(x: Any, by: Any) -> Any:
    """Move the last axis to the right, or left, zeros following.

    Args:
        x: Tensor `(groups, n)`.
        by: Int, or an integer scalar that a compiled loop counts.
    """
    n = x.shape[-1]
    if not isinstance(by, int):
        place = ops.arange(n, dtype="int32") - by
        is_inside = (place >= 0) & (place < n)
        moved = ops.take(x, ops.where(is_inside, place, 0), axis=-1)
        return ops.where(is_inside, moved, 0)
    empty = ops.zeros_like(x[:, : abs(by)])
    if by > 0:
        return ops.concatenate([empty, x[:, : n - by]], axis=-1)
    return ops.concatenate([x[:, -by:], empty], axis=-1)


def solve_tridiagonal(lower: Any, diagonal: Any, upper: Any, target: Any) -> Any:
    """Solve diagonally dominant tridiagonal systems by parallel cyclic reduction.

    Args:
        lower: Tensor `(groups, n)`: left of the diagonal, 0 in the first column.
        diagonal: Tensor `(groups, n)`.
        upper: Tensor `(groups, n)`: right of the diagonal, 0 in the last column.
        target: Tensor `(groups, n)`.

    Returns:
        Tensor `(groups, n)`.
    """

    def trip(_: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
        lower, diagonal, upper, target, step = state
        left = -lower / (_shift(diagonal - 1, step) + 1)
        right = -upper / (_shift(diagonal - 1, -step) + 1)
        return (
            left * _shift(lower, step),
            diagonal + left * _shift(upper, step) + right * _shift(lower, -step),
            right * _shift(upper, -step),
            target + left * _shift(target, step) + right * _shift(target, -step),
            step * 2,
        )

    state = (lower, diagonal, upper, target, 1)
    _, diagonal, _, target, _ = ops.fori_loop(0, _doublings(target), trip, state)
    return target / diagonal
