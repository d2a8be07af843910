"""A penalty or a projection as `fit` runs it, on the backend in use."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

BACKEND = keras.config.backend()
Run = Callable[[], Any]


def penalty_runner(penalty: Callable[[Any], Any], weights: np.ndarray) -> Run:
    """Return a function that computes value and gradient, compiled as in `fit`."""
    if BACKEND == "jax":
        import jax

        compiled = jax.jit(jax.value_and_grad(penalty))
        x = jax.numpy.asarray(weights)
        return lambda: jax.block_until_ready(compiled(x))
    variable = keras.Variable(weights)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        @tf.function(jit_compile=True)
        def value_and_gradient() -> Any:
            with tf.GradientTape() as tape:
                value = penalty(variable)
            return value, tape.gradient(value, variable.value)

        return value_and_gradient

    def forward_and_backward() -> Any:
        variable.value.grad = None
        value = penalty(variable)
        value.backward()
        return value.detach(), variable.value.grad

    return forward_and_backward


def projection_runner(constraint: Callable[[Any], Any], weights: np.ndarray) -> Run:
    """Return a function that projects a variable as the optimizer does."""
    if BACKEND == "jax":
        import jax

        compiled = jax.jit(constraint)
        x = jax.numpy.asarray(weights)
        return lambda: jax.block_until_ready(compiled(x))
    variable = keras.Variable(weights)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(lambda: constraint(variable), jit_compile=True)
    import torch

    def project() -> Any:
        with torch.no_grad():
            return constraint(variable)

    return project


def temporary_bytes(fn: Callable[[Any], Any], weights: np.ndarray, grad: bool) -> int:
    """Return the scratch memory of the compiled function; JAX only, else -1."""
    if BACKEND != "jax":
        return -1
    import jax

    compiled = jax.jit(jax.value_and_grad(fn) if grad else fn).lower(weights).compile()
    return int(compiled.memory_analysis().temp_size_in_bytes)


def versions() -> dict[str, str]:
    """Return the versions that a table of timings needs to be read."""
    from importlib.metadata import version

    package = "tensorflow-cpu" if BACKEND == "tensorflow" else BACKEND
    return {"keras": version("keras"), package: version(package)}
