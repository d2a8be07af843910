"""Every penalty of the catalogue: its value, and what it does with odd input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from keras import ops

from tests.backends import (
    BACKEND,
    DTYPES,
    as_float64,
    as_tensor,
    quick,
    slow_on,
    value_and_gradient,
)
from tests.cases import PENALTIES, PenaltyCase

if TYPE_CHECKING:
    from collections.abc import Iterable

pytestmark = pytest.mark.forward


def shaped(
    cases: Iterable[PenaltyCase], dtypes: Iterable[str] = ("",)
) -> list[pytest.param]:
    """Return the cases with each shape; in half precision with the richest one.

    Only the richest shape in float32 is quick: it is compiled once for all tests.
    """
    return [
        pytest.param(
            *(case, shape, *filter(None, [dtype])),
            id="-".join(filter(None, [case.id, "x".join(map(str, shape)), dtype])),
            marks=() if is_last and is_single else pytest.mark.slow,
        )
        for case in cases
        for dtype in dtypes
        for shape in case.shapes
        for is_last in [shape == case.shapes[-1]]
        for is_single in [dtype in ("", "float32")]
        if is_last or is_single
    ]


LOSSES = [pytest.param(case, id=case.id) for case in PENALTIES if case.loss]
SHAPED = shaped(case for case in PENALTIES if case.loss)
PRECISIONS = shaped([case for case in PENALTIES if case.loss], DTYPES)
TOLERANCE = {"float64": 1e-9}


def draw(case: PenaltyCase, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Return the case's weights of this shape, the same on every backend."""
    return case.sample(np.random.default_rng(seed), shape)


def quick_value(penalty: Any, x: Any) -> Any:
    """Return the value; on JAX by the function compiled once for all tests."""
    return value_and_gradient(penalty, x)[0] if BACKEND == "jax" else penalty(x)


@pytest.mark.parametrize(("case", "shape", "dtype"), PRECISIONS)
def test_value_is_the_oracles(
    case: PenaltyCase, shape: tuple[int, ...], dtype: str
) -> None:
    """The value is the oracle's, computed in float32 for half precision."""
    x = as_tensor(draw(case, shape), dtype)
    value = quick_value(case.penalty, x)
    expected = case.value(as_float64(x))
    wide = "float32" if dtype in ("float16", "bfloat16") else dtype
    assert keras.backend.standardize_dtype(value.dtype) == wide
    assert tuple(value.shape) == ()
    tolerance = TOLERANCE.get(dtype, 2e-5)
    assert as_float64(value) == pytest.approx(expected, rel=tolerance, abs=1e-6)


@slow_on("jax", "tensorflow")
@pytest.mark.parametrize("case", LOSSES)
def test_variable_and_tensor_have_the_same_penalty(case: PenaltyCase) -> None:
    """A Keras variable is taken as its value; compiling on JAX changes nothing."""
    x = draw(case, case.shapes[-1]).astype("float32")
    on_variable = as_float64(case.penalty(keras.Variable(x)))
    on_tensor = as_float64(quick_value(case.penalty, ops.array(x)))
    assert on_variable == pytest.approx(on_tensor, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("case", LOSSES)
def test_empty_tensor_has_no_penalty(case: PenaltyCase) -> None:
    """Weights without entries cost nothing."""
    for shape in case.shapes:
        empty = (0, *shape[1:])
        assert as_float64(case.penalty(ops.zeros(empty))) == 0.0


@pytest.mark.parametrize("case", LOSSES)
def test_nan_is_not_hidden(case: PenaltyCase) -> None:
    """A NaN weight gives a NaN penalty: training must not go on unnoticed."""
    x = draw(case, case.shapes[-1])
    x.flat[0] = np.nan
    assert np.isnan(as_float64(quick_value(case.penalty, as_tensor(x, "float32"))))


@pytest.mark.parametrize("dtype", ["int32", "bool", "complex64"])
@pytest.mark.parametrize("case", LOSSES)
def test_only_real_floating_weights(case: PenaltyCase, dtype: str) -> None:
    """Integers, booleans and complex numbers are refused, naming the dtype."""
    x = ops.convert_to_tensor(np.ones(case.shapes[0], dtype))
    with pytest.raises(ValueError, match=dtype):
        case.penalty(x)


@pytest.mark.parametrize(
    "case", [param for param in LOSSES if param.values[0].penalty.min_rank > 0]
)
def test_rank_too_low_is_refused(case: PenaltyCase) -> None:
    """Weights of a rank that the penalty has no meaning for are refused."""
    rank = case.penalty.min_rank
    with pytest.raises(ValueError, match=f"rank >= {rank}"):
        case.penalty(ops.ones((2,) * (rank - 1)))


@slow_on("jax", "tensorflow")
@pytest.mark.parametrize("case", [pytest.param(c, id=c.id) for c in PENALTIES])
def test_zero_factor_is_no_penalty(case: PenaltyCase) -> None:
    """`0 * penalty` costs nothing, and its prox, if any, moves nothing."""
    x = as_tensor(draw(case, case.shapes[0]), "float32")
    nothing = 0.0 * case.penalty
    if case.loss:
        assert as_float64(quick(nothing.__call__)(x)) == 0.0
    if nothing.proximable:
        moved = as_float64(quick(nothing.prox)(x, 0.5))
        np.testing.assert_allclose(moved, as_float64(x), rtol=1e-5, atol=1e-6)
