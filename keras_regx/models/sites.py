"""Where a model keeps its weights: one `Site` per variable, with layer and slot.

A slot is the stem of the pair of attributes that Keras layers keep their
choices in: `kernel` for `kernel_regularizer` and `kernel_constraint`.
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any

import keras

from keras_regx import keras_internals as internals

# Attributes that list variables without saying what they are for.
_BOOKKEEPING = (
    "_trainable_variables",
    "_non_trainable_variables",
    "_layers",
    "_metrics",
    "_self_unconditional_dependency_names",
)


@dataclass(frozen=True)
class Site:
    """One weight of a model, the layer that owns it, and its slot.

    Attributes:
        variable: The `keras.Variable`.
        path: Its path, such as `block1/conv/kernel`.
        layer: The layer that owns it; None if only the variable is known.
        parents: The layers around that layer, outermost first, without the model.
        slot: Stem of Keras' arguments (`kernel`, `bias`, `recurrent`, ...); the
            name of the attribute for a weight without such arguments.
        holders: The layers that have `<slot>_regularizer` or `<slot>_constraint`.
        active: Whether the model trains it: frozen weights are never penalized.
        state: Whether it is no weight to be trained, such as a moving average.
    """

    variable: Any
    path: str
    layer: Any = None
    parents: tuple[Any, ...] = ()
    slot: str = ""
    holders: tuple[tuple[Any, str], ...] = ()
    active: bool = True
    state: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weight."""
        return tuple(self.variable.shape)

    @classmethod
    def of_variable(cls, variable: Any) -> "Site":
        """Return a site for a variable whose layer is not known."""
        slot = slot_stem(variable.path.rsplit("/", 1)[-1])
        return cls(variable, variable.path, slot=slot, active=variable.trainable)


@dataclass(frozen=True)
class LayerSite:
    """One layer of a model, for what is put on layers: penalties on activations.

    Attributes:
        layer: The layer.
        path: Its path, such as `block1/conv`.
        parents: The layers around it, outermost first, without the model.
    """

    layer: Any
    path: str
    parents: tuple[Any, ...] = ()


def slot_stem(attribute: str) -> str:
    """Return the stem of Keras' arguments: `_kernel` -> `kernel`.

    Example:

    >>> from keras_regx.models.sites import slot_stem
    >>> slot_stem("recurrent_kernel"), slot_stem("_embeddings")
    ('recurrent', 'embeddings')
    """
    return attribute.lstrip("_").removesuffix("_kernel")


def sites(model: Any) -> list[Site]:
    """Return one site per weight of a built model or layer, shared ones once.

    Args:
        model: Built `keras.Model` or layer, of any kind.

    Returns:
        List of `Site` in the order of `model.weights`.

    Raises:
        ValueError: If the model is not built, so that it has no weights yet.

    Example:

    >>> import keras
    >>> from keras_regx.models import sites
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="d")])
    >>> [(site.slot, site.shape) for site in sites(model)]
    [('kernel', (3, 2)), ('bias', (2,))]
    """
    require_weights(model, complete=True)
    owners: dict[int, tuple[Any, tuple[Any, ...]]] = {}
    attributes: dict[int, list[tuple[Any, str]]] = {}
    states: set[int] = set()
    for layer, parents in _walk(model):
        trainable, others = internals.own_variables(layer)
        for variable in trainable:
            owners.setdefault(id(variable), (layer, parents))
        for variable in others:
            owners.setdefault(id(variable), (layer, parents))
            if "float" in variable.dtype:  # Quantized kernels are weights.
                states.add(id(variable))
        for name, variable in _variables_of(layer):
            attributes.setdefault(id(variable), []).append((layer, name))
    active = {id(variable) for variable in model.trainable_weights}
    found = []
    for variable in model.weights:
        layer, parents = owners.get(id(variable), (None, ()))
        slot, holders = _slot(variable, layer, attributes.get(id(variable), []))
        found.append(
            Site(
                variable,
                variable.path,
                layer,
                parents,
                slot,
                holders,
                active=id(variable) in active,
                state=id(variable) in states,
            )
        )
    return found


