"""THE catalogue: one row per penalty and per constraint.

Value, gradient, prox, projection, dtypes, compiled versus eager, serialization,
wrong arguments, docs rows and benchmark rows are all derived from these rows.
Oracles are float64 NumPy and share no code with the package. The penalties' rows
are in `cases_penalties`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_regx import constraints as c
from tests import oracles as o
from tests.cases_penalties import (
    KERNEL,
    MATRIX,
    PENALTIES,
    VECTOR,
    Array,
    PenaltyCase,
    normal,
)
from tests.cases_penalties import bad_number as _bad_number

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CONSTRAINTS", "PENALTIES", "ConstraintCase", "PenaltyCase"]


@dataclass(frozen=True)
class ConstraintCase:
    """One constraint, with what is true of it.

    Attributes:
        constraint: The object under test.
        project: Float64 oracle of the projection.
        keras: The object of Keras with the same purpose, if there is one.
        wrong: Arguments that must be rejected, and the argument to be named.
        shapes: Shapes that it is tested on.
        sample: Draws weights to project.
        cone: Whether the set is a cone: multiples of its members are members.
        scale_free: Whether weights times 1e20 and 1e-25 can be compared with the
            oracle's.
        again: Largest move of a second projection, in roundings of the largest
            weight; 0 is bitwise.
        atol: Absolute tolerance against the oracle in float32.
        iterative: Whether `atol` holds in float64 too: the projection, or its
            oracle, is the end of an iteration.
        note: Distinguishes rows of the same class.
    """

    constraint: c.Constraint
    project: Callable[[Array], Array]
    keras: Any = None
    wrong: tuple[tuple[dict[str, Any], str], ...] = ()
    shapes: tuple[tuple[int, ...], ...] = (VECTOR, MATRIX, KERNEL)
    sample: Callable[[np.random.Generator, tuple[int, ...]], Array] = normal
    cone: bool = False
    scale_free: bool = True
    again: float = 0.0
    atol: float = 1e-6
    iterative: bool = False
    note: str = ""

    @property
    def id(self) -> str:
        """Return the name that test ids show."""
        name = type(self.constraint).__name__
        return f"{name}_{self.note}" if self.note else name


def _radial(axis: Any, low: float, high: float, rate: float = 1.0) -> Any:
    """Return the oracle of the constraints on the norms of groups."""

    def project(w: Array) -> Array:
        norms = np.sqrt((w**2).sum(axis=axis, keepdims=True))
        target = rate * np.clip(norms, low, high) + (1 - rate) * norms
        return w * target / norms

    return project


def _keras2_radial(w: Array) -> Array:
    """Return what Keras 2 computes, ring by ring from the centre."""
    out = np.empty_like(w)
    size = w.shape[0]
    start = size // 2
    for row in range(size):
        for column in range(size):
            ring = max(abs(2 * row - size + 1), abs(2 * column - size + 1))
            k = ring // 2
            if size % 2:
                source = start - 1 if k == 0 else start + k - 1
            else:
                source = start - 1 if k == 0 else start + k
            out[row, column] = w[source, source]
    return out


def norm_of(x: Any) -> Any:
    """Return cvxpy's norm of an expression."""
    import cvxpy as cp

    return cp.norm(x)


def sum_of(x: Any) -> Any:
    """Return cvxpy's sum of an expression."""
    import cvxpy as cp

    return cp.sum(x)


def _bad(
    argument: str, *values: Any, **others: Any
) -> tuple[tuple[dict[str, Any], str], ...]:
    """Return values that an argument may not take."""
    return tuple(({argument: value, **others}, argument) for value in values)


_BAD_AXIS = tuple(({"axis": v}, "axis") for v in ("rows", 0.5, True, (0, 0), ()))

