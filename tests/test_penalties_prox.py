"""Every proximal operator: optimal, non-expansive in effect, and Moreau's identity."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import cvxpy
import numpy as np
import pytest
from keras import ops

from tests.backends import DTYPES, as_float64, as_tensor, compiled, quick, slow_on
from tests.cases import PENALTIES, PenaltyCase
from tests.cases_penalties import VECTOR
from tests.test_penalties import draw, shaped

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.forward
STEPS = [0.1, 1.0, 5.0]
PROXIMABLE = [case for case in PENALTIES if case.penalty.proximable]
OTHERS = [case for case in PENALTIES if not case.penalty.proximable]


def params(keep: Callable[[PenaltyCase], bool]) -> list[pytest.param]:
    """Return the proximable cases of a kind, named for test ids."""
    return [pytest.param(case, id=case.id) for case in PROXIMABLE if keep(case)]


def shapes_of(keep: Callable[[PenaltyCase], bool]) -> list[pytest.param]:
    """Return the proximable cases of a kind with each of their shapes."""
    return shaped(filter(keep, PROXIMABLE))


def weights(case: PenaltyCase, shape: tuple[int, ...], seed: int = 1) -> np.ndarray:
    """Return weights to move: all signs, with a zero and a tie among them."""
    x = 1.5 * np.random.default_rng(seed).normal(size=shape)
    x.flat[0] = 0.0
    x.flat[-1] = x.flat[1]
    return np.asarray(as_float64(as_tensor(x, "float32")))


def objective(case: PenaltyCase, x: np.ndarray, step: float) -> Callable[..., float]:
    """Return what the prox minimises, in float64."""
    f = case.minimised or case.value
    return lambda y: f(y) + float(((y - x) ** 2).sum()) / (2 * step)


@functools.cache
def quick_prox(penalty: Any) -> Callable[..., Any]:
    """Return the prox, compiled on JAX once for all tests."""
    return quick(penalty.prox)


def prox(case: PenaltyCase, x: np.ndarray, step: float) -> np.ndarray:
    """Return the prox of float32 weights, as float64."""
    step_size = ops.convert_to_tensor(step, "float32")
    return as_float64(quick_prox(case.penalty)(as_tensor(x, "float32"), step_size))


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    "case", params(lambda case: case.penalty.separable and VECTOR in case.shapes)
)
def test_separable_prox_is_no_worse_than_a_grid(case: PenaltyCase, step: float) -> None:
    """Entry by entry, no point of a dense grid has a lower objective."""
    starts = np.array([-7.0, -1.6, -0.8, -0.05, 0.0, 0.3, 0.9, 1.4, 2.2, 6.0])
    x = as_float64(as_tensor(np.resize(starts, case.shapes[-1]), "float32"))
    moved = prox(case, x, step)
    pairs = list(zip(x.flat, moved.flat, strict=True))[: len(starts)]
    for start, end in pairs:
        f = objective(case, np.array([start]), step)
        reach = 2 * abs(start) + 3
        grid = np.concatenate([np.linspace(-reach, reach, 401), [start, 0.0]])
        best = min(f(np.array([y])) for y in grid)
        assert f(np.array([end])) <= best + 1e-5 * (1 + abs(best))


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    ("case", "shape"), shapes_of(lambda case: bool(case.convex_form))
)
def test_prox_is_the_solvers(
    case: PenaltyCase, shape: tuple[int, ...], step: float
) -> None:
    """A convex prox is the minimiser that an interior-point solver finds."""
    x = weights(case, shape)
    matrix = x.reshape(-1, shape[-1]) if len(shape) > 2 else x
    y = cvxpy.Variable(matrix.shape)
    goal = case.convex_form(y) + cvxpy.sum_squares(y - matrix) / (2 * step)
    cvxpy.Problem(cvxpy.Minimize(goal)).solve(solver=cvxpy.CLARABEL)
    f = objective(case, x, step)
    moved = prox(case, x, step)
    best = f(y.value.reshape(shape))
    assert f(moved) <= best + 1e-5 * (1 + abs(best))
    np.testing.assert_allclose(moved, y.value.reshape(shape), atol=5e-3)


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(("case", "shape"), shapes_of(lambda case: case.penalty.convex))
def test_three_point_inequality(
    case: PenaltyCase, shape: tuple[int, ...], step: float
) -> None:
    """2 t (f(p) - f(u)) <= |u - x|^2 - |u - p|^2 - |p - x|^2 for all u."""
    f = case.minimised or case.value
    rng = np.random.default_rng(2)
    x = weights(case, shape)
    p = prox(case, x, step)
    others = [draw(case, shape, seed) for seed in range(4)]
    others += [p + 0.1 * rng.normal(size=shape), 0.9 * p + 0.1 * x, 0.99 * p]
    for u in others:
        left = 2 * step * (f(p) - f(u))
        right = ((u - x) ** 2).sum() - ((u - p) ** 2).sum() - ((p - x) ** 2).sum()
        assert left <= right + 1e-5 * (1 + (x**2).sum() + (u**2).sum())


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(("case", "shape"), shapes_of(lambda case: bool(case.dual)))
def test_moreau_identity_with_an_independent_dual(
    case: PenaltyCase, shape: tuple[int, ...], step: float
) -> None:
    """For a norm, x = prox(x) + the projection onto the dual norm's ball."""
    x = weights(case, shape)
    np.testing.assert_allclose(
        prox(case, x, step) + case.dual(x, step), x, rtol=1e-4, atol=2e-5
    )


