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
from collections.abc import Callable, Iterator
from typing import Any, Self

import keras
from keras import ops

from keras_regx._core.config import Configurable


def parts(obj: Any) -> Iterator[Any]:
    """Yield `obj` and everything it is made of: members of sums, wrapped objects."""
    yield obj
    if isinstance(obj, Configurable):
        try:
            values = obj.arguments().values()
        except NotImplementedError:
            return
        for value in values:
            for item in value if isinstance(value, list | tuple) else (value,):
                if isinstance(item, Configurable):
                    yield from parts(item)


class TrackedNumber(keras.random.SeedGenerator):
    """A number in a variable that Keras tracks without making it a weight.

    Layers track the state of a `SeedGenerator` in `variables` but not in
    `weights`: compiled steps receive it as an input, `get_weights()` does not
    grow, and plain pretrained weights still load. Nothing here is random.

    Attributes:
        state: The float32 scalar variable.
    """

    state: Any

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
        memo[id(self)] = copy
        return copy

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.get_config())


def _rebuild(cls: Any, config: dict[str, Any]) -> Any:
    return cls.from_config(config)


class StepReader:
    """Reads how many updates the optimizer has made.

    `attach` is called by `keras_regx.callbacks.AdvanceSchedules` and by
    `keras_regx.optimizers.Proximal`; the count itself lives in the optimizer,
    so that checkpoints keep it and nothing is counted twice.
    """

    _optimizer: Any = None

    def attach(self, optimizer: Any) -> bool:
        """Take the count from `optimizer`; return whether that is a change."""
        changed = self._attached() is not optimizer
        self._optimizer = weakref.ref(optimizer)
        return changed

    def step(self) -> Any:
        """Return the number of updates made before this one, an int32 scalar.

        `None` where no optimizer has been attached.
        """
        optimizer = self._attached()
        return None if optimizer is None else ops.cast(optimizer.iterations, "int32")

    def _attached(self) -> Any:
        return None if self._optimizer is None else self._optimizer()

    def __getstate__(self) -> dict[str, Any]:
        state = dict(vars(self))
        state.pop("_optimizer", None)
        return state

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        copy = object.__new__(type(self))
        memo[id(self)] = copy
        vars(copy).update(self.__getstate__())
        return copy
