"""Constraints made from constraints: Chain, Relaxed, Every, PerBlock."""

import warnings
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_regx._core import validation as check
from keras_regx._core.counter import StepReader
from keras_regx.constraints.base import Constraint, members, register, registry
from keras_regx.ops.axes import resolve_axis
from keras_regx.ops.numerics import safe_norm, upcast


class Combination(Constraint):
    """A constraint that applies others, and passes on who is calling.

    An optimizer calls with its variable, anyone else with a tensor. Only the
    optimizer's calls are updates that `Every` counts.
    """

    def __call__(self, w: Any) -> Any:
        """Apply the members; see the class."""
        is_update = isinstance(w, keras.Variable)
        w = check.floating(self, w, argument="w")
        return w if 0 in w.shape else self._apply(w, is_update=is_update)

    def _apply(self, w: Any, *, is_update: bool) -> Any:
        raise NotImplementedError


def apply(constraint: Any, w: Any, *, is_update: bool) -> Any:
    """Apply a member to a tensor; `is_update` as in `Combination`."""
    if isinstance(constraint, Combination):
        return constraint._apply(w, is_update=is_update)  # noqa: SLF001
    return constraint(w)


def _one(owner: Any, value: Any) -> Any:
    """Return one constraint from an instance, name or config."""
    constraint = registry.get(value)
    if constraint is None:
        check.fail(owner, "constraint", "a constraint", value)
    return constraint


def _contains(constraint: Any, w: Any, tol: float | None) -> bool:
    """Ask a member; one without `contains` has the points that it leaves alone."""
    if hasattr(constraint, "contains"):
        return bool(constraint.contains(w, tol))
    limit = 1e-6 if tol is None else tol
    moved = ops.max(ops.absolute(upcast(constraint(w)) - upcast(w)))
    return bool(ops.convert_to_numpy(moved) <= limit)


def _distance(constraint: Any, w: Any) -> Any:
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

    @property
    def convex(self) -> bool:  # type: ignore[override]
        """Whether all members are convex."""
        return all(getattr(item, "convex", False) for item in self.constraints)

    def _apply(self, w: Any, *, is_update: bool) -> Any:
        for item in self.constraints:
            w = apply(item, w, is_update=is_update)
        return w

    def contains(self, w: Any, tol: float | None = None) -> bool:
        """Return whether `w` is in the set of every member."""
        return all(_contains(item, w, tol) for item in self.constraints)

    def distance(self, w: Any) -> Any:
        """Not defined: a chain does not find the nearest point of any set."""
        raise NotImplementedError(
            "Chain is no projection, so it knows no distance to the intersection of "
            "its members. Use Intersection."
        )


@register
class Relaxed(Combination):
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
        self.constraint = _one(self, constraint)
        self.rate = check.number(self, "rate", rate, minimum=0, maximum=1)

    @property
    def convex(self) -> bool:  # type: ignore[override]
        """Whether the set of the member is convex."""
        return bool(getattr(self.constraint, "convex", False))

    @property
    def exact(self) -> bool:  # type: ignore[override]
        """Whether a call goes all the way."""
        return self.rate == 1 and bool(getattr(self.constraint, "exact", True))

    def _apply(self, w: Any, *, is_update: bool) -> Any:
        wide = upcast(w)
        reached = upcast(apply(self.constraint, w, is_update=is_update))
        moved = reached if self.rate == 1 else wide + self.rate * (reached - wide)
        return ops.cast(moved, w.dtype)

    def contains(self, w: Any, tol: float | None = None) -> bool:
        """Return whether `w` is in the set of the member."""
        return _contains(self.constraint, w, tol)

    def distance(self, w: Any) -> Any:
        """Return the distance to the set of the member."""
        return _distance(self.constraint, w)


