"""The machinery: messages, configuration, names, algebra, subclasses."""

from __future__ import annotations

import copy
import json
import math
import pickle
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from keras_regx import constraints as c
from keras_regx import regularizers as r
from keras_regx._core import validation as check
from keras_regx._core.registry import snake_case
from tests.backends import (
    BACKEND,
    DTYPES,
    as_float64,
    as_tensor,
    compiled,
    gradient,
    slow_if_rare,
)
from tests.cases import CONSTRAINTS, PENALTIES

DROP_IN = [
    r.L1(0.3),
    r.L2(0.3),
    r.L1L2(0.3, 0.2),
    r.OrthogonalRegularizer(0.3, mode="columns"),
    r.Sum([r.L1(0.3), r.L2(0.2)]),
    r.Scaled(r.L1(0.3), 0.5),
    c.MaxNorm(1.5, axis=(0, 1)),
    c.NonNeg(),
    c.UnitNorm(axis="units"),
    c.MinMaxNorm(0.5, 1.5, rate=0.3, axis=None),
    c.RadialConstraint(),
]
EVERY = pytest.mark.parametrize("obj", DROP_IN, ids=lambda obj: type(obj).__name__)


def module_of(obj: Any) -> Any:
    """Return the package that `obj` belongs to."""
    return c if isinstance(obj, c.Constraint) else r


# Values beside Keras


def keras_is_right(penalty: r.Regularizer, shape: tuple[int, ...]) -> bool:
    """Return False where Keras' class refuses weights or normalizes the wrong axis."""
    if not isinstance(penalty, r.OrthogonalRegularizer):
        return True
    return len(shape) == 2 and (BACKEND != "numpy" or penalty.mode == "rows")


KERAS_PENALTIES = [
    pytest.param(
        case, shape, dtype, id=f"{case.id}-{shape}-{dtype}", marks=slow_if_rare(dtype)
    )
    for case in PENALTIES
    if case.keras is not None
    for shape in case.shapes
    for dtype in DTYPES
    if keras_is_right(case.penalty, shape)
]


@pytest.mark.forward
@pytest.mark.parametrize(("case", "shape", "dtype"), KERAS_PENALTIES)
def test_value_equals_keras(case: Any, shape: tuple[int, ...], dtype: str) -> None:
    """Ordinary weights cost what they cost in Keras, half precision as in float32."""
    x = as_tensor(case.sample(np.random.default_rng(0), shape), dtype)
    theirs = x if dtype == "float64" and BACKEND != "tensorflow" else None
    expected = case.keras(ops.cast(x, "float32") if theirs is None else theirs)
    np.testing.assert_allclose(
        as_float64(case.penalty(x)), as_float64(expected), rtol=1e-6
    )


KERAS_CONSTRAINTS = [
    pytest.param(
        case, shape, dtype, id=f"{case.id}-{shape}-{dtype}", marks=slow_if_rare(dtype)
    )
    for case in CONSTRAINTS
    if case.keras is not None
    for shape in case.shapes
    for dtype in DTYPES
]


@pytest.mark.forward
@pytest.mark.parametrize(("case", "shape", "dtype"), KERAS_CONSTRAINTS)
def test_projection_equals_keras(case: Any, shape: tuple[int, ...], dtype: str) -> None:
    """Ordinary weights go where Keras puts them, up to its 1e-7 in the divisor."""
    w = as_tensor(case.sample(np.random.default_rng(0), shape), dtype)
    wide = "float64" if dtype == "float64" else "float32"
    expected = case.keras(ops.cast(w, wide))
    rounding = {"float16": 1e-3, "bfloat16": 8e-3}.get(dtype, 1e-6)
    # Keras divides by the norm plus 1e-7: small norms are off by that much.
    smallest = np.sqrt((as_float64(w) ** 2).sum(axis=0)).min()
    np.testing.assert_allclose(
        as_float64(case.constraint(w)),
        as_float64(expected),
        rtol=max(rounding, 2e-7 / smallest),
        atol=1e-7,
    )


