"""Every primitive of `keras_regx.ops` against a float64 oracle, by one table."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from keras import ops

from keras_regx import ops as k
from keras_regx.ops.numerics import compute_dtype, dtype_of
from tests.backends import (
    BACKEND,
    DTYPES,
    as_float64,
    as_tensor,
    compiled,
    compiled_gradient,
    quick,
    slow_if_rare,
    slow_on,
)

if TYPE_CHECKING:
    from collections.abc import Callable

Array = np.ndarray
EPS = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2e-7, "float64": 4e-16}
BY_SVD = ("singular_values", "svt", "polar_svd")


def simplex(v: Array, total: float) -> Array:
    """Project a vector onto the simplex by sorting."""
    u = np.sort(v)[::-1]
    level = (np.cumsum(u) - total) / np.arange(1, v.size + 1)
    last = np.flatnonzero(u > level)
    return np.maximum(v - level[last[-1]], 0) if last.size else np.zeros_like(v)


def l1_ball(v: Array, radius: float) -> Array:
    """Project a vector onto the L1 ball by sorting."""
    inside = np.abs(v).sum() <= radius
    return v if inside else np.sign(v) * simplex(np.abs(v), radius)


def capped_simplex(v: Array, total: float, cap: float) -> Array:
    """Project a vector onto the capped simplex by trying every breakpoint."""
    points = np.sort(np.concatenate([v, v - cap]))
    sums = np.array([np.clip(v - t, 0, cap).sum() for t in points])
    return np.clip(v - np.interp(-total, -sums, points), 0, cap)


def isotonic(v: Array) -> Array:
    """Fit a non-decreasing sequence by the minimax formula."""
    n = v.size

    def fit(i: int) -> float:
        return max(min(v[a : b + 1].mean() for b in range(i, n)) for a in range(i + 1))

    return np.array([fit(i) for i in range(n)])


def total_variation(v: Array, t: float) -> Array:
    """Solve the dual of the total variation prox by an active-set of SciPy."""
    from scipy.optimize import lsq_linear

    d = np.diff(np.eye(v.size), axis=0)
    dual = lsq_linear(d.T, v, (-t, t), method="bvls", tol=1e-14).x
    return v - d.T @ dual


def spectral(f: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Apply a function to singular values."""

    def apply(x: Array) -> Array:
        u, s, vt = np.linalg.svd(x, full_matrices=False)
        return (u * f(s)[..., None, :]) @ vt

    return apply


