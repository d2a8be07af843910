"""A set that is one inequality, or equation, per group: its Lagrange multiplier.

    argmin_y ||y - w||^2 / 2    over y in C and g(y) <= 0

is `P_C(move(w, t))` for the right multiplier t >= 0, which is the root of a decreasing
function: `g(P_C(move(w, t)))`. So the projection onto the intersection of such a set
with any other costs some ten projections onto the other, at any distance.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from keras import ops

from keras_regx.ops.numerics import (
    EPSILON,
    dtype_of,
    larger,
    safe_norm,
    smaller,
    with_gradient_of,
)

Project = Callable[[Any], Any]
Axes = tuple[int, ...]
_FAR = 2.0**120  # No multiplier is larger: sums with it would not be float32.


@dataclass(frozen=True)
class Multiplier:
    """What is needed of the set `g(y) <= 0`, or `g(y) = 0`.

    Attributes:
        axes: The axes of a group.
        move: Function of weights and multiplier: what the other set projects.
        excess: `g`, of each group, with its axes kept.
        scale: What the excess is compared with, of the same shape.
        guess: A first multiplier > 0.
        onto: The projection onto `g(y) = 0` where that is a plane: it changes no
            solution on the plane, and takes the distance out of the rounding.
        is_equation: Whether `g(y) = 0`; the multiplier may then be negative.
        is_centred_ball: Whether it is a Euclidean ball around zero.
        is_elementwise: Whether the other set must bound each entry on its own.
    """

    axes: Axes
    move: Callable[[Any, Any], Any]
    excess: Project
    scale: Project
    guess: Project
    onto: Project | None = None
    is_equation: bool = False
    is_centred_ball: bool = False
    is_elementwise: bool = False


def ball_multiplier(axes: Axes, radius: float, centre: Any = None) -> Multiplier:
    """Return that of a Euclidean ball, around zero or another centre."""

    def change(w: Any) -> Any:
        return w if centre is None else w - centre

    def norm(w: Any) -> Any:
        return safe_norm(change(w), axes, keepdims=True)

    def move(w: Any, t: Any) -> Any:
        shrunk = change(w) / (1 + t)
        return shrunk if centre is None else centre + shrunk

    return Multiplier(
        axes,
        move,
        excess=lambda y: norm(y) - radius,
        scale=lambda y: norm(y) + radius,
        guess=lambda w: norm(w) / radius + 2.0**-20,
        is_centred_ball=centre is None,
    )


def plane_multiplier(
    axes: Axes, normal: Any, offset: float, is_half: bool = False
) -> Multiplier:
    """Return that of a plane, or of the half-space below it; a number is a sum's."""

    def terms(y: Any) -> Any:
        return normal * y

    def excess(y: Any) -> Any:
        return ops.sum(terms(y), axis=axes, keepdims=True) - offset

    def square(y: Any) -> Any:
        whole = ops.broadcast_to(ops.cast(normal, dtype_of(y)), y.shape)
        return ops.sum(whole * whole, axis=axes, keepdims=True)

    def onto(w: Any) -> Any:
        for _ in range(3):  # What is left of a large excess is a rounding of it.
            w = w - excess(w) / square(w) * normal
        return w

    def guess(w: Any) -> Any:
        size = ops.max(ops.absolute(w), axis=axes, keepdims=True)
        return (size + abs(offset) + 2.0**-100) / (2 * ops.sqrt(square(w)))

    return Multiplier(
        axes,
        move=lambda w, t: w - t * normal,
        excess=excess,
        scale=lambda y: (
            ops.sum(ops.absolute(terms(y)), axis=axes, keepdims=True) + abs(offset)
        ),
        guess=guess,
        onto=onto,
        is_equation=not is_half,
    )


