"""Lets Keras' saving find the variables that an object of ours holds."""

from typing import Any, ClassVar, Self
from weakref import WeakValueDictionary

from keras.src.saving.keras_saveable import KerasSaveable  # It is not exported.


class Saveable(KerasSaveable):
    """An object whose state, and that of its parts, is saved with the model.

    Keras walks through the attributes of a layer, and into those that are
    saveable. An object with variables writes them in `save_own_variables` and
    reads them in `load_own_variables`; an object that only contains such objects
    needs nothing but this base class.
    """

    def _obj_type(self) -> str:
        return "Loss"  # The kind whose own attribute names Keras skips: none of ours.

    def __reduce__(self) -> Any:
        # Keras' own would save a model; copies and pickles are made from the config.
        return _rebuild, (type(self), self.get_config())

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        copy = _rebuild(type(self), self.get_config())
        memo[id(self)] = copy
        return copy


class PerVariable(Saveable):
    """An object with state of its own for every variable that it serves.

    Keras saves an instance that two layers share with the first of them only, and
    makes two instances of it when it loads. So the config of such an instance names
    its variables, and what the first instance reads is there for the others.

    Name it before the base class whose `get_config` it extends.
    """

    _readers: ClassVar[WeakValueDictionary[Any, Any]] = WeakValueDictionary()
    _shared: tuple[str, ...] = ()

    def _served(self) -> list[str]:
        """Return the paths of the variables that there is state for."""
        raise NotImplementedError

    def _reader(self, store: Any) -> Any:
        """Return the instance that has read, or is to read, the state of this one."""
        if not self._shared:
            return self
        if store.keys():
            self._readers[self._shared] = self
        return self._readers.get(self._shared, self)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, and the variables if there are several."""
        config: dict[str, Any] = super().get_config()
        served = self._served()
        return {**config, "shared": served} if len(served) > 1 else config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build an object from what `get_config` returned."""
        arguments = {name: v for name, v in config.items() if name != "shared"}
        instance: Self = super().from_config(arguments)
        instance._shared = tuple(config.get("shared", ()))
        return instance


def _rebuild(cls: Any, config: dict[str, Any]) -> Any:
    return cls.from_config(config)
