"""What keeps a policy: files, JSON, clones, copies, pickles, fresh processes."""

from __future__ import annotations

import copy
import json
import pickle
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from keras import layers

import keras_regx
from keras_regx import Policy, Rule, constraints, penalties, regularizers, total_penalty
from keras_regx.models import policies
from tests import zoo
from tests.backends import BACKEND, as_float64
from tests.data.make_models import policy_numbers, wave
from tests.processes import told

if TYPE_CHECKING:
    from collections.abc import Callable

POLICY = Policy(
    [
        Rule(rank=[2, 3, 4], regularizer=regularizers.L2(0.25)),
        Rule("*/query/kernel", regularizer=regularizers.L1(0.5)),
        Rule(slot="scale", regularizer=regularizers.L1(1.0)),
        Rule(slot="bias", constraint=constraints.MaxNorm(2.0, axis="units")),
        Rule(predicate=lambda v, _: v.shape[-1] == 2, constraint="non_neg"),
    ]
)
DATA = Path(__file__).parent / "data"
MODELS = pytest.mark.parametrize("make", zoo.ZOO.values(), ids=zoo.ZOO)


def costs(model: keras.Model) -> list[tuple[str, float]]:
    """Return the kind and the value of every penalty, and what is constrained."""
    kinds = [name.rsplit("/", 1)[1] for name in penalties(model)]
    values = [round(float(v), 4) for v in penalties(model).values()]
    return list(zip(kinds, values, strict=True))


def held(model: keras.Model) -> list[str]:
    """Return the constraint of every weight."""
    return [repr(w.constraint) for w in model.weights]


def through_file(model: keras.Model, folder: Path) -> keras.Model:
    """Save to a .keras file and load it."""
    model.save(folder / "model.keras")
    return keras_regx.load_model(folder / "model.keras")


def through_json(model: keras.Model, folder: Path) -> keras.Model:
    """Make the model again from its JSON."""
    return keras.models.model_from_json(model.to_json())


def through_config(model: keras.Model, folder: Path) -> keras.Model:
    """Make the model again from its config."""
    return type(model).from_config(model.get_config())


def through_clone(model: keras.Model, folder: Path) -> keras.Model:
    """Clone the model."""
    return keras.models.clone_model(model)


def through_copy(model: keras.Model, folder: Path) -> keras.Model:
    """Copy the model deeply."""
    return copy.deepcopy(model)


def through_pickle(model: keras.Model, folder: Path) -> keras.Model:
    """Pickle the model."""
    return pickle.loads(pickle.dumps(model))


@MODELS
@pytest.mark.parametrize(
    "again",
    [through_file, through_json, through_config, through_copy, through_pickle],
    ids=lambda f: f.__name__,
)
def test_policy_is_kept(
    make: Callable[[], zoo.Built], again: Any, tmp_path: Path
) -> None:
    """The copy has the same penalties and constraints on all kinds of layers."""
    model = POLICY.apply(make()[0], allow_unmatched=True)
    zoo.seed_weights(model)
    if isinstance(model, zoo.EasyNet) and again in (through_json, through_config):
        with pytest.warns(UserWarning, match="fully_connected/kernel"):
            again(model, tmp_path)
        return
    other = again(model, tmp_path)
    assert len(policies(other)) == 1
    assert type(other) is type(model)
    other.set_weights(model.get_weights())
    assert costs(other) == costs(model)
    assert held(other) == held(model)
    assert float(sum(other.losses)) == pytest.approx(
        float(total_penalty(model)), rel=1e-5
    )


