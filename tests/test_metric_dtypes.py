"""The adaptive metric in every dtype that weights may have."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from keras_regx import Rule
from keras_regx.optimizers import Proximal
from keras_regx.regularizers import L1
from tests.backends import DTYPES, as_float64, as_tensor, slow_on

KO = keras.optimizers
RATE, FACTOR = 0.1, 0.2
# The optimizer, and the step that it takes along a first gradient g, entry by entry.
STEPS: dict[str, tuple[Any, Any]] = {
    "adam": (KO.Adam, lambda g: 1 / (np.abs(g) + 1e-7 / 0.001**0.5)),
    "adamw": (KO.AdamW, lambda g: 1 / (np.abs(g) + 1e-7 / 0.001**0.5)),
    "rmsprop": (KO.RMSprop, lambda g: 1 / np.sqrt(0.1 * g**2 + 1e-7)),
    "adagrad": (KO.Adagrad, lambda g: 1 / np.sqrt(0.1 + g**2 + 1e-7)),
}
EVERY = pytest.mark.parametrize("name", STEPS)
EVERY_DTYPE = pytest.mark.parametrize("dtype", DTYPES)
TOLERANCE = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-5, "float64": 1e-6}


@EVERY
@EVERY_DTYPE
def test_one_step(name: str, dtype: str) -> None:
    """The inner update, then the soft threshold by lr / D_i, in the weights' dtype."""
    make, step = STEPS[name]
    w, g = np.array([1.0, -1.0, 0.5, 0.015625]), np.array([0.5, -0.25, 1.0, 0.5])
    plain, variable = (keras.Variable(w, dtype=dtype) for _ in range(2))
    gradient = as_tensor(g, dtype)
    make(RATE).apply([gradient], [plain])
    rule = Rule("*", regularizer=L1(FACTOR))
    Proximal(make(RATE), [rule], metric="adaptive").apply([gradient], [variable])
    moved = as_float64(plain)
    expected = np.sign(moved) * np.maximum(np.abs(moved) - RATE * FACTOR * step(g), 0)
    assert keras.backend.standardize_dtype(variable.dtype) == dtype
    np.testing.assert_allclose(as_float64(variable), expected, atol=TOLERANCE[dtype])


@slow_on("jax", "tensorflow")
@EVERY
@EVERY_DTYPE
def test_fit(name: str, dtype: str) -> None:
    """It trains in `fit`, and reaches zeros."""
    inputs = keras.Input((4,), dtype=dtype)
    model = keras.Model(inputs, keras.layers.Dense(2, dtype=dtype)(inputs))
    rule = Rule("*/kernel", regularizer=L1(50.0))
    model.compile(Proximal(STEPS[name][0](RATE), [rule]), "mse")
    model.fit(np.ones((4, 4)), np.ones((4, 2)), verbose=0)
    assert np.count_nonzero(as_float64(model.weights[0])) == 0