def rows(f: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Apply a function of vectors along the last axis."""
    return lambda x: np.apply_along_axis(f, -1, x)


def columns(f: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Apply a function of vectors along the first axis."""
    return lambda x: np.apply_along_axis(f, 0, x)


def norms(x: Array) -> Array:
    """Return the norms of the columns."""
    return np.sqrt((x**2).sum(0, keepdims=True))


@dataclass(frozen=True)
class Case:
    """One primitive with fixed arguments.

    Attributes:
        name: Id of the case.
        fn: The primitive.
        oracle: Float64 NumPy function that computes the same.
        projection: Whether projecting twice is projecting once, bit for bit.
        groups: Axis of a group, for NaN; None where entries stand alone.
        reduced: Half-precision input gives a float32 result.
        factor: Tolerance in epsilons, for values of order 1.
        static: The parameters must be numbers.
        slack: Tolerance of the gradient in float32.
        scaled: Given a scale, the primitive with parameters multiplied by it.
    """

    name: str
    fn: Callable[[Any], Any]
    oracle: Callable[[Array], Array]
    scaled: Callable[[float], Callable[[Any], Any]]
    projection: bool = False
    groups: str = "entries"
    reduced: bool = False
    factor: float = 20
    static: bool = False
    slack: float = 2e-4
    shape: tuple[int, ...] = field(default=(4, 3))


def case(
    name: str, fn: Callable[..., Any], oracle: Any, *numbers: float, **more: Any
) -> Case:
    """Make a row: `fn(x, *numbers)`, whose numbers grow with the scale of x."""
    extra = more.pop("extra", {})
    return Case(
        name=name,
        fn=lambda x: fn(x, *numbers, **extra),
        oracle=oracle,
        scaled=lambda c: lambda x: fn(x, *(v * c for v in numbers), **extra),
        **more,
    )


COLUMNS = {"groups": "columns"}
MATRICES = {"groups": "matrices", "shape": (2, 4, 3), "factor": 60}
CASES = [
    case(
        "soft",
        k.soft_threshold,
        lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.7, 0),
        0.7,
    ),
    case("hard", k.hard_threshold, lambda x: x * (np.abs(x) > 0.7), 0.7),
    case(
        "firm",
        k.firm_threshold,
        lambda x: np.where(
            np.abs(x) > 1.4, x, np.sign(x) * np.maximum(np.abs(x) - 0.7, 0) * 2
        ),
        0.7,
        extra={"gamma": 2.0},
    ),
    case(
        "group_soft",
        k.group_soft_threshold,
        lambda x: x * np.maximum(1 - 1.5 / norms(x), 0),
        1.5,
        extra={"axis": "units"},
        **COLUMNS,
    ),
    case(
        "box",
        k.project_box,
        lambda x: np.clip(x, -0.5, 0.8),
        -0.5,
        0.8,
        projection=True,
    ),
    case(
        "linf",
        k.project_linf_ball,
        lambda x: np.clip(x, -0.6, 0.6),
        0.6,
        projection=True,
    ),
    case(
        "l2",
        k.project_l2_ball,
        lambda x: x * np.minimum(1, 1.5 / norms(x)),
        1.5,
        extra={"axis": 0},
        projection=True,
        **COLUMNS,
    ),
    case(
        "l1",
        k.project_l1_ball,
        columns(lambda v: l1_ball(v, 1.5)),
        1.5,
        extra={"axis": 0},
        projection=True,
        **COLUMNS,
    ),
    case(
        "simplex",
        k.project_simplex,
        columns(lambda v: simplex(v, 1.5)),
        1.5,
        extra={"axis": "units"},
        projection=True,
        **COLUMNS,
    ),
    case(
        "capped_simplex",
        k.project_capped_simplex,
        columns(lambda v: capped_simplex(v, 1.5, 0.6)),
        1.5,
        0.6,
        extra={"axis": 0},
        projection=True,
        static=True,
        **COLUMNS,
    ),
    case(
        "increasing",
        k.project_monotonic,
        columns(isotonic),
        extra={"axis": 0},
        projection=True,
        **COLUMNS,
    ),
    case(
        "decreasing",
        k.project_monotonic,
        columns(lambda v: isotonic(v[::-1])[::-1]),
        extra={"axis": 0, "increasing": False},
        projection=True,
        **COLUMNS,
    ),
    case(
        "tv",
        k.prox_total_variation,
        columns(lambda v: total_variation(v, 0.4)),
        0.4,
        extra={"axis": 0},
        **COLUMNS,
    ),
    case(
        "difference",
        k.difference,
        lambda x: np.diff(x, axis=0),
        extra={"axis": 0},
        reduced=True,
    ),
    case(
        "norm",
        k.safe_norm,
        lambda x: norms(x)[0],
        extra={"axis": 0},
        reduced=True,
        **COLUMNS,
    ),
    case(
        "singular_values",
        k.singular_values,
        lambda x: np.linalg.svd(x, compute_uv=False),
        reduced=True,
        **MATRICES,
    ),
    case(
        "spectral_norm",
        k.spectral_norm,
        lambda x: np.linalg.svd(x, compute_uv=False)[..., 0],
        extra={"iterations": 200},
        reduced=True,
        **MATRICES,
    ),
    case(
        "svt",
        k.singular_value_threshold,
        spectral(lambda s: np.maximum(s - 0.9, 0)),
        0.9,
        **MATRICES,
    ),
]
SCALE_FREE = [
    case("polar", k.polar, spectral(np.ones_like), slack=1e-2, **MATRICES),
    case(
        "polar_svd",
        k.polar,
        spectral(np.ones_like),
        extra={"method": "svd"},
        **MATRICES,
    ),
    case(
        "polar_wide",
        k.polar,
        spectral(np.ones_like),
        groups="matrices",
        shape=(2, 3, 4),
        factor=60,
        slack=2e-3,
    ),
]
ALL = CASES + SCALE_FREE
each = pytest.mark.parametrize("row", ALL, ids=lambda row: row.name)


