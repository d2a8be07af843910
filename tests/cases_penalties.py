"""The rows of the catalogue that are penalties, with their float64 oracles."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cvxpy
import keras
import numpy as np
import scipy

from keras_regx import regularizers as r
from keras_regx.constraints import MaxNorm, NonNeg

if TYPE_CHECKING:
    from collections.abc import Callable

Array = np.ndarray


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return ordinary weights: a standard normal sample."""
    return rng.normal(size=shape)


VECTOR, MATRIX, KERNEL = (7,), (5, 4), (3, 3, 2, 4)


@dataclass(frozen=True)
class PenaltyCase:
    """One penalty, with what is true of it.

    Attributes:
        penalty: The object under test.
        value: Float64 oracle of the value.
        keras: The object of Keras that computes the same, if there is one.
        wrong: Arguments that must be rejected, and the argument to be named.
        shapes: Shapes that it is tested on.
        sample: Draws weights to test on, away from kinks.
        gradient_at_zero: The gradient at zero weights, the same for all entries, or a
            function of the shape.
        minimised: What the prox minimises, if that is not `value`.
        convex_form: The penalty as a cvxpy expression of a variable; the prox is
            then compared with the solver's.
        dual: For a norm, `(x, t) -> x - prox_t(x)`: the projection onto the ball
            of radius `t` of its dual norm, written independently.
        loss: Whether it can be called at all; L0 cannot.
        note: Distinguishes rows of the same class.
    """

    penalty: r.Regularizer
    value: Callable[[Array], float]
    keras: Any = None
    wrong: tuple[tuple[dict[str, Any], str], ...] = ()
    shapes: tuple[tuple[int, ...], ...] = (VECTOR, MATRIX, KERNEL)
    sample: Callable[[np.random.Generator, tuple[int, ...]], Array] = normal
    gradient_at_zero: float | Callable[[tuple[int, ...]], float] = 0.0
    minimised: Callable[[Array], float] | None = None
    convex_form: Callable[[Any], Any] | None = None
    dual: Callable[[Array, float], Array] | None = None
    loss: bool = True
    note: str = ""

    @property
    def id(self) -> str:
        """Return the name that test ids show."""
        name = type(self.penalty).__name__
        return f"{name}_{self.note}" if self.note else name


def _cosines(w: Array) -> float:
    """Return the mean absolute cosine between the rows of a matrix."""
    pairs = [(i, j) for i in range(len(w)) for j in range(i)]
    cosines = [
        abs(w[i] @ w[j]) / np.sqrt((w[i] @ w[i]) * (w[j] @ w[j])) for i, j in pairs
    ]
    return float(np.mean(cosines))


def bad_number(argument: str, **others: Any) -> tuple[tuple[dict[str, Any], str], ...]:
    """Return the values that no non-negative number argument may take."""
    bad = (-1.0, float("nan"), float("inf"), True, "0.1", [0.1])
    return tuple(({argument: value, **others}, argument) for value in bad)


def _log_sum(x: Array) -> float:
    return float(0.3 * np.log(1 + np.abs(x) / 0.5).sum())


def _mcp(x: Array, factor: float = 0.6, gamma: float = 2.5) -> float:
    a = np.abs(x)
    inner = factor * a - a**2 / (2 * gamma)
    return float(np.where(a <= gamma * factor, inner, gamma * factor**2 / 2).sum())


def _scad(x: Array, factor: float = 0.5, a: float = 3.2) -> float:
    size = np.abs(x)
    bend = (2 * a * factor * size - size**2 - factor**2) / (2 * (a - 1))
    flat = factor**2 * (a + 1) / 2
    pieces = np.where(size <= a * factor, bend, flat)
    return float(np.where(size <= factor, factor * size, pieces).sum())


def _huber(x: Array) -> float:
    a = np.abs(x)
    return float(0.7 * np.where(a <= 0.8, a**2 / 2, 0.8 * (a - 0.4)).sum())


def _hinge(x: Array) -> float:
    low, high = np.maximum(-0.5 - x, 0), np.maximum(x - 0.8, 0)
    return float(0.4 * (low**2 + high**2).sum())


def _quantized(x: Array) -> float:
    levels = np.array([-1.0, 0.0, 0.7])
    return float(0.4 * np.abs(x[..., None] - levels).min(axis=-1).sum())


def _barrier(x: Array) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(-0.3 * np.where(x > 0, np.log(x), -np.inf).sum())