@pytest.mark.parametrize(
    "make",
    [zoo.functional, zoo.convolutional, zoo.attention, zoo.recurrent, zoo.nested],
    ids=lambda f: f.__name__,
)
def test_clone_keeps_arguments_and_names_the_rest(make: Any, tmp_path: Path) -> None:
    """A clone has what is an argument of its layers; every other weight is named."""
    model = POLICY.apply(make()[0], allow_unmatched=True)
    zoo.seed_weights(model)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        clone = through_clone(model, tmp_path)
    clone.set_weights(model.get_weights())
    for ours, theirs in zip(model.weights, clone.weights, strict=True):
        assert theirs is not ours
        same = (theirs.regularizer, theirs.constraint) == (
            ours.regularizer,
            ours.constraint,
        )
        assert same or any(repr(ours.path) in str(w.message) for w in caught)
    POLICY.apply(clone, allow_unmatched=True)
    assert costs(clone) == costs(model)
    assert held(clone) == held(model)


def test_clone_of_a_sequential_model_says_what_is_lost(tmp_path: Path) -> None:
    """Its clone has the penalties of slots; those without one are named."""
    model = POLICY.apply(zoo.sequential()[0], allow_unmatched=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert costs(through_clone(model, tmp_path)) == costs(model)
    policy = Policy([Rule("*/gain", regularizer=regularizers.L2(0.5))])
    slotless = keras.Sequential([keras.Input((4,)), zoo.Scale(name="scale")])
    policy.apply(slotless)
    with pytest.warns(UserWarning, match=r"on \['.*gain'\]\. Apply the policy"):
        clone = through_clone(slotless, tmp_path)
    assert not clone.losses
    assert policy.apply(clone).losses


@MODELS
def test_loaded_model_can_be_freed_of_it(make: Any, tmp_path: Path) -> None:
    """Removal from a loaded model gives the model that was never regularized."""
    model = make()[0]
    config = model.to_json()
    policy = Policy(POLICY.rules[:2])
    policy.apply(model, allow_unmatched=True)
    loaded = through_file(model, tmp_path)
    assert policies(loaded) == [policy]
    policy.remove(loaded)
    assert loaded.to_json() == config
    assert not loaded.losses


def test_former_penalties_come_back_after_loading(tmp_path: Path) -> None:
    """What a layer was built with is saved too, and restored by removal."""
    inputs = keras.Input((3,))
    layer = layers.Dense(2, kernel_regularizer=regularizers.L1(0.5), name="d")
    model = keras.Model(inputs, layer(inputs))
    policy = Policy([Rule("*/kernel", regularizer=regularizers.L2(1.0))])
    loaded = through_file(policy.apply(model), tmp_path)
    assert [name[-2:] for name in penalties(loaded)] == ["l2"]
    policy.remove(loaded)
    assert [name[-2:] for name in penalties(loaded)] == ["l1"]
    assert loaded.get_layer("d").kernel_regularizer == regularizers.L1(0.5)


def test_training_state_is_kept(tmp_path: Path) -> None:
    """A compiled model comes back compiled, with optimizer, and trains on."""
    model, x, y = zoo.functional()
    POLICY.apply(model, allow_unmatched=True)
    model.compile(keras.optimizers.Adam(0.01), "mse")
    model.fit(x, y, verbose=0)
    loaded = through_file(model, tmp_path)
    assert int(loaded.optimizer.iterations) == 1
    expected = model.evaluate(x, y, verbose=0)
    assert loaded.evaluate(x, y, verbose=0) == pytest.approx(expected, rel=1e-5)
    loaded.fit(x, y, verbose=0)


def test_model_in_a_model(tmp_path: Path) -> None:
    """A model with a policy can be a layer of another one, and is saved with it."""
    inner = zoo.functional()[0]
    Policy([Rule("*/kernel", regularizer=regularizers.L2(1.0))]).apply(inner)
    inputs = keras.Input((4,))
    outer = keras.Model(inputs, layers.Dense(1, name="top")(inner(inputs)))
    zoo.seed_weights(outer)
    assert len(penalties(outer)) == 2
    assert costs(through_file(outer, tmp_path)) == costs(outer)


def test_references_are_kept(tmp_path: Path) -> None:
    """Anchors taken by a policy are saved, one per weight, with and without slots."""
    model = zoo.attention()[0]
    policy = Policy(
        [Rule("*/kernel", regularizer=regularizers.Anchor(1.0)),
         Rule("rms/scale", regularizer=regularizers.Anchor(2.0))]
    )  # fmt: skip
    policy.apply(model)
    assert float(total_penalty(model)) == 0.0
    zoo.seed_weights(model)
    assert float(total_penalty(model)) > 1.0
    assert costs(through_file(model, tmp_path)) == costs(model)


def test_legacy_format_is_refused(tmp_path: Path) -> None:
    """HDF5 would lose the policy: an error at save time says what to do."""
    model = POLICY.apply(zoo.functional()[0], allow_unmatched=True)
    for name in ("model.h5", "model.hdf5"):
        with pytest.raises(ValueError, match="cannot keep a policy"):
            model.save(tmp_path / name)
        assert not (tmp_path / name).exists()
        with pytest.raises(ValueError, match="cannot keep a policy"):
            keras.saving.save_model(model, str(tmp_path / name))
    POLICY.remove(model)


def test_plain_weights_load(tmp_path: Path) -> None:
    """Weights move between a model with and one without a policy."""
    plain, x, _ = zoo.functional()
    zoo.seed_weights(plain)
    plain.save_weights(tmp_path / "plain.weights.h5")
    model = POLICY.apply(zoo.functional()[0], allow_unmatched=True)
    model.load_weights(tmp_path / "plain.weights.h5")
    np.testing.assert_allclose(
        np.asarray(model.predict(x, verbose=0)),
        np.asarray(plain.predict(x, verbose=0)),
        rtol=1e-6,
    )
    model.save_weights(tmp_path / "policy.weights.h5")
    plain.load_weights(tmp_path / "policy.weights.h5")


def test_missing_and_broken_files(tmp_path: Path) -> None:
    """A file that is missing or broken is a clear error."""
    with pytest.raises(FileNotFoundError, match="no model file"):
        keras_regx.load_model(tmp_path / "missing.keras")
    (tmp_path / "broken.keras").write_bytes(b"PK nothing")
    with pytest.raises(ValueError, match=r"broken\.keras"):
        keras_regx.load_model(tmp_path / "broken.keras")


@pytest.mark.slow
@pytest.mark.parametrize("writer", ["jax", "tensorflow", "torch"])
def test_model_of_another_backend(writer: str) -> None:
    """A model with a policy, saved under each backend, costs the same under this one.

    It is compiled, with its optimizer, and as `jit_compile="auto"` means it here.
    """
    path = DATA / f"{writer}_policy.keras"
    model = keras_regx.load_model(path)
    expected = json.loads(path.with_suffix(".json").read_text())
    found = policy_numbers(model)
    for name in ("penalties", "violations"):
        assert list(found[name]) == list(expected[name])
        values = list(expected[name].values())
        np.testing.assert_allclose(list(found[name].values()), values, rtol=1e-5)
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    assert isinstance(model.optimizer, keras.optimizers.SGD)
    here = keras.Sequential([layers.Dense(1)])
    here.compile("sgd", "mse")
    if "tensorflow" not in (writer, BACKEND):  # TensorFlow's False may be meant.
        assert model.jit_compile == here.jit_compile
    model.fit(wave(4, 3, 4), wave(4, 2), verbose=0)
    assert int(model.optimizer.iterations) == 1
    (policy,) = policies(model)
    policy.remove(model)
    assert not model.losses


@pytest.mark.parametrize("name", ["arguments", "policy"])
def test_references_of_version_0_1_0(name: str) -> None:
    """Anchors that version 0.1.0 saved under layers, or by path, are found."""
    path = DATA / f"version_0_1_0_{name}.keras"
    model = keras_regx.load_model(path)
    expected = json.loads(path.with_suffix(".json").read_text())
    values = [float(as_float64(v)) for v in penalties(model).values()]
    np.testing.assert_allclose(values, list(expected["penalties"].values()), rtol=1e-5)
    found = list(keras_regx.violations(model).values())
    np.testing.assert_allclose(found, list(expected["violations"].values()), rtol=1e-5)
    assert len(policies(model)) == (name == "policy")


def test_proximal_of_version_0_1_0() -> None:
    """Its penalties were saved by path, which a Sequential model changes."""
    path = DATA / "version_0_1_0_proximal.keras"
    model = keras_regx.load_model(path)
    model.fit(wave(4, 4), wave(4, 2), epochs=3, verbose=0, shuffle=False)
    expected = json.loads(path.with_suffix(".json").read_text())["weights"]
    for ours, theirs in zip(model.weights, expected, strict=True):
        np.testing.assert_allclose(as_float64(ours), theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_jit_of_a_loaded_model(tmp_path: Path) -> None:
    """What is decided at loading is saved again; what is meant is kept."""
    model = zoo.functional()[0]
    model.compile("sgd", "mse")
    auto = model.jit_compile
    other = "jax" if BACKEND == "torch" else "torch"
    model = keras_regx.load_model(DATA / f"{other}_policy.keras")
    again = through_file(model, tmp_path)
    assert again.jit_compile == model.jit_compile == auto
    model.compile(keras.optimizers.SGD(0.01), "mse", jit_compile=True)
    meant = True if BACKEND == "torch" else auto
    assert through_file(model, tmp_path).jit_compile == meant
    model.compile(keras.optimizers.SGD(0.01), "mse", jit_compile=False)
    assert not through_file(model, tmp_path).jit_compile
    model.compile(keras.optimizers.SGD(0.01), "mse", run_eagerly=True)
    assert not through_file(model, tmp_path).jit_compile


FRESH = """
import json, sys, keras
try:
    keras.saving.load_model(sys.argv[1])
except Exception as error:
    refused = f"{type(error).__name__}: {error}"
else:
    refused = ""
refused_without = "keras_regx" not in sys.modules

import keras_regx
from tests import zoo
costs = []
for path in sys.argv[1:]:
    model = keras_regx.load_model(path)
    costs.append([float(v) for v in keras_regx.penalties(model).values()])
    model.compile("sgd", "mse")
    make = zoo.ZOO[path.rsplit("/", 1)[1].removesuffix(".keras")]()
    model.fit(*make[1:], verbose=0)
print(json.dumps([refused, refused_without, costs]))
"""
SAVED = ["functional", "attention", "subclassed"]


@pytest.fixture(scope="module")
def fresh_process(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what one other process says of saved models, and what is expected."""
    keras.utils.clear_session(free_memory=False)
    folder = tmp_path_factory.mktemp("models")
    paths, expected = [], []
    for name in SAVED:
        model = POLICY.apply(zoo.ZOO[name]()[0], allow_unmatched=True)
        zoo.seed_weights(model)
        expected.append([float(v) for v in penalties(model).values()])
        paths.append((folder / f"{name}.keras").as_posix())
        model.save(paths[-1])
    refused, refused_without, costs = told(FRESH, *paths)
    return {
        "refused": refused,
        "refused_without": refused_without,
        "costs": dict(zip(SAVED, zip(costs, expected, strict=True), strict=True)),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", SAVED)
def test_fresh_process(name: str, fresh_process: dict[str, Any]) -> None:
    """A process that imports keras_regx loads the model, and trains it."""
    values, expected = fresh_process["costs"][name]
    assert len(values) > 0
    np.testing.assert_allclose(values, expected, rtol=1e-6)


@pytest.mark.slow
def test_process_without_the_package(fresh_process: dict[str, Any]) -> None:
    """Without importing keras_regx, loading is an error that names the class."""
    assert fresh_process["refused_without"]
    assert "ModelWithPolicy" in fresh_process["refused"]
    assert "keras_regx" in fresh_process["refused"]
