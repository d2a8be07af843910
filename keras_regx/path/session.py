"""The models that fit a path on one part of the data, and what they are compared by."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_regx.path.data import Data
from keras_regx.path.solver import Solver, Trainer

Weights = list[np.ndarray]


class Session:
    """A model that is trained, one that measures (often the same), and the data.

    Args:
        trainer: What fits.
        gauge: What measures the optimality condition.
        penalized: The penalized variables of the trainer's model.
        loss: Keras loss.
        limit: Most steps of a fit.
    """

    def __init__(
        self,
        trainer: Trainer,
        gauge: Solver,
        penalized: Sequence[Any],
        loss: Any,
        limit: int,
    ) -> None:
        self.trainer = trainer
        self.gauge = gauge
        self.penalties = gauge.penalties
        self.penalized = penalized
        self.loss = loss
        self.data = gauge.data
        self.limit = limit
        self.initial: Weights = trainer.model.get_weights()
        # Weights that multiply each other have a saddle at zero.
        self.may_be_saddle = len(self.penalties) > 1

    @property
    def model(self) -> Any:
        """The model that is fitted."""
        return self.trainer.model

    def residual(self, factor: float) -> float:
        """Return how far the fit that has just ended is from optimal."""
        if self.trainer is self.gauge:
            return self.gauge.residual
        return self.measure(factor)

    def measure(self, factor: float) -> float:
        """Return how far the weights as they are are from optimal."""
        return self.gauge.measure(self.model.get_weights(), factor)[0]

    @cached_property
    def zero(self) -> tuple[Weights, list[Any]]:
        """The best weights with those penalized at zero; minus the gradient there."""
        kept = self.gauge.model.get_weights()
        self.gauge.model.set_weights(self.initial)
        for variable, _ in self.penalties:
            variable.assign(ops.zeros(variable.shape, variable.dtype))
        self.gauge.solve(1.0, 0.0, self.limit, held=True)
        weights = self.gauge.model.get_weights()
        slopes = [ops.copy(slope) for slope in self.gauge.slopes()]
        self.gauge.model.set_weights(kept)
        return weights, [-slope for slope in slopes]

    def parts(self, weights: Weights) -> tuple[float, float]:
        """Return the loss of given weights, and the penalty at factor one."""
        model = self.gauge.model
        kept = model.get_weights()
        model.set_weights(weights)
        loss = mean_loss(model, self.loss, self.data)[0]
        for dial in self.gauge.dials:
            dial.set(0.0)  # What remains are penalties of the model's own.
        loss += float(sum(ops.convert_to_numpy(own) for own in model.losses))
        penalty = sum(float(ops.convert_to_numpy(f(v))) for v, f in self.penalties)
        model.set_weights(kept)
        return loss, penalty

    @cached_property
    def parts_of_zero(self) -> tuple[float, float]:
        """`parts` of `zero`."""
        return self.parts(self.zero[0])

    def prefer_zero(self, factor: float) -> bool:
        """Go to zero if the objective is smaller there; return whether it was."""
        loss, penalty = self.parts(self.model.get_weights())
        at_zero, constant = self.parts_of_zero
        if loss + factor * penalty < at_zero + factor * constant:
            return False
        self.model.set_weights(self.zero[0])
        return True


def mean_loss(model: Any, loss: Any, data: Data) -> tuple[float, float]:
    """Return the loss of a model without penalties, and its standard error."""
    x, y = data
    predicted = ops.convert_to_tensor(model.predict(x, verbose=0))
    if (*y.shape, 1) == tuple(predicted.shape):
        y = y[:, None]
    target = ops.convert_to_tensor(y)
    call = loss.call if isinstance(loss, keras.losses.Loss) else loss
    values = ops.convert_to_numpy(call(target, predicted))
    losses = np.asarray(values, "float64").reshape(len(x), -1).mean(1)
    error = losses.std(ddof=1) / np.sqrt(len(losses)) if len(losses) > 1 else 0.0
    return float(losses.mean()), float(error)