@dataclass(frozen=True)
class Nearest:
    """The projection onto a set with a multiplier and another one.

    Differentiated as the implicit function that it is: exactly, wherever the
    projection onto the other set is.

    Attributes:
        multiplier: That of the one set.
        other: The projection onto the other.
        trips: The most projections that are made.
    """

    multiplier: Multiplier
    other: Project
    trips: int

    def __call__(self, w: Any) -> Any:
        """Return the projection of `w`."""
        m = self.multiplier
        sign, t, is_active, y = self._solve(ops.stop_gradient(w))

        def excess(t: Any) -> Any:
            return sign * m.excess(self._plain(m.move(self._start(w), sign * t)))

        width = math.sqrt(EPSILON[dtype_of(w)]) * (t + m.guess(w))
        slope = ops.stop_gradient((excess(t) - excess(t + width)) / width)
        usable = is_active & (slope > 0)
        # The excess stays 0: how the multiplier follows the weights.
        over = sign * m.excess(self.other(m.move(self._start(w), sign * t)))
        change = (over - ops.stop_gradient(over)) / ops.where(usable, slope, 1)
        t = t + ops.where(usable, change, 0)
        moved = ops.where(is_active, m.move(self._start(w), sign * t), w)
        return with_gradient_of(y, self.other(moved))

    def plain(self, w: Any) -> Any:
        """Return the projection of `w`, which is not differentiated."""
        return self._solve(w)[-1]

    @property
    def _plain(self) -> Project:
        return self.other.plain if isinstance(self.other, Nearest) else self.other

    def _start(self, w: Any) -> Any:
        onto = self.multiplier.onto
        return w if onto is None else onto(w)

    def _solve(self, w: Any) -> tuple[Any, Any, Any, Any]:
        """Return sign and size of the multipliers, where they act, and the points."""
        m, start = self.multiplier, self._start(w)
        y = free = self._plain(w)
        value = m.excess(free)
        is_active = value != 0 if m.is_equation else value > 0
        sign = ops.ones_like(value)
        if m.onto is not None:
            y = self._plain(start)
            value = m.excess(y)
            sign = ops.where(value < 0, -sign, sign)

        def at(t: Any) -> tuple[Any, Any]:
            y = self._plain(m.move(start, sign * t))
            return y, sign * m.excess(y)

        state = Bracket.opened(y, sign * value)
        guess, scale = m.guess(start), m.scale

        def is_open(*state: Any) -> Any:
            bracket = Bracket(*state)
            return ops.any(is_active & bracket.is_open(scale)) & (
                bracket.trip < self.trips
            )

        def body(*state: Any) -> tuple[Any, ...]:
            bracket = Bracket(*state)
            t = bracket.trial(guess)
            return bracket.with_trial(t, *at(t))

        t, y = Bracket(*ops.while_loop(is_open, body, state)).between()
        t = ops.where(is_active, t, 0)
        return sign, t, is_active, ops.where(is_active, y, free)


class Bracket(NamedTuple):
    """Two multipliers between which the root of a decreasing function lies.

    It is opened by growing steps, and closed by secants and halvings in turn: halvings
    of the exponent while its ends are far apart.
    """

    low: Any
    over: Any  # The excess there, > 0.
    y_low: Any
    high: Any
    under: Any  # <= 0.
    y_high: Any
    is_found: Any  # Whether `high` is one.
    trip: Any

    @classmethod
    def opened(cls, y: Any, value: Any) -> tuple[Any, ...]:
        """Return the state before the first step: all that is known is at 0."""
        zero = ops.zeros_like(value)
        return cls(zero, value, y, zero, zero - 1, y, zero > 1, 0)

    def is_open(self, scale: Project) -> Any:
        """Return where the root is not known yet. NaN is closed."""
        epsilon = EPSILON[dtype_of(self.low)]
        tolerance = 2 * epsilon * scale(self.y_low)
        is_wide = self.high - self.low > 4 * epsilon * self.high
        is_off = (self.under < -tolerance) & is_wide
        return (self.over > tolerance) & (self.low < _FAR) & (is_off | ~self.is_found)

    def trial(self, guess: Any) -> Any:
        """Return the multiplier to try next."""
        low, high = self.low, self.high
        growth = 4.0 ** ops.cast(ops.minimum(self.trip, 20), dtype_of(low))
        ahead = ops.where(low > 0, low * growth, guess)
        ahead = smaller(ahead, ops.full_like(ahead, _FAR))
        middle = ops.where(
            high > 16 * low,
            ops.sqrt(larger(low, high / 256)) * ops.sqrt(high),
            low + (high - low) / 2,
        )
        between = ops.where(ops.equal(self.trip % 2, 0), self._secant(), middle)
        return ops.where(self.is_found, between, ahead)

    def _share(self) -> Any:
        total = self.over - self.under
        return self.over / ops.where(total > 0, total, 1)

    def _secant(self) -> Any:
        return self.low + self._share() * (self.high - self.low)

    def with_trial(self, t: Any, y: Any, value: Any) -> tuple[Any, ...]:
        """Return the bracket with one of its ends moved to `t`."""
        is_over = value > 0
        return (
            ops.where(is_over, t, self.low),
            ops.where(is_over, value, self.over),
            ops.where(is_over, y, self.y_low),
            ops.where(is_over, self.high, t),
            ops.where(is_over, self.under, value),
            ops.where(is_over, self.y_high, y),
            self.is_found | ~is_over,
            self.trip + 1,
        )

    def between(self) -> tuple[Any, Any]:
        """Return the root and the point there; the other set has both points."""
        total = self.over - self.under
        is_nearer = self.is_found & (self.over > -self.under)
        # From the nearer end: the other may be further away than rounding allows.
        left = ops.where(self.is_found, self._share(), 0)
        right = -self.under / ops.where(total > 0, total, 1)

        def mean(low: Any, high: Any) -> Any:
            return ops.where(
                is_nearer, high + right * (low - high), low + left * (high - low)
            )

        return mean(self.low, self.high), mean(self.y_low, self.y_high)
