"""Numbers that change during training, in a form that compiled steps can see.

Two places read such a number, and each sees different state:

- a penalty is evaluated with the loss, where the compiled step sees the model's
  variables: `TrackedNumber` is a variable that a layer tracks, set by a callback;
- a constraint is applied by the optimizer, where the compiled step sees the
  optimizer's variables: `StepReader` reads the optimizer's own step count.

A plain Python attribute, or a variable that nothing tracks, would be frozen at
its first value by JAX, silently.
"""

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import keras
from keras import ops

from keras_regx._core.memory import Tenant


class TrackedNumber(Tenant, keras.random.SeedGenerator):
    """A number in a variable that Keras tracks without making it a weight.

    Layers track the state of a `SeedGenerator` in `variables` but not in
    `weights`: compiled steps receive it as an input, `get_weights()` does not
    grow, and plain pretrained weights still load. Nothing here is random.

    Attributes:
        state: The float32 scalar variable.
        is_adopted: Whether a model tracks it, because no layer does.
    """

    state: Any
    is_adopted = False

    def _track(self, initial: Callable[[], Any]) -> None:
        """Create the variable; called from `__init__` of the subclass.

        Args:
            initial: Returns the first value; called where Keras initializes
                variables, outside any function that is being traced.
        """
        self.state = keras.Variable(
            lambda shape, dtype=None: ops.cast(initial(), dtype),  # noqa: ARG005
            shape=(),
            dtype="float32",
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
            name="scheduled_number",
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        copy: Self = type(self).from_config(self.get_config())
        copy.state.assign(ops.convert_to_numpy(self.state))
        memo[id(self)] = copy
        return copy

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.get_config())


def _rebuild(cls: Any, config: dict[str, Any]) -> Any:
    return cls.from_config(config)


@dataclass(frozen=True)
class Moment:
    """When a constraint is applied.

    Attributes:
        is_update: Whether an optimizer applies it, as part of an update.
        step: The number of updates made before this one, if the caller knows it.
    """

    is_update: bool = False
    step: Any = None


NOW = Moment()


class StepReader(Tenant):
    """Reads how many updates have been made.

    An optimizer's call counts by that optimizer: `attach` is called when the
    optimizer is built, by `keras_regx.callbacks.AdvanceSchedules` and by
    `keras_regx.optimizers.Proximal`. The count itself lives in the optimizer, so
    that checkpoints keep it and nothing is counted twice. Any other call stands
    where `set_step` put it, which `keras_regx.advance` calls.
    """

    _optimizer: Any = None
    _step: int | None = None
    _is_only_looking = False

    def attach(self, optimizer: Any) -> bool:
        """Take the count from `optimizer`; return whether that is a change."""
        known = self._attached() is optimizer and self._step is None
        changed = not known or self._is_only_looking
        self._optimizer = weakref.ref(optimizer)
        self._step, self._is_only_looking = None, False
        return changed

    def attach_first(self, optimizer: Any) -> None:
        """Take the count from `optimizer` where there is none, to look at a model."""
        if self._attached() is None:
            self._optimizer, self._is_only_looking = weakref.ref(optimizer), True

    def set_step(self, step: int) -> None:
        """Stand at a step, outside of an optimizer's calls, until it is attached."""
        self._step = step

    def count(self) -> int | None:
        """Return the number of updates made, None where nothing is known about it."""
        step = self.step()
        return None if step is None else int(ops.convert_to_numpy(step))

    def step(self, moment: Moment = NOW) -> Any:
        """Return the number of updates made before this one, an int32 scalar.

        `None` where nothing is known about it.
        """
        if moment.step is not None:
            return ops.cast(moment.step, "int32")
        optimizer = self._attached()
        if self._step is not None and (optimizer is None or not moment.is_update):
            return self._step
        # Whoever advances the model in a loop of their own knows of the count.
        is_told = self._step is not None or not self._is_only_looking
        if optimizer is None or (moment.is_update and not is_told):
            return None
        return ops.cast(optimizer.iterations, "int32")

    def _attached(self) -> Any:
        return None if self._optimizer is None else self._optimizer()

    def __getstate__(self) -> dict[str, Any]:
        state = dict(vars(self))
        for name in ("_optimizer", "_served"):  # Weak references of this process.
            state.pop(name, None)
        return state

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        copy = object.__new__(type(self))
        memo[id(self)] = copy
        vars(copy).update(self.__getstate__())
        return copy
