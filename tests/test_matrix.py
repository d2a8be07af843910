"""After whatever happens to a model, it costs, projects and trains as before."""

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

import keras_regx
from tests import matrix
from tests.matrix import Row, build, numbers, story, train
from tests.processes import told

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = matrix.rows()


def by_event(*events: str) -> Any:
    """Parametrize over the rows of some events."""
    chosen = [row for row in ROWS if row.event in events]
    return pytest.mark.parametrize("row", chosen, ids=str)


def trained(row: Row) -> keras.Model:
    """Return the model of a row after two steps."""
    model = build(row)
    train(model)
    return model


def assert_same(told: Any, expected: Any) -> None:
    """Compare two stories."""
    for ours, theirs in zip(told, expected, strict=True):
        assert list(ours) == list(theirs)
        for name, values in theirs.items():
            np.testing.assert_allclose(
                ours[name], values, rtol=2e-5, atol=2e-6, err_msg=name
            )


def through_file(model: keras.Model, folder: Path) -> keras.Model:
    """Save and load with Keras' own functions."""
    model.save(folder / "model.keras")
    return keras.saving.load_model(folder / "model.keras")


def through_copy(model: keras.Model, folder: Path) -> keras.Model:
    """Copy the model deeply."""
    return copy.deepcopy(model)


def through_pickle(model: keras.Model, folder: Path) -> keras.Model:
    """Pickle the model."""
    return pickle.loads(pickle.dumps(model))


CARRIERS: dict[str, Callable[[keras.Model, Path], keras.Model]] = {
    "file": through_file,
    "deepcopy": through_copy,
    "pickle": through_pickle,
}


@by_event(*CARRIERS)
def test_copies(row: Row, tmp_path: Path) -> None:
    """What a file in memory or on disk gives back is the same model."""
    model = trained(row)
    other = CARRIERS[row.event](model, tmp_path)
    assert type(other) is type(model)
    assert_same(story(other), story(model))


@by_event("weights", "rename")
def test_weights(row: Row, tmp_path: Path) -> None:
    """A file of weights brings what is remembered, into models of other names too."""
    model = trained(row)
    model.save_weights(tmp_path / "model.weights.h5")
    other = build(row)
    if row.event == "rename":
        other = build(row, prefix="other_")
    other.optimizer.build(other.trainable_variables)
    other.load_weights(tmp_path / "model.weights.h5")
    assert_same(story(other), story(model))


@by_event("resume")
def test_resume(row: Row, tmp_path: Path) -> None:
    """Training that was interrupted goes on in a new model."""
    model = trained(row)
    backup = keras.callbacks.BackupAndRestore
    kept = build(row)
    train(kept, 2, backup(tmp_path / "b", delete_checkpoint=False))
    other = build(row)
    train(other, 2, backup(tmp_path / "b", delete_checkpoint=False))
    assert int(other.optimizer.iterations) == 2
    other._initial_epoch = 0  # Where the next `fit` starts: Keras leaves it there.
    assert_same(story(other), story(model))


@by_event("freeze", "lora", "quantize")
def test_changed_models(row: Row, tmp_path: Path) -> None:
    """What is done to layers between attaching and loading moves no rule."""
    model = trained(row)
    body = matrix.body_of(model)
    if row.event == "freeze":
        body.trainable = False
    elif row.event == "lora":
        body.enable_lora(2)
    else:
        body.quantize("int8")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        matrix.compile_anew(model, row)
        train(model)
        other = through_file(model, tmp_path)
    if row.event == "lora":  # Keras saves the merged kernel, and starts LoRA anew.
        other.set_weights(model.get_weights())
    if row.event == "quantize" and row.way == "policy":
        assert any("are gone, or quantized" in str(w.message) for w in caught)
    assert_same(story(other), story(model))


@by_event("clone", "from_config")
def test_structure(row: Row) -> None:
    """A config has the same objects, or a warning names the weights that it has not."""
    model = trained(row)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if row.event == "clone":
            other = keras.models.clone_model(model)
        else:
            other = type(model).from_config(model.get_config())
        if not other.built:
            other(matrix.data(model)[0])
    other.set_weights(model.get_weights())
    said = " ".join(str(w.message) for w in caught)
    for ours, theirs in zip(model.weights, other.weights, strict=True):
        same = matrix.structure(ours) == matrix.structure(theirs)
        assert same or repr(ours.path) in said, ours.path
        if row.way == "policy" and matrix.remembers(ours):
            assert repr(ours.path) in said
    if row.obj in ("plain", "composite") and not said:
        expected = {**numbers(model), "proximal": []}
        assert_same([{**numbers(other), "proximal": []}], [expected])


FRESH = """
import json, sys
import keras, keras_regx
import keras_regx
from tests import matrix
told = {}
for path in sys.argv[1:]:
    model = keras.saving.load_model(path)
    told[path] = matrix.story(model)
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told_elsewhere(tmp_path_factory: Any) -> dict[str, Any]:
    """Return the stories of saved models as one fresh process tells them, by row."""
    folder = tmp_path_factory.mktemp("fresh")
    chosen = [row for row in ROWS if row.event == "fresh_process"]
    expected = {}
    for row in chosen:
        model = trained(row)
        model.save(folder / f"{row}.keras")
        expected[str(row)] = story(model)
    found = told(FRESH, *(str(folder / f"{row}.keras") for row in chosen))
    return {
        Path(path).stem: (value, expected[Path(path).stem])
        for path, value in found.items()
    }


@by_event("fresh_process")
def test_fresh_process(row: Row, told_elsewhere: dict[str, Any]) -> None:
    """Another process loads the same model, and trains it on alike."""
    assert_same(*told_elsewhere[str(row)])


DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize("writer", ["jax", "tensorflow", "torch"])
@pytest.mark.parametrize("row", matrix.OTHER_BACKENDS, ids=str)
def test_other_backend(row: Row, writer: str) -> None:
    """A model of any backend is the same model under this one, and trains on alike."""
    path = DATA / f"{writer}_{row}.keras"
    model = keras_regx.load_model(path)
    assert_same(story(model), json.loads(path.with_suffix(".json").read_text()))


def test_every_pair_is_in_a_row() -> None:
    """The rows have every pair of values that goes together."""
    chosen = {pair for row in ROWS for pair in matrix._pairs(row)}
    every = {pair for row in matrix.possible_rows() for pair in matrix._pairs(row)}
    assert chosen == every
