"""Configuration, representation and equality, all derived from `__init__`."""

import inspect
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Self

import keras

_signature = lru_cache(maxsize=1024)(inspect.signature)


def parameters_of(cls: type) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a class; models ask for those of a few, often."""
    return _signature(cls).parameters


class Configurable:
    """Keeps every `__init__` argument under its own name, and nothing else.

    A subclass stores each argument as a plain Python value (or as another
    serializable Keras object) and gets `get_config`, `from_config`, `repr`,
    `==` and `hash` from here. Instances hold no tensors, so one may be built
    inside a traced function or on one device and used on another.
    """

    # NumPy scalars leave `np.float32(2) * obj` to `obj.__rmul__`.
    __array_ufunc__ = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "call" in vars(cls) and "__call__" not in vars(cls):
            raise TypeError(
                f"{cls.__name__} defines `call`, which Keras never uses: the "
                "object would do nothing, silently. Define `__call__` instead."
            )

    @classmethod
    def argument_names(cls) -> tuple[str, ...]:
        """Return the names of the `__init__` arguments, in order."""
        variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        parameters = parameters_of(cls).values()
        return tuple(p.name for p in parameters if p.kind not in variadic)

    def arguments(self) -> dict[str, Any]:
        """Return the `__init__` arguments by name, as they were stored.

        Raises:
            NotImplementedError: If a subclass did not keep one of them.
        """
        names = self.argument_names()
        missing = [name for name in names if not hasattr(self, name)]
        if missing:
            raise NotImplementedError(
                f"{type(self).__name__} does not keep its argument `{missing[0]}` as "
                f"`self.{missing[0]}`. Keep it, or override `get_config`."
            )
        return {name: getattr(self, name) for name in names}

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild this object, as plain JSON values."""
        return {name: _serialize(value) for name, value in self.arguments().items()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build an object from what `get_config` returned."""
        return cls(**{name: _deserialize(value) for name, value in config.items()})

    def __repr__(self) -> str:
        try:
            arguments = self.arguments()
        except NotImplementedError:
            return f"<{type(self).__name__}>"
        inner = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        return f"{type(self).__name__}({inner})"

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(self) is not type(other) or not isinstance(other, Configurable):
            return NotImplemented
        try:
            return self.arguments() == other.arguments()
        except NotImplementedError:
            return False

    def __hash__(self) -> int:
        try:
            return hash((type(self), _freeze(self.arguments())))
        except (NotImplementedError, TypeError):
            return hash(type(self))


def _serialize(value: Any) -> Any:
    """Return `value` as JSON: tuples become lists, objects their Keras config."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_serialize(item) for item in value]
    return keras.saving.serialize_keras_object(value)


def _deserialize(value: Any) -> Any:
    """Reverse `_serialize`."""
    if isinstance(value, dict) and "class_name" in value:
        return keras.saving.deserialize_keras_object(value)
    if isinstance(value, list):
        return [_deserialize(item) for item in value]
    return value


def _freeze(value: Any) -> Any:
    """Return a hashable value that is equal for equal arguments."""
    if isinstance(value, dict):
        return tuple((name, _freeze(item)) for name, item in value.items())
    if isinstance(value, list | tuple):
        return tuple(_freeze(item) for item in value)
    return value
