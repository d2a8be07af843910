"""One fit after another at the factors of a penalty."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from keras_regx._core import validation as check
from keras_regx.models import Rule, Site
from keras_regx.path.checkpoints import Fit, load, save
from keras_regx.path.data import OWNER, Data
from keras_regx.path.dial import dial_in_loss, dials_in_optimizer
from keras_regx.path.result import PathPoint
from keras_regx.path.session import Session, mean_loss
from keras_regx.path.solver import Given, Solver, Trainer
from keras_regx.policy.layout import bind
from keras_regx.regularizers import Regularizer


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

    def session(self, data: Data) -> Session:
        """Return new models for these data: one to be fitted, one that measures."""
        model = self.build()
        penalized = self.penalized(model)
        penalties = [(v, bind(self.penalty, Site.of_variable(v))) for v in penalized]
        measured = "prox" if self.penalty.proximable else "loss"
        gauge = self._solver(model, penalties, data, measured)
        trainer: Trainer = gauge
        if self.optimizer is not None or self.method != measured:
            other = self.build()
            penalized = self.penalized(other)
            other.set_weights(model.get_weights())
            trainer = self._trainer(other, penalized, gauge, data)
        return Session(trainer, gauge, penalized, self.loss, self.steps)

    def _solver(
        self, model: Any, penalties: list[tuple[Any, Any]], data: Data, method: str
    ) -> Solver:
        dials = []
        if method == "loss":
            variables = [variable for variable, _ in penalties]
            dials = [dial_in_loss(model, variables, self.penalty)]
        return Solver(model, penalties, self.loss, data, dials)

    def _trainer(
        self, model: Any, penalized: list[Any], gauge: Solver, data: Data
    ) -> Trainer:
        if self.optimizer is None:
            pairs = [(variable, self.penalty) for variable in penalized]
            return self._solver(model, pairs, data, "loss")
        optimizer = type(self.optimizer).from_config(self.optimizer.get_config())
        if self.method == "prox":
            optimizer, dials = dials_in_optimizer(
                model, optimizer, self.pattern, self.penalty
            )
        else:
            dials = [dial_in_loss(model, penalized, self.penalty)]
        model.compile(optimizer, self.loss)
        return Given(model, gauge, dials, self.batch_size, self.seed)

    def fit(self, trainer: Trainer, factor: float) -> int:
        """Fit from the weights as they are; return the number of steps."""
        return trainer.solve(factor, self.tolerance, self.steps)

    def run(
        self,
        session: Session,
        factors: np.ndarray,
        held_out: Data | None,
        folder: Path | None,
        tick: Callable[[], None],
    ) -> Iterator[PathPoint]:
        """Yield a point per factor; from the folder where it has been fitted before.

        Strongest first. Of a network weakest first: from zero, where several layers
        multiply each other, no gradient leads away.
        """
        model = session.model
        order = list(enumerate(map(float, factors)))
        for index, factor in reversed(order) if session.may_be_saddle else order:
            fit = load(folder, index, factor)
            if fit is None:
                fit = self._fit(session, factor)
                save(folder, index, factor, fit)
            else:
                model.set_weights(fit.weights)
            residual = fit.residual
            if residual is None:
                residual = session.measure(factor)
            score, error = None, None
            if held_out is not None:
                score, error = mean_loss(model, self.loss, held_out)
            yield PathPoint(
                factor=factor,
                weights=model.get_weights(),
                coefficients={
                    v.path: ops.convert_to_numpy(v).copy() for v in session.penalized
                },
                loss=mean_loss(model, self.loss, session.data)[0],
                score=score,
                error=error,
                steps=fit.steps,
                residual=residual,
                converged=residual <= self.tolerance,
            )
            tick()

    def _fit(self, session: Session, factor: float) -> Fit:
        """Fit the model of a session at a factor, from where it is."""
        model = session.model
        if not self.warm_start:
            model.set_weights(session.initial)
        steps = self.fit(session.trainer, factor)
        residual = session.residual(factor)
        if session.may_be_saddle and session.prefer_zero(factor):
            residual = session.measure(factor)
        return Fit(steps, residual, model.get_weights())