def layer_sites(model: Any) -> list[LayerSite]:
    """Return one site for each layer inside a model that has an output of its own."""
    return [
        LayerSite(layer, layer.path or layer.name, parents)
        for layer, parents in _walk(model)
        # Models are none: Keras cannot call one inside another with such a penalty.
        if layer is not model
        and not isinstance(layer, keras.Model | keras.layers.InputLayer)
    ]


def keys_of(model: Any) -> dict[int, str]:
    """Return the key of every weight and layer of a model, by its `id`.

    A key is the same in every instance of a model: it says where Keras' files have
    the layer (`layers/dense_1`), and for a weight which attribute of the layer it is
    (`layers/dense_1/kernel`). Names of models and layers do not enter, nor do the
    numbers of weights, which change with LoRA and quantization.
    """
    keys: dict[int, str] = {}
    for path, layer in internals.saved_layers(model):
        keys[id(layer)] = path
        own = {id(v): v for group in internals.own_variables(layer) for v in group}
        named = [(name.lstrip("_"), v) for name, v in _variables_of(layer)]
        taken: set[str] = set()
        for name, variable in [*named, *((v.name, v) for v in own.values())]:
            if id(variable) in own and id(variable) not in keys:
                key = free_name(f"{path}/{name}".lstrip("/"), taken)
                taken.add(key)
                keys[id(variable)] = key
    return keys


def require_weights(model: Any, *, complete: bool = False) -> None:
    """Raise a ValueError unless `model` is a model or layer that has weights.

    With `complete`, unless it has all of them: an unbuilt model may have built layers.
    """
    if not isinstance(model, keras.Layer):
        raise ValueError(  # noqa: TRY004  (as every rejected argument)
            f"Expected a Keras model or layer. Received: {model!r}"
        )
    if not model.built and (complete or not model.weights):
        raise ValueError(
            f"The model {model.name!r} is not built, so it has no weights to look "
            "at. Call it on data, or give it an Input, first."
        )


def free_name(name: str, taken: Container[str]) -> str:
    """Return `name`, with a number at its end if it is taken already."""
    free, count = name, 0
    while free in taken:
        count += 1
        free = f"{name}_{count}"
    return free


def _walk(model: Any) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Yield every layer once, with the layers around it, outermost first."""
    seen: set[int] = set()
    stack: list[tuple[Any, tuple[Any, ...]]] = [(model, ())]
    while stack:
        layer, parents = stack.pop()
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        yield layer, parents
        inside = parents if layer is model else (*parents, layer)
        children = internals.sublayers(layer)
        stack += [(child, inside) for child in reversed(children)]


def _variables_of(layer: Any) -> Iterator[tuple[str, Any]]:
    """Yield the variables that a layer keeps in attributes and containers."""
    for name, value in vars(layer).items():
        if name in _BOOKKEEPING:
            continue
        if isinstance(value, keras.Variable):
            yield name, value
        elif isinstance(value, dict):
            for key, item in value.items():
                if isinstance(item, keras.Variable):
                    yield str(key), item
        elif isinstance(value, list | tuple):
            for item in value:
                if isinstance(item, keras.Variable):
                    yield item.name, item


def _slot(
    variable: Any, layer: Any, attributes: list[tuple[Any, str]]
) -> tuple[str, tuple[tuple[Any, str], ...]]:
    """Return the name of the slot of a variable, and who holds it."""
    holders: list[tuple[Any, str]] = []
    for holder, attribute in attributes:
        name = attribute.lstrip("_")
        # Depthwise layers call their kernel `kernel`, its arguments `depthwise_*`.
        last = "depthwise" if name == "kernel" else name
        for stem in (name, slot_stem(attribute), last):
            if hasattr(holder, f"{stem}_regularizer") or hasattr(
                holder, f"{stem}_constraint"
            ):
                holders.append((holder, stem))
                break
    if holders:
        own = [stem for holder, stem in holders if holder is layer]
        return (own or [holders[0][1]])[0], tuple(holders)
    if attributes:
        return slot_stem(attributes[0][1]), ()
    return slot_stem(variable.name), ()