def positive(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return weights well inside the positive orthant."""
    return rng.uniform(0.2, 2.0, size=shape)


ELEMENTWISE = [
    PenaltyCase(
        r.ElasticNet(0.6, l1_ratio=0.3),
        lambda x: 0.6 * (0.3 * np.abs(x).sum() + 0.35 * (x**2).sum()),
        wrong=(
            *bad_number("factor"),
            *bad_number("l1_ratio", factor=0.1),
            ({"factor": 0.1, "l1_ratio": 1.5}, "l1_ratio"),
        ),
    ),
    PenaltyCase(
        r.Huber(0.7, delta=0.8),
        _huber,
        wrong=(*bad_number("factor"), *bad_number("delta", factor=0.1)),
    ),
    PenaltyCase(
        r.LogSum(0.3, eps=0.5),
        _log_sum,
        wrong=(*bad_number("factor"), *bad_number("eps", factor=0.1)),
    ),
    PenaltyCase(
        r.MCP(0.6, gamma=2.5),
        _mcp,
        wrong=(
            *bad_number("factor"),
            *bad_number("gamma", factor=0.1),
            ({"factor": 0.1, "gamma": 1.0}, "gamma"),
        ),
    ),
    PenaltyCase(
        r.SCAD(0.5, a=3.2),
        _scad,
        wrong=(*bad_number("factor"), ({"factor": 0.1, "a": 2.0}, "a")),
    ),
    PenaltyCase(
        r.Lp(0.4),
        lambda x: 0.4 * ((x**2 + 1e-6) ** 0.25).sum(),
        minimised=lambda x: 0.4 * (np.abs(x) ** 0.5).sum(),
        wrong=(
            *bad_number("factor"),
            *bad_number("p", factor=0.1),
            *bad_number("eps", factor=0.1),
            ({"factor": 0.1, "p": 0}, "p"),
            ({"factor": 0.1, "p": 2.5}, "p"),
        ),
    ),
    PenaltyCase(
        r.Lp(0.4, p=1.0, eps=0.0),
        lambda x: 0.4 * np.abs(x).sum(),
        note="p1",
    ),
    PenaltyCase(
        r.Lp(0.4, p=1.5),
        lambda x: 0.4 * ((x**2 + 1e-6) ** 0.75).sum(),
        note="p3_2",
    ),
    PenaltyCase(
        r.L0(0.3),
        lambda x: 0.3 * np.count_nonzero(x),
        wrong=bad_number("factor"),
        loss=False,
    ),
    PenaltyCase(
        r.RangeHinge(0.4, -0.5, 0.8),
        _hinge,
        wrong=(
            *bad_number("factor", min_value=0.0, max_value=1.0),
            ({"factor": 0.1, "min_value": None, "max_value": None}, "min_value"),
            ({"factor": 0.1, "min_value": 2.0, "max_value": 1.0}, "max_value"),
        ),
    ),
    PenaltyCase(
        r.LogBarrier(0.3),
        _barrier,
        sample=positive,
        wrong=bad_number("factor"),
    ),
    PenaltyCase(
        r.Quantized(0.4, levels=[-1.0, 0.0, 0.7]),
        _quantized,
        wrong=(
            *bad_number("factor", levels=[0.0]),
            ({"factor": 0.1, "levels": []}, "levels"),
            ({"factor": 0.1, "levels": [1.0, 1.0]}, "levels"),
            ({"factor": 0.1, "levels": "ab"}, "levels"),
            ({"factor": 0.1, "levels": [float("nan")]}, "levels"),
        ),
    ),
]


DROP_IN = [
    PenaltyCase(
        r.L1(0.3),
        lambda x: 0.3 * np.abs(x).sum(),
        keras=keras.regularizers.L1(0.3),
        convex_form=lambda y: 0.3 * cvxpy.norm1(y),
        dual=lambda x, t: np.clip(x, -0.3 * t, 0.3 * t),
        wrong=bad_number("l1"),
    ),
    PenaltyCase(
        r.L2(0.3),
        lambda x: 0.3 * (x**2).sum(),
        keras=keras.regularizers.L2(0.3),
        wrong=bad_number("l2"),
    ),
    PenaltyCase(
        r.L1L2(0.3, 0.2),
        lambda x: 0.3 * np.abs(x).sum() + 0.2 * (x**2).sum(),
        keras=keras.regularizers.L1L2(0.3, 0.2),
        wrong=bad_number("l1") + bad_number("l2"),
    ),
    PenaltyCase(
        r.OrthogonalRegularizer(0.3),
        lambda x: 0.3 * _cosines(x.reshape(-1, x.shape[-1])),
        keras=keras.regularizers.OrthogonalRegularizer(0.3),
        wrong=(*bad_number("factor"), ({"mode": "diagonal"}, "mode")),
        shapes=(MATRIX, KERNEL),
        note="rows",
    ),
    PenaltyCase(
        r.OrthogonalRegularizer(0.3, mode="columns"),
        lambda x: 0.3 * _cosines(x.reshape(-1, x.shape[-1]).T),
        keras=keras.regularizers.OrthogonalRegularizer(0.3, mode="columns"),
        shapes=(MATRIX, KERNEL),
        note="columns",
    ),
    PenaltyCase(
        r.Sum([r.L1(0.3), r.L2(0.2)]),
        lambda x: 0.3 * np.abs(x).sum() + 0.2 * (x**2).sum(),
        wrong=(
            ({"regularizers": []}, "regularizers"),
            ({"regularizers": r.L1()}, "regularizers"),
            ({"regularizers": [None]}, "regularizers"),
        ),
    ),
    PenaltyCase(
        r.Scaled(r.L2(0.3), 0.5),
        lambda x: 0.15 * (x**2).sum(),
        wrong=(
            *bad_number("factor", regularizer=r.L2()),
            ({"regularizer": None, "factor": 1.0}, "regularizer"),
        ),
    ),
]


def _advanced(penalty: r.Scheduled) -> r.Scheduled:
    """Return a penalty that somebody advances: its gradient is silent."""
    penalty.advance(0)
    return penalty


SCHEDULED = [
    PenaltyCase(
        _advanced(
            r.Scheduled(r.L2(0.3), keras.optimizers.schedules.CosineDecay(0.5, 10))
        ),
        lambda x: 0.15 * (x**2).sum(),
        wrong=(
            ({"regularizer": None, "schedule": lambda _: 1.0}, "regularizer"),
            ({"regularizer": r.L2(), "schedule": 1.0}, "schedule"),
        ),
    ),
]


def columns(x: Array) -> Array:
    """Return a kernel as a matrix of shape (fan_in, units)."""
    return x.reshape(-1, x.shape[-1])


def _ball1(v: Array, radius: float) -> Array:
    """Project a vector onto an L1 ball by bisection on the threshold."""
    size = np.abs(v)
    if size.sum() <= radius:
        return v
    low, high = 0.0, size.max()
    for _ in range(200):
        middle = (low + high) / 2
        above = np.maximum(size - middle, 0).sum() > radius
        low, high = (middle, high) if above else (low, middle)
    return np.sign(v) * np.maximum(size - high, 0)


def _ball2(v: Array, radius: float) -> Array:
    return v * min(1.0, radius / max(np.sqrt((v**2).sum()), 1e-300))


def _by_columns(project: Callable[[Array, float], Array], factor: float) -> Any:
    """Return the dual of a sum over columns: each column onto its ball."""

    def dual(x: Array, t: float) -> Array:
        w = columns(x)
        projected = [project(w[:, j], factor * t) for j in range(w.shape[1])]
        return np.stack(projected, axis=1).reshape(x.shape)

    return dual


def _by_values(project: Callable[[Array, float], Array], factor: float) -> Any:
    """Return the dual of a function of the singular values."""

    def dual(x: Array, t: float) -> Array:
        u, s, v = np.linalg.svd(columns(x), full_matrices=False)
        return ((u * project(s, factor * t)) @ v).reshape(x.shape)

    return dual


def _norms(x: Array) -> Array:
    return np.sqrt((columns(x) ** 2).sum(axis=0))


def by_label(x: Array, axis: int, labels: list[int]) -> list[Array]:
    """Return the entries of each group of indices along an axis, as vectors."""
    chosen = [np.equal(labels, label) for label in sorted(set(labels))]
    return [np.compress(c, x, axis=axis).ravel() for c in chosen]


def _labelled(x: Array, axis: int, labels: list[int], power: float = 0.5) -> float:
    """Return the sum of the groups' norms times a power of their sizes."""
    groups = by_label(x, axis, labels)
    return float(sum(g.size**power * np.sqrt((g**2).sum()) for g in groups))


def _labelled_form(y: Any) -> Any:
    """Return the norms of the columns {0, 2}, {1} and {3} of a matrix, with sizes."""
    groups = (y[:, [0, 2]], y[:, [1]], y[:, [3]])
    return sum(np.sqrt(g.size) * cvxpy.norm(g, "fro") for g in groups)


def _owl(x: Array, weights: Array) -> float:
    return float((weights * np.sort(np.abs(x).ravel())[::-1]).sum())


def _owl_form(y: Any, weights: Array) -> Any:
    drops = weights - np.append(weights[1:], 0.0)
    size = cvxpy.abs(cvxpy.vec(y, order="C"))
    return sum(d * cvxpy.sum_largest(size, k + 1) for k, d in enumerate(drops))


def _excess(x: Array) -> Array:
    w = columns(x)
    gram = w.T @ w if w.shape[0] >= w.shape[1] else w @ w.T
    return gram - np.eye(len(gram))


def _grams(x: Array) -> tuple[Array, Array]:
    return columns(x).T @ columns(x), columns(x) @ columns(x).T


def _conv_orthogonality(x: Array, stride: int) -> float:
    """Return the distance by four loops, over shifts and pixels."""
    sizes, (channels, filters) = x.shape[:-2], x.shape[-2:]
    reach = [range(-((n - 1) // stride), (n - 1) // stride + 1) for n in sizes]
    total = 0.0
    for shift in itertools.product(*reach):
        products = np.zeros((filters, filters))
        for pixel in np.ndindex(*sizes):
            other = tuple(a + b * stride for a, b in zip(pixel, shift, strict=True))
            if all(0 <= a < n for a, n in zip(other, sizes, strict=True)):
                products += x[pixel].T @ x[other]
        total += ((products - np.eye(filters) * (not any(shift))) ** 2).sum()
    return total - max(0, filters - channels * stride ** len(sizes))


def _energy(x: Array, power: float, *, half: bool = False) -> float:
    units = columns(x).T
    units = units / np.sqrt((units**2).sum(axis=1, keepdims=True))
    units = np.concatenate([units, -units]) if half else units
    terms = []
    for a, b in itertools.combinations(units, 2):
        distance = np.sqrt(((a - b) ** 2).sum())
        terms.append(-np.log(distance) if power == 0 else distance**-power)
    return float(np.mean(terms))


def _steps(y: Any) -> Any:
    return cvxpy.sum(cvxpy.abs(cvxpy.diff(y, axis=0)))


def _variation_dual(x: Array, t: float) -> Array:
    """Return the nearest `D^T u` with `|u| <= t`: a bounded least squares."""
    d = np.diff(np.eye(x.shape[0]), axis=0)
    flat = x.reshape(x.shape[0], -1)
    fits = [
        d.T @ scipy.optimize.lsq_linear(d.T, v, bounds=(-t, t), tol=1e-14).x
        for v in flat.T
    ]
    return np.stack(fits, axis=1).reshape(x.shape)


def _covariance(x: Array, correction: int) -> Array:
    return np.cov(columns(x).T, bias=correction == 0)


def _off_diagonal(c: Array) -> float:
    return float((c**2).sum() - (np.diag(c) ** 2).sum())


def _vicreg(x: Array) -> float:
    c = _covariance(x, 1)
    spread = np.sqrt(np.diag(c) + 1e-4)
    together = _off_diagonal(c) / len(c)
    return float(0.7 * np.maximum(0.9 - spread, 0).mean() + 0.4 * together)


def _kl(x: Array) -> float:
    mean, r = columns(x).mean(axis=0), 0.2
    terms = r * np.log(r / mean) + (1 - r) * np.log((1 - r) / (1 - mean))
    return float(0.5 * terms.sum())


def _entropy(x: Array) -> float:
    return float(0.5 * scipy.stats.entropy(np.exp(columns(x)), axis=1).mean())


def fractions(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return numbers inside (0, 1)."""
    return rng.uniform(0.1, 0.9, size=shape)


def small(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return small weights, as a well-conditioned start of training has them."""
    return 0.4 * rng.normal(size=shape)


BAD_AXIS = tuple(
    ({"factor": 0.1, "axis": v}, "axis") for v in ("rows", 0.5, True, (0, 0), ())
)
BAD_FACTOR = bad_number("factor")
BAD_GROUPS = (
    *(
        ({"factor": 0.1, "groups": v}, "groups")
        for v in ([], "01", 3, [0.5], [True], [[0], [1]])
    ),
    *(({"factor": 0.1, "groups": [0], "axis": v}, "axis") for v in (None, 0)),
)
MATRICES = (MATRIX, (3, 6), KERNEL)
SEVEN = np.linspace(1.0, 0.1, 7)

RATIOS = [
    PenaltyCase(
        r.Hoyer(0.3),
        lambda x: 0.3 * np.abs(x).sum() / np.sqrt((x**2).sum()),
        wrong=BAD_FACTOR,
    ),
    PenaltyCase(
        r.HoyerSquare(0.3),
        lambda x: 0.3 * np.abs(x).sum() ** 2 / (x**2).sum(),
        wrong=BAD_FACTOR + BAD_AXIS,
    ),
    PenaltyCase(
        r.HoyerSquare(0.3, axis="units"),
        lambda x: 0.3 * (np.abs(columns(x)).sum(0) ** 2 / _norms(x) ** 2).sum(),
        shapes=(MATRIX, KERNEL),
        note="units",
    ),
    PenaltyCase(
        r.LInf(0.3),
        lambda x: 0.3 * np.abs(x).max(),
        convex_form=lambda y: 0.3 * cvxpy.max(cvxpy.abs(y)),
        dual=lambda x, t: _ball1(x.ravel(), 0.3 * t).reshape(x.shape),
        wrong=BAD_FACTOR + BAD_AXIS,
    ),
    PenaltyCase(
        r.LInf(0.3, axis="units"),
        lambda x: 0.3 * np.abs(columns(x)).max(axis=0).sum(),
        dual=_by_columns(_ball1, 0.3),
        shapes=(MATRIX, KERNEL),
        note="units",
    ),
]

GROUPS = [
    PenaltyCase(
        r.GroupLasso(0.3),
        lambda x: 0.3 * np.sqrt(len(columns(x))) * _norms(x).sum(),
        convex_form=lambda y: (
            0.3 * np.sqrt(y.shape[0]) * cvxpy.sum(cvxpy.norm(y, 2, axis=0))
        ),
        shapes=(MATRIX, KERNEL),
        wrong=(
            *BAD_FACTOR,
            *BAD_AXIS,
            *BAD_GROUPS,
            ({"factor": 0.1, "weighted": 1}, "weighted"),
        ),
    ),
    PenaltyCase(
        r.GroupLasso(0.3, weighted=False),
        lambda x: 0.3 * _norms(x).sum(),
        dual=_by_columns(_ball2, 0.3),
        shapes=(MATRIX, KERNEL),
        note="unweighted",
    ),
    PenaltyCase(
        r.GroupLasso(0.3, axis="inputs"),
        lambda x: (
            0.3
            * np.sqrt(x.size / x.shape[-2])
            * np.sqrt(
                (np.moveaxis(x, -2, 0).reshape(x.shape[-2], -1) ** 2).sum(1)
            ).sum()
        ),
        shapes=(MATRIX, KERNEL),
        note="inputs",
    ),
    PenaltyCase(
        r.GroupLasso(0.3, axis="units"),
        lambda x: 0.3 * np.abs(x).sum(),
        shapes=(VECTOR,),
        note="bias",
    ),
    PenaltyCase(
        r.GroupLasso(0.3, groups=[7, 2, 7, -1]),
        lambda x: 0.3 * _labelled(x, -1, [7, 2, 7, -1]),
        convex_form=lambda y: 0.3 * _labelled_form(y),
        shapes=(MATRIX, KERNEL),
        note="labels",
    ),
    PenaltyCase(
        r.GroupLasso(0.3, axis="inputs", weighted=False, groups=[0, 1, 0, 0, 0]),
        lambda x: 0.3 * _labelled(x, -2, [0, 1, 0, 0, 0], power=0.0),
        shapes=(MATRIX, (2, 5, 3)),
        note="label_inputs",
    ),
    PenaltyCase(
        r.SparseGroupLasso(0.3, l1_ratio=0.4),
        lambda x: (
            0.12 * np.abs(x).sum() + 0.18 * np.sqrt(len(columns(x))) * _norms(x).sum()
        ),
        convex_form=lambda y: (
            0.12 * cvxpy.sum(cvxpy.abs(y))
            + 0.18 * np.sqrt(y.shape[0]) * cvxpy.sum(cvxpy.norm(y, 2, axis=0))
        ),
        shapes=(MATRIX, KERNEL),
        wrong=(
            *BAD_FACTOR,
            *BAD_AXIS,
            *BAD_GROUPS,
            ({"factor": 1.0, "l1_ratio": 2}, "l1_ratio"),
        ),
    ),
    PenaltyCase(
        r.SparseGroupLasso(0.3, l1_ratio=0.4, groups=[7, 2, 7, -1]),
        lambda x: 0.12 * np.abs(x).sum() + 0.18 * _labelled(x, -1, [7, 2, 7, -1]),
        convex_form=lambda y: 0.12 * cvxpy.sum(cvxpy.abs(y)) + 0.18 * _labelled_form(y),
        shapes=(MATRIX, (2, 2, 3, 4)),
        note="labels",
    ),
    PenaltyCase(
        r.ExclusiveLasso(0.3),
        lambda x: 0.15 * (np.abs(columns(x)).sum(axis=0) ** 2).sum(),
        convex_form=lambda y: 0.15 * cvxpy.sum_squares(cvxpy.norm(y, 1, axis=0)),
        shapes=(MATRIX, KERNEL),
        wrong=BAD_FACTOR + BAD_AXIS,
    ),
    PenaltyCase(
        r.OrderedWeightedL1(SEVEN.tolist()),
        lambda x: _owl(x, SEVEN),
        convex_form=lambda y: _owl_form(y, SEVEN),
        shapes=(VECTOR,),
        wrong=tuple(
            ({"weights": weights}, "weights")
            for weights in ([], [0.1, 0.2], [1.0, -1.0], 0.1, [float("nan")], None)
        ),
    ),
    PenaltyCase(
        r.OSCAR(0.2, 0.05),
        lambda x: _owl(x, 0.2 + 0.05 * np.arange(x.size - 1, -1, -1)),
        convex_form=lambda y: _owl_form(y, 0.2 + 0.05 * np.arange(y.size - 1, -1, -1)),
        shapes=(VECTOR,),
        wrong=bad_number("l1", l2=0.1) + bad_number("l2", l1=0.1),
    ),
]

MATRIX_FUNCTIONS = [
    PenaltyCase(
        r.SoftOrthogonality(0.3),
        lambda x: 0.3 * (_excess(x) ** 2).sum(),
        shapes=MATRICES,
        wrong=BAD_FACTOR,
    ),
    PenaltyCase(
        r.DoubleSoftOrthogonality(0.3),
        lambda x: 0.3 * sum(((a - np.eye(len(a))) ** 2).sum() for a in _grams(x)),
        shapes=MATRICES,
        wrong=BAD_FACTOR,
    ),
    PenaltyCase(
        r.MutualCoherence(0.3),
        lambda x: 0.3 * np.abs(_excess(x)).max(),
        shapes=MATRICES,
        wrong=BAD_FACTOR,
    ),
    PenaltyCase(
        r.SRIP(0.3, iterations=64),
        lambda x: 0.3 * np.abs(np.linalg.eigvalsh(_excess(x))).max(),
        shapes=MATRICES,
        wrong=(*BAD_FACTOR, ({"factor": 0.1, "iterations": 0}, "iterations")),
    ),
    PenaltyCase(
        r.ConvOrthogonality(0.3),
        lambda x: 0.3 * _conv_orthogonality(x, 1),
        sample=small,
        shapes=((3, 2, 4), (2, 2, 2, 1, 2), KERNEL),
        wrong=(
            *BAD_FACTOR,
            *(({"factor": 0.1, "strides": v}, "strides") for v in (0, (), 1.5, "1")),
        ),
    ),
    PenaltyCase(
        r.ConvOrthogonality(0.3, strides=2),
        lambda x: 0.3 * _conv_orthogonality(x, 2),
        sample=small,
        shapes=((5, 2, 3), KERNEL),
        note="strided",
    ),
    PenaltyCase(
        r.HypersphericalEnergy(0.3),
        lambda x: 0.3 * _energy(x, 1.0),
        shapes=MATRICES,
        wrong=(
            *BAD_FACTOR,
            *bad_number("power", factor=0.1),
            ({"factor": 0.1, "half": 1}, "half"),
        ),
    ),
    PenaltyCase(
        r.HypersphericalEnergy(0.3, power=0.0, half=True),
        lambda x: 0.3 * _energy(x, 0.0, half=True),
        shapes=(MATRIX, KERNEL),
        note="log_half",
    ),
    PenaltyCase(
        r.NuclearNorm(0.3),
        lambda x: 0.3 * np.linalg.svd(columns(x), compute_uv=False).sum(),
        convex_form=lambda y: 0.3 * cvxpy.normNuc(y),
        dual=_by_values(np.minimum, 0.3),
        shapes=MATRICES,
        wrong=BAD_FACTOR,
    ),
    PenaltyCase(
        r.SpectralNorm(0.3),
        lambda x: 0.3 * np.linalg.svd(columns(x), compute_uv=False)[0],
        dual=_by_values(_ball1, 0.3),
        shapes=MATRICES,
        wrong=(*BAD_FACTOR, ({"factor": 0.1, "squared": 1}, "squared")),
    ),
    PenaltyCase(
        r.SpectralNorm(0.3, squared=True),
        lambda x: 0.15 * np.linalg.svd(columns(x), compute_uv=False)[0] ** 2,
        convex_form=lambda y: 0.15 * cvxpy.square(cvxpy.sigma_max(y)),
        shapes=(MATRIX, KERNEL),
        note="squared",
    ),
    PenaltyCase(
        r.SchattenNorm(0.3, p=2.0),
        lambda x: 0.3 * np.sqrt((x**2).sum()),
        dual=lambda x, t: _ball2(x.ravel(), 0.3 * t).reshape(x.shape),
        shapes=(MATRIX, KERNEL),
        wrong=(*bad_number("factor", p=1.0), ({"factor": 0.1, "p": 0}, "p")),
        note="p2",
    ),
    PenaltyCase(
        r.SchattenNorm(0.3, p=0.5),
        lambda x: 0.3 * np.sqrt(np.linalg.svd(columns(x), compute_uv=False)).sum() ** 2,
        shapes=(MATRIX, KERNEL),
        note="p1_2",
    ),
]

STRUCTURE = [
    PenaltyCase(
        r.TotalVariation(0.3, axis=0),
        lambda x: 0.3 * np.abs(np.diff(x, axis=0)).sum(),
        convex_form=lambda y: 0.3 * _steps(y),
        dual=lambda x, t: _variation_dual(x, 0.3 * t),
        shapes=(VECTOR, MATRIX),
        wrong=bad_number("factor", axis=0) + BAD_AXIS,
    ),
    PenaltyCase(
        r.TotalVariation(0.3, axis=(0, 1)),
        lambda x: 0.3 * sum(np.abs(np.diff(x, axis=a)).sum() for a in (0, 1)),
        shapes=(MATRIX, KERNEL),
        note="image",
    ),
    PenaltyCase(
        r.FusedLasso(0.2, 0.3, axis=0),
        lambda x: 0.2 * np.abs(x).sum() + 0.3 * np.abs(np.diff(x, axis=0)).sum(),
        convex_form=lambda y: 0.2 * cvxpy.sum(cvxpy.abs(y)) + 0.3 * _steps(y),
        shapes=(VECTOR, MATRIX),
        wrong=(
            *bad_number("l1", tv=0.1, axis=0),
            *bad_number("tv", l1=0.1, axis=0),
            ({"l1": 0.1, "tv": 0.1, "axis": None}, "axis"),
        ),
    ),
    PenaltyCase(
        r.Smoothness(l2=0.3, order=2),
        lambda x: 0.3 * (np.diff(x, 2, axis=0) ** 2).sum(),
        convex_form=lambda y: 0.3 * cvxpy.sum_squares(cvxpy.diff(y, 2, axis=0)),
        shapes=(VECTOR, MATRIX),
        wrong=(
            *bad_number("l1"),
            *bad_number("l2"),
            *(({"order": v}, "order") for v in (0, 1.5, True)),
            ({"axis": "units"}, "axis"),
            ({"cyclic": 1}, "cyclic"),
        ),
    ),
    PenaltyCase(
        r.Smoothness(l1=0.2, l2=0.3, axis=-1, cyclic=True),
        lambda x: (
            0.2 * np.abs(np.roll(x, -1, -1) - x).sum()
            + 0.3 * ((np.roll(x, -1, -1) - x) ** 2).sum()
        ),
        note="cyclic",
    ),
]

PRIOR = np.array([0.5, 2.0, 1.0, 4.0])
WELL = np.array([0.5, 1.5, 0.0, 2.0])
REFERENCE = [
    PenaltyCase(
        r.Anchor(0.3, anchor=[0.5, -0.2, 0.0, 1.0]),
        lambda x: 0.3 * ((x - [0.5, -0.2, 0.0, 1.0]) ** 2).sum(),
        convex_form=lambda y: (
            0.3 * cvxpy.sum_squares(y - np.tile([0.5, -0.2, 0.0, 1.0], (y.shape[0], 1)))
        ),
        shapes=(MATRIX, KERNEL),
        gradient_at_zero=lambda shape: np.broadcast_to([-0.3, 0.12, 0.0, -0.6], shape),
        wrong=(
            *BAD_FACTOR,
            *(({"factor": 0.1, "p": v}, "p") for v in (0, 3, 1.5, True)),
            *(({"factor": 0.1, "anchor": v}, "anchor") for v in ("a", [float("nan")])),
        ),
    ),
    PenaltyCase(
        r.Anchor(0.3, p=1, anchor=0.5),
        lambda x: 0.3 * np.abs(x - 0.5).sum(),
        gradient_at_zero=-0.3,
        note="p1",
    ),
    PenaltyCase(
        r.ElasticWeightConsolidation(0.3, anchor=0.5, fisher=WELL.tolist()),
        lambda x: 0.15 * (WELL * (x - 0.5) ** 2).sum(),
        shapes=(MATRIX, KERNEL),
        gradient_at_zero=lambda shape: np.broadcast_to(-0.15 * WELL, shape),
        wrong=(
            *BAD_FACTOR,
            *(({"factor": 0.1, "anchor": v}, "anchor") for v in ("a", [float("nan")])),
            ({"factor": 0.1, "fisher": [-1.0]}, "fisher"),
        ),
    ),
    PenaltyCase(
        r.SetDistance(MaxNorm(0.8, axis=None), 0.3),
        lambda x: 0.15 * max(np.sqrt((x**2).sum()) - 0.8, 0) ** 2,
        wrong=(
            *bad_number("factor", constraint=MaxNorm()),
            ({"constraint": None}, "constraint"),
            ({"constraint": MaxNorm(), "squared": 1}, "squared"),
        ),
    ),
    PenaltyCase(
        r.SetDistance(NonNeg(), 0.3, squared=False),
        lambda x: 0.3 * np.sqrt((np.minimum(x, 0) ** 2).sum()),
        note="distance",
    ),
    PenaltyCase(
        r.MoreauEnvelope(r.L1(0.3), mu=0.5),
        lambda x: np.where(np.abs(x) <= 0.15, x**2, 0.3 * np.abs(x) - 0.0225).sum(),
        wrong=(
            *bad_number("mu", regularizer=r.L1()),
            ({"regularizer": r.Hoyer(0.1), "mu": 1.0}, "regularizer"),
            ({"regularizer": None, "mu": 1.0}, "regularizer"),
        ),
    ),
    PenaltyCase(
        r.Masked(r.L1(0.3), [1, 0, 1, 1]),
        lambda x: 0.3 * np.abs(x[..., [0, 2, 3]]).sum(),
        shapes=(MATRIX, KERNEL),
        wrong=(
            ({"regularizer": None, "mask": [1]}, "regularizer"),
            *(
                ({"regularizer": r.L1(), "mask": v}, "mask")
                for v in ([2], "a", [[1], [0, 1]], None)
            ),
        ),
    ),
    PenaltyCase(
        r.Weighted(r.L1(0.3), PRIOR),
        lambda x: 0.3 * (PRIOR * np.abs(x)).sum(),
        convex_form=lambda y: 0.3 * cvxpy.sum(cvxpy.abs(y) @ np.diag(PRIOR)),
        dual=lambda x, t: np.clip(x, -0.3 * t * PRIOR, 0.3 * t * PRIOR),
        shapes=(MATRIX, KERNEL),
        wrong=(
            *(
                ({"regularizer": v, "weights": [1.0]}, "regularizer")
                for v in (None, r.GroupLasso(0.1), r.L1() + r.LInf(0.1), abs)
            ),
            *(
                ({"regularizer": "l1", "weights": v}, "weights")
                for v in (
                    *([0.0], [-1.0], [float("nan")], [float("inf")], [], "1", None),
                    *([True], [[1.0], [1.0, 2.0]], "float32:2:eJz"),
                )
            ),
        ),
    ),
    PenaltyCase(
        r.Weighted(r.MCP(0.6, gamma=2.5), PRIOR),
        lambda x: sum(w * _mcp(x[..., i]) for i, w in enumerate(PRIOR)),
        shapes=((4,), MATRIX, KERNEL),
        note="mcp",
    ),
    PenaltyCase(
        r.Sum([r.L2(0.3), r.NuclearNorm(0.2)]),
        lambda x: (
            0.3 * (x**2).sum() + 0.2 * np.linalg.svd(columns(x), compute_uv=False).sum()
        ),
        shapes=(MATRIX,),
        note="nuclear",
    ),
]

ACTIVITY = [
    PenaltyCase(
        r.KLSparsity(0.5, target=0.2),
        _kl,
        sample=fractions,
        shapes=(MATRIX, (3, 4, 2)),
        wrong=(
            *BAD_FACTOR,
            *(({"factor": 0.1, "target": v}, "target") for v in (0, 1)),
        ),
    ),
    PenaltyCase(
        r.VarianceCovariance(0.7, 0.4, gamma=0.9),
        _vicreg,
        shapes=(MATRIX, (3, 4, 2)),
        wrong=bad_number("variance") + bad_number("covariance") + bad_number("gamma"),
    ),
    PenaltyCase(
        r.DeCov(0.3),
        lambda x: 0.15 * _off_diagonal(_covariance(x, 0)),
        shapes=(MATRIX, (3, 4, 2)),
        wrong=BAD_FACTOR,
    ),
    PenaltyCase(
        r.ZLoss(0.3),
        lambda x: 0.3 * (scipy.special.logsumexp(x, axis=-1) ** 2).mean(),
        shapes=(MATRIX, (3, 4, 2)),
        gradient_at_zero=lambda s: 0.6 * np.log(s[-1]) / np.prod(s),
        wrong=BAD_FACTOR,
    ),
    PenaltyCase(
        r.EntropyPenalty(0.5),
        _entropy,
        shapes=(MATRIX, (3, 4, 2)),
        wrong=(
            ({"factor": float("nan")}, "factor"),
            ({"factor": 0.1, "from_logits": 1}, "from_logits"),
        ),
    ),
    PenaltyCase(
        r.EntropyPenalty(-0.5, from_logits=False),
        lambda x: 0.5 * (columns(x) * np.log(columns(x))).sum(axis=1).mean(),
        sample=fractions,
        shapes=(MATRIX, (3, 4, 2)),
        note="probabilities",
    ),
    PenaltyCase(
        r.BatchedOrthogonality(0.3),
        lambda x: np.mean([0.3 * ((a @ a.T - np.eye(len(a))) ** 2).sum() for a in x]),
        shapes=((3, 2, 4),),
        wrong=BAD_FACTOR,
    ),
]

PENALTIES = [
    *DROP_IN,
    *ELEMENTWISE,
    *SCHEDULED,
    *RATIOS,
    *GROUPS,
    *MATRIX_FUNCTIONS,
    *STRUCTURE,
    *REFERENCE,
    *ACTIVITY,
]
