"""The rows of the catalogue that are penalties, with their float64 oracles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cvxpy
import keras
import numpy as np

from keras_regx import regularizers as r

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
        gradient_at_zero: The gradient at zero weights, the same for all entries.
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
    gradient_at_zero: float = 0.0
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

SCHEDULED = [
    PenaltyCase(
        r.Scheduled(r.L2(0.3), keras.optimizers.schedules.CosineDecay(0.5, 10)),
        lambda x: 0.15 * (x**2).sum(),
        wrong=(
            ({"regularizer": None, "schedule": lambda _: 1.0}, "regularizer"),
            ({"regularizer": r.L2(), "schedule": 1.0}, "schedule"),
        ),
    ),
]

PENALTIES = [*DROP_IN, *ELEMENTWISE, *SCHEDULED]
