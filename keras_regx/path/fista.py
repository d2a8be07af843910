"""Accelerated proximal gradient steps, as a Keras optimizer that measures itself."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

Tensors = Sequence[Any]

# Curvature is read off gradients: only over a move that rounding cannot imitate.
SMALLEST_MOVE = 3e-5
# The ratio of two norms is below the largest curvature: a little is added.
MARGIN = 1.05


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
        self.held = self._number("held")
        self.curvature = self._number("curvature")
        self.theta = self._number("theta")
        self.is_rough = self._number("is_rough")
        # Whether it has settled, residual over the penalized weights, over all.
        self.outcome = self.add_variable((3,), name="outcome", dtype="float32")

    def _number(self, name: str) -> Any:
        return self.add_variable((), name=name, dtype="float32")

    def begin(
        self, factor: float, target: float, *, held: bool = False, frozen: bool = False
    ) -> None:
        """Start from the weights as they are, with what is known of the curvature.

        Args:
            factor: What multiplies the penalty.
            target: Violation at which to settle.
            held: Whether the penalized weights stay at zero, whatever the penalty.
            frozen: Whether all weights stay: steps only measure.
        """
        self.factor.assign(factor)
        self.target.assign(target)
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
        residual, violation, target = self._violations(gaps, slopes, curvature)
        target = self._floor(target, points, curvature)
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
        lowest = ops.where(ops.logical_and(rough, is_seen), old / 4, old)
        is_rough = ops.logical_and(rough, measured < old / 4)
        is_rough = ops.logical_and(rough, ops.logical_or(is_first, is_rough))
        new = ops.where(is_first, guess, ops.maximum(measured, lowest))
        return new, ops.cast(is_rough, "float32")

    def _floor(self, target, points, curvature):
        largest = [ops.max(ops.abs(p)) for p in points]
        return ops.maximum(target, 1.2e-7 * curvature * ops.max(ops.stack(largest)))

    def _end(self, variable: Any, moved: Any, step: Any) -> Any:
        """Return the end of a proximal step of a variable from where it has moved."""
        penalty = self._penalty_of(variable)
        if penalty is not None:
            end = penalty.prox(moved, step * self.factor)
            moved = ops.where(self.held > 0, ops.zeros_like(end), end)
        return moved if variable.constraint is None else variable.constraint(moved)

    def _violations(
        self, gaps: Tensors, slopes: Tensors, curvature: Any
    ) -> tuple[Any, Any, Any]:
        """Return the residual over penalized weights, that over all, and the target."""
        penalized, others, steepest = 0.0, 0.0, 0.0
        for variable, gap, slope in zip(
            self._trainable_variables, gaps, slopes, strict=True
        ):
            largest = ops.cast(ops.max(ops.abs(gap)), "float32") * curvature
            if self._penalty_of(variable) is None:
                others = ops.maximum(others, largest)
            else:
                penalized = ops.maximum(penalized, largest)
                steepest = ops.maximum(
                    steepest, ops.cast(ops.max(ops.abs(slope)), "float32")
                )
        others, penalized = _scalar(others), _scalar(penalized)
        is_held = self.held > 0
        everywhere = ops.where(is_held, others, ops.maximum(others, penalized))
        # Held at zero, the gradient of what is held gives the scale.
        target = ops.maximum(self.target, ops.where(is_held, 1e-4 * _scalar(steepest), 0.0))
        return penalized, everywhere, target


def _scalar(value: Any) -> Any:
    return ops.convert_to_tensor(value, "float32")


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
