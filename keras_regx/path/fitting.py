"""One fit after another at falling factors of a penalty."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import keras
import numpy as np
from keras import ops

from keras_regx._core import validation as check
from keras_regx.models import Rule, Site
from keras_regx.models.tracking import adopt
from keras_regx.optimizers import Proximal
from keras_regx.path.checkpoints import load, save
from keras_regx.path.data import OWNER, Batches, Data
from keras_regx.path.result import PathPoint
from keras_regx.regularizers import Regularizer
from keras_regx.regularizers.scheduled import Strength


class Settle(keras.callbacks.Callback):
    """Ends a fit when 25 steps have changed no weight by more than the tolerance."""

    def __init__(self, tolerance: float) -> None:
        super().__init__()
        self.tolerance = tolerance
        self.taken = 0
        self._before: list[np.ndarray] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Count the step, and compare the weights every 25 steps."""
        self.taken += 1
        if self.tolerance == 0 or self.taken % 25:
            return
        before, self._before = self._before, self.model.get_weights()
        pairs = zip(self._before, before, strict=False)
        moved = [float(np.abs(a - b).max(initial=0.0)) for a, b in pairs]
        largest = max(float(np.abs(w).max(initial=0.0)) for w in self._before)
        if moved and max(moved) <= self.tolerance * max(largest, 1e-12):
            self.model.stop_training = True


@dataclass(frozen=True)
class Fitter:
    """Everything that the fits of one path have in common."""

    build: Callable[[], Any]
    penalty: Regularizer
    pattern: str
    method: str
    loss: Any
    optimizer: Any
    steps: int
    batch_size: int
    tolerance: float
    seed: int
    warm_start: bool

    def penalized(self, model: Any) -> list[Any]:
        """Return the trainable variables of a model that the pattern names."""
        rule = Rule(self.pattern, regularizer=self.penalty)
        variables = model.trainable_variables
        found = [v for v in variables if rule.matches(Site.of_variable(v))]
        if not found:
            paths = ", ".join(v.path for v in variables)
            check.fail(
                OWNER, "pattern", f"one that matches some of: {paths}", self.pattern
            )
        return found

    def strongest(self, data: Data) -> float:
        """Return the smallest factor at which zero penalized weights are optimal.

        The other weights are fitted with the penalized ones held at zero. Then
        zero is optimal from the smallest `c` with `prox_{c f}(-gradient) = 0` on.
        """
        if not self.penalty.proximable:
            _not_defined(f"{type(self.penalty).__name__} has no proximal operator")
        model = self.build()
        penalized = self.penalized(model)
        for variable in penalized:
            variable.assign(ops.zeros(variable.shape, variable.dtype))
            variable.constraint = None
            variable.trainable = False
        if model.trainable_variables:
            self._compile(model, _copy(self.optimizer))
            self.fit(model, data)
        for variable in model.trainable_variables:
            variable.trainable = False
        for variable in penalized:
            variable.trainable = True
        self._compile(model, keras.optimizers.SGD(1.0))
        model.train_on_batch(*data)  # One step of size one: w becomes -gradient.
        steps = [ops.convert_to_tensor(variable) for variable in penalized]
        found = max(self._vanishing(step) for step in steps)
        if found == 0:
            _not_defined("the loss is flat where all penalized weights are zero")
        return found

    def _vanishing(self, step: Any) -> float:
        """Return the smallest factor whose prox takes a tensor to zero."""

        def is_zero(factor: float) -> bool:
            moved = self.penalty.prox(step, factor)
            return not np.any(ops.convert_to_numpy(moved))

        if is_zero(0.0):
            return 0.0
        high = 1.0
        while not is_zero(high):
            high *= 2
            if high > 2.0**60:
                _not_defined("this penalty never makes all weights zero")
        low = 0.0
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (low, middle) if is_zero(middle) else (middle, high)
        return high

    def _compile(self, model: Any, optimizer: Any) -> None:
        model.compile(optimizer, self.loss)

    def run(
        self,
        factors: np.ndarray,
        data: Data,
        held_out: Data | None,
        folder: Path | None,
        tick: Callable[[], None],
    ) -> Iterator[PathPoint]:
        """Yield a point per factor; from the folder where it has been fitted before."""
        model = self.build()
        penalized = self.penalized(model)
        dials = self._attach(model, penalized)
        initial = model.get_weights()
        for index, factor in enumerate(map(float, factors)):
            saved = load(folder, index, factor)
            if saved is None:
                if not self.warm_start:
                    model.set_weights(initial)
                for dial in dials:
                    dial.state.assign(factor)
                taken = self.fit(model, data)
                save(folder, index, factor, taken, model.get_weights())
            else:
                taken, weights = saved
                model.set_weights(weights)
            score, error = (
                (None, None) if held_out is None else self._loss(model, held_out)
            )
            yield PathPoint(
                factor=factor,
                weights=model.get_weights(),
                coefficients={
                    v.path: ops.convert_to_numpy(v).copy() for v in penalized
                },
                loss=self._loss(model, data)[0],
                score=score,
                error=error,
                steps=taken,
            )
            tick()

    def _attach(self, model: Any, penalized: list[Any]) -> list[Strength]:
        """Put the penalty on the model and return the dials that set its factor."""
        optimizer = _copy(self.optimizer)
        dial = Strength(self.penalty)
        if self.method == "prox":
            rules = [Rule(self.pattern, regularizer=dial)]
            optimizer = Proximal(optimizer, rules, allow_double=True)
            optimizer.build(model.trainable_variables)
            self._compile(model, optimizer)
            found = {id(r): r for r in optimizer.penalties.values()}
            return list(found.values())
        for variable in penalized:
            variable.regularizer = dial
        adopt(model)
        self._compile(model, optimizer)
        return [dial]

    def fit(self, model: Any, data: Data) -> int:
        """Train until the weights settle; return the number of steps."""
        batches = Batches(data, self.batch_size, self.steps, self.seed)
        settle = Settle(self.tolerance)
        # One long epoch: beginning one costs far more than a step does.
        model.fit(batches, epochs=1, shuffle=False, verbose=0, callbacks=[settle])
        return settle.taken

    def _loss(self, model: Any, data: Data) -> tuple[float, float]:
        """Return the loss without the penalty, and its standard error."""
        x, y = data
        predicted = ops.convert_to_tensor(model.predict(x, verbose=0))
        if (*y.shape, 1) == tuple(predicted.shape):
            y = y[:, None]
        target = ops.convert_to_tensor(y)
        if isinstance(self.loss, keras.losses.Loss):
            values = self.loss.call(target, predicted)
        else:
            values = self.loss(target, predicted)
        losses = np.asarray(ops.convert_to_numpy(values), "float64").reshape(len(x), -1)
        losses = losses.mean(1)
        error = losses.std(ddof=1) / np.sqrt(len(losses)) if len(losses) > 1 else 0.0
        return float(losses.mean()), float(error)


def _not_defined(reason: str) -> NoReturn:
    """Say why no strongest factor can be computed."""
    check.fail(OWNER, "factors", f"numbers: {reason}", "a count")


def _copy(optimizer: Any) -> Any:
    return type(optimizer).from_config(optimizer.get_config())
