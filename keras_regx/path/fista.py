"""Accelerated proximal gradient steps, as a Keras optimizer that measures itself."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_regx.regularizers.base import Regularizer, unscaled

# It goes on to this share of what is enough, where rounding lets it.
AIM = 1e-4
# A violation is rounded to so much, times curvature and largest weight.
ROUNDING = 1.2e-7
# Curvature is read off gradients: only over a move that rounding cannot imitate.
SMALLEST_MOVE = 1e-5
# The ratio of two norms is below the largest curvature: a little is added.
MARGIN = 1.05
# What has been seen of the curvature counts less with every step, and much less
# where momentum pointed uphill.
FADING, UPHILL = 0.99, 0.9


class InLoss:
    """Stands for a penalty that is part of the loss: nothing is left for a prox."""

    def prox(self, x: Any, step_size: Any) -> Any:  # noqa: ARG002
        """Return `x`."""
        return x


class Fista(keras.optimizers.Optimizer):
    """Minimizes loss + factor f on full batches, and says how far it has come.

        x+ = prox_{t factor f}(y - t g),  g = grad loss(y),  t = 1 / L
        y+ = x+ + (theta - 1) / theta+ (x+ - x)
        theta+ = (1 + sqrt(1 + 4 theta^2)) / 2

    The model's variables hold `y`, where Keras takes the gradient; `x` is kept here.
    Momentum starts anew (`y+ = x+`, `theta+ = 1`) where it points uphill. `L` is the
    largest ratio of a change of the gradient to the change of the weights that has
    been seen, where older ones count a little less. The first step is tiny and
    only measures it.

    The violation of the optimality condition is the prox-gradient map `|y - x+| / t`,
    which is zero exactly at a solution. For `l1 ||w||_1 + l2 ||w||^2`, and without a
    penalty, it is computed without `t`: `max(|g| - l1, 0)` where `w = 0`, else
    `|g + l1 sign(w) + 2 l2 w|`. The optimizer settles, and moves no more, at a `y = x`
    whose largest violation is far below what is enough, or as low as rounding
    allows.

    Weights without a penalty take the same step without a prox; a constraint is
    applied to every `x+`. Whatever changes is a variable, so that one compiled step
    serves all factors; all weights are one long vector, since eager PyTorch pays
    for every operation.

    Args:
        penalty_of: Function from a variable to its penalty, None for no penalty.

    Reference: Beck and Teboulle (2009), SIAM J. Imaging Sci. 2(1); O'Donoghue and
        Candes (2015), Found. Comput. Math. 15 (restarts).
    """

    def __init__(self, penalty_of: Callable[[Any], Any]) -> None:
        super().__init__(learning_rate=0.0, name="fista")
        self._penalty_of = penalty_of

    def build(self, variables: list[Any]) -> None:
        """Create the state: three numbers a weight, what it is, and a few more."""
        if self.built:
            return
        super().build(variables)
        self.x = self._vector("x")
        self.y = self._vector("y")
        self.slope = self._vector("slope")
        kinds = [_kind(variable, self._penalty_of(variable)) for variable in variables]
        self.is_penalized = self._vector("is_penalized", [k[0] for k in kinds])
        self.is_exact = self._vector("is_exact", [k[1] for k in kinds])
        self.l1 = self._vector("l1", [k[2] for k in kinds])
        self.l2 = self._vector("l2", [k[3] for k in kinds])
        self.factor = self._number("factor")
        self.enough = self._number("enough")
        self.held = self._number("held")
        self.curvature = self._number("curvature")
        self.is_guess = self._number("is_guess")
        self.theta = self._number("theta")
        # Whether it has settled, residual over the penalized weights, over all.
        self.outcome = self.add_variable((3,), name="outcome", dtype="float32")

    def _number(self, name: str) -> Any:
        return self.add_variable((), name=name, dtype="float32")

    def _vector(self, name: str, values: list[float] | None = None) -> Any:
        sizes = [int(np.prod(v.shape)) for v in self._trainable_variables]
        vector = self.add_variable((sum(sizes),), name=name, dtype="float32")
        if values is not None:
            vector.assign(np.repeat(np.array(values, "float32"), sizes))
        return vector

    def begin(
        self, factor: float, enough: float, *, held: bool = False, frozen: bool = False
    ) -> None:
        """Start from the weights as they are, with what is known of the curvature.

        Args:
            factor: What multiplies the penalty.
            enough: Violation that is small enough.
            held: Whether the penalized weights stay at zero, whatever the penalty.
            frozen: Whether all weights stay: steps only measure.
        """
        self.factor.assign(factor)
        self.enough.assign(enough)
        self.held.assign(float(held))
        self.theta.assign(1.0)
        self.outcome.assign([float(frozen), 0.0, 0.0])
        self.x.assign(self._flat(self._trainable_variables))

    def forget(self) -> None:
        """Let the next step guess the curvature as if nothing were known."""
        self.curvature.assign(0.0)
        self.is_guess.assign(1.0)

    def rest(self) -> None:
        """Leave the weights at the last `x`, and let steps only measure there."""
        values = self._parts(ops.convert_to_tensor(self.x) + 0)
        for variable, value in zip(self._trainable_variables, values, strict=True):
            variable.assign(value)
        self.theta.assign(1.0)
        self.outcome.assign([1.0, 0.0, 0.0])

    def slopes(self) -> list[Any]:
        """Return the gradient of the loss that the last step saw, by variable."""
        return self._parts(ops.convert_to_tensor(self.slope) + 0)

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Make one step."""
        if not self.built:
            self.build(list(trainable_variables))
        variables = self._trainable_variables
        y = self._flat(variables)
        pairs = zip(variables, grads, strict=True)
        slope = self._flat([ops.zeros_like(v) if g is None else g for v, g in pairs])
        curvature, is_guess = self._curvature(y, slope)
        end = self._end(y - slope / curvature, 1 / curvature)
        residual, violation = self._violation(y, slope, (y - end) * curvature)
        is_near = violation <= self._goal(y, slope, curvature)
        is_plain = self.theta < 1.7  # Of 1, 1.62, 2.19, ...: at the first two y = x.
        settled = ops.logical_or(
            self.outcome[0] > 0, ops.logical_and(is_near, is_plain)
        )
        move = end - self.x
        is_uphill = ops.sum((y - end) * move) > 0
        anew = ops.logical_or(ops.logical_or(is_uphill, is_near), is_guess)
        theta = ops.where(anew, 1.0, (1 + ops.sqrt(1 + 4 * ops.square(self.theta))) / 2)
        momentum = ops.where(anew, 0.0, (self.theta - 1) / theta)
        values = self._parts(ops.where(settled, y, end + momentum * move))
        outcome = ops.stack([ops.cast(settled, "float32"), residual, violation])
        # All new values are known before the first is written: on PyTorch a tensor
        # shares the memory of its variable.
        updates = [
            *zip(variables, values, strict=True),
            (self.x, ops.where(settled, y, end)),
            (self.y, y),
            (self.slope, slope),
            (self.curvature, curvature * ops.where(is_uphill, UPHILL, 1.0)),
            (self.is_guess, ops.cast(is_guess, "float32")),
            (self.theta, theta),
            (self.outcome, outcome),
        ]
        for variable, value in updates:
            variable.assign(value)
        self._iterations.assign_add(1)

    def _flat(self, tensors: list[Any]) -> Any:
        """Return one float32 vector, in memory of its own."""
        flat = [ops.reshape(ops.cast(t, "float32"), (-1,)) for t in tensors]
        return ops.concatenate(flat) if len(flat) > 1 else flat[0] + 0

    def _parts(self, flat: Any) -> list[Any]:
        """Return a vector as tensors like the variables."""
        variables = self._trainable_variables
        ends = np.cumsum([int(np.prod(v.shape)) for v in variables])[:-1]
        parts = ops.split(flat, [int(end) for end in ends]) if len(ends) else [flat]
        return [
            ops.cast(ops.reshape(part, v.shape), v.dtype)
            for part, v in zip(parts, variables, strict=True)
        ]

    def _curvature(self, y: Any, slope: Any) -> tuple[Any, Any]:
        """Return the curvature for this step, and whether it is still a guess."""
        moved, turned, length = _norm(y - self.y), _norm(slope - self.slope), _norm(y)
        old = ops.convert_to_tensor(self.curvature) + 0
        is_first = old <= 0
        # The guess moves the weights by a thousandth, and comes down by and by.
        guess = ops.maximum(_norm(slope) / (1e-3 * ops.maximum(length, 1.0)), 1e-3)
        is_seen = ops.logical_and(
            ops.logical_not(is_first), moved > SMALLEST_MOVE * length
        )
        seen = ops.where(is_seen, MARGIN * turned / ops.maximum(moved, 1e-30), 0.0)
        was_guess = self.is_guess > 0
        # Steps that are too small to see anything by may be so without need.
        is_far = self.outcome[2] > self.enough
        faded = ops.where(was_guess, old / 4, FADING * old)
        faded = ops.where(ops.logical_or(is_seen, is_far), faded, old)
        is_guess = ops.logical_and(was_guess, ops.logical_or(is_first, seen < old / 4))
        return ops.where(is_first, guess, ops.maximum(seen, faded)), is_guess

    def _end(self, moved: Any, step: Any) -> Any:
        """Return the end of a proximal step, from where the gradient has led."""
        ends = self._parts(moved)
        for i, variable in enumerate(self._trainable_variables):
            penalty = self._penalty_of(variable)
            if penalty is not None:
                end = penalty.prox(ends[i], step * self.factor)
                ends[i] = ops.where(self.held > 0, ops.zeros_like(end), end)
            if variable.constraint is not None:
                ends[i] = variable.constraint(ends[i])
        return self._flat(ends)

    def _violation(self, y: Any, slope: Any, gap: Any) -> tuple[Any, Any]:
        """Return the largest violation over the penalized weights, and over all."""
        l1, l2 = self.factor * self.l1, self.factor * self.l2
        at_zero = ops.maximum(ops.abs(slope) - l1, 0)
        elsewhere = ops.abs(slope + l1 * ops.sign(y) + 2 * l2 * y)
        exact = ops.where(ops.equal(y, 0), at_zero, elsewhere)
        violation = ops.where(self.is_exact > 0, exact, ops.abs(gap))
        residual = ops.max(violation * self.is_penalized)
        others = ops.max(violation * (1 - self.is_penalized))
        return residual, ops.maximum(others, ops.where(self.held > 0, 0.0, residual))

    def _goal(self, y: Any, slope: Any, curvature: Any) -> Any:
        """Return the violation at which to settle."""
        rounding = ROUNDING * curvature * ops.max(ops.abs(y))
        goal = ops.maximum(AIM * self.enough, ops.minimum(rounding, self.enough))
        # Held at zero, the gradient over what is held gives the scale.
        scale = 1e-6 * ops.max(ops.abs(slope * self.is_penalized))
        return ops.where(self.held > 0, ops.maximum(scale, rounding), goal)


def _kind(variable: Any, penalty: Any) -> tuple[float, float, float, float]:
    """Return: is it penalized, is its violation a formula, and that one's l1 and l2."""
    known: tuple[float, float] | None = (0.0, 0.0)
    if isinstance(penalty, Regularizer):
        inner, factor = unscaled(penalty)
        known = inner._l1_l2() if isinstance(inner, Regularizer) else None  # noqa: SLF001
        known = None if known is None else (factor * known[0], factor * known[1])
    is_exact = known is not None and variable.constraint is None
    return float(penalty is not None), float(is_exact), *(known or (0.0, 0.0))


def _norm(tensor: Any) -> Any:
    return ops.sqrt(ops.sum(ops.square(tensor)))
