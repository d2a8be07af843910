"""Intersection: the nearest point, whatever the order, at every distance and scale."""

from __future__ import annotations

import itertools
import warnings
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from keras import ops

from keras_regx import constraints as c
from tests.backends import as_float64, as_tensor, quick, slow_on, value_and_gradient

if TYPE_CHECKING:
    from collections.abc import Callable

Array = np.ndarray
N = 5
RNG = np.random.default_rng(3)
NORMAL, OTHER = RNG.normal(size=(2, N, N))
MASK = (RNG.random((N, N)) > 0.4).astype(int)


def wedge(degrees: float) -> tuple[Array, Array]:
    """Return the unit normals of half-spaces that meet at an angle."""
    first = NORMAL / np.linalg.norm(NORMAL)
    across = OTHER - np.sum(first * OTHER) * first
    across /= np.linalg.norm(across)
    angle = np.radians(degrees)
    return first, np.sin(angle) * across - np.cos(angle) * first


def columns(function: Callable[[Any], Any]) -> Callable[[Any], list[Any]]:
    """Return the condition that a function of each column is at least zero."""
    return lambda y: [function(y[:, j]) >= 0 for j in range(N)]


def sets() -> dict[str, tuple[c.Constraint, Callable[[Any], list[Any]]]]:
    """Return sets with their conditions in cvxpy."""
    import cvxpy as cp

    thin = wedge(1)
    return {
        "nonneg": (c.NonNeg(), lambda y: [y >= 0]),
        "box": (c.Box(-0.1, 0.3), lambda y: [y >= -0.1, y <= 0.3]),
        "linf": (c.LInfBall(0.1), lambda y: [cp.abs(y) <= 0.1]),
        "mask": (c.Mask(MASK.tolist()), lambda y: [cp.multiply(1 - MASK, y) == 0]),
        "ball": (c.L2Ball(0.6, axis=None), lambda y: [cp.norm(y, "fro") <= 0.6]),
        "norms": (c.MaxNorm(0.6, axis=0), columns(lambda v: 0.6 - cp.norm(v))),
        "anchored": (
            c.AnchorBall(0.6, anchor=0.1),
            lambda y: [cp.norm(y - 0.1, "fro") <= 0.6],
        ),
        "half": (
            c.Halfspace(NORMAL.tolist(), 0.5),
            lambda y: [cp.sum(cp.multiply(NORMAL, y)) <= 0.5],
        ),
        "plane": (
            c.Hyperplane(OTHER.tolist(), 0.5),
            lambda y: [cp.sum(cp.multiply(OTHER, y)) == 0.5],
        ),
        "thin": (
            c.Halfspace(thin[0].tolist(), 0.1),
            lambda y: [cp.sum(cp.multiply(thin[0], y)) <= 0.1],
        ),
        "wedge": (
            c.Halfspace(thin[1].tolist(), 0.1),
            lambda y: [cp.sum(cp.multiply(thin[1], y)) <= 0.1],
        ),
        "mean": (c.Centered(0.05, axis=0), lambda y: [cp.sum(y, axis=0) == 0.05 * N]),
        "l1": (c.L1Ball(1.0, axis=None), lambda y: [cp.sum(cp.abs(y)) <= 1]),
        "l1_rows": (
            c.L1Ball(0.5, axis=1),
            lambda y: [cp.norm(y[i], 1) <= 0.5 for i in range(N)],
        ),
        "simplex": (c.Simplex(axis=None), lambda y: [y >= 0, cp.sum(y) == 1]),
        "simplices": (c.Simplex(axis=0), lambda y: [y >= 0, cp.sum(y, axis=0) == 1]),
        "capped": (
            c.CappedSimplex(1.0, 0.5, axis=0),
            lambda y: [y >= 0, y <= 0.5, cp.sum(y, axis=0) == 1],
        ),
        "order": (c.Monotonic(axis=0), lambda y: [y[1:] >= y[:-1]]),
        "rows": (c.Monotonic(axis=1), lambda y: [y[:, 1:] >= y[:, :-1]]),
        "nuclear": (c.NuclearBall(1.5), lambda y: [cp.normNuc(y) <= 1.5]),
        "spectral": (c.SpectralNormBall(0.7), lambda y: [cp.sigma_max(y) <= 0.7]),
        "psd": (c.PSD(), lambda y: [y == y.T, y >> 0]),
        "symmetric": (c.Symmetric(), lambda y: [y == y.T]),
    }


# Sets that do not meet, and those whose intersection has no interior.
NOT_PAIRS = """
    box simplices, linf simplices, ball simplices, anchored simplices, l1 simplices,
    l1_rows simplices, l1_rows simplex, ball capped, anchored capped, l1 capped,
    l1_rows capped, mean capped, mean simplices, linf capped, box capped,
    simplex simplices, simplex capped, simplices capped, spectral simplices,
    spectral capped, nuclear simplices, nuclear capped, mask simplices, mask capped,
    mask psd
"""
NAMES = list(sets())
ALWAYS = [
    ("ball", "half"),
    ("nuclear", "box"),
    ("simplex", "ball"),
    ("spectral", "nonneg"),
    ("thin", "wedge"),
]
_LEFT_OUT = {frozenset(pair.split()) for pair in NOT_PAIRS.split(",")}
PAIRS = [p for p in itertools.combinations(NAMES, 2) if set(p) not in _LEFT_OUT]
SWEEP = [PAIRS[i] for i in np.random.default_rng(0).permutation(len(PAIRS))[:40]]


