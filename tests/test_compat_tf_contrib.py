"""TensorFlow 1's names: its values, its checks, its corner cases."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_regx import penalties, regularizers
from keras_regx.compat import tf_contrib as tf1
from tests import zoo
from tests.backends import as_float64

W = np.array([[1.0, -2.0], [3.0, 0.5]], "float32")
L1, HALF = 6.5, 7.125


@pytest.mark.parametrize(
    ("regularizer", "expected"),
    [
        (tf1.l1_regularizer(0.5), 0.5 * L1),
        (tf1.l2_regularizer(0.5), 0.5 * HALF),
        (tf1.l1_l2_regularizer(), L1 + HALF),
        (tf1.l1_l2_regularizer(0.5, 0.25), 0.5 * L1 + 0.25 * HALF),
        (tf1.l1_l2_regularizer(0.0, 0.5), 0.5 * HALF),
        (tf1.l1_l2_regularizer(0.5, 0.0), 0.5 * L1),
        (tf1.l1_regularizer(np.float32(0.5), scope="ignored"), 0.5 * L1),
        (
            tf1.sum_regularizer(
                [tf1.l1_regularizer(0.5), None, tf1.l2_regularizer(2.0)]
            ),
            0.5 * L1 + 2 * HALF,
        ),
        (tf1.sum_regularizer([tf1.l1_regularizer(0.0), tf1.l2_loss]), HALF),
        (tf1.l2_loss, HALF),
    ],
)
def test_value(regularizer: Any, expected: float) -> None:
    """Values are TensorFlow 1's: L2 is half the sum of squares."""
    assert float(regularizer(W)) == pytest.approx(expected)


def test_objects_are_this_packages() -> None:
    """What comes back has a prox, a config, and works in a layer."""
    assert tf1.l1_regularizer(0.5) == regularizers.L1(0.5)
    assert tf1.l2_regularizer(0.5) == 0.5 * regularizers.L2(0.5)
    layer = layers.Dense(2, kernel_regularizer=tf1.l2_regularizer(0.5))
    again = layers.Dense.from_config(layer.get_config())
    assert again.kernel_regularizer == layer.kernel_regularizer


@pytest.mark.parametrize("scale", [0, 1, True, np.int64(2)])
@pytest.mark.parametrize("make", [tf1.l1_regularizer, tf1.l2_regularizer])
def test_integer_scale(make: Any, scale: Any) -> None:
    """An integer scale is an error, even 0 and 1."""
    with pytest.raises(ValueError, match="scale cannot be an integer"):
        make(scale)


def test_integer_scales_of_the_sum() -> None:
    """The message names the scale."""
    with pytest.raises(ValueError, match="scale_l1 cannot be an integer: 1"):
        tf1.l1_l2_regularizer(1, 1.0)
    with pytest.raises(ValueError, match="scale_l2 cannot be an integer: 0"):
        tf1.l1_l2_regularizer(0.0, 0)


@pytest.mark.parametrize("scale", [-0.1, float("nan"), "0.1", None, [0.1]])
@pytest.mark.parametrize("make", [tf1.l1_regularizer, tf1.l2_regularizer])
def test_scale_below_zero(make: Any, scale: Any) -> None:
    """A negative scale is an error, and so is what is no number."""
    with pytest.raises(ValueError, match="scale less than 0"):
        make(scale)


@pytest.mark.parametrize(
    "nothing",
    [
        tf1.l1_regularizer(0.0),
        tf1.l2_regularizer(0.0),
        tf1.l1_l2_regularizer(0.0, 0.0),
        tf1.sum_regularizer([tf1.l1_regularizer(0.0), None]),
    ],
)
def test_scale_of_zero_has_no_term(nothing: Any, tmp_path: Any) -> None:
    """It gives None as in TensorFlow 1, and a layer with it trains and is saved."""
    assert nothing(W) is None
    inputs = keras.Input((3,))
    layer = layers.Dense(2, kernel_regularizer=nothing, **zoo.ONES)
    model = keras.Model(inputs, layer(inputs))
    assert not penalties(model)
    assert tf1.get_regularization_losses(model=model) == []
    model.compile("sgd", "mse")
    model.fit(zoo.normal(4, 3), zoo.normal(4, 2), verbose=0)
    model.save(tmp_path / "model.keras")
    assert not penalties(keras.saving.load_model(tmp_path / "model.keras"))
    assert float(tf1.apply_regularization(nothing, [W])) == 0.0


def test_sum_of_nothing() -> None:
    """A sum without regularizers is None, not a function."""
    assert tf1.sum_regularizer([]) is None
    assert tf1.sum_regularizer([None, None]) is None


def test_apply_regularization_and_the_getters() -> None:
    """The penalties enter the loss of the model and the getters; the sum returns."""
    model = zoo.subclassed()[0]
    zoo.seed_weights(model)
    weights = [model.fully_connected.kernel, model.fully_connected_2.kernel]
    total = tf1.apply_regularization(tf1.l2_regularizer(0.5), weights, model=model)
    parts = [0.25 * float((as_float64(w) ** 2).sum()) for w in weights]
    assert float(total) == pytest.approx(sum(parts), rel=1e-5)
    losses = tf1.get_regularization_losses(model=model)
    assert [float(v) for v in losses] == pytest.approx(parts, rel=1e-5)
    assert float(sum(model.losses)) == pytest.approx(sum(parts), rel=1e-5)
    one = tf1.get_regularization_loss("EasyNet/fully_connected/", model=model)
    assert float(one) == pytest.approx(parts[0], rel=1e-5)
    assert float(tf1.get_regularization_loss("nothing", model=model)) == 0.0
    # A second call adds, as the collection did.
    tf1.apply_regularization(tf1.l2_regularizer(0.5), weights, model=model)
    total = tf1.get_regularization_loss(model=model)
    assert float(total) == pytest.approx(2 * sum(parts), rel=1e-5)


@pytest.mark.parametrize("weights", [None, []])
def test_empty_list_stands_for_all_weights(weights: Any) -> None:
    """Passing no weights regularizes all of them."""
    model = zoo.functional()[0]
    zoo.seed_weights(model)
    total = tf1.apply_regularization(tf1.l1_regularizer(1.0), weights, model=model)
    expected = sum(np.abs(as_float64(w)).sum() for w in model.trainable_weights)
    assert float(total) == pytest.approx(expected, rel=1e-5)
    assert len(tf1.get_regularization_losses(model=model)) == 4


def test_no_weights() -> None:
    """Without weights, or a model that has some, it is an error."""
    with pytest.raises(ValueError, match="No weights to regularize"):
        tf1.apply_regularization(tf1.l1_regularizer(1.0))
    inputs = keras.Input((3,))
    empty = keras.Model(inputs, layers.ReLU()(inputs))
    with pytest.raises(ValueError, match="No weights to regularize"):
        tf1.apply_regularization(tf1.l1_regularizer(1.0), [], model=empty)


def test_penalty_that_is_no_scalar() -> None:
    """A penalty must be a scalar; the model is unchanged otherwise."""
    model = zoo.functional()[0]
    with pytest.raises(ValueError, match=r"Tensor with rank 2"):
        tf1.apply_regularization(ops.abs, [model.weights[0]], model=model)
    assert not model.losses


def test_function_that_returns_none() -> None:
    """A function of one's own may return None: it counts as 0."""
    assert float(tf1.apply_regularization(lambda _: None, [W])) == 0.0
