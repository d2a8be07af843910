"""Each private name of Keras that is relied on exists, and does what it did."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from keras_regx import keras_internals as internals
from keras_regx._core.counter import TrackedNumber
from keras_regx.regularizers import L2
from keras_regx.regularizers.scheduled import Strength
from tests.data.make_models import wave

if TYPE_CHECKING:
    from pathlib import Path


def model() -> keras.Model:
    """Return a model inside a model, compiled."""
    inner_in = keras.Input((3,))
    inner = keras.Model(inner_in, layers.Dense(2, name="a")(inner_in), name="inner")
    inputs = keras.Input((3,))
    outer = keras.Model(inputs, layers.Dense(1, name="b")(inner(inputs)))
    outer.compile("sgd", "mse")
    return outer


def test_what_layers_are_made_of() -> None:
    """Variables, sublayers, all layers."""
    net = model()
    trainable, others = internals.own_variables(net.get_layer("b"))
    assert [v.name for v in trainable] == ["kernel", "bias"]
    assert not others
    assert net.get_layer("b") in internals.sublayers(net)
    names = [layer.name for layer in internals.all_layers(net)]
    assert {"inner", "a", "b"} <= set(names)


def test_graphs() -> None:
    """The calls of a layer are nodes of the graph of its model."""
    net = model()
    assert internals.is_functional(net)
    assert not internals.is_functional(layers.Dense(1))
    nodes = internals.graph_nodes(net)
    assert any(node in nodes for node in internals.calls_of(net.get_layer("b")))
    sequential = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    assert internals.graph_nodes(sequential)


def test_tracking() -> None:
    """A built layer tracks a number, once, and lets go of it."""
    net, number = model(), Strength(L2(1.0))
    count = len(net.variables)
    internals.track(net, number)
    internals.track(net, number)
    assert len(net.variables) == count + 1
    assert internals.tracked(net) == [number]
    assert isinstance(number, TrackedNumber)
    internals.untrack(net, number)
    assert len(net.variables) == count
    with pytest.raises(ValueError, match="cannot add new elements"):
        net.get_layer("b").more = keras.Variable(1.0)


def test_optimizers() -> None:
    """The count of calls, and the optimizers inside others."""
    net = model()
    assert int(internals.batches_seen(net.optimizer)) == 0
    sgd = keras.optimizers.SGD()
    scaled = keras.optimizers.LossScaleOptimizer(sgd)
    net.compile(scaled, "mse")
    assert list(internals.optimizers_of(net)) == [scaled, sgd]
    mapped = keras.optimizers.OptimizerMap(keras.optimizers.SGD())
    multi = keras.optimizers.MultiOptimizer(mapped)
    net.compile(multi, "mse")
    net.optimizer.build(net.trainable_variables)
    assert len(list(internals.optimizers_of(net))) == 2
    assert not list(internals.optimizers_of(layers.Dense(1)))


@pytest.mark.parametrize(
    ("optimizer", "names"),
    [
        (keras.optimizers.Adam(amsgrad=True), ["velocity", "velocity_hat"]),
        (keras.optimizers.AdamW(), ["velocity"]),
        (keras.optimizers.RMSprop(centered=True), ["velocity", "average_gradient"]),
        (keras.optimizers.Adagrad(), ["accumulator"]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_slots(optimizer: Any, names: list[str]) -> None:
    """What an optimizer keeps about a variable has its shape, and its gradient."""
    first, second = keras.Variable(wave(2)), keras.Variable(wave(3))
    optimizer.build([first, second])
    optimizer.apply([keras.ops.zeros(2), 2.0 * keras.ops.ones(3)], [first, second])
    for name in names:
        slot = internals.slot_of(optimizer, name, second)
        assert tuple(slot.shape) == (3,)
        assert float(keras.ops.convert_to_numpy(slot)[0]) > 0


def test_jit_compile() -> None:
    """It is set for training, and for the next save."""
    net = model()
    internals.set_jit_compile(net, False)
    assert net.jit_compile is False
    assert net.get_compile_config()["jit_compile"] is False


def test_paths_in_files(tmp_path: Any) -> None:
    """The path of each layer is where a file has its weights."""
    net = model()
    net.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        file = h5py.File(io.BytesIO(archive.read("model.weights.h5")))
    for path, layer in internals.saved_layers(net):
        own = [v for group in internals.own_variables(layer) for v in group]
        for i, variable in enumerate(own):
            stored = np.asarray(file[f"{path}/vars/{i}"])
            np.testing.assert_array_equal(stored, keras.ops.convert_to_numpy(variable))


def test_state_of_saving(tmp_path: Any) -> None:
    """A config knows whether it is written to, or read from, a whole file."""
    seen: list[tuple[str, bool, bool]] = []

    @keras.saving.register_keras_serializable(package="internals")
    class Spy(layers.Layer):
        """Notes when its config is asked for."""

        def get_config(self) -> Any:
            seen.append(("get", *flags()))
            return super().get_config()

        @classmethod
        def from_config(cls, config: Any) -> Any:
            seen.append(("from", *flags()))
            return super().from_config(config)

    def flags() -> tuple[bool, bool]:
        return internals.is_in_file("config"), internals.is_in_file("obj")

    net = keras.Sequential([keras.Input((3,)), Spy()])
    net.get_config()
    net.save(tmp_path / "m.keras")
    keras.saving.load_model(tmp_path / "m.keras")
    assert seen[0] == ("get", False, False)
    assert ("get", True, True) in seen  # One scope serves both.
    assert ("from", True, True) in seen
    assert flags() == (False, False)


def test_objects_by_value(tmp_path: Any) -> None:
    """What is serialized by value is no reference, and references come back."""
    texts = []

    @keras.saving.register_keras_serializable(package="internals")
    class Twice(layers.Layer):
        """Serializes one object twice, by value and as it comes."""

        def get_config(self) -> Any:
            penalty = L2(0.5)
            with internals.unshared():
                texts.extend(keras.saving.serialize_keras_object(penalty) for _ in "ab")
            texts.extend(keras.saving.serialize_keras_object(penalty) for _ in "ab")
            return super().get_config()

    keras.Sequential([keras.Input((3,)), Twice()]).save(tmp_path / "m.keras")
    assert ["shared_object_id" in text for text in texts] == [False, False, True, True]


def test_entries_of_files(tmp_path: Any) -> None:
    """An entry knows its path, and the file that it is in."""
    paths = []

    class Door(internals.KerasSaveable):
        """Notes what it is given."""

        def _obj_type(self) -> str:
            return "Loss"

        def save_own_variables(self, store: Any) -> None:
            paths.append(internals.entry_path(store))
            assert internals.weights_file(store) is not None

    net = model()
    object.__setattr__(net, "spy", Door())
    net.save_weights(tmp_path / "m.weights.h5")
    assert paths == ["spy"]


def test_tracing() -> None:
    """JAX says whether it is tracing; the others never do."""
    assert not internals.is_traced_by_jax()
    if keras.backend.backend() == "jax":
        import jax

        assert jax.jit(lambda x: x + internals.is_traced_by_jax())(0) == 1


@pytest.mark.filterwarnings("ignore")
def test_legacy_file(tmp_path: Path) -> None:
    """It is known while a config is written to a legacy file, and only then."""
    seen = []

    @keras.saving.register_keras_serializable("test")
    class Spy(keras.layers.Dense):
        def get_config(self) -> dict[str, object]:
            seen.append(internals.is_in_legacy_file())
            return super().get_config()

    net = keras.Sequential([keras.layers.Input((2,)), Spy(1)])
    keras.saving.save_model(net, str(tmp_path / "m.h5"))
    assert True in seen
    seen.clear()
    net.save(tmp_path / "m.keras")
    assert seen
    assert True not in seen


def test_known_values() -> None:
    """A tensor of an eager call has values; one of a symbolic call has none."""
    seen = []

    @keras.saving.register_keras_serializable(package="internals")
    class Look(layers.Layer):
        """Notes whether its input has values."""

        def call(self, x: Any) -> Any:
            seen.append(internals.is_known(x))
            return x

    layer = Look()
    layer(wave(2, 3))
    assert seen == [True]
    assert not internals.is_known(keras.Input((3,)))
    assert internals.is_known(keras.ops.convert_to_tensor(wave(3)))


def test_override() -> None:
    """One instance has a method of its own, which Keras does not track."""
    layer = layers.Dense(1)
    internals.override(layer, "get_config", lambda original: {**original(), "more": 1})
    assert layer.get_config()["more"] == 1
    assert "more" not in layers.Dense(1).get_config()
    internals.restore(layer, "get_config")
    assert "more" not in layer.get_config()


def test_hooks() -> None:
    """Every model has the property; every optimizer says when training begins."""
    net = model()
    assert type(net.keras_regx).__name__ == "Door"
    assert net.keras_regx is net.keras_regx
    assert internals.carries_in_config(model())
    assert internals.carries_in_config(keras.Sequential())

    @keras.saving.register_keras_serializable(package="internals")
    class Own(keras.Model):
        """A model whose config is its own business."""

        @classmethod
        def from_config(cls, config: Any, custom_objects: Any = None) -> Any:
            return cls(**config)

    assert not internals.carries_in_config(Own())
    optimizer = keras.optimizers.Adam(0.1)
    variable = keras.Variable(wave(3))
    from keras_regx.constraints import AnchorBall

    variable.constraint = AnchorBall(0.1)
    optimizer.build([variable])
    assert variable.constraint.memory is not None
