"""Accelerated proximal gradient steps, as a Keras optimizer that measures itself."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_regx.regularizers.base import Regularizer, unscaled

Tensors = Sequence[Any]

# Curvature is read off gradients: only over a move that rounding cannot imitate.
SMALLEST_MOVE = 1e-5
# The ratio of two norms is below the largest curvature: a little is added.
MARGIN = 1.05
# What has been seen of the curvature counts less with every step.
FADING = 0.99
# It goes on to this share of what is enough, where rounding lets it.
AIM = 1e-4
# A violation is rounded to so much, times curvature and largest weight.
ROUNDING = 1.2e-7


class InLoss:
    """Stands for a penalty that is part of the loss: nothing is left for a prox."""

    def prox(self, x: Any, step_size: Any) -> Any:  # noqa: ARG002
        """Return `x`."""
        return x


class Fista(keras.optimizers.Optimizer):
    """Minimizes loss + factor f on full batches, and says how far it has come.

        x+ = prox_{t factor f}(y - t grad loss(y)),    t = 1 / L
        y+ = x+ + (theta - 1) / theta+ (x+ - x),       theta+ = (1 + sqrt(1 + 4 theta^2)) / 2

    The model's variables hold `y`, where Keras takes the gradient; `x` is kept here.
    Momentum starts anew (`y+ = x+`) where it points uphill. `L` is the largest ratio
    of a change of the gradient to the change of the weights that has been seen, a
    little less after each new start; the first step is tiny and only measures it.

    What is measured is the prox-gradient map `|y - x+| / t`, zero exactly at a
    solution: for L1 `max(|g| - factor, 0)` at a zero entry and
    `|g + factor sign(w)|` at another. The optimizer settles, and moves no more, where
    the largest entry is at most `target`, without momentum, so that `y = x`.

    Weights that are not penalized take the same step without a prox; a constraint
    is applied to every `x+`. Everything is a variable, so that one compiled step
    serves all factors.

    Args:
        penalty_of: Function from a variable to its penalty, None for no penalty.

    Reference: Beck and Teboulle (2009), SIAM J. Imaging Sci. 2(1); O'Donoghue and
        Candes (2015), Found. Comput. Math. 15 (restarts).
    """

    def __init__(self, penalty_of: Callable[[Any], Any]) -> None:
        super().__init__(learning_rate=0.0, name="fista")
        self._penalty_of = penalty_of

    def build(self, variables: list[Any]) -> None:
        """Create the state: three numbers a weight, and a few more."""
        if self.built:
            return
        super().build(variables)
        self.ends = self.add_optimizer_variables(variables, "end")
        self.points = self.add_optimizer_variables(variables, "point")
        self.slopes = self.add_optimizer_variables(variables, "slope")
        self.factor = self._number("factor")
        self.target = self._number("target")
        self.enough = self._number("enough")
        self.held = self._number("held")
        self.curvature = self._number("curvature")
        self.theta = self._number("theta")
        self.is_rough = self._number("is_rough")
        # Whether it has settled, residual over the penalized weights, over all.
        self.outcome = self.add_variable((3,), name="outcome", dtype="float32")

    def _number(self, name: str) -> Any:
        return self.add_variable((), name=name, dtype="float32")

    def begin(
        self, factor: float, enough: float, *, held: bool = False, frozen: bool = False
    ) -> None:
        """Start from the weights as they are, with what is known of the curvature.

        Args:
            factor: What multiplies the penalty.
            enough: Violation that is small enough. The aim is far below it, as far as
                rounding allows.
            held: Whether the penalized weights stay at zero, whatever the penalty.
            frozen: Whether all weights stay: steps only measure.
        """
        self.factor.assign(factor)
        self.enough.assign(enough)
        self.target.assign(AIM * enough)
        self.held.assign(float(held))
        self.theta.assign(1.0)
        self.outcome.assign([float(frozen), 0.0, 0.0])
        for end, variable in zip(self.ends, self._trainable_variables, strict=True):
            end.assign(ops.convert_to_tensor(variable) + 0)

    def forget(self) -> None:
        """Let the next step measure the curvature as if nothing were known."""
        self.curvature.assign(0.0)
        self.is_rough.assign(1.0)

    def rest(self) -> None:
        """Leave the weights at the last `x`, and let steps only measure there."""
        for end, variable in zip(self.ends, self._trainable_variables, strict=True):
            variable.assign(ops.convert_to_tensor(end) + 0)
        self.theta.assign(1.0)
        self.outcome.assign([1.0, 0.0, 0.0])

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Make one step."""
        if not self.built:
            self.build(list(trainable_variables))
        points = [ops.convert_to_tensor(v) for v in self._trainable_variables]
        slopes = [
            ops.zeros_like(p) if g is None else ops.cast(g, p.dtype)
            for g, p in zip(grads, points, strict=True)
        ]
        curvature, is_rough = self._curvature(points, slopes)
        ends = [
            self._end(v, p - g / ops.cast(curvature, p.dtype), 1 / curvature)
            for v, p, g in zip(self._trainable_variables, points, slopes, strict=True)
        ]
        gaps = [p - e for p, e in zip(points, ends, strict=True)]
        residual, others = self._violations(points, slopes, gaps, curvature)
        violation = ops.maximum(others, ops.where(self.held > 0, 0.0, residual))
        target = self._goal(points, slopes, curvature)
        is_near = violation <= target
        is_plain = self.theta < 1.7  # Of 1, 1.62, 2.19, ...: the first two are at y = x.
        before = self.outcome[0] > 0
        settled = ops.logical_or(before, ops.logical_and(is_near, is_plain))

        moves = [e - ops.convert_to_tensor(x) for e, x in zip(ends, self.ends, strict=True)]
        is_uphill = _dot(gaps, moves) > 0
        anew = ops.logical_or(ops.logical_or(is_uphill, is_near), is_rough > 0)
        theta = ops.where(anew, 1.0, (1 + ops.sqrt(1 + 4 * ops.square(self.theta))) / 2)
        momentum = ops.where(anew, 0.0, (self.theta - 1) / theta)
        new_points = [
            ops.where(settled, p, e + ops.cast(momentum, p.dtype) * m)
            for p, e, m in zip(points, ends, moves, strict=True)
        ]
        new_ends = [
            ops.where(settled, p, e) for p, e in zip(points, ends, strict=True)
        ]
        # Every new value is known before the first is written: on PyTorch tensors
        # share the memory of their variables.
        pairs = [
            *zip(self.points, [p + 0 for p in points], strict=True),
            *zip(self.slopes, slopes, strict=True),
            *zip(self.ends, new_ends, strict=True),
            *zip(self._trainable_variables, new_points, strict=True),
            (self.curvature, curvature * ops.where(is_uphill, 0.9, 1.0)),
            (self.is_rough, is_rough),
            (self.theta, theta),
            (self.outcome, ops.stack([ops.cast(settled, "float32"), residual, violation])),
        ]
        for variable, value in pairs:
            variable.assign(value)
        self._iterations.assign_add(1)

    def _curvature(self, points: Tensors, slopes: Tensors) -> tuple[Any, Any]:
        """Return the curvature for this step, and whether it is still a guess."""
        moved = _norm(_minus(points, self.points))
        turned = _norm(_minus(slopes, self.slopes))
        length = _norm(points)
        old = ops.convert_to_tensor(self.curvature)
        is_first = old <= 0
        is_seen = ops.logical_and(
            moved > SMALLEST_MOVE * length, ops.logical_not(is_first)
        )
        measured = ops.where(is_seen, MARGIN * turned / ops.maximum(moved, 1e-30), 0.0)
        # The guess moves the weights by a thousandth, and comes down by and by.
        guess = ops.maximum(_norm(slopes) / (1e-3 * ops.maximum(length, 1.0)), 1e-3)
        rough = self.is_rough > 0
        falling = ops.where(rough, old / 4, FADING * old)
        is_far = self.outcome[2] > self.enough
        lowest = ops.where(ops.logical_or(is_seen, is_far), falling, old)
        is_rough = ops.logical_and(rough, measured < old / 4)
        is_rough = ops.logical_and(rough, ops.logical_or(is_first, is_rough))
        new = ops.where(is_first, guess, ops.maximum(measured, lowest))
        return new, ops.cast(is_rough, "float32")

    def _end(self, variable: Any, moved: Any, step: Any) -> Any:
        """Return the end of a proximal step of a variable from where it has moved."""
        penalty = self._penalty_of(variable)
        if penalty is not None:
            end = penalty.prox(moved, step * self.factor)
            moved = ops.where(self.held > 0, ops.zeros_like(end), end)
        return moved if variable.constraint is None else variable.constraint(moved)

    def _violations(
        self, points: Tensors, slopes: Tensors, gaps: Tensors, curvature: Any
    ) -> tuple[Any, Any]:
        """Return the largest violation over penalized weights, and over the others."""
        largest: dict[bool, Any] = {True: _scalar(0.0), False: _scalar(0.0)}
        for variable, point, slope, gap in zip(
            self._trainable_variables, points, slopes, gaps, strict=True
        ):
            penalty = self._penalty_of(variable)
            violation = gap * ops.cast(curvature, gap.dtype)
            if variable.constraint is None:
                violation = self._exact(penalty, point, slope, violation)
            is_penalized = penalty is not None
            largest[is_penalized] = ops.maximum(largest[is_penalized], _size(violation))
        return largest[True], largest[False]

    def _exact(self, penalty: Any, point: Any, slope: Any, violation: Any) -> Any:
        """Return the violation where a formula has it, free of the rounding of `y`."""
        if penalty is None or isinstance(penalty, InLoss):
            return slope
        known = l1_l2(penalty)
        if known is None:
            return violation
        l1, l2 = (ops.cast(self.factor * factor, point.dtype) for factor in known)
        at_zero = ops.maximum(ops.abs(slope) - l1, 0)
        elsewhere = slope + l1 * ops.sign(point) + 2 * l2 * point
        return ops.where(point == 0, at_zero, elsewhere)

    def _goal(self, points: Tensors, slopes: Tensors, curvature: Any) -> Any:
        """Return the violation at which to settle: the target, or what rounding leaves.

        Held at zero, the gradient of what is held gives the scale.
        """
        largest = ops.max(ops.stack([_size(point) for point in points]))
        steepest = [
            _size(slope)
            for variable, slope in zip(self._trainable_variables, slopes, strict=True)
            if self._penalty_of(variable) is not None
        ]
        scale = ops.where(self.held > 0, 1e-6 * ops.max(ops.stack(steepest)), 0.0)
        rounding = ops.minimum(ROUNDING * curvature * largest, self.enough)
        return ops.maximum(ops.maximum(self.target, scale), rounding)


def l1_l2(penalty: Any) -> tuple[float, float] | None:
    """Return `(l1, l2)` if the penalty is `l1 ||x||_1 + l2 ||x||^2`, or None."""
    inner, factor = unscaled(penalty)
    known = inner._l1_l2() if isinstance(inner, Regularizer) else None  # noqa: SLF001
    return None if known is None else (factor * known[0], factor * known[1])


def _scalar(value: Any) -> Any:
    return ops.convert_to_tensor(value, "float32")


def _size(tensor: Any) -> Any:
    return ops.cast(ops.max(ops.abs(tensor)), "float32")


def _minus(left: Tensors, right: Tensors) -> list[Any]:
    return [a - ops.convert_to_tensor(b) for a, b in zip(left, right, strict=True)]


def _dot(left: Tensors, right: Tensors) -> Any:
    products = [
        ops.sum(ops.cast(a, "float32") * ops.cast(b, "float32"))
        for a, b in zip(left, right, strict=True)
    ]
    return ops.sum(ops.stack(products))


def _norm(tensors: Tensors) -> Any:
    return ops.sqrt(_dot(tensors, tensors))
