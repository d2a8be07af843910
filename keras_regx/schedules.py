"""Penalties whose strength changes during training, and finding them in a model."""

from collections.abc import Iterator
from typing import Any

from keras_regx._core.counter import parts
from keras_regx.regularizers.scheduled import Scheduled

__all__ = [
    "scheduled_penalties",
]


def scheduled_penalties(model: Any) -> Iterator[tuple[str, Scheduled]]:
    """Yield `(path, penalty)` for every scheduled penalty of a built model.

    Penalties inside sums and multiples are found too. One instance on several
    variables is yielded for each of them.
    """
    for variable in model.trainable_variables:
        for part in parts(getattr(variable, "regularizer", None)):
            if isinstance(part, Scheduled):
                yield variable.path, part
    for layer in model._flatten_layers():  # noqa: SLF001
        for part in parts(getattr(layer, "activity_regularizer", None)):
            if isinstance(part, Scheduled):
                yield f"{layer.path}/activity", part