@pytest.mark.parametrize(
    ("case", "shape"), shapes_of(lambda case: not case.penalty.convex)
)
def test_nonconvex_prox_beats_its_neighbours(
    case: PenaltyCase, shape: tuple[int, ...]
) -> None:
    """Neither staying, nor zero, nor a point nearby has a lower objective."""
    rng = np.random.default_rng(3)
    x = weights(case, shape)
    for step in STEPS:
        f = objective(case, x, step)
        p = prox(case, x, step)
        others = [x, 0 * x, 0.9 * p, 0.9 * p + 0.1 * x]
        others += [p + scale * rng.normal(size=shape) for scale in (1e-3, 0.1, 1.0)]
        assert all(f(p) <= f(u) + 1e-5 * (1 + abs(f(u))) for u in others)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype != "float32"])
@pytest.mark.parametrize("case", params(lambda _: True))
def test_prox_keeps_shape_and_dtype(case: PenaltyCase, dtype: str) -> None:
    """Half precision is computed in float32 and returned as it came."""
    shape = case.shapes[-1]
    x = as_tensor(weights(case, shape), dtype)
    moved = quick_prox(case.penalty)(x, 0.5)
    assert moved.dtype == x.dtype
    assert tuple(moved.shape) == shape
    rounding = {"float16": 2e-3, "bfloat16": 2e-2}.get(dtype, 1e-4)
    wide = prox(case, as_float64(x), 0.5)
    np.testing.assert_allclose(as_float64(moved), wide, rtol=rounding, atol=rounding)


@pytest.mark.optimized
@pytest.mark.slow
@pytest.mark.parametrize("case", params(lambda _: True))
def test_compiled_prox_takes_a_tensor_as_step(case: PenaltyCase) -> None:
    """A learning rate that is a tensor works, compiled."""
    x = as_tensor(weights(case, case.shapes[-1]), "float32")
    step = ops.convert_to_tensor(0.7, "float32")
    fast = as_float64(compiled(case.penalty.prox)(x, step))
    eager = as_float64(case.penalty.prox(x, 0.7))
    np.testing.assert_allclose(fast, eager, rtol=1e-4, atol=1e-5)


@slow_on("tensorflow")
@pytest.mark.parametrize(("case", "shape"), shapes_of(lambda _: True))
def test_prox_with_step_zero_or_without_entries(
    case: PenaltyCase, shape: tuple[int, ...]
) -> None:
    """A step of zero moves nothing out of place, and empty weights stay empty."""
    x = draw(case, shape)
    np.testing.assert_allclose(prox(case, x, 0.0), x, rtol=1e-5, atol=1e-5)
    empty = (0, *shape[1:])
    assert tuple(case.penalty.prox(ops.zeros(empty), 1.0).shape) == empty


@slow_on("tensorflow")
@pytest.mark.parametrize("case", params(lambda _: True))
def test_prox_keeps_nan(case: PenaltyCase) -> None:
    """A NaN weight stays NaN, or makes its group NaN; it is never hidden."""
    x = weights(case, case.shapes[-1])
    x.flat[1] = np.nan
    assert np.isnan(prox(case, x, 0.5).flat[1])


@pytest.mark.parametrize("step", [-1.0, float("nan"), True, "0.1", None])
@pytest.mark.parametrize("case", params(lambda _: True))
def test_wrong_step_size_is_named(case: PenaltyCase, step: object) -> None:
    """A step size must be a number >= 0 or a scalar tensor."""
    with pytest.raises(ValueError, match="step_size"):
        case.penalty.prox(ops.ones(case.shapes[0]), step)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in OTHERS])
def test_no_prox_says_why(case: PenaltyCase) -> None:
    """A penalty without a proximal operator says so, and why."""
    with pytest.raises(NotImplementedError, match=r"prox is not available: \w+"):
        case.penalty.prox(ops.ones(case.shapes[0]), 0.1)