each_dtype = pytest.mark.parametrize(
    "dtype", [pytest.param(dtype, marks=slow_if_rare(dtype)) for dtype in DTYPES]
)


def sample(row: Case, dtype: str) -> Any:
    """Return ordinary input of the row's shape."""
    x = np.random.default_rng(7).normal(size=row.shape)
    return as_tensor(x, dtype)


@cache
def jitted(row: Case) -> Callable[[Any], Any]:
    """Compile a row's function once for all tests."""
    return quick(row.fn)


def rounding(row: Case, dtype: str) -> float:
    """Return how far a result in `dtype` may be from the exact one."""
    if row.reduced and dtype in ("float16", "bfloat16"):
        return row.factor * EPS["float32"]
    return max(2 * EPS[dtype], row.factor * EPS[compute_dtype(dtype)])


@cache
def jitted_scaled(row: Case) -> Callable[[Any, Any], Any]:
    """Compile a row's function with its parameters given by a scale tensor."""
    return quick(lambda x, scale: row.scaled(scale)(x))


@cache
def jitted_slope(row: Case) -> tuple[Callable[[Any], Array], Array]:
    """Return the gradient of a weighted sum of the row's result, and its weights."""
    size = row.oracle(np.random.default_rng(0).normal(size=row.shape)).size
    weights = np.cos(np.arange(size))

    def loss(x: Any) -> Any:
        tensor = ops.convert_to_tensor(weights.astype("float32"))
        return ops.sum(ops.reshape(row.fn(x), (-1,)) * tensor)

    return compiled_gradient(loss), weights


@pytest.mark.forward
@each
@each_dtype
def test_value(row: Case, dtype: str) -> None:
    """The value is the oracle's, in the input's dtype or float32 if reduced."""
    x = sample(row, dtype)
    y = jitted(row)(x)
    half = dtype in ("float16", "bfloat16")
    assert dtype_of(y) == ("float32" if row.reduced and half else dtype)
    expected = row.oracle(as_float64(x))
    assert tuple(y.shape) == expected.shape
    tolerance = rounding(row, dtype)
    np.testing.assert_allclose(as_float64(y), expected, rtol=0, atol=tolerance)


@pytest.mark.optimized
@pytest.mark.slow
@each
@pytest.mark.parametrize("dtype", DTYPES)
def test_eager_is_compiled(row: Case, dtype: str) -> None:
    """Eager results and those compiled as in `fit` agree to rounding."""
    x = sample(row, dtype)
    eager, fast = as_float64(row.fn(x)), as_float64(compiled(row.fn)(x))
    tolerance = rounding(row, dtype)
    if BACKEND == "tensorflow" and row.name in BY_SVD:  # XLA's stops early.
        tolerance = max(tolerance, row.factor * EPS["float32"])
    np.testing.assert_allclose(eager, fast, rtol=0, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1e-25, 1e20])
@pytest.mark.parametrize("row", CASES, ids=lambda row: row.name)
def test_scale(row: Case, scale: float) -> None:
    """Input and parameters times a huge or tiny number give that times the result."""
    x = sample(row, "float32")
    if row.static:
        y = row.scaled(scale)(x * scale)
    else:
        y = jitted_scaled(row)(x * scale, as_tensor(scale, "float32"))
    y = as_float64(y) / scale
    tolerance = row.factor * EPS["float32"]
    np.testing.assert_allclose(y, row.oracle(as_float64(x)), rtol=0, atol=tolerance)


@pytest.mark.parametrize("scale", [1e-25, 1e20])
@pytest.mark.parametrize("row", SCALE_FREE, ids=lambda row: row.name)
def test_scale_free(row: Case, scale: float) -> None:
    """A huge or tiny multiple has the same orthogonal factor."""
    x = sample(row, "float32")
    y = as_float64(jitted(row)(x * scale))
    tolerance = row.factor * EPS["float32"]
    np.testing.assert_allclose(y, row.oracle(as_float64(x)), rtol=0, atol=tolerance)


