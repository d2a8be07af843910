"""Constraints made from constraints: Chain, Relaxed."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_regx._core import validation as check
from keras_regx._core.counter import Moment
from keras_regx.constraints.base import (
    Constraint,
    adapted,
    member,
    members,
    register,
)
from keras_regx.ops.numerics import upcast


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
        return all(item.convex for item in self._members())

    @property
    def keeps_zeros(self) -> bool:  # type: ignore[override]
        """Whether every member keeps zero weights at zero."""
        return all(item.keeps_zeros for item in self._members())

    def _members(self) -> list[Constraint]:
        raise NotImplementedError


class Wrapper(Combination):
    """A combination with one member, whose set it has."""

    constraint: Any

    @property
    def exact(self) -> bool:  # type: ignore[override]
        """Whether the call of the member is a projection."""
        return self._member.exact

    @property
    def _member(self) -> Constraint:
        return adapted(self.constraint)

    def _members(self) -> list[Constraint]:
        return [self._member]

    def contains(self, w: Any, tol: float | None = None) -> bool:
        """Return whether `w` is in the set of the member."""
        return self._member.contains(w, tol)

    def distance(self, w: Any) -> Any:
        """Return the distance to the set of the member."""
        return self._member.distance(w)


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

    def _members(self) -> list[Constraint]:
        return [adapted(item) for item in self.constraints]

    def _apply(self, w: Any, moment: Moment) -> Any:
        for item in self._members():
            w = item.at(w, moment)
        return w

    def contains(self, w: Any, tol: float | None = None) -> bool:
        """Return whether `w` is in the set of every member."""
        return all(item.contains(w, tol) for item in self._members())

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
        self.constraint = member(self, constraint)
        self.rate = check.number(self, "rate", rate, minimum=0, maximum=1)

    @property
    def exact(self) -> bool:  # type: ignore[override]
        """Whether a call goes all the way."""
        return self.rate == 1 and self._member.exact

    def _apply(self, w: Any, moment: Moment) -> Any:
        wide = upcast(w)
        reached = upcast(self._member.at(w, moment))
        moved = reached if self.rate == 1 else wide + self.rate * (reached - wide)
        return ops.cast(moved, w.dtype)