@register
class Every(Combination, StepReader):
    """A constraint that is applied at every n-th update only.

        C(w) = P(w) at updates n, 2 n, 3 n, ...,    w at the others

    For projections that cost more than a training step. The count is the
    optimizer's own: of updates, not of micro-batches under gradient
    accumulation, and it goes on after a checkpoint. Train with
    `keras_regx.callbacks.AdvanceSchedules()`, which hands the optimizer over;
    without it the constraint is applied at every update, and says so in a
    warning. Called with a tensor, as `keras_regx.project(model)` does, it is
    applied now.

    Args:
        constraint: The constraint `P`: an instance, name, config or function.
        steps: Integer >= 1.

    Call: floating tensor or variable that the member accepts -> same shape and
        dtype. `contains` and `distance` are the member's.
    Exact: as the member, when it is applied. Convex: as the member.
    Raises: ValueError naming the argument and the value received.
    Reference: Cisse et al. (2017), ICML (projections at intervals).

    Example:

    >>> from keras_regx.constraints import Every, LInfBall
    >>> [float(v) for v in Every(LInfBall(1.0), 10)([0.5, 3.0])]
    [0.5, 1.0]
    """

    exact = False

    def __init__(self, constraint: Any, steps: int) -> None:
        self.constraint = _one(self, constraint)
        self.steps = check.integer(self, "steps", steps, minimum=1)
        self._has_warned = False

    @property
    def convex(self) -> bool:  # type: ignore[override]
        """Whether the set of the member is convex."""
        return bool(getattr(self.constraint, "convex", False))

    def _apply(self, w: Any, *, is_update: bool) -> Any:
        if not is_update or self.steps == 1:
            return apply(self.constraint, w, is_update=is_update)
        is_due = self._is_due()
        if is_due is None:
            self._warn()
            return apply(self.constraint, w, is_update=is_update)
        return ops.cond(
            is_due,
            lambda: ops.cast(apply(self.constraint, w, is_update=True), w.dtype),
            lambda: w,
        )

    def _is_due(self) -> Any:
        """Return whether the update being made is an n-th one, or None."""
        step = self.step()
        if step is None:
            return None
        is_due = (step + 1) % self.steps == 0
        optimizer = self._attached()
        for name in ("inner_optimizer", "inner"):  # Loss scaling, Proximal.
            optimizer = getattr(optimizer, name, optimizer)
        accumulated = getattr(optimizer, "gradient_accumulation_steps", None)
        if accumulated:
            # Constraints run after every micro-batch; the last makes the update.
            batches = ops.cast(optimizer._iterations, "int32")  # noqa: SLF001
            is_due = is_due & ((batches + 1) % accumulated == 0)
        return is_due

    def _warn(self) -> None:
        if not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f"{self!r} does not know the training step and is applied at every "
                "update. Pass `callbacks=[keras_regx.callbacks.AdvanceSchedules()]` "
                "to fit.",
                stacklevel=2,
            )

    def contains(self, w: Any, tol: float | None = None) -> bool:
        """Return whether `w` is in the set of the member."""
        return _contains(self.constraint, w, tol)

    def distance(self, w: Any) -> Any:
        """Return the distance to the set of the member."""
        return _distance(self.constraint, w)


@register
class PerBlock(Combination):
    """A constraint on each block of an axis alone: heads, gates, groups.

        P(w)_b = P_0(w_b)    for each block b

    `PerBlock(Orthogonal(), axis=1)` makes each head of an attention kernel
    `(inputs, heads, key)` orthogonal; `PerBlock(Symmetric(), blocks=4)` each of
    the four gates in a recurrent kernel of an `LSTM`.

    Args:
        constraint: The constraint of a block: an instance, name, config or
            function.
        axis: Int. The axis that is cut.
        blocks: Integer >= 1 that divides the axis: into how many equal blocks.
            `None` takes each index alone, without that axis.

    Call: floating tensor or variable that has this axis -> same shape and dtype.
    Exact: as the member. Convex: as the member.
    Raises: ValueError naming the argument and the value received.
    Reference: Parikh and Boyd (2014), Proximal Algorithms, section 2.1 (separable
        sums).

    Example:

    >>> from keras_regx.constraints import PerBlock, Simplex
    >>> constraint = PerBlock(Simplex(axis=None), axis=-1, blocks=2)
    >>> [float(v) for v in constraint([3.0, 1.0, 0.5, 0.5])]
    [1.0, 0.0, 0.5, 0.5]
    """

    min_rank = 1

    def __init__(
        self, constraint: Any, axis: int = -1, blocks: int | None = None
    ) -> None:
        self.constraint = _one(self, constraint)
        self.axis = check.integer(self, "axis", axis)
        if blocks is not None:
            blocks = check.integer(self, "blocks", blocks, minimum=1)
        self.blocks = blocks

    @property
    def convex(self) -> bool:  # type: ignore[override]
        """Whether the set of a block is convex."""
        return bool(getattr(self.constraint, "convex", False))

    @property
    def exact(self) -> bool:  # type: ignore[override]
        """Whether the call on a block is a projection."""
        return bool(getattr(self.constraint, "exact", True))

    def _cut(self, w: Any) -> tuple[list[Any], int]:
        axis = resolve_axis(self.axis, len(w.shape), type(self).__name__)[0]
        if self.blocks is None:
            return ops.unstack(w, axis=axis), axis
        if w.shape[axis] % self.blocks:
            expected = f"a divisor of the {w.shape[axis]} entries of axis {axis}"
            check.fail(self, "blocks", expected, self.blocks)
        return ops.split(w, self.blocks, axis=axis), axis

    def _apply(self, w: Any, *, is_update: bool) -> Any:
        parts, axis = self._cut(w)
        done = [apply(self.constraint, part, is_update=is_update) for part in parts]
        if self.blocks is None:
            return ops.stack(done, axis=axis)
        return ops.concatenate(done, axis=axis)

    def contains(self, w: Any, tol: float | None = None) -> bool:
        """Return whether every block is in the set of the member."""
        w = check.floating(self, w, min_rank=1, argument="w")
        if 0 in w.shape:
            return True
        return all(_contains(self.constraint, part, tol) for part in self._cut(w)[0])

    def distance(self, w: Any) -> Any:
        """Return the Euclidean distance: the root of the blocks' squares."""
        w = check.floating(self, w, min_rank=1, argument="w")
        if 0 in w.shape:
            return ops.sum(upcast(w))
        distances = [_distance(self.constraint, part) for part in self._cut(w)[0]]
        return safe_norm(ops.stack(distances))
