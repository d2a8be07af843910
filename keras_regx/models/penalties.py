"""What each penalty of a model costs now, by name, and their sum."""

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import keras
from keras import ops

from keras_regx import keras_internals as internals
from keras_regx._core import validation as check
from keras_regx._core.config import Configurable, parameters_of
from keras_regx._core.registry import snake_case
from keras_regx.models.sites import free_name, require_weights
from keras_regx.models.tracking import adopt
from keras_regx.regularizers import Scaled, Sum


def penalties(model: Any, x: Any = None, scope: str | None = None) -> dict[str, Any]:
    """Return the penalties of a model by name.

    A name is the variable's path, `Regularizer`, and the penalty's name:
    `EasyNet/fully_connected/kernel/Regularizer/l2`. Penalties of Keras and plain
    functions are seen too. Frozen weights have none, as in `model.losses`, and a
    shared weight is counted once. With inputs, the penalties on activations are
    there as well, `<layer path>/activity/Regularizer/<name>`, as in `model.losses`
    after a call on these inputs.

    Args:
        model: Built model or layer.
        x: Inputs of the model, as it is called on, or `None`. A string in this place
            is the scope.
        scope: Regular expression that a name must begin with (`re.match`), as
            in TensorFlow 1; `None` for all.

    Returns:
        Dictionary from name to scalar tensor, in the order of the weights, then of
        the layers.

    Raises:
        ValueError: If the model is no model or layer, or not built, or the scope
            is no regular expression.

    Example:

    >>> import keras
    >>> import keras_regx
    >>> layer = keras.layers.Dense(1, kernel_initializer="ones",
    ...     kernel_regularizer=keras_regx.regularizers.L2(0.5))
    >>> model = keras.Sequential([keras.Input((4,)), layer], name="net")
    >>> [name.split("/")[-2:] for name in keras_regx.penalties(model)]
    [['Regularizer', 'l2']]
    >>> float(keras_regx.total_penalty(model))
    2.0
    """
    require_weights(model)
    if isinstance(x, str | int | float):  # No inputs: the second argument of before.
        x, scope = None, x
    prefix = "" if scope is None else scope
    matches = check.regular_expression("penalties", "scope", prefix, scope).match
    adopt(model)
    values: dict[str, Any] = {}
    terms = _of_weights(model)
    if x is not None:
        terms = itertools.chain(terms, _of_activations(model, x))
    for path, regularizer, compute in terms:
        base = f"{path}/Regularizer/{display_name(regularizer)}"
        if matches(base):
            value = compute()
            if value is not None and getattr(regularizer, "has_term", True):
                values[free_name(base, values)] = value
    return values


def total_penalty(model: Any, scope: str | None = None) -> Any:
    """Return the sum of the weight penalties of a model: a scalar tensor.

    Args:
        model: Built model or layer.
        scope: Regular expression that a name must begin with; see `penalties`.

    Returns:
        Scalar tensor; 0 where there is no penalty. Differentiable, so that a
        training loop of your own can add it to its loss.
    """
    terms = list(penalties(model, scope=scope).values())
    if not terms:
        return ops.zeros((), keras.config.floatx())
    return sum(terms[1:], start=terms[0])


Term = tuple[str, Any, Callable[[], Any]]


def _of_weights(model: Any) -> Iterator[Term]:
    for variable in model.trainable_weights:
        regularizer = variable.regularizer
        if regularizer is not None:
            yield variable.path, regularizer, partial(regularizer, variable)


def _of_activations(model: Any, x: Any) -> Iterator[Term]:
    for path, regularizer, value in activity_penalties(model, x):
        yield path, regularizer, partial(_same, value)


def _same(value: Any) -> Any:
    return value


