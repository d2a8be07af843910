"""Numbers layer names from one in every test; compiles what is to be optimized."""

import functools
import inspect

import keras
import pytest

from tests.backends import BACKEND, OPTIMIZING


@pytest.fixture(autouse=True)
def _fresh_names() -> None:
    """Forget the layer names of earlier tests, so that paths are predictable."""
    keras.utils.clear_session(free_memory=False)


@pytest.fixture(autouse=True)
def _as_users_compile(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Optimize the steps of tests that are about it, where all tests are run.

    JAX compiles everything else in a hurry, eager operations among them: that takes
    half the time. Keras' training steps are compiled by a name in the module of `fit`.
    """
    is_short = request.config.option.markexpr == "not slow"
    if BACKEND != "jax" or is_short or not request.node.get_closest_marker("optimized"):
        return
    import jax

    jit = functools.partial(jax.jit, compiler_options=OPTIMIZING)
    monkeypatch.setattr(jax, "jit", jit)
    trainer = inspect.unwrap(keras.Model.fit).__globals__
    assert "jit" in trainer
    monkeypatch.setitem(trainer, "jit", jit)
