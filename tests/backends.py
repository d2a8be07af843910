"""What differs between backends: compiling, differentiating, casting, dtypes."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from keras import ops

if TYPE_CHECKING:
    from collections.abc import Callable

BACKEND = keras.backend.backend()
DTYPES = ["float16", "bfloat16", "float32"]
if BACKEND in ("tensorflow", "torch"):  # The others make float32 of float64.
    DTYPES.append("float64")


# What JAX is told by default, for tests that compile as users do.
OPTIMIZING: dict[str, Any] = {
    "xla_backend_optimization_level": 3,
    "xla_llvm_disable_expensive_passes": False,
}
if "xla_cpu_use" in os.environ.get("XLA_FLAGS", ""):  # See the root's `conftest.py`.
    OPTIMIZING |= {"xla_cpu_use_fusion_emitters": True, "xla_cpu_use_xnnpack": True}


def slow_if_rare(dtype: str) -> list[Any]:
    """Return the marks of a check that the default run does in float32 only."""
    return [] if dtype == "float32" else [pytest.mark.slow]


def slow_on(*backends: str) -> Callable[[Any], Any]:
    """Return the mark of a test that takes long on some backends only."""
    return pytest.mark.slow if BACKEND in backends else lambda test: test


def compiled(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return `fn` compiled as `fit` compiles on this backend (PyTorch: eager)."""
    if BACKEND == "jax":
        import jax

        return jax.jit(fn)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(fn, jit_compile=True)
    return fn


def quick(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return `fn` compiled in a hurry, for tests that call it several times."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(fn, autograph=False)
    return _jit(fn) if BACKEND == "jax" else fn


def _jit(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return `fn` compiled in a hurry: compiling is most of what a test waits for."""
    import jax

    options = {"xla_backend_optimization_level": 0}
    return jax.jit(fn, compiler_options=options)


def gradient(fn: Callable[[Any], Any], x: Any) -> np.ndarray:
    """Return the gradient of the scalar function `fn` at `x`, as NumPy."""
    x = ops.convert_to_tensor(x)
    if BACKEND == "jax":
        import jax

        return np.asarray(jax.grad(fn)(x), "float64")
    return value_and_gradient(fn, x)[1]


def compiled_gradient(fn: Callable[[Any], Any]) -> Callable[[Any], np.ndarray]:
    """Return the gradient function of a scalar function, compiled as in `fit`."""
    if BACKEND == "jax":
        import jax

        grad = compiled(jax.grad(fn))
        return lambda x: np.asarray(grad(ops.convert_to_tensor(x)), "float64")
    fast = compiled(fn)
    return lambda x: gradient(fast, x)


def value_and_gradient(fn: Callable[[Any], Any], x: Any) -> tuple[Any, np.ndarray]:
    """Return the value and the gradient of `fn`; compiled on JAX."""
    if BACKEND == "jax":
        value, grad = _jitted_gradient(fn)(x)
        return value, as_float64(grad)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            y = fn(x)
        grad = tape.gradient(y, x, unconnected_gradients="zero")
        return y, np.asarray(tf.cast(grad, "float64"))
    x = x.detach().clone().requires_grad_(True)
    y = fn(x)
    if y.requires_grad:
        y.backward()
    grad = x.grad if x.grad is not None else ops.zeros_like(x)
    return y, as_float64(grad)


@functools.cache
def _jitted_gradient(fn: Any) -> Callable[[Any], Any]:
    import jax

    return _jit(jax.value_and_grad(fn))


def quick_gradient(fn: Any, x: Any) -> np.ndarray:
    """Return the gradient of a hashable function, compiled once on JAX."""
    return value_and_gradient(fn, x)[1]


def compiled_value_and_gradient(fn: Any, x: Any) -> tuple[Any, np.ndarray]:
    """Return value and gradient of a hashable function, compiled as in `fit`."""
    return value_and_gradient(fn if BACKEND == "jax" else compiled(fn), x)


def as_tensor(x: Any, dtype: str) -> Any:
    """Return `x` as a tensor of `dtype`, without a detour through float32."""
    if dtype in ("float16", "bfloat16"):
        return ops.cast(ops.convert_to_tensor(np.asarray(x, "float32")), dtype)
    return ops.convert_to_tensor(np.asarray(x, dtype), dtype=dtype)


def as_float64(x: Any) -> np.ndarray:
    """Return a tensor as a float64 array."""
    x = ops.convert_to_tensor(x)
    if keras.backend.standardize_dtype(x.dtype) == "bfloat16":
        x = ops.cast(x, "float32")
    return np.asarray(ops.convert_to_numpy(x), "float64")
