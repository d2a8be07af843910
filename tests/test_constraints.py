"""What every constraint does, for each row of the catalogue."""

from __future__ import annotations

import copy
import functools
import inspect
import pickle
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from keras import ops

from keras_regx import constraints as c
from keras_regx.ops.numerics import EPSILON, feasibility_tolerance
from keras_regx.testing.constraint import (
    CHECKS,
    rejects_integers,
    restores,
    trains_together,
)
from tests.backends import (
    BACKEND,
    DTYPES,
    as_float64,
    as_tensor,
    compiled,
    quick,
    slow_on,
)
from tests.cases import CONSTRAINTS, ConstraintCase

if TYPE_CHECKING:
    from collections.abc import Iterator

Shape = tuple[int, ...]


def _last(*, exact: bool = False) -> Iterator[Any]:
    """Yield one parameter per row: its last, richest shape."""
    for case in CONSTRAINTS:
        if case.constraint.exact or not exact:
            yield pytest.param(case, case.shapes[-1], id=case.id)


def _triples() -> Iterator[Any]:
    """Yield every shape in float32, and the richest one in the other dtypes."""
    for case in CONSTRAINTS:
        for shape in case.shapes:
            for dtype in DTYPES:
                if dtype == "float32" or shape == case.shapes[-1]:
                    name = "x".join(map(str, shape))
                    is_quick = dtype == "float32" and shape == case.shapes[-1]
                    yield pytest.param(
                        *(case, shape, dtype),
                        id=f"{case.id}-{name}-{dtype}",
                        marks=() if is_quick else pytest.mark.slow,
                    )


every_row = pytest.mark.parametrize(("case", "shape"), list(_last()))
exact_row = pytest.mark.parametrize(("case", "shape"), list(_last(exact=True)))

cone_row = pytest.mark.parametrize(
    ("case", "shape"), [p for p in _last(exact=True) if p.values[0].cone]
)


@functools.cache
def _quick(constraint: c.Constraint) -> c.Constraint:
    """Return the constraint, its call compiled once for all tests.

    JAX compiles every operation of an eager call, TensorFlow's loops are slow.
    """
    if BACKEND == "torch":
        return constraint
    call = quick(constraint.__call__)
    cls = type(constraint)
    methods = {"__call__": lambda _, w: call(ops.convert_to_tensor(w))}
    if cls._gap is not c.Constraint._gap:
        methods["_gap"] = staticmethod(quick(constraint._gap))
    twin = copy.copy(constraint)
    twin.__class__ = type(cls.__name__, (cls,), methods)
    return twin


def _project(case: ConstraintCase, w: Any) -> Any:
    """Apply a constraint as an optimizer does."""
    return _quick(case.constraint)(w)


def _draw(case: ConstraintCase, shape: Shape, seed: int = 0) -> np.ndarray:
    """Return weights of a row that float32 represents."""
    rng = np.random.default_rng(seed)
    return case.sample(rng, shape).astype("float32").astype("float64")


def _close(actual: Any, expected: np.ndarray, dtype: str, atol: float) -> None:
    """Compare with an oracle, to the rounding of a dtype."""
    rounding = 4 * EPSILON[dtype] / EPSILON["float32"]
    if dtype == "float64":
        rounding = max(rounding, 1e-7)
    scale = max(np.abs(expected).max(initial=0.0), 1e-30)
    np.testing.assert_allclose(
        as_float64(actual), expected, rtol=0, atol=rounding * atol * max(scale, 1.0)
    )


@pytest.mark.forward
@pytest.mark.parametrize(("case", "shape", "dtype"), list(_triples()))
def test_equals_oracle(case: ConstraintCase, shape: Shape, dtype: str) -> None:
    """The projection is the oracle's, and keeps shape and dtype."""
    w = as_tensor(_draw(case, shape), dtype)
    actual = _project(case, w)
    assert tuple(actual.shape) == shape
    assert keras.backend.standardize_dtype(actual.dtype) == dtype
    rounding = "float32" if case.iterative and dtype == "float64" else dtype
    _close(actual, case.project(as_float64(w)), rounding, case.atol)


