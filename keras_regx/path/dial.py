"""The factor of a path as a number that compiled steps see and that is set by hand.

The only place where a path touches the way in which strengths are tracked.
"""

from collections.abc import Sequence
from typing import Any

import keras

from keras_regx.callbacks.advance import track
from keras_regx.models import Rule
from keras_regx.optimizers import Proximal
from keras_regx.regularizers import Scheduled


class Dial(Scheduled):
    """A penalty times a number that is set by hand between fits."""

    def __init__(self, regularizer: Any) -> None:
        constant = keras.optimizers.schedules.ExponentialDecay(1.0, 1, 1.0)
        super().__init__(regularizer, constant)
        self._is_advanced = True

    def arguments(self) -> dict[str, Any]:
        """Return the one argument."""
        return {"regularizer": self.regularizer}

    def set(self, value: float) -> None:
        """Set the number."""
        self.state.assign(value)

    def advance_traced(self, step: Any) -> None:
        """Stay where the dial was set."""


def dial_in_loss(model: Any, variables: Sequence[Any], penalty: Any) -> Dial:
    """Add a penalty on these variables to the loss of a model; return its dial."""
    dial = Dial(penalty)
    for variable in variables:
        variable.regularizer = dial
    track(model, [dial])
    return dial


def dials_in_optimizer(
    model: Any, optimizer: Any, pattern: str, penalty: Any
) -> tuple[Any, list[Dial]]:
    """Return `Proximal` around an optimizer, built for a model, and its dials."""
    rules = [Rule(pattern, regularizer=Dial(penalty))]
    proximal = Proximal(optimizer, rules, allow_double=True)
    proximal.build(model.trainable_variables)
    return proximal, list({id(d): d for d in proximal.penalties.values()}.values())
