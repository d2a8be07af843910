"""Lets Keras' saving find the variables that an object of ours holds."""

from typing import Any

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


def _rebuild(cls: Any, config: dict[str, Any]) -> Any:
    return cls.from_config(config)