@pytest.mark.parametrize("scale", [1e20, 1e-25], ids=["huge", "tiny"])
@every_row
def test_extreme_scales(case: ConstraintCase, shape: Shape, scale: float) -> None:
    """Huge and tiny weights are projected as ordinary ones are."""
    w = as_tensor(_draw(case, shape) * scale, "float32")
    actual = as_float64(_project(case, w))
    assert np.isfinite(actual).all()
    if case.scale_free:
        expected = case.project(as_float64(w))
        largest = max(np.abs(expected).max(), scale if scale < 1 else 0.0)
        bound = 4 * max(case.atol, 1e-6) * largest
        np.testing.assert_allclose(actual, expected, rtol=0, atol=bound)


@pytest.mark.forward
@slow_on("jax")
@exact_row
def test_is_feasible(case: ConstraintCase, shape: Shape) -> None:
    """The projection is in the set, its distance 0; the weights' distance is right."""
    w = as_tensor(_draw(case, shape), "float32")
    projected = _project(case, w)
    constraint = _quick(case.constraint)
    assert constraint.contains(projected)
    largest = max(np.abs(as_float64(projected)).max(), 1.0)
    assert float(ops.convert_to_numpy(constraint.distance(projected))) <= (
        1e-5 * largest * np.sqrt(np.prod(shape))
    )
    expected = np.linalg.norm(as_float64(w) - case.project(as_float64(w)))
    actual = float(ops.convert_to_numpy(constraint.distance(w)))
    assert actual == pytest.approx(expected, rel=1e-4, abs=20 * case.atol)


RARE = {  # Compiled once more for each dtype.
    "keeps_shape_and_dtype",
    "is_idempotent_in_half_precision",
    "survives_extremes",
}


@pytest.mark.forward
@pytest.mark.parametrize(
    "check",
    [
        pytest.param(
            check,
            id=check.__name__,
            marks=pytest.mark.slow if check.__name__ in RARE else (),
        )
        for check in (*CHECKS, rejects_integers)
    ],
)
@every_row
def test_battery(case: ConstraintCase, shape: Shape, check: Any) -> None:
    """Every row has each property that `check_constraint` asks of anyone's."""
    rng = np.random.default_rng(0)
    check(_quick(case.constraint), shape, rng, case.again * EPSILON["float32"])


@pytest.mark.forward
@pytest.mark.slow
@every_row
def test_battery_restores(case: ConstraintCase, shape: Shape) -> None:
    """Every row comes back from its configuration, a copy and a pickle."""
    restores(case.constraint, shape, np.random.default_rng(0), None)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Every:UserWarning")
def test_battery_trains() -> None:
    """In a compiled training step, every row ends where it projects to."""
    rows = [
        (case.constraint, case.shapes[-1], case.again * EPSILON["float32"])
        for case in CONSTRAINTS
    ]
    trains_together(rows, np.random.default_rng(0))


@every_row
def test_rows_tell_the_cones(case: ConstraintCase, shape: Shape) -> None:
    """The nearest member of a multiple is that multiple, in a cone and only there."""
    w = _draw(case, shape)
    single, double = case.project(w), case.project(2 * w)
    assert np.allclose(double, 2 * single, rtol=0, atol=1e-3) == case.cone


@pytest.mark.parametrize(
    "dtype", [pytest.param("bfloat16", marks=pytest.mark.slow), "float32"]
)
@cone_row
def test_cones_have_no_scale(case: ConstraintCase, shape: Shape, dtype: str) -> None:
    """Multiples of weights are in a cone where the weights are, up to rounding."""
    w = _draw(case, shape)
    noise = np.random.default_rng(1).uniform(-2, 2, shape) * EPSILON[dtype]
    member = as_float64(_project(case, as_tensor(w, dtype)))
    contains = _quick(case.constraint).contains
    for scale in (1.0, 1e-7, 1e20):
        assert contains(as_tensor(scale * member * (1 + noise), dtype))
        assert not contains(as_tensor(scale * w, dtype))


