"""The projection onto the intersection of sets that are known by their projections.

The alternating direction method of multipliers with a step size that follows the
residuals: far weights and small sets are a matter of the step size alone.
"""

from collections.abc import Callable, Sequence
from typing import Any

from keras import ops

from keras_regx.ops.numerics import (
    absolute,
    larger,
    safe_norm,
    smaller,
    with_gradient_of,
)

Project = Callable[[Any], Any]


def nearest(w: Any, projections: Sequence[Project], close: float, trips: int) -> Any:
    """Return the projection of `w` onto an intersection; the last set is met best.

    Args:
        w: Floating tensor.
        projections: Functions of a tensor.
        close: How exact they are, relative to their results.
        trips: The most rounds that are made.

    Gradient: the projections are differentiated one after another, each at the point
    that it projects in the solution; that the others hold too is left out.
    """
    y, taken = _solve(ops.stop_gradient(w), projections, close, trips)
    smooth = w
    for project, away in zip(projections, taken, strict=True):
        smooth = project(smooth + ops.stop_gradient(y + away - smooth))
    return with_gradient_of(y, smooth)


def _solve(
    w: Any, projections: Sequence[Project], close: float, trips: int
) -> tuple[Any, tuple[Any, ...]]:
    """Return the nearest point and what each set takes away from `w`."""
    first, *others = projections
    count = len(others)
    start = w
    for project in projections:
        start = project(start)
    tiny = 1e-6 * safe_norm(w)
    size = larger(safe_norm(start), tiny)
    ratio = safe_norm(w - start) / ops.where(size > 0, size, 1)
    rho = larger(ratio, ops.full_like(ratio, 0.1)) / count
    zeros = ops.zeros_like(w)
    far = ops.full_like(rho, float("inf"))
    state = (rho, far, far, 10, 0, *(start for _ in others), *(zeros for _ in others))

    def is_open(
        rho: Any,  # noqa: ARG001
        miss: Any,
        gap: Any,  # noqa: ARG001
        due: Any,  # noqa: ARG001
        trip: Any,
        *_: Any,
    ) -> Any:
        return (miss > 1) & (trip < trips)

    def body(
        rho: Any, _: Any, last: Any, due: Any, trip: Any, *parts: Any
    ) -> tuple[Any, ...]:
        points, duals = parts[:count], parts[count:]
        pull = sum(p - d for p, d in zip(points, duals, strict=True))
        x = first((w / rho + pull) / (1 / rho + count))
        new, left, gap, moved = [], [], 0, 0
        for project, point, dual in zip(others, points, duals, strict=True):
            ahead = 1.6 * x - 0.6 * point + dual
            z = project(ahead)
            new.append(z)
            left.append(ahead - z)
            gap = gap + safe_norm(x - z)
            moved = moved + (z - point)
        size = larger(safe_norm(x), ops.full_like(rho, 1e-30))
        slip = rho * safe_norm(moved)
        miss = larger(
            gap / (close * size), slip / (close * size + close * safe_norm(w) / 8)
        )
        force = larger(rho * safe_norm(sum(left)) + safe_norm(w - x), 1e-30 * rho)
        balance = ops.sqrt((gap / size + 1e-12) / (slip / force + 1e-12))
        balance = smaller(larger(balance, ops.full_like(rho, 0.1)), 10 * rho / rho)
        is_off = (balance > 3) | (balance < 1 / 3)
        is_due = ops.cast(trip >= due, "bool")
        factor = ops.where(is_off & is_due, balance, 1)
        due = ops.where(is_due, (trip * 13) // 10 + 5, due)
        # Sets that do not meet: the gap between them stays.
        stays = (absolute(gap - last) <= 1e-5 * gap) & (gap > 0.01 * size)
        miss = ops.where(stays & ops.cast(trip > 100, "bool"), 0, miss)
        return (
            rho * factor,
            miss,
            gap,
            due,
            trip + 1,
            *new,
            *(d / factor for d in left),
        )

    rho, _, _, _, _, *parts = ops.while_loop(is_open, body, state)
    y = parts[count - 1]
    taken = [rho * dual for dual in parts[count:]]
    return y, (w - y - sum(taken), *taken)
