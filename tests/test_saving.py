"""Models with penalties and constraints, saved and brought back in every way."""

from __future__ import annotations

import copy
import json
import pickle
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest

from keras_regx import constraints as c
from keras_regx import regularizers as r
from tests.backends import BACKEND, as_float64
from tests.data.make_models import build_model, data, numbers, wave
from tests.processes import told

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = Path(__file__).parent / "data"


@keras.saving.register_keras_serializable(package="tests")
class Stretch(keras.layers.Layer):
    """A custom layer that takes a regularizer and a constraint argument."""

    def __init__(
        self, regularizer: Any = None, constraint: Any = None, **kwargs: Any
    ) -> None:
        """Keep the arguments as objects, whatever they were given as."""
        super().__init__(**kwargs)
        self.regularizer = r.get(regularizer)
        self.constraint = c.get(constraint)

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Create one factor per feature."""
        self.factors = self.add_weight(
            name="factors",
            shape=input_shape[-1:],
            initializer="ones",
            regularizer=self.regularizer,
            constraint=self.constraint,
        )

    def call(self, x: Any) -> Any:
        """Return the inputs, feature by feature times a factor."""
        return x * self.factors

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as configurations."""
        return {
            **super().get_config(),
            "regularizer": r.serialize(self.regularizer),
            "constraint": c.serialize(self.constraint),
        }


def custom_model() -> keras.Model:
    """Return a compiled model with a custom layer, built from names."""
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.Flatten(),
            Stretch("l1_l2", "max_norm", name="stretch"),
            Stretch(2.0 * r.L2(0.1), c.MinMaxNorm(0.5, 1.5), name="squeeze"),
            keras.layers.Dense(2),
        ]
    )
    model.set_weights([0.3 * wave(*v.shape) for v in model.weights])
    model.compile(keras.optimizers.SGD(0.01), keras.losses.MeanSquaredError())
    return model


def attachments(model: keras.Model) -> list[Any]:
    """Return all penalties and constraints, in order."""
    return [
        *(v.regularizer for v in model.trainable_variables),
        *(v.constraint for v in model.trainable_variables),
        *(layer.activity_regularizer for layer in model.layers),
    ]


def with_weights_of(model: keras.Model, copied: keras.Model) -> keras.Model:
    """Return `copied`, compiled, with the weights of `model`."""
    copied.set_weights(model.get_weights())
    copied.compile(keras.optimizers.SGD(0.01), keras.losses.MeanSquaredError())
    return copied


def through_file(model: keras.Model, path: Path) -> keras.Model:
    """Save and load."""
    model.save(path)
    return keras.saving.load_model(path)


def through_weights(model: keras.Model, path: Path) -> keras.Model:
    """Save the weights alone and load them into a new model."""
    model.save_weights(path)
    fresh = (
        custom_model() if "stretch" in {v.name for v in model.layers} else build_model()
    )
    fresh.set_weights([np.zeros_like(w) for w in fresh.get_weights()])
    fresh.load_weights(path)
    return fresh


WAYS: dict[str, Callable[[keras.Model, Path], keras.Model]] = {
    "keras": lambda m, folder: through_file(m, folder / "model.keras"),
    "h5": lambda m, folder: through_file(m, folder / "model.h5"),
    "json": lambda m, _: with_weights_of(m, keras.models.model_from_json(m.to_json())),
    "clone": lambda m, _: with_weights_of(m, keras.models.clone_model(m)),
    "pickle": lambda m, _: pickle.loads(pickle.dumps(m)),
    "deepcopy": lambda m, _: copy.deepcopy(m),
    "weights": lambda m, folder: through_weights(m, folder / "model.weights.h5"),
}


@cache
def baseline(name: str) -> dict[str, Any]:
    """Return the numbers of a model that was never saved."""
    return numbers({"build_model": build_model, "custom_model": custom_model}[name]())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "build",
    [
        pytest.param(build_model, id="built_in_layers", marks=pytest.mark.slow),
        pytest.param(custom_model, id="custom_layers"),
    ],
)
def test_round_trip(build: Callable[[], keras.Model], way: str, tmp_path: Path) -> None:
    """Penalties, constraints, weights and loss are the same afterwards."""
    model = build()
    again = WAYS[way](model, tmp_path)
    assert again is not model
    assert attachments(again) == attachments(model)
    before = baseline(build.__name__)
    after = numbers(again)
    for name, expected in before.items():
        np.testing.assert_allclose(after[name], expected, rtol=1e-6, err_msg=name)


@pytest.mark.slow
def test_training_after_loading(tmp_path: Path) -> None:
    """A loaded model trains on as the one that was saved."""
    model = build_model()
    x, y = data()
    model.fit(x, y, verbose=0)
    again = through_file(model, tmp_path / "model.keras")
    for one in (model, again):
        one.fit(x, y, epochs=2, batch_size=2, shuffle=False, verbose=0)
    for ours, theirs in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-6, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("writer", ["jax", "tensorflow", "torch"])