@pytest.mark.forward
@pytest.mark.slow
@exact_row
def test_members_stay(case: ConstraintCase, shape: Shape) -> None:
    """A member of the set that the oracle gives comes back as it is."""
    member = case.project(_draw(case, shape))
    w = as_tensor(member, "float32")
    bound = case.again * EPSILON["float32"] * np.abs(member).max()
    actual = as_float64(_project(case, w))
    np.testing.assert_allclose(actual, as_float64(w), rtol=0, atol=bound)
    assert _quick(case.constraint).contains(w)


@pytest.mark.forward
@exact_row
def test_is_nearest(case: ConstraintCase, shape: Shape) -> None:
    """No sampled member of the set is nearer to the weights."""
    w = _draw(case, shape)
    projected = as_float64(_project(case, as_tensor(w, "float32")))
    distance = np.linalg.norm(w - projected)
    for seed, scale in enumerate((0.01, 0.1, 0.5, 1.0, 1.0, 3.0)):
        step = scale * _draw(case, shape, seed + 1)
        member = case.project(w + step)
        assert distance <= np.linalg.norm(w - member) + 20 * case.atol
        if case.constraint.convex:
            # The obtuse angle that characterises a convex projection.
            angle = ((w - projected) * (member - projected)).sum()
            assert angle <= 100 * case.atol * max(distance, 1.0)


@every_row
def test_only_real_floats(case: ConstraintCase, shape: Shape) -> None:
    """Integer and complex weights are rejected with the class, argument and dtype."""
    for dtype in ("int32", "complex64"):
        w = ops.convert_to_tensor(np.ones(shape, dtype))
        with pytest.raises(ValueError, match=rf"`w` of {_name(case)}.*{dtype}"):
            case.constraint(w)


def _name(case: ConstraintCase) -> str:
    return type(case.constraint).__name__


@pytest.mark.parametrize(
    ("case", "shape"), [row for row in _last() if row.values[0].constraint.min_rank > 0]
)
def test_rank_too_low(case: ConstraintCase, shape: Shape) -> None:
    """A tensor of too low a rank is rejected."""
    for rank in range(case.constraint.min_rank):
        with pytest.raises(ValueError, match=rf"of {_name(case)}.*rank"):
            case.constraint(ops.ones(shape[:rank]))


# Rows whose axis, or whose argument's shape, a scalar does not have.
NO_SCALARS = {
    *("MaxNorm", "MinMaxNorm", "MinMaxNorm_relaxed", "UnitNorm", "UnitNorm_inputs"),
    *("NonNegUnitNorm_inputs", "FlipSymmetric", "FlipSymmetric_turn"),
    *("Mask", "Masked", "Masked_without_zero", "SignConstraint"),
    *("Hyperplane", "AnchorBall_linf", "CappedSimplex", "CappedSimplex_inexact_cap"),
    *("SignConstraint_column", "GroupTopK_fraction", "GroupTopK_labels"),
}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.id)
        for case in CONSTRAINTS
        if case.constraint.min_rank == 0
    ],
)
def test_scalar(case: ConstraintCase) -> None:
    """A scalar is projected, or rejected by the name of what needs more axes."""
    scalar = ops.ones(())
    if case.id in NO_SCALARS:
        with pytest.raises(ValueError, match=rf"of {_name(case)}\. Expected"):
            case.constraint(scalar)
        return
    projected = case.constraint(scalar)
    assert tuple(projected.shape) == ()
    assert np.isfinite(as_float64(projected))
    if case.constraint.exact:  # A single number has no spread.
        is_member = not isinstance(case.constraint, c.Standardized)
        assert case.constraint.contains(projected) == is_member


@pytest.mark.parametrize(
    "case",
    [p for p in CONSTRAINTS if getattr(p.constraint, "axis", None) is not None],
    ids=lambda case: case.id,
)
def test_axis_out_of_range(case: ConstraintCase) -> None:
    """An axis that the weights do not have is rejected by name."""
    arguments = {**case.constraint.arguments(), "axis": 7}
    with pytest.raises(ValueError, match=r"`axis`.*7"):
        type(case.constraint)(**arguments)(ops.ones(case.shapes[-1]))