def solved(w: Array, conditions: list[Callable[[Any], list[Any]]]) -> Array:
    """Return the nearest point that satisfies all conditions, by cvxpy."""
    import cvxpy as cp

    y = cp.Variable(w.shape)
    scale = max(np.abs(w).max(), 1.0)  # Far weights: only their direction counts.
    distance = cp.sum_squares(y) / scale - 2 * cp.sum(cp.multiply(y, w / scale))
    problem = cp.Problem(
        cp.Minimize(distance), [one for make in conditions for one in make(y)]
    )
    exact = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), 1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # So many digits are rare.
        problem.solve(solver=cp.CLARABEL, **exact)
    return np.asarray(y.value)


def check_pair(pair: tuple[str, ...], scale: float, offset: float) -> None:
    """Compare both orders with the solver's point."""
    known = sets()
    w = as_tensor(
        scale * np.random.default_rng(1).normal(size=(N, N)) + offset, "float32"
    )
    expected = solved(as_float64(w), [known[name][1] for name in pair])
    for order in (pair, pair[::-1]):
        both = c.Intersection([known[name][0] for name in order])
        reached = as_float64(quick(both.__call__)(w))
        error = np.linalg.norm(reached - expected)
        assert error <= 1e-4 * np.linalg.norm(expected)
        assert both.contains(as_tensor(reached, "float32"))


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (1.0, 10.0), (1e4, 0.0)])
@pytest.mark.parametrize("pair", ALWAYS, ids="-".join)
@slow_on("jax", "tensorflow")
def test_nearest_point_of_a_pair(
    pair: tuple[str, str], scale: float, offset: float
) -> None:
    """Near or far, in both orders, the point of a pair is the solver's."""
    check_pair(pair, scale, offset)


@pytest.mark.parametrize("pair", SWEEP, ids="-".join)
@pytest.mark.slow
def test_nearest_point_of_many_pairs(pair: tuple[str, str]) -> None:
    """40 pairs out of all that have a point: in both orders the solver's."""
    far = len(pair[0] + pair[1]) % 3
    check_pair(pair, (1.0, 1.0, 100.0)[far], (0.0, 5.0, 0.0)[far])


@pytest.mark.parametrize("names", ["ball plane box", "norms mean box", "order l1 half"])
@pytest.mark.slow
def test_nearest_point_of_three(names: str) -> None:
    """Three sets at once."""
    check_pair(tuple(names.split()), 1.0, 0.0)


def test_ball_and_half_space_in_both_orders() -> None:
    """Far weights beyond a half-space: on the sphere and on the plane."""
    half = c.Halfspace((np.ones(10) / np.sqrt(10)).tolist(), 0.3)
    ball = c.L2Ball(0.6, axis=None)
    w = as_tensor(np.linspace(9, 11, 10), "float32")
    slope = np.linspace(-1, 1, 10)
    slope *= np.sqrt(0.6**2 - 0.3**2) / np.linalg.norm(slope)
    for both in (ball & half, half & ball):
        expected = 0.3 / np.sqrt(10) + slope
        np.testing.assert_allclose(as_float64(both(w)), expected, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-30, 1e-7, 1.0, 1e20, 1e30])
def test_every_scale(scale: float) -> None:
    """A cone with a ball, and with a plane through zero, at every scale."""
    w = scale * np.array([1.0, -2.0, 3.0, 0.5])
    kept = np.maximum(w, 0)
    ball = c.L2Ball(1.0, axis=None)
    expected = kept / max(1.0, np.linalg.norm(kept))
    for both in (c.NonNeg() & ball, ball & c.NonNeg()):
        reached = as_float64(both(as_tensor(w, "float32")))
        np.testing.assert_allclose(reached, expected, rtol=1e-5)
    w = scale * np.array([1.0, -2.0, 3.0, 5.0])
    both = c.Centered() & c.Halfspace([0.0, 0.0, 0.0, 1.0], 0.0)
    reached = as_float64(both(as_tensor(w, "float32")))
    expected = scale * np.array([1 / 3, -8 / 3, 7 / 3, 0])
    np.testing.assert_allclose(reached, expected, atol=1e-5 * scale)
    assert both.contains(as_tensor(reached, "float32"))


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (c.Monotonic(), c.Box(0.0, 1.0)),
        (c.NonNeg(), c.L1Ball(0.5, axis=None)),
        (c.Mask([1, 0, 1, 1, 0, 1]), c.MaxNorm(0.5)),
        (c.Monotonic(), c.L2Ball(0.5, axis=None)),
        (c.FlipSymmetric(0), c.LInfBall(0.4)),
        (c.Monotonic(), c.L1Ball(0.5, axis=None)),
        (c.Box(-1.0, 0.5), c.NonNeg()),
    ],
    ids=lambda item: type(item).__name__,
)
def test_chains_that_are_projections(first: c.Constraint, then: c.Constraint) -> None:
    """Where a chain is the projection, the intersection is it, in both orders."""
    w = as_tensor([0.9, -0.7, 1.3, 0.2, -0.1, 0.4], "float32")
    expected = as_float64(c.Chain([first, then])(w))
    for both in (first & then, then & first):
        np.testing.assert_array_equal(as_float64(both(w)), expected)


