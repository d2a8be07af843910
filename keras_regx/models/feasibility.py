"""Constraints of a whole model: how far it is from them, and the way there."""

from typing import Any

from keras import ops

from keras_regx._core import validation as check
from keras_regx._core.counter import Moment
from keras_regx.constraints.base import Foreign, adapted
from keras_regx.models.sites import free_name, require_weights
from keras_regx.models.tracking import adopt, check_step


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
    adopt(model)
    found: dict[str, float] = {}
    for variable in model.weights:
        if variable.constraint is not None:
            found[free_name(variable.path, found)] = violation(variable)
    return found


def violation(variable: Any) -> float:
    """Return the distance between a variable and the set of its constraint."""
    try:
        distance = adapted(variable.constraint).distance(variable)
    except NotImplementedError:  # Of a chain: how far it moves the weight.
        distance = Foreign(variable.constraint).distance(variable)
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
    adopt(model)
    for variable in model.weights:
        if variable.constraint is not None:
            # On TensorFlow `convert_to_tensor` gives a variable back as it is.
            variable.assign(variable.constraint(variable.value))
    return model


def stateless_project(
    model: Any, trainable_variables: Any, step: Any = None
) -> list[Any]:
    """Return the projected values of the trainable variables: a pure function.

    For loops whose optimizer knows no constraints: optax, `torch.func`, a loop of
    your own. Works under `jit`.

    Args:
        model: Built model.
        trainable_variables: The values of `model.trainable_variables`, in that order.
        step: `None`: each constraint is applied now, as `project` does. Or an int
            or integer scalar, which may be traced, the number of updates made before
            this one: a constraint with a schedule takes `schedule(step)`, and
            `Every(c, n)` applies if update `step + 1` is an n-th one.

    Returns:
        A list like `trainable_variables`.

    Raises:
        ValueError: If the values are not those of the model; or under `jit`, if a
            constraint has never met its weight: call `keras_regx.project(model)` or
            `keras_regx.advance(model, 0)` once before.

    Example:

    >>> import keras
    >>> import keras_regx
    >>> layer = keras.layers.Dense(1, use_bias=False,
    ...     kernel_constraint=keras_regx.constraints.NonNeg())
    >>> model = keras.Sequential([keras.Input((2,)), layer])
    >>> values = [keras.ops.convert_to_tensor([[-1.0], [2.0]])]
    >>> [float(v) for v in keras_regx.stateless_project(model, values)[0][:, 0]]
    [0.0, 2.0]
    """
    require_weights(model)
    check_step("stateless_project", step)
    values = list(trainable_variables)
    variables = model.trainable_variables
    if len(values) != len(variables):
        expected = f"the {len(variables)} values of `model.trainable_variables`"
        received = f"{len(values)} values"
        check.fail("stateless_project", "trainable_variables", expected, received)
    adopt(model)
    moment = Moment(is_update=step is not None, step=step)
    return [
        value
        if variable.constraint is None
        else adapted(variable.constraint).at(ops.convert_to_tensor(value), moment)
        for variable, value in zip(variables, values, strict=True)
    ]
