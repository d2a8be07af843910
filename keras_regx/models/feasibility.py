"""Constraints of a whole model: how far it is from them, and the way there."""

from typing import Any

from keras import ops

from keras_regx.models.sites import free_name, require_weights
from keras_regx.ops.numerics import safe_norm


def violations(model: Any) -> dict[str, float]:
    """Return how far each constrained weight is from its set.

    Keras projects after each optimizer step only: initial weights, loaded
    weights, `set_weights`, averaged and frozen weights may violate their
    constraint.

    Args:
        model: Built model or layer.

    Returns:
        Dictionary from path to Euclidean distance, 0 for a weight in its set,
        for every constrained weight, in the order of the weights.

    Raises:
        ValueError: If the model is no model or layer, or not built.

    Example:

    >>> import keras
    >>> import keras_regx
    >>> layer = keras.layers.Dense(1, kernel_initializer="ones",
    ...     kernel_constraint=keras_regx.constraints.MaxNorm(1.0))
    >>> model = keras.Sequential([keras.Input((4,)), layer], name="net")
    >>> [round(v, 4) for v in keras_regx.violations(model).values()]
    [1.0]
    >>> model = keras_regx.project(model)
    >>> [round(v, 4) for v in keras_regx.violations(model).values()]
    [0.0]
    """
    require_weights(model)
    found: dict[str, float] = {}
    for variable in model.weights:
        if variable.constraint is not None:
            found[free_name(variable.path, found)] = violation(variable)
    return found


def violation(variable: Any) -> float:
    """Return the distance between a variable and the set of its constraint."""
    constraint = _constraint(variable)
    try:
        distance = constraint.distance(variable)
    except (AttributeError, NotImplementedError):  # Keras' own, functions, chains.
        w = ops.convert_to_tensor(variable)
        distance = safe_norm(w - constraint(w))
    return float(ops.convert_to_numpy(distance))


def project(model: Any) -> Any:
    """Make all constrained weights of a model feasible now, frozen ones included.

    Args:
        model: Built model or layer. Its weights are changed in place.

    Returns:
        The model: the same object.

    Raises:
        ValueError: If the model is no model or layer, or not built.

    A constraint that is no projection, such as `MinMaxNorm` with a rate below 1,
    is applied once.
    """
    require_weights(model)
    for variable in model.weights:
        if variable.constraint is not None:
            # On TensorFlow `convert_to_tensor` gives a variable back as it is.
            variable.assign(_constraint(variable)(variable.value))
    return model


def _constraint(variable: Any) -> Any:
    """Return the constraint of a variable, with the anchor of that variable."""
    constraint = variable.constraint
    if hasattr(constraint, "for_variable"):
        return constraint.for_variable(variable)
    return constraint