def test_model_of_another_backend(writer: str) -> None:
    """A model saved under each backend evaluates and trains under this one.

    What PyTorch saved is loaded without its optimizer elsewhere: Keras writes
    down PyTorch's own optimizer class, which other backends do not have.
    """
    foreign = writer == "torch" and BACKEND != "torch"
    path = DATA / f"{writer}.keras"
    if foreign and find_spec("torch") is None:
        with pytest.raises(TypeError, match="torch_sgd cannot be imported"):
            keras.saving.load_model(path)
    model = keras.saving.load_model(path, compile=not foreign)
    if foreign:
        model.compile(keras.optimizers.SGD(0.01), keras.losses.MeanSquaredError())
    if BACKEND == "torch":
        model.jit_compile = False  # JAX's True would mean torch.compile: minutes.
    expected = json.loads(path.with_suffix(".json").read_text())
    found = numbers(model)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6, err_msg=name)
    assert attachments(model) == attachments(build_model())
    model.fit(*data(), verbose=0)
    filters = model.get_layer("filters")
    assert filters.kernel.constraint.contains(filters.kernel)


# Fresh processes


FRESH = """
import json, pickle, sys
from pathlib import Path
import keras

folder = Path(sys.argv[1])
layer = keras.saving.load_model(folder / "drop_in.keras").layers[-1]
try:
    keras.saving.load_model(folder / "others.keras")
except Exception as error:
    message = f"{type(error).__name__}: {error}"
else:
    message = ""
forgetful = {
    "penalty": type(layer.kernel_regularizer).__module__,
    "config": layer.kernel_regularizer.get_config(),
    "constraint": type(layer.kernel_constraint).__module__,
    "message": message,
    "imported": "keras_regx" in sys.modules,
}

import keras_regx
from tests.data.make_models import build_model, numbers

weights = build_model()
weights.set_weights([0 * w for w in weights.get_weights()])
weights.load_weights(folder / "model.weights.h5")
architecture = keras.models.model_from_json((folder / "model.json").read_text())
architecture.set_weights(weights.get_weights())
architecture.compile("sgd", "mse")
models = {
    "keras": keras.saving.load_model(folder / "model.keras"),
    "h5": keras.saving.load_model(folder / "model.h5"),
    "pickle": pickle.loads((folder / "model.pickle").read_bytes()),
    "weights": weights,
    "json": architecture,
}
kinds = lambda m: [repr((v.regularizer, v.constraint)) for v in m.trainable_variables]
read = {way: [kinds(m), numbers(m)] for way, m in models.items()}
print(json.dumps({"forgetful": forgetful, "read": read}))
"""


@pytest.fixture(scope="module")
def fresh_process(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what another process found in files that this one wrote.

    It loads models twice: before and after it imports the package.
    """
    folder = tmp_path_factory.mktemp("models")
    for name, regularizer in {
        "drop_in": r.L2(0.25),
        "others": r.L1(0.1) + r.L2(0.25),
    }.items():
        layer = keras.layers.Dense(
            2, kernel_regularizer=regularizer, kernel_constraint=c.MaxNorm(2.0)
        )
        keras.Sequential([keras.Input((3,)), layer]).save(folder / f"{name}.keras")
    model = build_model()
    model.save(folder / "model.keras")
    model.save(folder / "model.h5")
    model.save_weights(folder / "model.weights.h5")
    (folder / "model.json").write_text(model.to_json())
    (folder / "model.pickle").write_bytes(pickle.dumps(model))
    return told(FRESH, str(folder))


@pytest.mark.slow
@pytest.mark.parametrize("way", ["keras", "h5", "pickle", "weights", "json"])
def test_fresh_process(fresh_process: dict[str, Any], way: str) -> None:
    """Another process that imports the package reads every kind of file."""
    model = build_model()
    kinds = [repr((v.regularizer, v.constraint)) for v in model.trainable_variables]
    found_kinds, found = fresh_process["read"][way]
    assert found_kinds == kinds
    expected = json.loads((DATA / f"{BACKEND}.json").read_text())
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6, err_msg=name)


@pytest.mark.slow
def test_process_that_did_not_import_the_package(fresh_process: dict[str, Any]) -> None:
    """Drop-in classes become Keras' own of the same name; others are an error."""
    found = fresh_process["forgetful"]
    assert not found["imported"]
    assert found["penalty"].startswith("keras.")
    assert found["config"] == {"l2": 0.25}
    assert found["constraint"].startswith("keras.")
    assert "Sum" in found["message"]


def test_trained_penalty_equals_the_saved_one(tmp_path: Path) -> None:
    """The penalty of the loaded weights is that of the trained ones."""
    model = custom_model()
    x, y = data()
    model.fit(x, y, verbose=0)
    again = through_file(model, tmp_path / "model.keras")
    ours = [as_float64(loss) for loss in again.losses]
    np.testing.assert_allclose(ours, [as_float64(v) for v in model.losses], rtol=1e-6)
