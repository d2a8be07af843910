"""Small models with explicit weights, and NumPy oracles of training them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

if TYPE_CHECKING:
    from collections.abc import Callable

Array = np.ndarray


def linear(
    size: int,
    outputs: int = 1,
    *,
    use_bias: bool = True,
    kernel: Any = None,
    **arguments: Any,
) -> keras.Model:
    """Return a linear Functional model whose weights are zero, or `kernel`."""
    inputs = keras.Input((size,))
    layer = keras.layers.Dense(
        outputs,
        use_bias=use_bias,
        kernel_initializer="zeros",
        name="linear",
        **arguments,
    )
    model = keras.Model(inputs, layer(inputs))
    if kernel is not None:
        layer.kernel.assign(np.asarray(kernel, "float32"))
    return model


def train(
    model: keras.Model, x: Array, y: Array, steps: int, **arguments: Any
) -> keras.callbacks.History:
    """Make `steps` full-batch steps in one epoch (TensorFlow's epochs are slow)."""
    arguments = {"shuffle": False, "verbose": 0, "batch_size": len(x)} | arguments
    x, y = np.tile(x, (steps, 1)), np.tile(y, (steps, 1))
    return model.fit(x.astype("float32"), y.astype("float32"), **arguments)


def kernel_of(model: keras.Model, name: str = "linear") -> Array:
    """Return the kernel of a layer in float64."""
    return np.asarray(ops.convert_to_numpy(model.get_layer(name).kernel), "float64")


def regression(
    samples: int = 100, features: int = 30, nonzero: int = 13, seed: int = 0
) -> tuple[Array, Array]:
    """Return a sparse linear problem: 17 of 30 coefficients are truly zero."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, features))
    w = np.zeros(features)
    w[:nonzero] = rng.normal(size=nonzero) + np.sign(rng.normal(size=nonzero))
    y = x @ w + 0.3 * rng.normal(size=samples) + 1.5
    return x, y[:, None]


def soft(x: Array, t: float | Array) -> Array:
    """Return the soft threshold, written as two clips."""
    return np.maximum(x - t, 0) + np.minimum(x + t, 0)


def ista(
    x: Array,
    y: Array,
    w: Array,
    rates: list[float],
    prox: Callable[[Array, float, int], Array],
) -> Array:
    """Return `w` after proximal gradient steps on the mean squared error."""
    for step, rate in enumerate(rates):
        gradient = 2 * x.T @ (x @ w - y) / y.size
        w = prox(w - rate * gradient, rate, step)
    return w
