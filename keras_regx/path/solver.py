"""Two ways to fit a model at a factor: the default solver, and a user's optimizer."""

from collections.abc import Sequence
from typing import Any, Protocol

import keras
import numpy as np
from keras import ops

from keras_regx.path.data import Batches, Data
from keras_regx.path.fista import Fista, InLoss
from keras_regx.regularizers.scheduled import Strength

# The default solver goes on below the tolerance for so many steps more at most, or
# for twice as many as the tolerance took.
POLISH = 300
# A user's optimizer is looked at whenever it has made so many steps.
EVERY = 25


class Trainer(Protocol):
    """What fits a model at one factor after another."""

    model: Any

    def solve(self, factor: float, tolerance: float, limit: int) -> int:
        """Fit from the weights as they are; return the number of steps."""


class Solver:
    """Fits a model on full batches with `Fista`, and measures any weights.

    Args:
        model: Built model; it is compiled here.
        penalties: `(variable, penalty)`, for each penalized weight.
        loss: Keras loss.
        data: All the data.
        dials: The dials of penalties that are part of the loss.
    """

    def __init__(
        self,
        model: Any,
        penalties: Sequence[tuple[Any, Any]],
        loss: Any,
        data: Data,
        dials: Sequence[Strength] = (),
    ) -> None:
        self.model = model
        self.data = data
        self.dials = dials
        found = {id(v): InLoss() if dials else penalty for v, penalty in penalties}
        self.penalties = penalties
        self.optimizer = Fista(lambda variable: found.get(id(variable)))
        self.optimizer.build(model.trainable_variables)
        self.optimizer.forget()
        model.compile(self.optimizer, loss)
        self.residual = float("nan")  # Of the last fit, over its factor.

    def solve(
        self, factor: float, tolerance: float, limit: int, *, held: bool = False
    ) -> int:
        """Fit from the weights as they are; return the number of steps.

        Ends where the violation of the optimality condition, over all trainable
        weights, is far below `tolerance` times the factor, or at the limit.

        Args:
            factor: What multiplies the penalty.
            tolerance: What is enough, relative to the factor.
            limit: Most steps.
            held: Whether the penalized weights stay where they are, at zero.
        """
        start = self.model.get_weights()
        enough = tolerance * _unit(factor)
        self._begin(factor, enough, held=held)
        last, taken = limit, 0
        while taken < last:
            settled, _, violation = self._step()
            taken += 1
            if settled or not np.isfinite(violation):
                break
            if last == limit and not held and violation <= enough:
                last = min(limit, taken + max(POLISH, 2 * taken))
        self.optimizer.rest()
        _, residual, violation = self._step()
        self.residual = residual / _unit(factor)
        if not violation <= enough:
            self.optimizer.forget()  # The curvature that was seen may be to blame.
        if not np.isfinite(violation):
            self.residual = float("inf")
            self.model.set_weights(start)
        return taken

    def measure(self, weights: Sequence[Any], factor: float) -> tuple[float, float]:
        """Return the violation at given weights, over the factor, in two numbers.

        Returns:
            The largest entry over the penalized weights, and that over all.
        """
        self.model.set_weights(weights)
        self._begin(factor, 0.0, frozen=True)
        if not float(ops.convert_to_numpy(self.optimizer.curvature)):
            self._look()
        _, residual, violation = self._step()
        self.model.set_weights(weights)  # A step changes more than what is trained.
        return residual / _unit(factor), violation / _unit(factor)

    def slopes(self) -> list[Any]:
        """Return the last gradient of the loss over the penalized weights."""
        variables = self.model.trainable_variables
        slopes = zip(variables, self.optimizer.slopes(), strict=True)
        penalized = {id(variable) for variable, _ in self.penalties}
        return [slope for variable, slope in slopes if id(variable) in penalized]

    def _begin(self, factor: float, enough: float, **flags: bool) -> None:
        self.optimizer.begin(factor, enough, **flags)
        for dial in self.dials:
            dial.set(factor)

    def _step(self) -> tuple[bool, float, float]:
        """Make one step: whether it has settled, its residual and its violation."""
        self.model.train_on_batch(*self.data)
        settled, *measured = ops.convert_to_numpy(self.optimizer.outcome).tolist()
        return settled > 0, measured[0], measured[1]

    def _look(self) -> None:
        """Measure the curvature by the gradient at two points, a little apart."""
        self._step()
        variables = self.model.trainable_variables
        slopes = [ops.convert_to_numpy(s) for s in self.optimizer.slopes()]
        before = [ops.convert_to_numpy(v).copy() for v in variables]
        length = max(1.0, _norm(before)) * 1e-3 / max(_norm(slopes), 1e-30)
        for variable, value, slope in zip(variables, before, slopes, strict=True):
            variable.assign(value - length * slope)
        self.optimizer.curvature.assign(1e-6)  # Below what is about to be measured.
        self.optimizer.is_guess.assign(0.0)
        self._step()
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)


class Given:
    """Fits a model with an optimizer of the user's, and looks where it stands.

    Args:
        model: Built and compiled model.
        gauge: What measures, and has the data: a `Solver` of a model of the same form.
        dials: The dials of the penalty.
        batch_size: Samples a step.
        seed: Seed of the batches.
    """

    def __init__(
        self,
        model: Any,
        gauge: Solver,
        dials: Sequence[Strength],
        batch_size: int,
        seed: int,
    ) -> None:
        self.model = model
        self.gauge = gauge
        self.dials = dials
        self.batch_size = batch_size
        self.seed = seed

    def solve(self, factor: float, tolerance: float, limit: int) -> int:
        """Fit from the weights as they are; return the number of steps."""
        for dial in self.dials:
            dial.set(factor)
        batches = Batches(self.gauge.data, self.batch_size, limit, self.seed)
        watch = _Watch(self.gauge, factor, tolerance)
        # One long epoch: beginning one costs far more than a step does.
        self.model.fit(batches, epochs=1, shuffle=False, verbose=0, callbacks=[watch])
        return watch.taken


class _Watch(keras.callbacks.Callback):
    """Ends a fit where the optimality condition is violated by little enough."""

    def __init__(self, gauge: Solver, factor: float, tolerance: float) -> None:
        super().__init__()
        self.gauge = gauge
        self.factor = factor
        self.tolerance = tolerance
        self.taken = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Count the step, and measure now and then."""
        self.taken += 1
        if self.tolerance == 0 or self.taken % EVERY:
            return
        weights = self.model.get_weights()
        if self.gauge.measure(weights, self.factor)[1] <= self.tolerance:
            self.model.stop_training = True


def _unit(factor: float) -> float:
    """Return what residuals are divided by: the factor, unless it is zero."""
    return factor or 1.0


def _norm(arrays: Sequence[Any]) -> float:
    return float(np.sqrt(sum(np.sum(np.square(a, dtype="float64")) for a in arrays)))
