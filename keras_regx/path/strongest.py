"""The factor at which a path begins: the smallest at which zero is the solution."""

from typing import Any, NoReturn

import numpy as np
from keras import ops

from keras_regx._core import validation as check
from keras_regx.path.data import OWNER
from keras_regx.path.session import Session

# A network's strongest factor is above the one at which zero becomes better by this.
ABOVE = 1.1
# And the smallest factor at which zero is optimal is raised by what rounding takes.
BEYOND = 1 + 1e-5
# Good enough for the fits by which that one is found.
ROUGHLY = 0.1


def strongest(session: Session) -> float:
    """Return the smallest factor at which zero penalized weights are optimal.

    The other weights are fitted with the penalized ones held at zero. Then zero is
    optimal from the smallest `c` with `prox_{c f}(-gradient) = 0` on. Where the loss
    is flat, as for a network of several layers, zero may be a saddle, and the
    factor is the one from which on it has a smaller objective than the network.
    """
    for _, penalty in session.penalties:
        if not penalty.proximable:
            _not_defined(f"{type(penalty).__name__} has no proximal operator")
    _, steps = session.zero
    pairs = zip(session.penalties, steps, strict=True)
    found = [_vanishing(penalty, step) for (_, penalty), step in pairs]
    tangents = [factor for factor in found if factor is not None]
    if len(found) == 1 and not tangents:
        _not_defined("this penalty never makes all weights zero")
    tangent = max(tangents, default=0.0)
    # A single weight may multiply itself, as that of a layer used twice does.
    session.may_be_saddle = session.may_be_saddle or tangent == 0
    if session.may_be_saddle:
        crossing = _crossing(session)
        # For a convex problem both are the same factor, and the tangent is exact.
        if crossing > 1.02 * tangent:
            return ABOVE * crossing
    return BEYOND * tangent


def _crossing(session: Session) -> float:
    """Return the factor at which zero is as good as the network fitted there.

    That is `sup_w (loss(0) - loss(w)) / (f(w) - f(0))`, by Dinkelbach's iteration: a
    network that is better than zero at one factor is as good at a larger one.

    Reference: Dinkelbach (1967), Management Science 13(7).
    """
    loss, constant = session.parts_of_zero
    _, size = session.parts(session.initial)
    factor = 1e-3 * max(abs(loss), 1e-6) / max(size - constant, 1e-6)
    gauge, best = session.gauge, 0.0
    gauge.model.set_weights(session.initial)
    for _ in range(30):
        gauge.solve(factor, ROUGHLY, session.limit)
        weights = gauge.model.get_weights()
        now, size = session.parts(weights)
        ratio = (loss - now) / (size - constant) if size > constant else 0.0
        if ratio <= 1.02 * factor:
            if best or factor < 1e-12:
                break
            factor /= 30  # Not better than zero, or at zero: from weaker on.
            gauge.model.set_weights(session.initial)
        else:
            best = factor = ratio
    gauge.model.set_weights(session.initial)
    if not best:
        _not_defined("no fit is better than one with all penalized weights at zero")
    return best


def _vanishing(penalty: Any, step: Any) -> float | None:
    """Return the smallest factor whose prox takes a tensor to zero, None if none."""

    def is_zero(factor: float) -> bool:
        moved = penalty.prox(step, factor)
        return not np.any(ops.convert_to_numpy(moved))

    if is_zero(0.0):
        return 0.0
    high = 1.0
    while not is_zero(high):
        high *= 2
        if high > 2.0**60:
            return None
    low = 0.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if is_zero(middle) else (middle, high)
    return high


def _not_defined(reason: str) -> NoReturn:
    """Say why no strongest factor can be computed."""
    check.fail(OWNER, "factors", f"numbers: {reason}", "a count")