@pytest.mark.slow
@pytest.mark.parametrize("scale", [0.0, 1e-36, 1e-13, 1.0, 1e10, 1e37])
@pytest.mark.parametrize(
    "constraint",
    [
        c.MaxNorm(0.0),
        c.MaxNorm(1e-20),
        c.MaxNorm(2.0),
        c.MaxNorm(1e15),
        c.UnitNorm(),
        c.MinMaxNorm(1e-15, 1e-14),
        c.MinMaxNorm(0.5, 1e10, rate=0.5),
    ],
    ids=repr,
)
def test_norms_and_slopes_at_every_scale(constraint: Any, scale: float) -> None:
    """Whatever the scales of weights and bounds, value and gradient are finite."""
    w = np.array([[0.0, 3.0, 1.0], [0.0, 4.0, 2.0]], "float32") * np.float32(scale)
    norms = np.linalg.norm(w.astype("float64"), axis=0)
    config = constraint.get_config()
    low, high = config.get("min_value", 0.0), config.get("max_value", 1.0)
    low, rate = (1.0 if "max_value" not in config else low), config.get("rate", 1.0)
    wanted = rate * np.clip(norms, low, high) + (1 - rate) * norms
    factors = np.divide(wanted, norms, out=np.ones(3), where=norms > 0)
    actual = as_float64(constraint(w))
    np.testing.assert_allclose(actual, w * factors, rtol=3e-6, atol=1e-37)
    slopes = np.array([[1.0, 2.0, -1.0], [0.5, 1.0, 1.0]], "float32")
    weights = ops.convert_to_tensor(slopes)
    found = gradient(lambda x: ops.sum(constraint(x) * weights), w)
    assert np.isfinite(found).all()


def test_norms_of_large_groups() -> None:
    """A sum over many weights loses no digits, however it is computed."""
    w = np.random.default_rng(0).uniform(0.01, 0.06, (100_000, 3))
    out = as_float64(c.UnitNorm(axis=0)(as_tensor(w, "float32")))
    np.testing.assert_allclose(np.linalg.norm(out, axis=0), 1, rtol=1e-5)


# Messages


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: r.L1(-1.0),
            ("Invalid value for argument `l1` of L1. Expected a finite number >= 0. "
            "Received: l1=-1.0"),
        ),
        (
            lambda: r.L2("0.1"),
            ("Invalid value for argument `l2` of L2. Expected a finite number >= 0. "
            "Received: l2='0.1'"),
        ),
        (
            lambda: r.OrthogonalRegularizer(mode="diagonal"),
            ("Invalid value for argument `mode` of OrthogonalRegularizer. Expected one "
            "of ('rows', 'columns'). Received: mode='diagonal'"),
        ),
        (
            lambda: c.MinMaxNorm(rate=5),
            ("Invalid value for argument `rate` of MinMaxNorm. Expected a finite "
            "number >= 0 and <= 1. Received: rate=5"),
        ),
        (
            lambda: c.MinMaxNorm(2.0, 1.0),
            ("Invalid value for argument `max_value` of MinMaxNorm. Expected a number "
            ">= min_value=2. Received: max_value=1.0"),
        ),
        (
            lambda: c.MaxNorm(axis="rows"),
            ("Invalid value for argument `axis` of MaxNorm. Expected an int, a "
            "tuple of distinct ints, None or one of ('units', 'inputs'). "
            "Received: axis='rows'"),
        ),
        (
            lambda: c.MaxNorm(axis=2)(np.ones((2, 2), "float32")),
            ("Invalid value for argument `axis` of MaxNorm. Expected distinct axes of "
            "a tensor of rank 2. Received: axis=2"),
        ),
        (
            lambda: r.L1()(np.ones((2, 2), "int32")),
            ("Invalid value for argument `x` of L1. Expected a real floating-point "
            "tensor. Received: x=tensor of shape (2, 2) and dtype int32"),
        ),
        (
            lambda: r.OrthogonalRegularizer()(np.ones(3, "float32")),
            ("Invalid value for argument `x` of OrthogonalRegularizer. Expected a "
            "tensor of rank >= 2. Received: x=tensor of shape (3,) and dtype float32"),
        ),
        (
            lambda: c.NonNeg()(np.ones((2,), "complex64")),
            ("Invalid value for argument `w` of NonNeg. Expected a real floating-point "
            "tensor. Received: w=tensor of shape (2,) and dtype complex64"),
        ),
        (
            lambda: r.L1().prox(np.ones(2, "float32"), -0.5),
            ("Invalid value for argument `step_size` of L1. Expected a finite number "
            ">= 0. Received: step_size=-0.5"),
        ),
        (
            lambda: 2.0 * r.L1() * -1.0,
            ("Invalid value for argument `factor` of Scaled. Expected a finite number "
            ">= 0. Received: factor=-1.0"),
        ),
    ],
    ids=[
        "negative", "string", "choice", "range", "empty_range", "axis", "axis_rank",
        "integers", "rank", "complex", "step_size", "multiple",
    ],
)  # fmt: skip
def test_message(build: Any, message: str) -> None:
    """Every rejected value is named with its class, argument and expectation."""
    with pytest.raises(ValueError, match=r"\AInvalid value") as error:
        build()
    assert str(error.value) == message


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, True, "1", None, [1]])
def test_not_a_number(value: Any) -> None:
    """Only finite real numbers are numbers."""
    with pytest.raises(ValueError, match="`n` of Owner"):
        check.number("Owner", "n", value)