@pytest.mark.forward
@each_dtype
@pytest.mark.parametrize(
    "row", [r for r in CASES if r.projection], ids=lambda r: r.name
)
def test_projection_twice(row: Case, dtype: str) -> None:
    """A projected point is feasible: it comes back bit for bit."""
    fn = jitted(row)
    once = fn(sample(row, dtype))
    np.testing.assert_array_equal(as_float64(fn(once)), as_float64(once))


@each_dtype
@pytest.mark.parametrize("row", SCALE_FREE, ids=lambda row: row.name)
def test_polar_twice(row: Case, dtype: str) -> None:
    """The orthogonal factor of itself is itself."""
    fn = jitted(row)
    once = fn(sample(row, dtype))
    tolerance = 1e-6 if compute_dtype(dtype) == "float32" else 1e-14
    np.testing.assert_allclose(as_float64(fn(once)), as_float64(once), atol=tolerance)


@pytest.mark.forward
@each
def test_nan(row: Case) -> None:
    """NaN spoils its own group, visibly, and no other."""
    fn = jitted(row)
    x = as_float64(sample(row, "float32"))
    clean = as_float64(fn(as_tensor(x, "float32")))
    x.flat[0] = np.nan
    y = as_float64(fn(as_tensor(x, "float32")))
    spoiled = np.isnan(y)
    assert spoiled.flat[0]
    if row.groups == "entries":
        assert spoiled.sum() == 1
    elif row.groups == "columns":
        np.testing.assert_array_equal(spoiled[..., 0], True)
        assert not spoiled[..., 1:].any()
    else:
        np.testing.assert_array_equal(spoiled[0], True)
        assert not spoiled[1].any()
    np.testing.assert_allclose(y[~spoiled], clean[~spoiled], atol=1e-6)


@pytest.mark.forward
@pytest.mark.parametrize("k_entries", [0, 3])
def test_none_and_all_of_the_largest(k_entries: int) -> None:
    """The ends of the range of `k`, ties and NaN included."""
    mask = k.top_k_mask(as_tensor([1.0, 1.0, np.nan], "float32"), k_entries)
    np.testing.assert_array_equal(ops.convert_to_numpy(mask), [k_entries > 0] * 3)


@pytest.mark.forward
@each
def test_empty(row: Case) -> None:
    """An empty tensor passes."""
    shape = (0, *row.shape[1:]) if row.groups == "matrices" else (*row.shape[:-1], 0)
    y = row.fn(ops.zeros(shape))
    assert 0 in y.shape


@each
@pytest.mark.parametrize("dtype", ["int32", "complex64"])
def test_dtype_refused(row: Case, dtype: str) -> None:
    """Integers and complex numbers are refused by name and dtype."""
    x = ops.convert_to_tensor(np.ones(row.shape, dtype))
    with pytest.raises(ValueError, match=rf"argument `x` of \w+\. .*dtype {dtype}"):
        row.fn(x)


@pytest.mark.optimized
@pytest.mark.slow
@each
def test_zero(row: Case) -> None:
    """At zero the value and the gradient are finite."""
    x = ops.zeros(row.shape)
    assert np.isfinite(as_float64(jitted(row)(x))).all()
    assert np.isfinite(jitted_slope(row)[0](x)).all()


@pytest.mark.optimized
@slow_on("jax", "tensorflow")
@each
def test_gradient(row: Case) -> None:
    """The compiled gradient is the oracle's finite difference at a generic point."""
    x = as_float64(sample(row, "float32"))
    slope, weights = jitted_slope(row)
    expected = np.zeros_like(x)
    step = 1e-6
    for index in np.ndindex(*x.shape):
        change = np.zeros_like(x)
        change[index] = step
        ends = [row.oracle(x + s * change).ravel() @ weights for s in (1, -1)]
        expected[index] = (ends[0] - ends[1]) / (2 * step)
    found = slope(as_tensor(x, "float32"))
    np.testing.assert_allclose(found, expected, rtol=0, atol=row.slack)


@pytest.mark.slow
@pytest.mark.parametrize("row", ALL, ids=lambda row: row.name)
def test_symbolic(row: Case) -> None:
    """Shape and dtype are inferred on symbolic tensors."""
    x = keras.KerasTensor(row.shape, dtype="float32")
    y = row.fn(x)
    assert (
        tuple(y.shape)
        == row.oracle(np.random.default_rng(0).normal(size=row.shape)).shape
    )
