"""Every public function of `keras_regx.ops` inside a layer, symbolic and compiled."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from keras_regx import ops as k
from tests.backends import as_float64, slow_on

# A function of a batch of square matrices for each public name.
CALLS: dict[str, Any] = {
    "absolute": k.absolute,
    "as_matrix": lambda x: k.as_matrix(x[0]),
    "difference": k.difference,
    "firm_threshold": lambda x: k.firm_threshold(x, 0.5),
    "group_rows": lambda x: k.group_rows(x, -1)[1](k.group_rows(x, -1)[0]),
    "group_soft_threshold": lambda x: k.group_soft_threshold(x, 0.5, -1),
    "hard_threshold": lambda x: k.hard_threshold(x, 0.5),
    "map_singular_values": lambda x: k.map_singular_values(
        x, lambda s: s / 2, lambda s: ops.ones_like(s) / 2
    ),
    "matrix_sign": k.matrix_sign,
    "polar": k.polar,
    "project_box": lambda x: k.project_box(x, -0.5, 0.5),
    "project_capped_simplex": lambda x: k.project_capped_simplex(x, 1.0, 0.5, -1),
    "project_l1_ball": lambda x: k.project_l1_ball(x, 0.5, -1),
    "project_l2_ball": lambda x: k.project_l2_ball(x, 0.5, -1),
    "project_linf_ball": lambda x: k.project_linf_ball(x, 0.5),
    "project_monotonic": k.project_monotonic,
    "project_simplex": lambda x: k.project_simplex(x, 1.0, -1),
    "prox_total_variation": lambda x: k.prox_total_variation(x, 0.5),
    "resolve_axis": lambda x: ops.sum(x, k.resolve_axis(-1, len(x.shape))),
    "safe_norm": lambda x: k.safe_norm(x, -1),
    "singular_value_threshold": lambda x: k.singular_value_threshold(x, 0.5),
    "singular_values": k.singular_values,
    "sinkhorn": k.sinkhorn,
    "soft_threshold": lambda x: k.soft_threshold(x, 0.5),
    "spectral_norm": k.spectral_norm,
    "svd": lambda x: k.svd(x)[1],
    "top_k_mask": lambda x: ops.cast(k.top_k_mask(x, 2, -1), "float32"),
}


class Applies(keras.layers.Layer):
    """A layer that calls one function on its input."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def call(self, x: Any) -> Any:
        """Return what the function does with the input."""
        return self.function(x)


def test_every_public_function_has_a_call() -> None:
    """A new function of `keras_regx.ops` needs a row here."""
    public = {name for name, value in vars(k).items() if callable(value)}
    assert public == set(CALLS)


def sample() -> Any:
    """Return two matrices that are easy to invert."""
    x = np.random.default_rng(0).normal(size=(2, 4, 4)) + 4 * np.eye(4)
    return x.astype("float32")


@pytest.mark.parametrize("name", CALLS)
def test_in_a_layer(name: str) -> None:
    """A layer that calls it builds, and predicts what it returns, for any batch."""
    function = CALLS[name]
    inputs = keras.Input((4, 4))
    model = keras.Model(inputs, Applies(function)(inputs))
    expected = as_float64(function(ops.convert_to_tensor(sample())))
    assert len(model.outputs[0].shape) == expected.ndim
    result = as_float64(model.predict(sample(), verbose=0))
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


@slow_on("jax", "tensorflow")
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("batch", [2, None], ids=["static", "dynamic"])
def test_in_a_functional_model(name: str, batch: int | None) -> None:
    """It is called on the symbolic input itself."""
    function = CALLS[name]
    inputs = keras.Input((4, 4), batch_size=batch)
    model = keras.Model(inputs, function(inputs))
    expected = as_float64(function(ops.convert_to_tensor(sample())))
    result = as_float64(model(sample()))
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)