@pytest.mark.parametrize(
    "value", [1, 1.0, np.float16(1), np.float32(1), np.float64(1), np.int64(1)]
)
def test_a_number(value: Any) -> None:
    """Python's and NumPy's real numbers become Python floats."""
    result = check.number("Owner", "n", value, minimum=0)
    assert type(result) is float
    assert result == 1.0


def test_empty_and_nan() -> None:
    """Empty tensors cost nothing and stay; NaN stays visible."""
    empty, nan = np.ones((0, 3), "float32"), np.full((2, 2), np.nan, "float32")
    for obj in DROP_IN[:6]:
        assert float(obj(empty)) == 0.0
        assert math.isnan(float(obj(nan)))
    for obj in DROP_IN[7:9]:
        assert tuple(obj(empty).shape) == (0, 3)
        assert np.isnan(as_float64(obj(nan))).all()


# Configuration


@EVERY
def test_configuration(obj: Any) -> None:
    """The configuration is JSON and rebuilds an equal object, and so do copies."""
    config = json.loads(json.dumps(obj.get_config()))
    again = [
        type(obj).from_config(config),
        module_of(obj).deserialize(module_of(obj).serialize(obj)),
        keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(obj)),
        pickle.loads(pickle.dumps(obj)),
        copy.deepcopy(obj),
        copy.copy(obj),
    ]
    for other in again:
        assert other == obj
        assert hash(other) == hash(obj)
        assert repr(other) == repr(obj)
    assert eval(repr(obj), {**vars(r), **vars(c)}) == obj  # noqa: S307


@EVERY
def test_plain_values_only(obj: Any) -> None:
    """An object holds Python values and objects like itself: no tensor."""

    def plain(value: Any) -> bool:
        if isinstance(value, list | tuple):
            return all(plain(item) for item in value)
        if isinstance(value, r.Regularizer | c.Constraint):
            return all(plain(item) for item in vars(value).values())
        return type(value) in (int, float, bool, str, type(None))

    assert plain(obj)


def test_equality() -> None:
    """Objects are equal if their class and arguments are."""
    assert r.L2(0.1) == r.L2(0.1)
    assert r.L2(0.1) != r.L2(0.2)
    assert r.L2(0.1) != r.L1(0.1)
    assert r.L2(0.1) != keras.regularizers.L2(0.1)
    assert len({r.L2(0.1), r.L2(0.1), r.L1(0.1)}) == 2
    assert c.MaxNorm(2) == c.MaxNorm(2.0, axis=0)


