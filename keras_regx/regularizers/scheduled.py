"""Penalties whose strength changes during training."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_regx._core import validation as check
from keras_regx._core.counter import TrackedNumber
from keras_regx._core.gradient import on_gradient
from keras_regx.regularizers.base import Wrapper, register

_KerasSchedule = keras.optimizers.schedules.LearningRateSchedule


class Strength(Wrapper, TrackedNumber):
    """A penalty times a number that is set by hand.

        f(x) = strength g(x)

    Args:
        regularizer: The penalty `g`: an instance, name, config or callable.
        value: Finite float >= 0, the first strength.

    Call: floating tensor that `g` accepts -> scalar, at the current strength.
    Prox: `prox_{t f} = prox_{(t strength) g}`.
    Gradient: the strength times the gradient of `g`.
    Raises: ValueError naming the argument and the value received.

    Example:

    >>> from keras_regx.regularizers import L1
    >>> from keras_regx.regularizers.scheduled import Strength
    >>> penalty = Strength(L1(1.0), 0.5)
    >>> float(penalty([3.0])), penalty.set(2.0), float(penalty([3.0]))
    (1.5, 2.0, 6.0)
    """

    regularizer: Any

    def __init__(self, regularizer: Any, value: float = 1.0) -> None:
        self.regularizer = self._inner(regularizer)
        self.value = check.number(self, "value", value, minimum=0)
        self._track(lambda: self.value)

    @property
    def strength(self) -> float:
        """The number that multiplies the penalty now."""
        return float(ops.convert_to_numpy(self.state))

    def set(self, value: float) -> float:
        """Set the number from now on, for compiled steps too, and return it."""
        self.state.assign(value)
        return value

    def state_tensors(self) -> dict[str, Any]:
        """Return the variable of the strength."""
        return {"strength": self.state}

    @property
    def entrywise(self) -> bool:
        """Whether the terms of the penalty inside are known."""
        return bool(getattr(self.regularizer, "entrywise", False))

    def _entries(self, x: Any) -> Any:
        terms = self.regularizer._entries(x)  # noqa: SLF001
        return ops.cast(self.state, x.dtype) * terms

    def _value(self, x: Any) -> Any:
        return ops.cast(self.state, x.dtype) * ops.cast(self.regularizer(x), x.dtype)

    def _prox(self, x: Any, step_size: Any) -> Any:
        return self.regularizer.prox(x, step_size * ops.cast(self.state, x.dtype))


@register
class Scheduled(Strength):
    """A penalty times a number that follows a schedule over the training steps.

        f(x) = schedule(step) g(x),    step = optimizer.iterations

    Train with `keras_regx.callbacks.AdvanceSchedules()`, which sets the number
    before every step, or call `keras_regx.advance(model, step)` in a loop of your
    own (`keras_regx.stateless_advance` in a JAX one). Without either the number
    stays at `schedule(0)`, and the first gradient through it says so in a warning.
    `keras_regx.optimizers.Proximal` advances the penalties of its own rules.

    The variables of a model share one strength. Another model whose layers were
    given the same instance gets a copy when it is first looked at.

    Args:
        regularizer: The penalty `g`: an instance, name, config or callable.
        schedule: A `keras.optimizers.schedules.LearningRateSchedule`, or a
            function from an int to a float; a function must be registered with
            Keras for the object to be saved.

    Call: floating tensor that `g` accepts -> scalar, at the current strength.
    Prox: `prox_{t f} = prox_{(t strength) g}`.
    Gradient: the strength times the gradient of `g`.
    Raises: ValueError if the schedule is no schedule, or gives a number that is
        negative or not finite.
    Reference: Goodfellow et al. (2016), Deep Learning, section 7.8.

    Example:

    >>> from keras.optimizers.schedules import PiecewiseConstantDecay
    >>> from keras_regx.regularizers import L2, Scheduled
    >>> penalty = Scheduled(L2(1.0), PiecewiseConstantDecay([10], [0.0, 0.5]))
    >>> float(penalty([1.0, 2.0]))
    0.0
    >>> penalty.advance(11)
    0.5
    >>> float(penalty([1.0, 2.0]))
    2.5
    """

    schedule: Any
    _known: dict[str, bool]  # Shared, as the strength is, by copies for variables.

    def __init__(self, regularizer: Any, schedule: Callable[[Any], Any]) -> None:
        self.regularizer = self._inner(regularizer)
        if isinstance(schedule, type) or not callable(schedule):
            expected = "a LearningRateSchedule or a function from an int to a float"
            check.fail(self, "schedule", expected, schedule)
        self.schedule = schedule
        self._known = {"is_advanced": False}
        self._track(lambda: schedule(0))

    def advance(self, step: int) -> float:
        """Set the strength to that of a training step, and return it.

        Args:
            step: The number of updates made so far.

        Raises:
            ValueError: If the schedule gives a negative number, infinity or NaN.
        """
        value = self.schedule(step)
        if not isinstance(value, int | float):
            value = ops.convert_to_numpy(value)
        strength = float(value)
        if not (math.isfinite(strength) and strength >= 0):
            expected = f"one that gives a finite number >= 0 at step {step}"
            check.fail(self, "schedule", expected, strength)
        self._known["is_advanced"] = True
        return self.set(strength)

    def at(self, step: Any) -> Any:
        """Return the strength of a step that may be traced, as a float32 scalar.

        The strength itself stays: whoever asks puts it where the step reads it.
        """
        self._known["is_advanced"] = True
        if isinstance(step, int) or isinstance(self.schedule, _KerasSchedule):
            return ops.cast(self.schedule(step), "float32")
        expected = "a LearningRateSchedule, for a step that is not a Python int"
        return check.fail(self, "schedule", expected, self.schedule)

    def advance_traced(self, step: Any) -> None:
        """Set the strength inside a compiled step; used by `Proximal`."""
        self.state.assign(self.at(step))

    def _entries(self, x: Any) -> Any:
        terms = super()._entries(x)
        return terms if self._known["is_advanced"] else on_gradient(terms, self._warn)

    def _value(self, x: Any) -> Any:
        value = super()._value(x)
        return value if self._known["is_advanced"] else on_gradient(value, self._warn)

    def _warn(self) -> None:
        if not self._known["is_advanced"]:
            self._known["is_advanced"] = True  # Said once.
            warnings.warn(
                f"Training with {self!r}, which nothing advances: its strength stays "
                "as it is, at first schedule(0). Pass `callbacks=[keras_regx.callbacks."
                "AdvanceSchedules()]` to fit, or call keras_regx.advance(model, step) "
                "in a loop of your own.",
                stacklevel=2,
            )

    def __eq__(self, other: object) -> bool:
        """Compare the penalties and the configurations of the schedules."""
        if not isinstance(other, Scheduled):
            return NotImplemented
        if isinstance(self.schedule, _KerasSchedule):
            same = (
                type(self.schedule) is type(other.schedule)
                and self.schedule.get_config() == other.schedule.get_config()
            )
        else:
            same = self.schedule == other.schedule
        return same and self.regularizer == other.regularizer

    def __hash__(self) -> int:
        return hash((Scheduled, self.regularizer))
