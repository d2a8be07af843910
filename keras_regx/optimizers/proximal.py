"""An optimizer that applies penalties by their proximal operators: exact zeros."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import keras
from keras import ops

from keras_regx._core import validation as check
from keras_regx._core.config import parts
from keras_regx._core.counter import StepReader
from keras_regx._core.registry import PACKAGE
from keras_regx.models import Rule, sites
from keras_regx.models.tracking import end
from keras_regx.optimizers.metric import (
    ADAPTIVE,
    METRICS,
    adaptive_step,
    check_adaptive,
    scalar_step,
)
from keras_regx.optimizers.plan import Plan, check_rules


@keras.saving.register_keras_serializable(package=PACKAGE)
class Proximal(keras.optimizers.Optimizer):
    """Any optimizer on the loss, then the proximal operator of each penalty.

        w <- inner's update of w on the loss alone
        w <- argmin_y f(y) + ||y - w||^2 / (2 t)

    Penalties that are added to the loss come near zero; a proximal step reaches
    it. What is solved depends on the inner optimizer (`lr` is its learning rate
    at that step, with its schedule):

    - SGD, with or without momentum (plain or Nesterov): `t = lr / (1 - momentum)`
      and the fixed point minimizes loss + penalty. (With `t = lr` momentum would
      weaken the penalty by `1 - momentum`.)
    - Adam, AdamW, RMSprop, Adagrad in the adaptive metric: entry i has the step
      `t_i = lr / D_i`, where `D_i`, the root of the averaged squared gradient, is
      what the optimizer divides by. The fixed point minimizes loss + penalty.
      Exact, and available, for penalties that are sums over single entries.
    - Adaptive optimizers in the euclidean metric: `t = lr`, for all penalties. The
      fixed point weights entry i of the penalty's gradient by `D_i`; on a
      deterministic loss `D_i` tends to the gradient itself, so that an L1 with a
      factor below one ends up doing nothing. Prefer SGD for group penalties.
    - Decoupled weight decay of the inner optimizer, `lr * decay * w`, adds
      `decay ||w||^2 / 2` to the objective, times `1 - momentum` under SGD, and in
      the weights `D_i` under AdamW.

    A constraint of a variable is applied once more after its proximal step, so
    it holds; for the elementwise sets the result is the exact step on both.

    Args:
        inner: A Keras optimizer, without `use_ema` and not a
            `LossScaleOptimizer`: the one goes to this class, the other around it.
        rules: List of `keras_regx.Rule` with a proximable `regularizer`; the last
            rule that matches a variable wins, `regularizer=None` exempts it. Rules
            that name a layer, and `axis="units"` of layers whose units are not on
            the last axis, need `bind(model)` before training.
        metric: `"euclidean"`, `"adaptive"`, or `"auto"`: for each variable the
            adaptive one where it is available, else the euclidean.
        allow_double: Boolean. Accept variables that also have a penalty in the
            loss; otherwise that is an error.
        use_ema: Boolean. Average the weights, after the proximal step.
        ema_momentum: Float. Decay of the average.
        ema_overwrite_frequency: Int or None. Overwrite the weights with their
            average every so many updates; at the end of `fit` in any case. An
            average is zero where its penalized weight is; what is written
            satisfies the constraints.
        name: String. Name of the optimizer.

    Gradient accumulation: one proximal step per update, with the inner's rate.
    Raises: ValueError naming the argument and the value received; at the first
        step also for a rule that matches nothing.
    Reference: Combettes and Wajs (2005), Multiscale Model. Simul. 4(4); Duchi and
        Singer (2009), JMLR 10; Yun et al. (2021), NeurIPS (adaptive metrics).

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from keras_regx import Rule
    >>> from keras_regx.optimizers import Proximal
    >>> from keras_regx.regularizers import L1
    >>> inputs = keras.Input((4,))
    >>> model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    >>> x = np.eye(4)
    >>> y = np.array([[3.0], [0.1], [-2.0], [0.0]])
    >>> sgd = keras.optimizers.SGD(0.5)
    >>> rule = Rule("*/kernel", regularizer=L1(0.2))
    >>> model.compile(Proximal(sgd, [rule]), loss="mse")
    >>> history = model.fit(x, y, batch_size=4, epochs=30, verbose=0)
    >>> [float(w) != 0 for w in model.weights[0][:, 0]]
    [True, False, True, False]
    """

    def __init__(
        self,
        inner: Any,
        rules: Sequence[Rule],
        *,
        metric: str = "auto",
        allow_double: bool = False,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        name: str = "proximal",
    ) -> None:
        inner = keras.optimizers.get(inner)
        _check_inner(inner)
        rules = check_rules(rules)
        check.choice("Proximal", "metric", metric, METRICS)
        if metric == "adaptive":
            check_adaptive(inner, rules)
        super().__init__(
            learning_rate=0.0,
            use_ema=check.boolean("Proximal", "use_ema", use_ema),
            ema_momentum=ema_momentum,
            ema_overwrite_frequency=ema_overwrite_frequency,
            name=name,
        )
        self.inner = inner
        self.metric = metric
        self.allow_double = check.boolean("Proximal", "allow_double", allow_double)
        self.plan = Plan(rules)
        self._base = len(self._variables)  # The count and rate of every optimizer.
        self._step: Any = None  # The update in progress, after the inner's part of it.

    @property
    def rules(self) -> list[Rule]:
        """The rules, in order."""
        return list(self.plan.rules)

    @property
    def penalties(self) -> dict[str, Any]:
        """The penalty of each variable by path, once the optimizer is built."""
        return {v.path: r for v, r in self.plan.matched}

    def bind(self, model: Any) -> Self:
        """Look up the rules on a built model, whose layers they may name.

        Without this the rules see the variables alone, which is enough for
        patterns on paths, slots and ranks.

        Returns:
            This optimizer.

        Raises:
            ValueError: If a rule matches nothing.
        """
        self.plan.bind([site for site in sites(model) if site.active])
        return self

    def build(self, variables: list[Any]) -> None:
        """Create the state for `variables` and match the rules to them."""
        if self.built:
            return
        self.plan.build(variables, allow_double=self.allow_double)
        for variable in variables:
            for part in parts(variable.constraint):
                if isinstance(part, StepReader):
                    part.attach(self)
        self.inner.build(variables)
        super().build(variables)

    @property
    def variables(self) -> list[Any]:
        """State of this optimizer and its penalties, then that of the inner one."""
        own, base = self._variables, self._base
        state = self.plan.state()
        return [*own[:base], *state, *own[base:], *self.inner.variables]

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Update the variables: the inner update, then the proximal steps."""
        if not self.built:
            with keras.name_scope(self.name, caller=self):
                self.build(list(trainable_variables))
        variables = trainable_variables
        if variables is None:
            variables = self._trainable_variables
        variables = list(variables)
        self.plan.require_weights()
        before = self.inner.iterations + 0
        rate = ops.convert_to_tensor(self.inner.learning_rate) + 0
        for penalty in self.plan.scheduled():
            penalty.advance_traced(before)
        self.inner.apply(grads, variables)
        updated = None  # Always; under accumulation, at the last micro-batch.
        if self.inner.gradient_accumulation_steps:
            updated = ops.not_equal(self.inner.iterations, before)
        given = {id(variable) for variable in variables}
        with self._after_inner(before):
            self._apply_proximal(given, rate, before + 1, updated)
            if self.use_ema:
                self._average(given, before, updated)

    def _apply_proximal(
        self, given: set[int], rate: Any, count: Any, updated: Any
    ) -> None:
        step = scalar_step(self.inner, rate)
        is_adaptive = self.metric != "euclidean" and isinstance(self.inner, ADAPTIVE)
        for variable, penalty in self.plan.matched:
            if id(variable) not in given:
                continue  # Frozen since the optimizer was built.
            size = step
            if is_adaptive and penalty.separable:
                size = adaptive_step(self.inner, variable, rate, count)
            _assign(variable, penalty.prox(variable, size), updated)
            if variable.constraint is not None:
                _assign(variable, variable.constraint(variable), updated)

    def _average(self, given: set[int], before: Any, updated: Any) -> None:
        frequency = self.ema_overwrite_frequency
        for variable, average in self._averages():
            if id(variable) not in given:
                continue
            momentum = self.ema_momentum * ops.cast(before > 0, average.dtype)
            value = momentum * average + (1 - momentum) * variable
            _assign(average, self._with_zeros_of(variable, value), updated)
            if frequency:
                due = ops.equal((before + 1) % frequency, 0)
                due = due if updated is None else ops.logical_and(due, updated)
                _assign(variable, self._finished(variable, average), due)

    def _averages(self) -> Iterator[tuple[Any, Any]]:
        averages = self._model_variables_moving_average
        for variable, average in zip(self._trainable_variables, averages, strict=True):
            if average is not None:
                yield variable, average

    def _finished(self, variable: Any, average: Any) -> Any:
        """Return an average fit for use: the zeros kept, the constraint satisfied."""
        value = self._with_zeros_of(variable, ops.convert_to_tensor(average) + 0)
        return value if variable.constraint is None else variable.constraint(value)

    def _with_zeros_of(self, variable: Any, average: Any) -> Any:
        """Return an average that is zero where a penalized weight is."""
        if not any(variable is matched for matched, _ in self.plan.matched):
            return average
        is_zero = ops.equal(ops.convert_to_tensor(variable), 0)
        return ops.where(is_zero, ops.zeros_like(average), average)

    def finalize_variable_values(self, var_list: Any) -> None:
        """Write the averages into the weights at the end of training."""
        if self.use_ema and self.built:
            for variable, average in self._averages():
                variable.assign(self._finished(variable, average))
        end(self, var_list)

    @contextmanager
    def _after_inner(self, step: Any) -> Iterator[None]:
        """Let constraints see the count of the update that is being made."""
        self._step = step
        try:
            yield
        finally:
            self._step = None

    @property
    def is_after_inner(self) -> bool:
        """Whether the inner optimizer has made its part of the step in progress."""
        return self._step is not None

    @property
    def iterations(self) -> Any:
        """The number of updates made so far, as the inner optimizer counts them."""
        return self.inner.iterations if self._step is None else self._step

    @property
    def learning_rate(self) -> Any:
        """The learning rate of the inner optimizer."""
        return self.inner.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        self.inner.learning_rate = learning_rate

    @property
    def loss_scale_factor(self) -> Any:
        """The loss scale of the inner optimizer."""
        return self.inner.loss_scale_factor if hasattr(self, "inner") else None

    @loss_scale_factor.setter
    def loss_scale_factor(self, value: Any) -> None:
        if hasattr(self, "inner"):
            self.inner.loss_scale_factor = value

    def scale_loss(self, loss: Any) -> Any:
        """Scale the loss as the inner optimizer asks."""
        return self.inner.scale_loss(loss)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, and the variables that `bind` has looked up."""
        config = {
            "inner": portable(keras.saving.serialize_keras_object(self.inner)),
            "rules": [keras.saving.serialize_keras_object(r) for r in self.rules],
            "metric": self.metric,
            "allow_double": self.allow_double,
            "use_ema": self.use_ema,
            "ema_momentum": self.ema_momentum,
            "ema_overwrite_frequency": self.ema_overwrite_frequency,
            "name": self.name,
        }
        bound = self.plan.config()
        if bound is not None:
            config["bound"] = {
                path: keras.saving.serialize_keras_object(regularizer)
                for path, regularizer in bound.items()
            }
        return config

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Self:
        """Build an optimizer from what `get_config` returned."""
        config = dict(config)

        def load(item: Any) -> Any:
            return keras.saving.deserialize_keras_object(item, custom_objects)

        bound = config.pop("bound", None)
        config["inner"] = load(config["inner"])
        config["rules"] = [load(rule) for rule in config["rules"]]
        optimizer = cls(**config)
        by_path = None if bound is None else {p: load(r) for p, r in bound.items()}
        optimizer.plan.load(by_path)
        return optimizer


def _assign(variable: Any, value: Any, condition: Any) -> None:
    """Assign `value` where the scalar `condition` holds; None means always."""
    if condition is not None:
        value = ops.where(condition, value, ops.convert_to_tensor(variable))
    variable.assign(value)


def portable(config: dict[str, Any]) -> dict[str, Any]:
    """Return an optimizer's config without the class that one backend swapped in.

    Under PyTorch Keras replaces its optimizers by private subclasses and names
    those in the config, which the other backends cannot load.
    """
    if str(config.get("module", "")).startswith("keras.src."):
        return {**config, "module": "keras.optimizers", "registered_name": None}
    return config


def _check_inner(inner: Any) -> None:
    if inner is None:
        check.fail("Proximal", "inner", "a Keras optimizer or its name", inner)
    if isinstance(inner, keras.optimizers.LossScaleOptimizer):
        expected = (
            "an optimizer without loss scaling; put the LossScaleOptimizer outside: "
            "LossScaleOptimizer(Proximal(...))"
        )
        check.fail("Proximal", "inner", expected, inner)
    if isinstance(inner, keras.optimizers.MultiOptimizer):
        expected = (
            "one optimizer; put Proximal inside the MultiOptimizer, as one of those "
            "that it maps variables to"
        )
        check.fail("Proximal", "inner", expected, inner)
    if isinstance(inner, Proximal):
        check.fail("Proximal", "inner", "an optimizer that is not Proximal", inner)
    if inner.use_ema:
        expected = "an optimizer without use_ema; pass use_ema=True to Proximal"
        check.fail("Proximal", "inner", expected, inner)
