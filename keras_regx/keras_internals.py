"""Every private name of Keras that this package relies on, each as a function.

Keras may rename any of them: `tests/test_keras_internals.py` has one test for each,
on each backend, so that a new release fails there and not in silence. The hooks at
the end are public attributes of public classes, set when this package is imported: a
property of `keras.Model`, by which saving finds what a model remembers; `from_config`,
which reads the policies that a config has; and the first and the last call of every
`keras.optimizers.Optimizer`.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras.src.saving import keras_saveable, saving_lib, serialization_lib
from keras.src.utils import jax_utils
from keras.src.utils.naming import to_snake_case

KerasSaveable: Any = keras_saveable.KerasSaveable

# What layers are made of ----------------------------------------------------------


def own_variables(layer: Any) -> tuple[list[Any], list[Any]]:
    """Return the trainable and the other variables that a layer itself has."""
    return layer._trainable_variables, layer._non_trainable_variables  # noqa: SLF001


def sublayers(layer: Any) -> list[Any]:
    """Return the layers that a layer directly contains."""
    layers: list[Any] = layer._layers  # noqa: SLF001
    return layers


def all_layers(model: Any) -> list[Any]:
    """Return a model or layer and everything inside it."""
    return list(model._flatten_layers())  # noqa: SLF001


def calls_of(layer: Any) -> list[Any]:
    """Return the nodes of the graphs that a layer was called in."""
    nodes: list[Any] = layer._inbound_nodes  # noqa: SLF001
    return nodes


def is_functional(model: Any) -> bool:
    """Return whether a model has a graph of its own."""
    return isinstance(model, keras.Model) and hasattr(model, "_nodes_by_depth")


def graph_nodes(model: Any) -> list[Any]:
    """Return the nodes of the graph of a Functional or Sequential model."""
    is_sequential = isinstance(model, keras.Sequential)
    function = model._functional if is_sequential else model  # noqa: SLF001
    by_depth = function._nodes_by_depth.values()  # noqa: SLF001
    return [node for nodes in by_depth for node in nodes]


# What Keras keeps track of --------------------------------------------------------


def track(layer: Any, number: Any) -> None:
    """Let a layer track the state of a `SeedGenerator`, even once it is built."""
    tracker = layer._tracker  # noqa: SLF001
    locked = tracker.locked
    tracker.unlock()
    if not tracker.is_in_store("seed_generators", number):
        tracker.add_to_store("seed_generators", number)
    if locked:
        tracker.lock()


def untrack(layer: Any, number: Any) -> None:
    """Let a layer no longer track the state of a `SeedGenerator`."""
    layer._tracker.untrack(number)  # noqa: SLF001


def track_only(layer: Any, numbers: list[Any]) -> None:
    """Let a layer track the states of these `SeedGenerator`s, in this order."""
    now = tracked(layer)
    if [id(number) for number in now] != [id(number) for number in numbers]:
        for number in list(now):
            untrack(layer, number)
        for number in numbers:
            track(layer, number)


def tracked(layer: Any) -> list[Any]:
    """Return the `SeedGenerator`s that a layer itself tracks."""
    generators: list[Any] = layer._seed_generators  # noqa: SLF001
    return generators


def batches_seen(optimizer: Any) -> Any:
    """Return the count of an optimizer's calls, micro-batches included."""
    return optimizer._iterations  # noqa: SLF001


def optimizers_of(model: Any) -> Iterator[Any]:
    """Yield the optimizer of a compiled model and those inside it, outermost first."""
    stack = [getattr(model, "optimizer", None)]
    while stack:
        optimizer = stack.pop()
        if optimizer is not None:
            yield optimizer
            inner = [getattr(optimizer, n, None) for n in ("inner_optimizer", "inner")]
            stack += [*inner, *getattr(optimizer, "_inner_optimizers", ())]


_SLOTS = {
    "velocity": "_velocities",
    "velocity_hat": "_velocity_hats",
    "average_gradient": "_average_gradients",
    "accumulator": "_accumulators",
}