def test_entries_within_bounds_are_so_exactly() -> None:
    """Bounds hold to the last bit, whatever else holds nearly."""
    w = as_tensor(np.random.default_rng(0).normal(size=(N, N)), "float32")
    reached = (c.Box(0.0, 0.25) & c.SpectralNormBall(0.7))(w)
    assert bool(ops.all((reached >= 0) & (reached <= 0.25)))


@pytest.mark.parametrize(
    "empty",
    [
        c.Box(2.0, 3.0) & c.L2Ball(0.5, axis=None),
        c.Box(0.0, 1.0) & c.Box(2.0, 3.0),
        c.Simplex(axis=None) & c.LInfBall(0.05),
        c.Halfspace(1.0, -1.0) & c.NonNeg(),
    ],
    ids=["ball", "bounds", "simplex", "half-space"],
)
def test_sets_that_do_not_meet_are_said(empty: c.Intersection) -> None:
    """A warning, no membership, no distance of 0: not even for what is returned."""
    w = as_tensor([0.5, -1.0, 0.1, 2.0], "float32")
    with pytest.warns(UserWarning, match="found no point in all of its sets"):
        reached = empty(w)
    assert np.isfinite(as_float64(reached)).all()
    assert not empty.contains(reached)
    with pytest.warns(UserWarning, match="do not meet"):
        assert float(empty.distance(reached)) > 0.1


def test_too_few_rounds_are_said() -> None:
    """The limit of rounds is kept, and what it costs is said."""
    w = as_tensor(100 * np.random.default_rng(0).normal(size=(N, N)), "float32")
    both = c.Intersection([c.Simplex(axis=0), c.Simplex(axis=1)], iterations=1)
    with pytest.warns(UserWarning, match="iterations=1"):
        both(w)


def test_scale_of_membership_is_that_of_the_weights() -> None:
    """Tiny weights are not members of a cone because they are tiny."""
    cone = c.NonNeg() & c.Centered(axis=None)
    assert not cone.contains([-1e-8, 1e-8])
    assert cone.contains([0.0, 0.0])
    assert not (c.NonNeg() & c.L2Ball(1.0)).contains([-1e-7, 1e-7])


def _box_and_mean(w: Any) -> Any:
    return ops.sum((c.Box(-0.5, 1.0) & c.Centered(0.25))(w) * ops.arange(4.0))


def _simplex_and_bounds(w: Any) -> Any:
    return ops.sum((c.Simplex(axis=None) & c.LInfBall(0.5))(w) * ops.arange(4.0))


def _two_simplices(w: Any) -> Any:
    both = c.Simplex(axis=0) & c.Simplex(axis=1)
    return ops.sum(both(ops.reshape(w, (2, 2))) * ops.reshape(ops.arange(4.0), (2, 2)))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        # Free entries share what their sum may not change; bounded ones have none.
        (_box_and_mean, [0.0, -0.5, 0.5, 0.0]),
        (_simplex_and_bounds, [0.0, -0.5, 0.5, 0.0]),
        (_two_simplices, [0.0, 0.0, 0.0, 0.0]),
    ],
)
@slow_on("tensorflow")
def test_gradient_is_that_of_the_active_face(
    function: Callable[[Any], Any], expected: list[float]
) -> None:
    """Eager and compiled: the derivative of the projection onto what is active."""
    w = as_tensor([-2.0, 0.1, 0.3, 3.0], "float32")
    gradient = value_and_gradient(function, w)[1]
    np.testing.assert_allclose(as_float64(gradient), expected, atol=1e-3)


@slow_on("tensorflow")
def test_trains() -> None:
    """`fit` ends in sets of all three ways: chain, multipliers, iteration."""
    model = keras.Sequential([keras.Input((4,))])
    for constraint in (
        c.NonNeg() & c.MaxNorm(0.5),
        c.MaxNorm(0.5) & c.Box(-0.1, 0.2),
        c.SpectralNormBall(0.5) & c.NonNeg(),
    ):
        model.add(keras.layers.Dense(4, kernel_constraint=constraint))
    model.compile("adam", "mse")
    model.fit(np.ones((8, 4)), np.ones((8, 4)), verbose=0)
    for layer in model.layers:
        assert layer.kernel_constraint.contains(layer.kernel)