def test_argument_that_is_not_kept() -> None:
    """A subclass that forgets an argument hears of it, and still has a repr."""

    class Forgetful(r.Regularizer):
        def __init__(self, strength: float) -> None:
            self.other = strength

    forgetful = Forgetful(1.0)
    assert repr(forgetful) == "<Forgetful>"
    assert forgetful != Forgetful(1.0)
    with pytest.raises(
        NotImplementedError, match=r"Forgetful does not keep .*strength"
    ):
        forgetful.get_config()


# Names


@pytest.mark.parametrize(
    ("cls", "snake"),
    [
        ("L1", "l1"),
        ("L1L2", "l1_l2"),
        ("MaxNorm", "max_norm"),
        ("MinMaxNorm", "min_max_norm"),
        ("OrthogonalRegularizer", "orthogonal_regularizer"),
        ("LInf", "l_inf"),
        ("NMSparsity", "nm_sparsity"),
        ("KLSparsity", "kl_sparsity"),
        ("MCP", "mcp"),
    ],
)
def test_snake_case(cls: str, snake: str) -> None:
    """Class names become Keras' string names."""
    assert snake_case(cls) == snake


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        (None, None),
        (r.L2(0.3), r.L2(0.3)),
        (r.L2, r.L2(0.01)),
        ("L2", r.L2(0.01)),
        ("l2", r.L2(0.01)),
        ("keras_regx>L2", r.L2(0.01)),
        ({"class_name": "L2", "config": {"l2": 0.3}}, r.L2(0.3)),
        ({"class_name": "keras_regx>L2", "config": {"l2": 0.3}}, r.L2(0.3)),
        ({"class_name": "l2", "config": {"l2": 0.3}}, r.L2(0.3)),
        (r.serialize(r.L2(0.3)), r.L2(0.3)),
    ],
    ids=[
        "none", "instance", "class", "class_name", "snake_name", "registered_name",
        "short", "short_registered", "short_snake", "full",
    ],
)  # fmt: skip
def test_get(identifier: Any, expected: Any) -> None:
    """Every kind of identifier gives the object it stands for."""
    assert r.get(identifier) == expected


def test_get_returns_callables_as_they_are() -> None:
    """An instance or a function comes back itself."""
    penalty, function = r.L2(0.3), lambda x: ops.sum(x)  # noqa: PLW0108
    assert r.get(penalty) is penalty
    assert r.get(function) is function
    theirs = keras.regularizers.L2(0.3)
    assert r.get(theirs) is theirs


@pytest.mark.parametrize(
    ("get", "name", "near"),
    [
        (r.get, "l3", "'l1' or 'l2'|'l2' or 'l1'"),
        (r.get, "OrthogonalRegulariser", "OrthogonalRegularizer"),
        (c.get, "maxnrom", "'maxnorm'"),
        (c.get, "unit_nrm", "'unit_norm'"),
    ],
)
def test_near_misses(get: Any, name: str, near: str) -> None:
    """An unknown name is an error that suggests the nearest."""
    with pytest.raises(
        ValueError, match=f"Did you mean .*({near}).*Received: '{name}'"
    ):
        get(name)


@pytest.mark.parametrize("identifier", [3, 0.5, [r.L2()], object()])
def test_not_an_identifier(identifier: Any) -> None:
    """What is no identifier is refused with what was received."""
    with pytest.raises(ValueError, match="Could not interpret regularizer identifier"):
        r.get(identifier)


@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.25)])
def test_factor_of_zero_is_no_term(l1: float, l2: float) -> None:
    """A factor of zero leaves the other term, in value and as a sum."""
    x = ops.convert_to_tensor([3.0, -4.0])
    assert float(r.L1L2(l1, l2)(x)) == 7 * l1 + 25 * l2
    assert float((r.L1(1.0) + r.L1L2(l1, l2))(x)) == 7 * (1 + l1) + 25 * l2


@pytest.mark.parametrize(
    ("get", "other", "expected"),
    [
        (r.get, c.NonNeg(), "a regularizer, not a constraint"),
        (r.get, keras.constraints.NonNeg, "a regularizer, not a constraint"),
        (c.get, r.L2(), "a constraint, not a regularizer"),
        (r.SetDistance, r.L2(), "a constraint, not a regularizer"),
    ],
)
def test_other_kind(get: Any, other: Any, expected: str) -> None:
    """A constraint is no regularizer, though both are callable."""
    with pytest.raises(ValueError, match=f"Expected {expected}. Received"):
        get(other)


