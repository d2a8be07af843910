"""A penalty whose strength changes during training."""

import math
import sys
import warnings
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_regx._core import validation as check
from keras_regx._core.counter import TrackedNumber
from keras_regx.regularizers.base import Wrapper, register

_KerasSchedule = keras.optimizers.schedules.LearningRateSchedule


@register
class Scheduled(Wrapper, TrackedNumber):
    """A penalty times a number that follows a schedule over the training steps.

        f(x) = schedule(step) g(x),    step = optimizer.iterations

    Train with `keras_regx.callbacks.AdvanceSchedules()`, which sets the number
    before every step; without it the number stays at `schedule(0)`, and a
    training step says so in a warning. `keras_regx.optimizers.Proximal`
    advances the penalties of its own rules and needs no callback.

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

    regularizer: Any
    schedule: Any
    _is_advanced: bool

    def __init__(self, regularizer: Any, schedule: Callable[[Any], Any]) -> None:
        self.regularizer = self._inner(regularizer)
        if isinstance(schedule, type) or not callable(schedule):
            expected = "a LearningRateSchedule or a function from an int to a float"
            check.fail(self, "schedule", expected, schedule)
        self.schedule = schedule
        self._is_advanced = False
        self._track(lambda: schedule(0))

    @property
    def strength(self) -> float:
        """The number that multiplies the penalty now."""
        return float(ops.convert_to_numpy(self.state))

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
        self._is_advanced = True
        self.state.assign(strength)
        return strength

    def advance_traced(self, step: Any) -> None:
        """Set the strength inside a compiled step; used by `Proximal`."""
        self._is_advanced = True
        self.state.assign(ops.cast(self.schedule(step), "float32"))

    def _value(self, x: Any) -> Any:
        if not self._is_advanced and _is_training():
            self._is_advanced = True  # Said once.
            warnings.warn(
                f"Training with {self!r}, which nothing advances: its strength stays "
                f"at schedule(0). Pass `callbacks=[keras_regx.callbacks."
                "AdvanceSchedules()]` to fit.",
                stacklevel=2,
            )
        return ops.cast(self.state, x.dtype) * ops.cast(self.regularizer(x), x.dtype)

    def _prox(self, x: Any, step_size: Any) -> Any:
        return self.regularizer.prox(x, step_size * ops.cast(self.state, x.dtype))

    def __repr__(self) -> str:
        schedule = self.schedule
        if isinstance(schedule, _KerasSchedule):
            config = schedule.get_config().items()
            inner = ", ".join(f"{k}={v!r}" for k, v in config if k != "name")
            name = f"{type(schedule).__name__}({inner})"
        else:
            name = getattr(schedule, "__name__", repr(schedule))
        return f"Scheduled(regularizer={self.regularizer!r}, schedule={name})"

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


def _is_training() -> bool:
    """Return whether a `train_step` of Keras is running or being traced.

    Keras hands a penalty nothing but the weights, so this asks the call stack;
    it is asked only until the schedule is first advanced. Evaluation, Keras'
    symbolic build and a plain call are not training.
    """
    frame = sys._getframe(1)  # noqa: SLF001  (there is no public equivalent as cheap)
    while frame is not None:
        if frame.f_code.co_name.endswith("train_step"):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False