def slot_of(optimizer: Any, name: str, variable: Any) -> Any:
    """Return what an optimizer keeps about a variable: `"velocity"`, and so on."""
    index = optimizer._get_variable_index(variable)  # noqa: SLF001
    return getattr(optimizer, _SLOTS[name])[index]


def set_jit_compile(model: Any, value: Any) -> None:
    """Set `jit_compile` (None: to be decided), also for the next save."""
    model.jit_compile = value
    if hasattr(model, "_compile_config"):
        model._compile_config.config["jit_compile"] = model.jit_compile  # noqa: SLF001


# How Keras saves ------------------------------------------------------------------


def saved_layers(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield every layer once, with the path under which files have its weights.

    Keras' own walk: it does not read names, which may differ from one instance of a
    model to the next, but attributes, positions and classes.
    """
    yield from _visit(model, "", set())


def _visit(layer: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    if id(layer) in seen:
        return
    seen.add(id(layer))
    yield path, layer
    for name, child in saving_lib._walk_saveable(layer):  # noqa: SLF001
        below = f"{path}/{name}".lstrip("/")
        if isinstance(child, keras.Layer):
            yield from _visit(child, below, seen)
        elif isinstance(child, list | dict | tuple):
            yield from _visit_container(child, below, seen, [])


def _visit_container(
    container: Any, path: str, seen: set[int], around: list[Any]
) -> Iterator[tuple[str, Any]]:
    if any(container is other for other in around):
        return
    around.append(container)
    used: dict[str, int] = {}
    for item in container.values() if isinstance(container, dict) else container:
        is_container = isinstance(item, list | dict | tuple)
        if not is_container and not isinstance(item, KerasSaveable):
            continue
        name = "container" if is_container else to_snake_case(type(item).__name__)
        below = f"{path}/{saving_lib._get_unique_name(name, used)}"  # noqa: SLF001
        if is_container:
            yield from _visit_container(item, below, seen, around)
        elif isinstance(item, keras.Layer):
            yield from _visit(item, below, seen)


def entry_path(store: Any) -> str:
    """Return the path of the entry that a weights file was last asked for."""
    return str(getattr(store, "_h5_entry_path", None) or "")


def weights_file(store: Any) -> Any:
    """Return the open HDF5 file behind an entry of a weights file, or None."""
    return getattr(store, "h5_file", None)


def is_in_file(kind: str) -> bool:
    """Return whether a config is being written to, or read from, a whole file.

    Args:
        kind: `"config"` while one is written, `"obj"` while one is read.
    """
    name = f"shared_objects/id_to_{kind}_map"
    state = serialization_lib.global_state.get_global_attribute(name)
    return state is not None


def is_in_legacy_file() -> bool:
    """Return whether configs are being written to a legacy HDF5 file."""
    return bool(
        serialization_lib.global_state.get_global_attribute("use_legacy_config")
    )


def is_traced_by_jax() -> bool:
    """Return whether JAX is tracing: what is computed now must not be kept."""
    return bool(jax_utils.is_in_jax_tracing_scope())


@contextmanager
def unshared() -> Iterator[None]:
    """Let objects be serialized by value for a while.

    In a whole file Keras writes an object that it has seen before as a reference to it,
    and tells objects by their `id`: a temporary one may have that of one that is gone.
    """
    state = serialization_lib.global_state
    names = [f"shared_objects/id_to_{kind}_map" for kind in ("obj", "config")]
    before = [state.get_global_attribute(name) for name in names]
    for name in names:
        state.set_global_attribute(name, None)
    try:
        yield
    finally:
        for name, value in zip(names, before, strict=True):
            state.set_global_attribute(name, value)


def is_known(x: Any) -> bool:
    """Return whether a tensor has values now, and is no placeholder of a trace."""
    if isinstance(x, keras.KerasTensor) or is_traced_by_jax():
        return False
    return keras.config.backend() != "tensorflow" or hasattr(x, "numpy")


# Hooks ----------------------------------------------------------------------------


def override(obj: Any, name: str, function: Callable[..., Any]) -> None:
    """Let one instance of a layer have a method of its own, untracked.

    `function` is called with the method that it replaces, and its arguments.
    """
    if name not in vars(obj):
        original = getattr(type(obj), name).__get__(obj)
        method = functools.wraps(original)(functools.partial(function, original))
        object.__setattr__(obj, name, method)


def restore(obj: Any, name: str) -> None:
    """Take an instance's own method away again."""
    if name in vars(obj):
        object.__delattr__(obj, name)


def save_with_models(name: str, door: Callable[[Any], Any]) -> None:
    """Let saving and loading find `door(model)`, a `KerasSaveable`, on every model.

    A model keeps its own: Keras tells what it has visited by `id`, and the next of two
    that live for a moment may have that of the first. Names with two underscores are
    not visited.
    """

    def kept(model: Any) -> Any:
        if "__keras_regx" not in vars(model):
            object.__setattr__(model, "__keras_regx", door(model))
        return vars(model)["__keras_regx"]

    setattr(keras.Model, name, property(kept))


def written_to_config(config: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    """Return the config of a Functional or Sequential model with one more entry.

    Keras passes over a key that it does not know. A file, which may be read where this
    package is not imported, has the entry as a layer instead: an error that names it.
    """
    if not is_in_file("config") or "layers" not in config:
        return {**config, name: value}
    entry = {
        "module": name,
        "class_name": "ModelWithPolicy",
        "registered_name": f"{name}>ModelWithPolicy",
        "name": name,
        "config": value,
        "inbound_nodes": [],
    }
    return {**config, "layers": [*config["layers"], entry]}


def read_from_configs(name: str, read: Callable[[Any, Any], None]) -> None:
    """Call `read(model, value)` when a model is made of a config that has an entry.

    Of Functional and Sequential models; see `carries_in_config`.
    """
    for cls in (keras.Model, keras.Sequential):
        original = cls.from_config.__func__

        def from_config(
            cls: Any,
            config: Any,
            custom_objects: Any = None,
            *,
            _original: Any = original,
        ) -> Any:
            config = dict(config)
            value = config.pop(name, None)
            layers = config.get("layers")
            if isinstance(layers, list) and layers and layers[-1].get("module") == name:
                value = layers[-1]["config"]
                config["layers"] = layers[:-1]
            model = _original(cls, config, custom_objects)
            if value is not None:
                read(model, value)
            return model

        hooked = functools.wraps(original)(from_config)
        cls.from_config = classmethod(hooked)
        _FROM_CONFIG.append(hooked)


_FROM_CONFIG: list[Any] = []


def carries_in_config(model: Any) -> bool:
    """Return whether the config of a model is read by `read_from_configs`."""
    is_known = isinstance(model, keras.Sequential) or is_functional(model)
    return is_known and type(model).from_config.__func__ in _FROM_CONFIG


def on_training(
    begin: Callable[[Any, list[Any]], None], end: Callable[[Any, list[Any]], None]
) -> None:
    """Call `begin(optimizer, variables)` when an optimizer has been built, and `end`.

    The first is before any update, in every loop that uses a Keras optimizer; the
    last when `fit` has written the final values.
    """
    optimizer: Any = keras.optimizers.Optimizer
    build, finalize = optimizer.build, optimizer.finalize_variable_values

    @functools.wraps(build)
    def build_and_begin(self: Any, variables: Any, *args: Any, **kwargs: Any) -> Any:
        result = build(self, variables, *args, **kwargs)
        begin(self, list(variables))
        return result

    @functools.wraps(finalize)
    def finalize_and_end(self: Any, var_list: Any) -> Any:
        result = finalize(self, var_list)
        end(self, list(var_list))
        return result

    optimizer.build = build_and_begin
    optimizer.finalize_variable_values = finalize_and_end