@pytest.mark.parametrize("config", [{}, {"config": {}}, "l2", 3])
def test_malformed_configuration(config: Any) -> None:
    """A dictionary without a class name is refused."""
    with pytest.raises(ValueError, match="Invalid regularizer config"):
        r.deserialize(config)


def test_configuration_of_an_unknown_class() -> None:
    """An unknown class in a configuration is an error, in every form."""
    with pytest.raises(ValueError, match=r"Unknown regularizer name.*'Nonsense'"):
        r.deserialize({"class_name": "Nonsense", "config": {}})
    with pytest.raises(TypeError, match="Nonsense"):
        r.deserialize({"module": "builtins", "class_name": "Nonsense", "config": {}})


def test_name_of_a_class_that_needs_arguments() -> None:
    """A class without defaults says which argument it needs."""
    with pytest.raises(ValueError, match="argument `regularizer` has no default"):
        r.get("scaled")


@pytest.mark.parametrize("name", ["top_k", "GroupTopK"])
def test_name_without_a_count_asks_for_one(name: str) -> None:
    """TopK by its name alone: one of two arguments is needed, not fewer."""
    with pytest.raises(ValueError, match="one of `k` and `fraction` to be given"):
        c.get(name)


def test_custom_objects() -> None:
    """Classes of one's own are found by name in a scope or an argument."""

    class Mine(r.Regularizer):
        def __init__(self, factor: float = 2.0) -> None:
            self.factor = factor

        def _value(self, x: Any) -> Any:
            return self.factor * ops.sum(x)

    with keras.saving.custom_object_scope({"Mine": Mine}):
        assert r.get("Mine") == Mine(2.0)
    config = {"class_name": "Mine", "config": {"factor": 3.0}}
    assert r.deserialize(config, custom_objects={"Mine": Mine}) == Mine(3.0)


def test_keras_own_configurations() -> None:
    """What Keras serialized comes back as Keras' own class."""
    theirs = keras.regularizers.serialize(keras.regularizers.L2(0.25))
    found = r.deserialize(theirs)
    assert type(found) is keras.regularizers.L2
    assert found.get_config() == {"l2": 0.25}


# Subclasses


def test_subclass_with_call_only() -> None:
    """A subclass may write `__call__` itself, as with Keras' base classes."""

    class Twice(r.Regularizer):
        def __call__(self, x: Any) -> Any:
            return 2.0 * ops.sum(x)

    class Half(c.Constraint):
        def __call__(self, w: Any) -> Any:
            return 0.5 * w

    x = ops.ones((3,))
    assert float(Twice()(x)) == 6.0
    assert float((Twice() + r.L2(1.0))(x)) == 9.0
    np.testing.assert_array_equal(as_float64(Half()(x)), 0.5)
    with pytest.raises(NotImplementedError, match=r"Twice\.prox is not available"):
        Twice().prox(x, 1.0)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_projection_of_version_0_1(dtype: str) -> None:
    """A projection that asks for the dtype to store gets it, and float32."""

    class Half(c.Constraint):
        def _project(self, w: Any, dtype: str) -> Any:
            assert w.dtype != "bfloat16"
            return ops.cast(ops.cast(w / 3, dtype), "float32")

    class Inherited(Half):
        pass

    w = as_tensor([3.0, 1.0], dtype)
    for cls in (Half, Inherited):
        third = cls()(w)
        assert keras.backend.standardize_dtype(third.dtype) == dtype
        np.testing.assert_allclose(as_float64(third), [1, 1 / 3], rtol=4e-3)


def test_subclass_without_mathematics() -> None:
    """A subclass that defines nothing says so when it is called."""
    empty = type("Empty", (r.Regularizer,), {})()
    with pytest.raises(TypeError, match="Empty defines no penalty"):
        empty(ops.ones((2,)))
    empty = type("Empty", (c.Constraint,), {})()
    with pytest.raises(TypeError, match="Empty defines no projection"):
        empty(ops.ones((2,)))


