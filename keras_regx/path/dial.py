"""The factor of a path: a strength that compiled steps see and that is set by hand."""

from collections.abc import Sequence
from typing import Any

from keras_regx.models import Rule
from keras_regx.models.tracking import adopt
from keras_regx.optimizers import Proximal
from keras_regx.regularizers.scheduled import Strength


def dial_in_loss(model: Any, variables: Sequence[Any], penalty: Any) -> Strength:
    """Add a penalty on these variables to the loss of a model; return its dial."""
    dial = Strength(penalty)
    for variable in variables:
        variable.regularizer = dial
    adopt(model)
    return dial


def dials_in_optimizer(
    model: Any, optimizer: Any, pattern: str, penalty: Any
) -> tuple[Any, list[Strength]]:
    """Return `Proximal` around an optimizer, built for a model, and its dials."""
    rules = [Rule(pattern, regularizer=Strength(penalty))]
    proximal = Proximal(optimizer, rules, allow_double=True)
    proximal.build(model.trainable_variables)
    return proximal, list({id(d): d for d in proximal.penalties.values()}.values())