CONSTRAINTS = [
    ConstraintCase(
        c.MaxNorm(1.5),
        _radial(0, 0.0, 1.5),
        keras=keras.constraints.MaxNorm(1.5),
        wrong=_bad_number("max_value") + _BAD_AXIS,
    ),
    ConstraintCase(
        c.MaxNorm(1.5, axis="units"),
        _radial((0, 1, 2), 0.0, 1.5),
        keras=keras.constraints.MaxNorm(1.5, axis=(0, 1, 2)),
        shapes=(KERNEL,),
        note="units",
    ),
    ConstraintCase(c.MaxNorm(1.5, axis=None), _radial(None, 0.0, 1.5), note="tensor"),
    ConstraintCase(
        c.NonNeg(),
        lambda w: np.maximum(w, 0),
        keras=keras.constraints.NonNeg(),
        cone=True,
    ),
    ConstraintCase(
        c.UnitNorm(),
        _radial(0, 1.0, 1.0),
        keras=keras.constraints.UnitNorm(),
        wrong=_BAD_AXIS,
    ),
    ConstraintCase(
        c.UnitNorm(axis="inputs"),
        _radial((0, 1, 3), 1.0, 1.0),
        keras=keras.constraints.UnitNorm(axis=(0, 1, 3)),
        shapes=(KERNEL,),
        note="inputs",
    ),
    ConstraintCase(
        c.MinMaxNorm(0.5, 1.5),
        _radial(0, 0.5, 1.5),
        keras=keras.constraints.MinMaxNorm(0.5, 1.5),
        wrong=(
            *_bad_number("min_value"),
            *_bad_number("max_value"),
            *_bad_number("rate"),
            ({"rate": 5}, "rate"),
            ({"min_value": 2.0, "max_value": 1.0}, "max_value"),
            *_BAD_AXIS,
        ),
    ),
    ConstraintCase(
        c.MinMaxNorm(0.5, 1.5, rate=0.3),
        _radial(0, 0.5, 1.5, rate=0.3),
        keras=keras.constraints.MinMaxNorm(0.5, 1.5, rate=0.3),
        note="relaxed",
    ),
    ConstraintCase(
        c.RadialConstraint(),
        _keras2_radial,
        shapes=((3, 3, 2, 2), (4, 4, 1, 2), (5, 5, 1, 1), (6, 6, 1, 1)),
        cone=True,
    ),
    ConstraintCase(
        c.Box(-0.5, 1.0),
        lambda w: np.clip(w, -0.5, 1.0),
        wrong=(
            *_bad_number("min_value")[1:],
            *_bad_number("max_value")[1:],
            ({"min_value": 2.0, "max_value": 1.0}, "max_value"),
        ),
    ),
    ConstraintCase(c.Box(min_value=0.25), lambda w: np.maximum(w, 0.25), note="low"),
    ConstraintCase(
        c.Box(min_value=0.0), lambda w: np.maximum(w, 0), cone=True, note="cone"
    ),
    ConstraintCase(c.NonPos(), lambda w: np.minimum(w, 0), cone=True),
    ConstraintCase(
        c.SignConstraint([1, -1, 0, 1, -1]),
        o.signs([1, -1, 0, 1, -1]),
        wrong=tuple(
            ({"signs": v}, "signs") for v in (2, [0.5], "+", [], [[1], [1, 1]])
        ),
        shapes=((5,), MATRIX),
        cone=True,
    ),
    ConstraintCase(
        c.SignConstraint([[1], [0], [0], [-1], [1]]),
        o.signs([1, 0, 0, -1, 1]),
        shapes=((5,), MATRIX, (5, 2, 3)),
        note="column",
        cone=True,
    ),
    ConstraintCase(
        c.Mask([[1, 0, 1, 1]]),
        lambda w: w * [1, 0, 1, 1],
        wrong=tuple(({"mask": v}, "mask") for v in (2, [0.5], "10", [], [[1], [1, 1]])),
        shapes=(MATRIX, KERNEL),
        cone=True,
    ),
    ConstraintCase(
        c.Triangular(lower=False),
        o.keep(lambda i, j, _m, _n: i <= j),
        wrong=(({"lower": 1}, "lower"),),
        shapes=(MATRIX, KERNEL),
        cone=True,
    ),
    ConstraintCase(
        c.Causal(),
        o.keep(lambda i, j, _m, _n: i >= j),
        shapes=(MATRIX, KERNEL),
        cone=True,
    ),
    ConstraintCase(
        c.Diagonal(),
        o.keep(lambda i, j, _m, _n: i == j),
        shapes=(MATRIX, KERNEL),
        cone=True,
    ),
    ConstraintCase(
        c.BlockDiagonal(2),
        o.keep(lambda i, j, m, n: (2 * i < m) == (2 * j < n)),
        wrong=tuple(({"blocks": v}, "blocks") for v in (0, 1.5, True, "2")),
        shapes=((4, 6), KERNEL),
        cone=True,
    ),
    ConstraintCase(
        c.L2Ball(1.5),
        o.over_groups("units", lambda v: v * min(1.0, 1.5 / np.linalg.norm(v))),
        wrong=_bad_number("radius") + _BAD_AXIS,
    ),
    ConstraintCase(
        c.LInfBall(0.75),
        lambda w: np.clip(w, -0.75, 0.75),
        wrong=_bad_number("radius"),
    ),
    ConstraintCase(
        c.NonNegUnitNorm(),
        o.over_groups("units", o.nonneg_unit_norm),
        wrong=_BAD_AXIS,
    ),
    ConstraintCase(
        c.NonNegUnitNorm(axis="inputs"),
        o.over_groups("inputs", o.nonneg_unit_norm),
        shapes=(KERNEL,),
        sample=lambda rng, shape: -np.abs(rng.normal(size=shape)),
        note="inputs",
    ),
    ConstraintCase(
        c.Centered(0.25),
        lambda w: w - w.mean() + 0.25,
        wrong=(*_bad_number("mean")[1:], *_BAD_AXIS),
        again=1,
    ),
    ConstraintCase(
        c.Centered(axis="units"),
        o.over_groups("units", lambda v: v - v.mean()),
        shapes=(KERNEL,),
        again=1,
        note="units",
        cone=True,
    ),
    ConstraintCase(
        c.Standardized(0.25, 0.5),
        o.over_groups("units", o.standardized(0.25, 0.5)),
        wrong=(
            *_bad_number("mean")[1:],
            *_bad_number("std"),
            ({"std": 0.0}, "std"),
            *_BAD_AXIS,
        ),
        shapes=(MATRIX, KERNEL),
        again=1,
    ),
    ConstraintCase(
        c.Hyperplane([1.0, -2.0, 0.0, 3.0, 0.5, 1.0, 1.0], 0.5),
        o.plane([1.0, -2.0, 0.0, 3.0, 0.5, 1.0, 1.0], 0.5, half=False),
        wrong=(
            *(({"normal": v, "offset": 0.0}, "normal") for v in ([], "1", [0.0])),
            *_bad_number("offset", normal=[1.0])[1:],
        ),
        shapes=(VECTOR,),
        again=1,
    ),
    ConstraintCase(
        c.Hyperplane(1.0, 2.0),
        o.plane(1.0, 2.0, half=False),
        shapes=(KERNEL,),
        again=1,
        note="sum",
    ),
    ConstraintCase(
        c.Halfspace(1.0, -2.0),
        o.plane(1.0, -2.0, half=True),
        wrong=(
            *(({"normal": v, "offset": 0.0}, "normal") for v in ([], "1", [0.0])),
            *_bad_number("offset", normal=[1.0])[1:],
        ),
        again=1,
    ),
    ConstraintCase(
        c.Hyperplane(1.0, 0.0),
        o.plane(1.0, 0.0, half=False),
        shapes=(KERNEL,),
        sample=lambda rng, shape: np.abs(rng.normal(size=shape)),
        cone=True,
        again=1,
        note="cone",
    ),
    ConstraintCase(
        c.Halfspace(1.0, 0.0),
        o.plane(1.0, 0.0, half=True),
        shapes=(MATRIX,),
        sample=lambda rng, shape: np.abs(rng.normal(size=shape)),
        cone=True,
        again=1,
        note="cone",
    ),
    ConstraintCase(
        c.Radial(),
        o.tie(o.ring, slice(0, -2)),
        shapes=((3, 2, 2), (4, 4, 2, 2), KERNEL),
        cone=True,
    ),
    ConstraintCase(
        c.Toeplitz(),
        o.tie(lambda index, _shape: index[1] - index[0], slice(-2, None)),
        shapes=(MATRIX, KERNEL),
        cone=True,
    ),
    ConstraintCase(
        c.Circulant(),
        o.tie(lambda index, shape: (index[1] - index[0]) % shape[0], slice(-2, None)),
        shapes=((4, 4), (2, 3, 3)),
        cone=True,
    ),
    ConstraintCase(
        c.FlipSymmetric(0),
        lambda w: (w + w[::-1]) / 2,
        wrong=tuple(({"axis": v}, "axis") for v in (None, "units", 0.5, True, (0, 0))),
        cone=True,
    ),
    ConstraintCase(
        c.FlipSymmetric((0, 1)),
        lambda w: (w + w[::-1, ::-1]) / 2,
        shapes=(KERNEL,),
        note="turn",
        cone=True,
    ),
    ConstraintCase(
        c.L1Ball(1.5),
        o.over_groups("units", o.l1_ball(1.5)),
        wrong=_bad_number("radius") + _BAD_AXIS,
    ),
    ConstraintCase(
        c.L1Ball(2.0, axis=None), o.over_groups(None, o.l1_ball(2.0)), note="tensor"
    ),
    ConstraintCase(
        c.Simplex(1.5),
        o.over_groups("units", o.simplex(1.5)),
        wrong=_bad_number("total") + _BAD_AXIS,
    ),
    ConstraintCase(
        c.CappedSimplex(1.5, 0.5),
        o.over_groups("units", o.capped_simplex(1.5, 0.5)),
        wrong=(
            *_bad_number("total", cap=1.0),
            *_bad_number("cap", total=1.0),
            ({"total": 1.0, "cap": 0.0}, "cap"),
            *(({"total": 1.0, "cap": 1.0, **bad}, name) for bad, name in _BAD_AXIS),
        ),
        shapes=(MATRIX, KERNEL),
        scale_free=False,
    ),
    ConstraintCase(
        c.TopK(3),
        o.over_groups(None, o.largest(3)),
        wrong=(
            *(({"k": v}, "k") for v in (-1, 1.5, True, "3")),
            *(({"fraction": v}, "fraction") for v in (-0.1, 1.5, True, "0.5")),
            ({}, "fraction"),
            ({"k": 1, "fraction": 0.5}, "k"),
            *(({"k": 1, **bad}, name) for bad, name in _BAD_AXIS),
        ),
        cone=True,
    ),
    ConstraintCase(
        c.TopK(fraction=0.4, axis="units"),
        o.over_groups("units", o.largest(2)),
        shapes=(MATRIX,),
        note="fraction",
        cone=True,
    ),
    ConstraintCase(
        c.GroupTopK(2),
        o.largest_groups(2, "units"),
        wrong=(
            *(({"k": v}, "k") for v in (-1, 1.5, True, "3")),
            *(({"fraction": v}, "fraction") for v in (-0.1, 1.5, True, "0.5")),
            ({}, "fraction"),
            ({"k": 1, "fraction": 0.5}, "k"),
            *(({"k": 1, **bad}, name) for bad, name in _BAD_AXIS),
            *_bad("groups", [], "01", 3, [0.5], [True], k=1),
            *_bad("axis", None, 0, k=1, groups=[0]),
        ),
        cone=True,
    ),
    ConstraintCase(
        c.GroupTopK(fraction=0.4, axis="inputs"),
        o.largest_groups(2, "inputs"),
        shapes=(MATRIX, (2, 5, 3)),
        note="fraction",
        cone=True,
    ),
    ConstraintCase(
        c.GroupTopK(2, groups=[7, 2, 7, -1]),
        o.largest_labels(2, [7, 2, 7, -1]),
        shapes=((4,), MATRIX, KERNEL),
        note="labels",
        cone=True,
    ),
    ConstraintCase(
        c.NMSparsity(),
        o.over_groups(0, o.n_of_m(2, 4)),
        wrong=(
            *(({"n": v}, "n") for v in (-1, 1.5, True)),
            *(({"m": v}, "m") for v in (1, 2.5, True)),
            *(({"axis": v}, "axis") for v in (None, "units", 0.5, (0,))),
        ),
        cone=True,
    ),
    ConstraintCase(
        c.NMSparsity(1, 3, axis=-1),
        o.over_groups(-1, o.n_of_m(1, 3)),
        shapes=(MATRIX, KERNEL),
        note="last",
        cone=True,
    ),
    ConstraintCase(
        c.Orthogonal(),
        o.singular(np.ones_like),
        wrong=tuple(({"method": v}, "method") for v in ("qr", None, 1)),
        shapes=(MATRIX, (3, 5), KERNEL),
        again=8,
        atol=4e-6,
    ),
    ConstraintCase(
        c.Orthogonal(method="svd"),
        o.singular(np.ones_like),
        shapes=(MATRIX,),
        again=8,
        atol=4e-6,
        note="svd",
    ),
    ConstraintCase(
        c.SpectralNormBall(1.5),
        o.singular(lambda s: np.minimum(s, 1.5)),
        wrong=(*_bad_number("max_value"), ({"method": "power"}, "method")),
        shapes=(MATRIX, (3, 5), KERNEL),
        again=8,
        atol=2e-6,
    ),
    ConstraintCase(
        c.SpectralNormBall(1.5, method="bound"),
        lambda w: w * min(1.0, 1.5 / o.gram_bound(w)),
        shapes=(MATRIX, KERNEL),
        again=8,
        atol=1e-5,
        note="bound",
    ),
    ConstraintCase(
        c.SingularValueBox(1.0, 1.5),
        o.singular(lambda s: np.clip(s, 1.0, 1.5)),
        wrong=(
            *_bad_number("min_value", max_value=1.0),
            *_bad_number("max_value", min_value=0.5),
            ({"min_value": 2.0, "max_value": 1.0}, "max_value"),
        ),
        shapes=(MATRIX, KERNEL),
        again=8,
        atol=2e-6,
    ),
    ConstraintCase(
        c.NuclearBall(2.0),
        o.singular(o.l1_ball(2.0)),
        wrong=_bad_number("radius"),
        shapes=(MATRIX, KERNEL),
        again=8,
        atol=2e-6,
    ),
    ConstraintCase(
        c.LowRank(2),
        o.singular(lambda s: s * (np.arange(len(s)) < 2)),
        wrong=tuple(({"rank": v}, "rank") for v in (-1, 1.5, True, None)),
        shapes=(MATRIX, KERNEL),
        again=8,
        atol=2e-6,
        cone=True,
    ),
    ConstraintCase(
        c.Symmetric(),
        lambda w: (w + w.swapaxes(-1, -2)) / 2,
        shapes=((4, 4), (2, 3, 3)),
        cone=True,
    ),
    ConstraintCase(
        c.SkewSymmetric(),
        lambda w: (w - w.swapaxes(-1, -2)) / 2,
        shapes=((4, 4), (2, 3, 3)),
        cone=True,
    ),
    ConstraintCase(
        c.PSD(0.25),
        o.eigen(0.25),
        wrong=_bad_number("min_eigenvalue")[1:],
        shapes=((4, 4), (2, 3, 3)),
        again=8,
        atol=2e-6,
    ),
    ConstraintCase(
        c.PSD(),
        o.eigen(0.0),
        shapes=((2, 3, 3),),
        cone=True,
        again=8,
        atol=2e-6,
        note="cone",
    ),
    ConstraintCase(
        c.CappedSimplex(1.0, 0.3),
        o.over_groups("units", o.capped_simplex(1.0, 0.3)),
        shapes=(MATRIX,),
        scale_free=False,
        note="inexact_cap",
    ),
    ConstraintCase(
        c.DoublyStochastic(),
        o.solved(lambda x: [x >= 0, x @ np.ones(4) == 1, x.T @ np.ones(4) == 1]),
        wrong=tuple(({"iterations": v}, "iterations") for v in (0, 1.5, True)),
        shapes=((4, 4),),
        scale_free=False,
        again=8,
        atol=2e-5,
        iterative=True,
    ),
    ConstraintCase(
        c.Monotonic(),
        o.over_groups(0, o.isotonic(increasing=True)),
        wrong=(
            ({"increasing": 1}, "increasing"),
            *(({"axis": v}, "axis") for v in (None, "units", 0.5, (0,))),
        ),
        cone=True,
    ),
    ConstraintCase(
        c.Monotonic(increasing=False, axis=-2),
        o.over_groups(-2, o.isotonic(increasing=False)),
        shapes=(MATRIX,),
        note="decreasing",
        cone=True,
    ),
    ConstraintCase(
        c.Convex(),
        o.over_groups(0, o.solved(lambda x: [x[2:] - 2 * x[1:-1] + x[:-2] >= 0])),
        wrong=(
            *(({"iterations": v}, "iterations") for v in (0, 1.5, True)),
            *(({"axis": v}, "axis") for v in (None, "units", 0.5, (0,))),
        ),
        shapes=(VECTOR, MATRIX, (12, 2)),
        scale_free=False,
        again=4,
        atol=2e-5,
        iterative=True,
        cone=True,
    ),
    ConstraintCase(
        c.Intersection([c.Box(-0.5, 1.0), c.Centered(0.1)]),
        o.solved(lambda x: [x >= -0.5, x <= 1.0, sum_of(x) == 0.1 * x.size]),
        wrong=(
            *(
                ({"constraints": v}, "constraints")
                for v in ([], c.NonNeg(), [None], [c.UnitNorm()], [c.TopK(1)])
            ),
            ({"constraints": [c.Relaxed(c.NonNeg(), 0.5)]}, "constraints"),
            *(
                ({"constraints": [c.NonNeg()], "iterations": v}, "iterations")
                for v in (0, 1.5, True)
            ),
        ),
        shapes=(VECTOR, MATRIX),
        scale_free=False,
        again=1000,
        atol=1e-5,
        iterative=True,
    ),
    ConstraintCase(
        c.NonNeg() & c.L2Ball(0.75, axis=None),
        o.solved(lambda x: [x >= 0, norm_of(x) <= 0.75]),
        shapes=(VECTOR,),
        scale_free=False,
        again=1000,
        atol=1e-5,
        iterative=True,
        note="ball",
    ),
    ConstraintCase(
        c.Chain([c.NonNeg(), c.LInfBall(0.75)]),
        lambda w: np.clip(w, 0, 0.75),
        wrong=tuple(
            ({"constraints": v}, "constraints") for v in ([], c.NonNeg(), [None])
        ),
    ),
    ConstraintCase(
        c.Relaxed(c.NonNeg(), 0.25),
        lambda w: np.where(w < 0, 0.75 * w, w),
        wrong=(
            ({"constraint": None, "rate": 0.5}, "constraint"),
            *_bad_number("rate", constraint=c.NonNeg()),
            ({"constraint": c.NonNeg(), "rate": 1.5}, "rate"),
        ),
        cone=True,
    ),
    ConstraintCase(
        c.Every(c.NonNeg(), 1),
        lambda w: np.maximum(w, 0),
        wrong=(
            ({"constraint": None, "steps": 2}, "constraint"),
            *(
                ({"constraint": c.NonNeg(), "steps": v}, "steps")
                for v in (0, 1.5, True)
            ),
        ),
        cone=True,
    ),
    ConstraintCase(
        c.PerBlock(c.L2Ball(1.0, axis=None), axis=-1, blocks=2),
        lambda w: np.concatenate(
            [
                half * min(1.0, 1.0 / np.linalg.norm(half))
                for half in np.split(w, 2, axis=-1)
            ],
            axis=-1,
        ),
        wrong=(
            ({"constraint": None}, "constraint"),
            *(
                ({"constraint": "non_neg", "axis": v}, "axis")
                for v in (None, "units", 0.5)
            ),
            *(
                ({"constraint": "non_neg", "blocks": v}, "blocks")
                for v in (0, 1.5, True)
            ),
        ),
        shapes=((8,), MATRIX, KERNEL),
    ),
    ConstraintCase(
        c.PerBlock(c.NonNegUnitNorm(axis=None), axis=-2),
        o.over_groups("inputs", o.nonneg_unit_norm),
        shapes=(MATRIX, KERNEL),
        note="index",
    ),
    ConstraintCase(
        c.Masked(c.L2Ball(0.5, axis=None), [1, 0, 1, 1]),
        o.under([1, 0, 1, 1], lambda v: v * min(1.0, 0.5 / np.linalg.norm(v))),
        wrong=(
            *(
                ({"constraint": v, "mask": [1]}, "constraint")
                for v in (None, c.Simplex(), c.Centered(), c.Orthogonal())
            ),
            *(
                ({"constraint": "non_neg", "mask": v}, "mask")
                for v in (2, [0.5], "10", [], [[1], [1, 1]])
            ),
        ),
        shapes=((4,), MATRIX, KERNEL),
    ),
    ConstraintCase(
        c.Masked(c.Box(0.25, 1.0), [1, 0, 1, 1]),
        o.under([1, 0, 1, 1], lambda v: np.clip(v, 0.25, 1.0)),
        shapes=(MATRIX,),
        note="without_zero",
    ),
    ConstraintCase(
        c.AnchorBall(0.75, anchor=0.5),
        lambda w: (
            0.5 + (w - 0.5) * np.minimum(1.0, 0.75 / np.sqrt(((w - 0.5) ** 2).sum()))
        ),
        wrong=(
            *_bad_number("radius"),
            *_bad("norm", "l3", None, 2, radius=1.0),
            *_bad("anchor", "1", [], [float("nan")], radius=1.0),
        ),
    ),
    ConstraintCase(
        c.AnchorBall(0.75, norm="l1", anchor=0.5),
        o.over_groups(None, lambda v: 0.5 + o.l1_ball(0.75)(v - 0.5)),
        note="l1",
    ),
    ConstraintCase(
        c.AnchorBall(0.75, norm="linf", anchor=[0.0, 1.0, -1.0, 0.5, 0.0, 2.0, 3.0]),
        lambda w: w.clip(
            np.array([0.0, 1.0, -1.0, 0.5, 0.0, 2.0, 3.0]) - 0.75,
            np.array([0.0, 1.0, -1.0, 0.5, 0.0, 2.0, 3.0]) + 0.75,
        ),
        shapes=(VECTOR,),
        note="linf",
    ),
]