def test_built_in_a_trace() -> None:
    """Penalties and constraints built while tracing work outside."""
    built = []

    def step(x: Any) -> Any:
        built.extend([r.L1(0.5) + r.L2(0.5), c.MaxNorm(1.0), c.UnitNorm()])
        return built[0](built[1](x)) + ops.sum(built[2](x))

    x = np.array([[3.0], [4.0]], "float32")
    compiled(step)(ops.convert_to_tensor(x))
    assert float(built[0](x)) == 16.0
    np.testing.assert_allclose(as_float64(built[1](x)), [[0.6], [0.8]], rtol=1e-6)
    np.testing.assert_allclose(as_float64(built[2](x)), [[0.6], [0.8]], rtol=1e-6)


# Algebra


def test_sums_and_multiples() -> None:
    """Penalties add and scale, from either side, and sums are flat."""
    l1, l2 = r.L1(0.5), r.L2(0.25)
    assert l1 + l2 == r.Sum([l1, l2])
    assert sum([l1, l2, l1]) == r.Sum([l1, l2, l1])
    assert (l1 + l2) + l1 == l1 + (l2 + l1)
    assert 2 * l2 == l2 * 2.0 == r.Scaled(l2, 2.0)
    assert 2 * (3 * l2) == 6.0 * l2
    x = np.array([1.0, -2.0], "float32")
    assert float((l1 + 2 * l2)(x)) == 4.0


@pytest.mark.parametrize("factor", [np.float32(2), np.float64(2), np.int64(2), 2])
def test_numpy_multiples(factor: Any) -> None:
    """NumPy scalars scale a penalty instead of broadcasting over it."""
    for product in (factor * r.L2(0.25), r.L2(0.25) * factor):
        assert product == r.Scaled(r.L2(0.25), 2.0)
        assert type(product.factor) is float


def test_sums_with_functions() -> None:
    """Functions and Keras' own penalties can be members; numbers cannot."""
    penalty = r.L2(1.0) + keras.regularizers.L1(1.0) + ops.sum
    assert float(penalty(np.array([1.0, 2.0], "float32"))) == 11.0
    assert not penalty.proximable
    with pytest.raises(TypeError):
        r.L2() + 1.0
    with pytest.raises(ValueError, match="`factor` of Scaled"):
        r.L2() * r.L2()


@pytest.mark.parametrize(
    ("penalty", "convex", "separable", "proximable"),
    [
        (r.L1(), True, True, True),
        (r.L2(), True, True, True),
        (r.L1L2(), True, True, True),
        (r.OrthogonalRegularizer(), False, False, False),
        (r.L1() + 0.5 * r.L2(), True, True, True),
        (r.L1() + r.OrthogonalRegularizer(), False, False, False),
        (2.0 * r.OrthogonalRegularizer(), False, False, False),
        (r.L2() + keras.regularizers.L1(), False, False, False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_flags(
    penalty: r.Regularizer, *, convex: bool, separable: bool, proximable: bool
) -> None:
    """A penalty says what it is, and a composite what its parts are."""
    assert (penalty.convex, penalty.separable) == (convex, separable)
    assert penalty.proximable == proximable
    x = np.ones((2, 2), "float32")
    if proximable:
        assert tuple(penalty.prox(x, 0.1).shape) == (2, 2)
    else:
        name = type(penalty).__name__
        with pytest.raises(
            NotImplementedError, match=rf"{name}\.prox is not available"
        ):
            penalty.prox(x, 0.1)


@pytest.mark.parametrize(
    ("constraint", "convex"),
    [
        (c.MaxNorm(), True),
        (c.NonNeg(), True),
        (c.UnitNorm(), False),
        (c.MinMaxNorm(), True),
        (c.MinMaxNorm(0.5, 1.0), False),
    ],
    ids=str,
)
def test_convexity_of_constraints(constraint: c.Constraint, *, convex: bool) -> None:
    """A constraint says whether its set is convex."""
    assert constraint.convex == convex
