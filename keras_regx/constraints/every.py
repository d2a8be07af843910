"""Every: a constraint at every n-th update."""

import warnings
from typing import Any

from keras import ops

from keras_regx import keras_internals as internals
from keras_regx._core import validation as check
from keras_regx._core.counter import Moment, StepReader
from keras_regx.constraints.algebra import Wrapper
from keras_regx.constraints.base import member, register


@register
class Every(Wrapper, StepReader):
    """A constraint that is applied at every n-th update only.

        C(w) = P(w) at updates n, 2 n, 3 n, ...,    w at the others

    For projections that cost more than a training step. The count is the
    optimizer's own: of updates, not of micro-batches under gradient
    accumulation, and it goes on after a checkpoint. Train with
    `keras_regx.callbacks.AdvanceSchedules()`, which hands the optimizer over;
    without it the constraint is applied at every update, and says so in a
    warning. A `fit` in which it was applied ends inside the set: it is applied once
    more at the end. Called with a tensor, as `keras_regx.project(model)` does, it is
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
        self.constraint = member(self, constraint)
        self.steps = check.integer(self, "steps", steps, minimum=1)
        self._has_warned = False
        self._updates = 0  # Made before the `fit` that is running.

    def attach(self, optimizer: Any) -> bool:
        """Take the count from `optimizer`, from where it is now."""
        is_new = self._attached() is not optimizer
        changed = super().attach(optimizer)
        if changed or is_new:
            self._updates = self.count() or 0
        return changed

    def was_due(self) -> bool:
        """Return whether it was applied since this was last asked."""
        step = self.step(Moment(is_update=True))
        before, now = self._updates, 0 if step is None else int(step)
        self._updates = now
        return now // self.steps > before // self.steps

    def _apply(self, w: Any, moment: Moment) -> Any:
        if not moment.is_update or self.steps == 1:
            return self._member.at(w, moment)
        is_due = self._is_due(moment)
        if is_due is None:
            self._warn()
            return self._member.at(w, moment)
        return ops.cond(
            is_due,
            lambda: ops.cast(self._member.at(w, moment), w.dtype),
            lambda: w,
        )

    def _is_due(self, moment: Moment) -> Any:
        """Return whether the update being made is an n-th one, or None."""
        step = self.step(moment)
        if step is None:
            return None
        is_due = (step + 1) % self.steps == 0
        if moment.step is not None:
            return is_due  # Whoever knows the step counts updates.
        optimizer = self._attached()
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # Loss scaling.
        if getattr(optimizer, "is_after_inner", False):
            return is_due  # Proximal discards what is no update.
        optimizer = getattr(optimizer, "inner", optimizer)
        accumulated = getattr(optimizer, "gradient_accumulation_steps", None)
        if accumulated:
            # Constraints run after every micro-batch; the last makes the update.
            batches = ops.cast(internals.batches_seen(optimizer), "int32")
            is_due = is_due & ((batches + 1) % accumulated == 0)
        return is_due

    def _warn(self) -> None:
        if not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f"{self!r} does not know the training step and is applied at every "
                "update. Pass `callbacks=[keras_regx.callbacks.AdvanceSchedules()]` "
                "to fit, or call keras_regx.advance(model, step) in your loop.",
                stacklevel=2,
            )