def _condition(case: ConstraintCase, w: np.ndarray) -> float:
    """Return how much the projection magnifies a small change of the weights.

    At most 1 for a convex set. Else it depends on how far the weights are from where
    the nearest member jumps, such as between equal singular values; it is measured
    with the oracle, and has two orders of magnitude of room before it means nothing.
    """
    if case.constraint.convex or not case.constraint.exact:
        return 1.0
    rng, step = np.random.default_rng(1), 1e-6
    changes = [rng.normal(size=w.shape) for _ in range(10)]
    moves = [case.project(w + step * d) - case.project(w - step * d) for d in changes]
    ratios = [
        np.linalg.norm(m) / (2 * step * np.linalg.norm(d))
        for m, d in zip(moves, changes, strict=True)
    ]
    largest = max(ratios)
    assert largest < 100, "The weights are too near to a jump of the projection"
    return max(largest, 1.0)


@pytest.mark.optimized
@pytest.mark.slow
@every_row
def test_compiled_equals_eager(case: ConstraintCase, shape: Shape) -> None:
    """The compiled projection is the eager one, and reads a variable."""
    w = as_tensor(_draw(case, shape), "float32")
    eager = as_float64(case.constraint(w))
    fast = as_float64(compiled(case.constraint)(w))
    atol = max(case.atol, 1e-6) * max(np.abs(eager).max(), 1)
    atol *= _condition(case, as_float64(w))
    np.testing.assert_allclose(fast, eager, rtol=0, atol=atol)
    variable = keras.Variable(w)
    np.testing.assert_array_equal(as_float64(case.constraint(variable)), eager)


@every_row
def test_configuration_round_trip(case: ConstraintCase, shape: Shape) -> None:
    """A configuration, a pickle and a copy give an equal constraint."""
    original = case.constraint
    config = keras.saving.serialize_keras_object(original)
    others = (
        type(original).from_config(original.get_config()),
        keras.saving.deserialize_keras_object(config),
        c.deserialize(c.serialize(original)),
        pickle.loads(pickle.dumps(original)),
        copy.deepcopy(original),
    )
    for other in others:
        assert other == original
        assert hash(other) == hash(original)
        assert repr(other) == repr(original)
    assert repr(original).startswith(_name(case))


@pytest.mark.parametrize(
    ("case", "arguments", "named"),
    [
        pytest.param(case, arguments, named, id=f"{case.id}-{number}")
        for case in CONSTRAINTS
        for number, (arguments, named) in enumerate(case.wrong)
    ],
)
def test_wrong_arguments(
    case: ConstraintCase, arguments: dict[str, Any], named: str
) -> None:
    """A wrong argument is a ValueError that names class, argument and value."""
    with pytest.raises(ValueError, match=rf"`{named}` of {_name(case)}\b"):
        type(case.constraint)(**arguments)


def test_catalogue_is_complete() -> None:
    """Every public constraint has a row, and every argument a bad value."""
    public = {
        value
        for name, value in vars(c).items()
        if inspect.isclass(value) and issubclass(value, c.Constraint)
    } - {c.Constraint}
    tested = {type(case.constraint) for case in CONSTRAINTS}
    assert {cls.__name__ for cls in public} == {cls.__name__ for cls in tested}
    for cls in public:
        named = {
            name
            for case in CONSTRAINTS
            if type(case.constraint) is cls
            for _, name in case.wrong
        }
        assert set(cls.argument_names()) <= named, cls.__name__


def test_tolerance_is_tight() -> None:
    """A member is left alone to rounding only: what is outside is projected."""
    for dtype in ("float16", "float32"):
        assert feasibility_tolerance(dtype) < 10 * EPSILON[dtype]
        w = as_tensor([1.0 + 16 * EPSILON[dtype]], dtype)
        assert as_float64(c.UnitNorm(axis=None)(w)) == 1.0
