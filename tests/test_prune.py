"""prune_units: the same outputs from fewer units, and reasons where that cannot be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_regx.models import prune_units

Stack = Callable[[], list[Any]]


def randomize(model: Any, dead: dict[str, list[int]], seed: int = 0) -> None:
    """Give all weights random values, and the named units zero kernels."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        weights = [rng.normal(size=w.shape) for w in layer.get_weights()]
        if isinstance(layer, layers.BatchNormalization):
            weights[-1] = np.abs(weights[-1]) + 0.5
        if layer.name in dead:
            weights[0][..., dead[layer.name]] = 0
        if weights:
            layer.set_weights(weights)


def assert_same_outputs(model: Any, small: Any, seed: int = 1) -> None:
    """Compare the outputs of two models on random inputs."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(5, *model.inputs[0].shape[1:])).astype("float32")
    before = ops.convert_to_numpy(model(x))
    after = ops.convert_to_numpy(small(x))
    scale = np.abs(before).max()
    np.testing.assert_allclose(after / scale, before / scale, atol=1e-5)


STACKS: dict[str, tuple[Stack, tuple[int, ...]]] = {
    "dense": (
        lambda: [layers.Dense(6, activation="sigmoid", name="a"), layers.Dense(3)],
        (4,),
    ),
    "dense-norm": (
        lambda: [
            layers.Dense(6, name="a"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(0.3),
            layers.Dense(3),
        ],
        (4,),
    ),
    "norm-without-scale": (
        lambda: [
            layers.Dense(6, use_bias=False, name="a"),
            layers.BatchNormalization(scale=False),
            layers.Activation("tanh"),
            layers.Dense(3),
        ],
        (4,),
    ),
    "conv": (
        lambda: [
            layers.Conv2D(6, 3, activation="softplus", name="a"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(2),
            layers.Conv2D(3, 2),
        ],
        (9, 8, 2),
    ),
    "conv-flatten": (
        lambda: [
            layers.Conv2D(6, 3, padding="same", activation="sigmoid", name="a"),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(3),
        ],
        (6, 6, 2),
    ),
    "conv-global": (
        lambda: [
            layers.Conv1D(6, 3, activation="sigmoid", name="a"),
            layers.GlobalAveragePooling1D(),
            layers.Dense(3),
        ],
        (7, 2),
    ),
    "same-padding-of-zeros": (
        lambda: [
            layers.Conv2D(6, 3, padding="same", use_bias=False, name="a"),
            layers.ReLU(),
            layers.ZeroPadding2D(1),
            layers.Conv2D(3, 3, padding="same", use_bias=False),
        ],
        (6, 6, 2),
    ),
}


@pytest.mark.parametrize("functional", [False, True], ids=["sequential", "functional"])
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * (n != "dense")) for n in STACKS],
)
def test_outputs_are_the_same(name: str, functional: bool) -> None:
    """Dead units go, their constants move on, and the outputs stay."""
    stack, shape = STACKS[name]
    inputs = keras.Input(shape)
    if functional:
        x = inputs
        for layer in stack():
            x = layer(x)
        model = keras.Model(inputs, x)
    else:
        model = keras.Sequential([inputs, *stack()])
    randomize(model, {"a": [0, 2, 5]})
    before = [w.copy() for w in model.get_weights()]
    small, report = prune_units(model, return_report=True)
    assert_same_outputs(model, small)
    assert report[0] == {"layer": "a", "before": 6, "after": 3, "reason": ""}
    assert small.count_params() < model.count_params()
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.slow
def test_unused_units_cascade() -> None:
    """Units that nothing uses go as well, through several layers."""
    inputs = keras.Input((4,))
    names = ("a", "b", "c")
    stack = [layers.Dense(5, activation="tanh", name=name) for name in names]
    model = keras.Sequential([inputs, *stack, layers.Dense(2, name="out")])
    randomize(model, {"c": [1, 3]})
    kernel, bias = model.get_layer("c").get_weights()
    kernel[2] = 0  # Nothing uses unit 2 of b.
    model.get_layer("c").set_weights([kernel, bias])
    kernel, bias = model.get_layer("b").get_weights()
    kernel[0, [0, 1, 3, 4]] = 0  # Unit 0 of a serves unit 2 of b alone.
    model.get_layer("b").set_weights([kernel, bias])
    small, report = prune_units(model, return_report=True)
    assert [row["after"] for row in report] == [4, 4, 3, 2]
    assert_same_outputs(model, small)


def test_a_layer_keeps_one_unit() -> None:
    """A layer that is entirely dead keeps a single unit."""
    stack = [layers.Dense(5, activation="sigmoid", name="a"), layers.Dense(2)]
    model = keras.Sequential([keras.Input((4,)), *stack])
    randomize(model, {"a": [0, 1, 2, 3, 4]})
    small, report = prune_units(model, return_report=True)
    assert report[0]["after"] == 1
    assert_same_outputs(model, small)


def _residual() -> Any:
    inputs = keras.Input((4,))
    hidden = layers.Dense(4, name="a")(inputs)
    return keras.Model(
        inputs, layers.Dense(2)(layers.Add(name="add")([inputs, hidden]))
    )


def _branches() -> Any:
    inputs = keras.Input((4,))
    hidden = layers.Dense(4, name="a")(inputs)
    return keras.Model(inputs, [layers.Dense(2)(hidden), layers.Dense(2)(hidden)])


def _shared() -> Any:
    inputs = keras.Input((4,))
    layer = layers.Dense(4, name="a")
    return keras.Model(inputs, layers.Dense(2)(layer(layer(inputs))))


def _sequential(*stack: Any, shape: tuple[int, ...] = (4,)) -> Any:
    return keras.Sequential([keras.Input(shape), *stack])


KEPT: dict[str, tuple[Callable[[], Any], str]] = {
    "residual": (_residual, "a Add follows"),
    "branches": (_branches, "2 layers follow"),
    "shared": (_shared, "called 2 times"),
    "output": (lambda: _sequential(layers.Dense(4, name="a")), "output of the model"),
    "softmax": (
        lambda: _sequential(
            layers.Dense(4, activation="softmax", name="a"), layers.Dense(2)
        ),
        "mixes units",
    ),
    "layer-norm": (
        lambda: _sequential(
            layers.Dense(4, name="a"), layers.LayerNormalization(), layers.Dense(2)
        ),
        "LayerNormalization follows",
    ),
    "padding": (
        lambda: _sequential(
            layers.Conv2D(4, 3, name="a"),
            layers.Conv2D(2, 3, padding="same"),
            shape=(6, 6, 2),
        ),
        "pads what is constant",
    ),
    "no-bias": (
        lambda: _sequential(layers.Dense(4, name="a"), layers.Dense(2, use_bias=False)),
        "no bias",
    ),
    "grouped": (
        lambda: _sequential(
            layers.Conv2D(4, 3, name="a"),
            layers.Conv2D(4, 3, groups=2),
            shape=(6, 6, 2),
        ),
        "grouped",
    ),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=[pytest.mark.slow] * (n in ("padding", "grouped")))
        for n in KEPT
    ],
)
def test_reasons(name: str) -> None:
    """What cannot be pruned is kept, with the reason in the report."""
    build, reason = KEPT[name]
    model = build()
    randomize(model, {"a": [0, 2]})
    small, report = prune_units(model, return_report=True)
    row = next(row for row in report if row["layer"] == "a")
    assert row["after"] == 4
    assert reason in row["reason"]
    assert small.count_params() == model.count_params()
    assert reason in str(report)


class Subclassed(keras.Model):
    """A model without a graph."""

    def call(self, x: Any) -> Any:
        """Return the input."""
        return x


def test_subclassed_model_is_refused() -> None:
    """A model without a graph is an error that says so."""
    with pytest.raises(ValueError, match="Functional or Sequential"):
        prune_units(Subclassed())