def activity_penalties(model: Any, x: Any) -> list[tuple[str, Any, Any]]:
    """Return `(path, regularizer, value)` of each penalty on activations.

    The model is called on `x` as in inference. A value is what Keras adds to the
    losses: the penalty of a layer's output, divided by the number of samples; of a
    layer that is called several times, the sum.
    """
    layers = [
        layer
        for layer in internals.all_layers(model)
        if getattr(layer, "activity_regularizer", None) is not None
    ]
    records = [_Record(layer.activity_regularizer) for layer in layers]
    for layer, record in zip(layers, records, strict=True):
        object.__setattr__(layer, "activity_regularizer", record)
    try:
        model(keras.tree.map_structure(ops.convert_to_tensor, x), training=False)
    finally:
        for layer, record in zip(layers, records, strict=True):
            object.__setattr__(layer, "activity_regularizer", record.regularizer)
    return [
        (f"{layer.path}/activity", record.regularizer, sum(record.values))
        for layer, record in zip(layers, records, strict=True)
        if record.values
    ]


class _Record:
    """Stands in for a penalty on activations, and keeps what it costs."""

    def __init__(self, regularizer: Any) -> None:
        self.regularizer = regularizer
        self.values: list[Any] = []

    def __call__(self, output: Any) -> Any:
        value = self.regularizer(output)
        count = ops.cast(ops.shape(output)[0], value.dtype) if output.shape else 1
        self.values.append(value / count)
        return value


def proximal_penalties(model: Any) -> dict[int, Any]:
    """Return the penalties that the optimizer applies itself, by `id` of variable."""
    return {
        id(variable): penalty
        for optimizer in internals.optimizers_of(model)
        if hasattr(optimizer, "plan")
        for variable, penalty in optimizer.plan.matched
    }


def display_name(regularizer: Any) -> str:
    """Return the name that a listing gives to a penalty or a constraint.

    Example:

    >>> from keras_regx.models.penalties import display_name
    >>> from keras_regx.regularizers import L1L2
    >>> display_name(L1L2()), display_name(abs)
    ('l1_l2', 'abs')
    """
    inner = getattr(regularizer, "shown_as", None)
    if isinstance(regularizer, Scaled):
        inner = regularizer.regularizer
    if inner is not None:
        return display_name(inner)
    if isinstance(regularizer, type) or not hasattr(regularizer, "__name__"):
        return snake_case(type(regularizer).__name__)
    return str(regularizer.__name__).strip("<>")


def shown(obj: Any) -> str | None:
    """Return the short text for a penalty or constraint, as rules are written.

    Example:

    >>> from keras_regx.constraints import MaxNorm
    >>> from keras_regx.models.penalties import shown
    >>> from keras_regx.regularizers import L1, GroupLasso
    >>> shown(L1(1e-4) + 0.5 * GroupLasso(0.01)), shown(MaxNorm(3, axis=(0, 1)))
    ('L1(0.0001) + 0.5 * GroupLasso(0.01)', 'MaxNorm(3.0, axis=(0, 1))')
    """
    if obj is None:
        return None
    if isinstance(obj, Sum):
        return " + ".join(str(shown(member)) for member in obj.regularizers)
    if isinstance(obj, Scaled):
        inner = str(shown(obj.regularizer))
        return f"{obj.factor:g} * " + (f"({inner})" if " + " in inner else inner)
    obj = getattr(obj, "shown_as", obj)
    if isinstance(obj, Sum | Scaled):
        return shown(obj)
    try:
        given = obj.arguments() if isinstance(obj, Configurable) else obj.get_config()
    except (AttributeError, NotImplementedError):  # Functions, classes of others.
        return getattr(obj, "__name__", None) or repr(obj)
    parameters = parameters_of(type(obj))
    texts = []
    for i, (name, value) in enumerate(given.items()):
        if name in parameters and value == parameters[name].default and i > 0:
            continue
        text = _shown_argument(value)
        texts.append(text if i == 0 else f"{name}={text}")
    return f"{type(obj).__name__}({', '.join(texts)})"


def _shown_argument(value: Any) -> str:
    """Return the text for an argument: no long arrays, no digits of float32."""
    if isinstance(value, Configurable):
        return str(shown(value))
    if isinstance(value, keras.optimizers.schedules.LearningRateSchedule):
        return type(value).__name__
    if isinstance(value, list) and value and all(map(callable, value)):
        return f"[{', '.join(map(str, map(shown, value)))}]"
    if isinstance(value, float):
        return repr(float(f"{value:.6g}"))
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:36]} ..."
