"""Constraints made from constraints: Chain, Relaxed."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_regx._core import validation as check
from keras_regx._core.counter import NOW, Moment
from keras_regx.constraints.base import (
    Constraint,
    keeps_zeros,
    members,
    register,
    registry,
)
from keras_regx.ops.numerics import safe_norm, upcast


class Timed(Constraint):
    """A constraint whose call depends on when it is, or may be made of such.

    An optimizer calls with its variable, anyone else with a tensor. Only the
    optimizer's calls are updates that `Every` counts.
    """

    def __call__(self, w: Any) -> Any:
        """Apply the constraint now; see the class."""
        return self.at(w, Moment(is_update=isinstance(w, keras.Variable)))

    def at(self, w: Any, moment: Moment) -> Any:
        """Apply the constraint at a moment."""
        w = check.floating(self, w, min_rank=self.min_rank, argument="w")
        return w if 0 in w.shape else self._apply(w, moment)

    def _apply(self, w: Any, moment: Moment) -> Any:
        raise NotImplementedError


class Combination(Timed):
    """A constraint that applies others, and passes on when it is."""

    @property
    def convex(self) -> bool:  # type: ignore[override]
        """Whether every member is convex."""
        return all(getattr(item, "convex", False) for item in self._members())

    @property
    def keeps_zeros(self) -> bool:  # type: ignore[override]
        """Whether every member keeps zero weights at zero."""
        return all(map(keeps_zeros, self._members()))

    def _members(self) -> list[Any]:
        raise NotImplementedError


class Wrapper(Combination):
    """A combination with one member, whose set it has."""

    constraint: Any

    def _members(self) -> list[Any]:
        return [self.constraint]

    def contains(self, w: Any, tol: float | None = None) -> bool:
        """Return whether `w` is in the set of the member."""
        return contains(self.constraint, w, tol)

    def distance(self, w: Any) -> Any:
        """Return the distance to the set of the member."""
        return distance(self.constraint, w)


def apply(constraint: Any, w: Any, moment: Moment = NOW) -> Any:
    """Apply any constraint to a tensor, at a moment."""
    return constraint.at(w, moment) if isinstance(constraint, Timed) else constraint(w)


def is_exact(constraint: Any) -> bool:
    """Return whether a member is a projection; one that does not say is one."""
    return bool(getattr(constraint, "exact", True))


def one(owner: Any, value: Any) -> Any:
    """Return one constraint from an instance, name or config."""
    constraint = registry.get(value)
    if constraint is None:
        check.fail(owner, "constraint", "a constraint", value)
    return constraint


def contains(constraint: Any, w: Any, tol: float | None) -> bool:
    """Ask a member; one without `contains` has the points that it leaves alone."""
    if hasattr(constraint, "contains"):
        return bool(constraint.contains(w, tol))
    limit = 1e-6 if tol is None else tol
    moved = ops.max(ops.absolute(upcast(constraint(w)) - upcast(w)))
    return bool(ops.convert_to_numpy(moved) <= limit)


def distance(constraint: Any, w: Any) -> Any:
    """Ask a member; one without `distance` is taken for its projection."""
    if hasattr(constraint, "distance"):
        return constraint.distance(w)
    return safe_norm(upcast(w) - upcast(constraint(w)))


@register
class Chain(Combination):
    """Several constraints, one after the other.

        C(w) = C_n(... C_2(C_1(w)))

    This is **no projection** onto the intersection: a later member may leave the
    sets of the earlier ones. `Intersection` is, for convex sets.

    Args:
        constraints: Non-empty list of constraints: instances, names or configs,
            this package's, Keras' own, or functions.

    Call: floating tensor or variable that every member accepts -> same shape and
        dtype. `contains` asks every member; `distance` is not defined.
    Exact: no. Convex: the intersection of convex sets is.
    Raises: ValueError if the list is empty or holds None.
    Reference: Bauschke and Borwein (1996), SIAM Review 38(3).

    Example:

    >>> from keras_regx.constraints import Chain, LInfBall, NonNeg
    >>> [float(v) for v in Chain([NonNeg(), LInfBall(1.0)])([-1.0, 0.5, 3.0])]
    [0.0, 0.5, 1.0]
    """

    exact = False

    def __init__(self, constraints: Sequence[Any]) -> None:
        self.constraints = members(self, constraints)

    def _members(self) -> list[Any]:
        return self.constraints

    def _apply(self, w: Any, moment: Moment) -> Any:
        for item in self.constraints:
            w = apply(item, w, moment)
        return w

    def contains(self, w: Any, tol: float | None = None) -> bool:
        """Return whether `w` is in the set of every member."""
        return all(contains(item, w, tol) for item in self.constraints)

    def distance(self, w: Any) -> Any:
        """Not defined: a chain does not find the nearest point of any set."""
        raise NotImplementedError(
            "Chain is no projection, so it knows no distance to the intersection of "
            "its members. Use Intersection."
        )


@register
class Relaxed(Wrapper):
    """Part of the way to a set at each step.

        C(w) = w + rate (P(w) - w)

    Args:
        constraint: The constraint `P`: an instance, name, config or function.
        rate: Float in [0, 1]. 1 goes all the way, 0 nowhere.

    Call: floating tensor or variable that the member accepts -> same shape and
        dtype. `contains` and `distance` are the member's.
    Exact: only with `rate=1`. Convex: as the member.
    Raises: ValueError naming the argument and the value received.
    Reference: Bauschke and Borwein (1996), SIAM Review 38(3).

    Example:

    >>> from keras_regx.constraints import LInfBall, Relaxed
    >>> [float(v) for v in Relaxed(LInfBall(1.0), 0.5)([0.5, 3.0])]
    [0.5, 2.0]
    """

    def __init__(self, constraint: Any, rate: float) -> None:
        self.constraint = one(self, constraint)
        self.rate = check.number(self, "rate", rate, minimum=0, maximum=1)

    @property
    def exact(self) -> bool:  # type: ignore[override]
        """Whether a call goes all the way."""
        return self.rate == 1 and is_exact(self.constraint)

    def _apply(self, w: Any, moment: Moment) -> Any:
        wide = upcast(w)
        reached = upcast(apply(self.constraint, w, moment))
        moved = reached if self.rate == 1 else wide + self.rate * (reached - wide)
        return ops.cast(moved, w.dtype)
