"""Convex: the nearest convex sequence, at every length, with its optimality."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras import ops

from keras_regx import constraints as c
from tests.backends import BACKEND, as_float64, as_tensor, quick, value_and_gradient

Array = np.ndarray
DTYPES = ["float32"] if BACKEND == "jax" else ["float32", "float64"]


def sequences(n: int) -> dict[str, Array]:
    """Return sequences of all kinds: noise, bends, nearly convex, outliers."""
    rng = np.random.default_rng(n)
    t = np.linspace(-1, 1, n)
    return {
        "noise": rng.normal(size=n),
        "walk": np.cumsum(rng.normal(size=n)),
        "waves": np.cos(9 * t),
        "bowl": 5 * t * t + 0.1 * rng.normal(size=n),
        "convex": (n * t) ** 2 / 4,
        "hill": -t * t,
        "spike": np.eye(n)[n // 2],
        "edge": np.abs(t) + 0.01 * rng.normal(size=n),
        "outliers": rng.standard_cauchy(n),
        "offset": 1e3 + rng.normal(size=n),
    }


def nearest(x: Array) -> Array:
    """Return SciPy's solution of the dual, which is a non-negative regression."""
    from scipy.optimize import nnls

    bend = np.diff(np.eye(len(x)), n=2, axis=0)
    return x + bend.T @ nnls(bend.T, -x, maxiter=100 * len(x))[0]


def miss(x: Array, y: Array) -> float:
    """Return a bound on the distance from `y` to the nearest convex sequence of `x`.

    `<x - y, z - y>` is at most 0 for every convex z exactly at the nearest one. Convex
    sequences are sums of lines and ramps: the sums of residuals against these tell.
    """
    n = len(x)
    line = np.polyval(np.polyfit(np.arange(n), y, 1), np.arange(n))
    residual = x - y
    ramps = np.maximum(np.arange(n) - np.arange(1, n - 1)[:, None], 0.0)
    basis = np.stack([np.ones(n), np.arange(n) - (n - 1) / 2])
    ramps -= (ramps @ np.linalg.pinv(basis)) @ basis
    ramps /= np.linalg.norm(ramps, axis=1, keepdims=True)
    return max(
        np.abs(basis @ residual / np.linalg.norm(basis, axis=1)).max(),
        (ramps @ residual).max(),
        abs(residual @ (y - line))
        / max(np.linalg.norm(y - line), np.linalg.norm(x) / 99),
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [3, 12, 60])
def test_nearest_convex_sequence(n: int, dtype: str) -> None:
    """The sequences are the solver's, to roundings."""
    known = np.stack(list(sequences(n).values()), axis=1)
    w = as_tensor(known, dtype)
    reached = as_float64(quick(c.Convex().__call__)(w))
    expected = np.stack([nearest(x) for x in as_float64(w).T], axis=1)
    error = np.linalg.norm(reached - expected, axis=0) / np.linalg.norm(known, axis=0)
    assert (error <= (1e-6 if dtype == "float32" else 1e-12)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [pytest.param(300, marks=pytest.mark.slow), 1000])
def test_optimality_of_long_sequences(n: int, dtype: str) -> None:
    """A thousand entries: convex, and no ramp or line brings it nearer."""
    w = as_tensor(np.stack(list(sequences(n).values()), axis=1), dtype)
    reached = quick(c.Convex().__call__)(w)
    assert c.Convex().contains(reached)
    tolerance = 1e-5 if dtype == "float32" else 1e-11
    for x, y in zip(as_float64(w).T, as_float64(reached).T, strict=True):
        bends = np.diff(y, n=2)
        assert bends.min() >= -tolerance * np.abs(x).max()
        assert miss(x, y) <= tolerance * np.linalg.norm(x)


def test_faint_bends_are_bends() -> None:
    """A long hill is not convex because each of its bends is small."""
    hill = -(np.linspace(-1, 1, 3000) ** 2)
    assert not c.Convex().contains(as_tensor(hill, "float32"))


def _moment(w: Any) -> Any:
    return ops.sum(c.Convex()(w) * ops.convert_to_tensor([1.0, 2.0, -1.0, 4.0, 0.5]))


def test_gradient_is_that_of_the_face() -> None:
    """Between its knots the sequence stays a line: weights move along such lines."""
    w = as_tensor([2.0, 0.0, 3.0, 0.5, 4.0], "float32")
    reached = as_float64(c.Convex()(w))
    knots = [0, *(np.flatnonzero(np.diff(reached, n=2) > 1e-5) + 1), 4]
    hats = np.stack([np.interp(range(5), knots, row) for row in np.eye(len(knots))])
    expected = np.linalg.pinv(hats) @ hats @ [1.0, 2.0, -1.0, 4.0, 0.5]
    gradient = value_and_gradient(_moment, w)[1]
    np.testing.assert_allclose(as_float64(gradient), expected, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_every_scale(scale: float) -> None:
    """Sequences have no scale."""
    w = scale * np.array([0.0, 3.0, 0.0, 1.0])
    reached = as_float64(c.Convex()(as_tensor(w, "float32")))
    np.testing.assert_allclose(reached, nearest(w / scale) * scale, rtol=1e-5)
