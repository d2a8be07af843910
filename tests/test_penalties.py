"""Every penalty of the catalogue: its value, and what it does with odd input."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from tests.backends import DTYPES, as_float64, as_tensor, quick
from tests.cases import PENALTIES, PenaltyCase

SHAPED = [
    pytest.param(case, shape, id=f"{case.id}-{'x'.join(map(str, shape))}")
    for case in PENALTIES
    for shape in case.shapes
    if case.loss
]
LOSSES = [pytest.param(case, id=case.id) for case in PENALTIES if case.loss]
PRECISIONS = [
    pytest.param(
        case, shape, dtype, id=f"{case.id}-{'x'.join(map(str, shape))}-{dtype}"
    )
    for case in PENALTIES
    for dtype in DTYPES
    for shape in (case.shapes if dtype == "float32" else case.shapes[-1:])
    if case.loss
]
TOLERANCE = {"float64": 1e-9}


def draw(case: PenaltyCase, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Return the case's weights of this shape, the same on every backend."""
    return case.sample(np.random.default_rng(seed), shape)


@functools.cache
def quick_value(penalty: Any) -> Any:
    """Return the penalty, compiled on JAX once for all tests."""
    return quick(penalty.__call__)


@pytest.mark.parametrize(("case", "shape", "dtype"), PRECISIONS)
def test_value_is_the_oracles(
    case: PenaltyCase, shape: tuple[int, ...], dtype: str
) -> None:
    """The value is the oracle's, computed in float32 for half precision."""
    x = as_tensor(draw(case, shape), dtype)
    value = quick_value(case.penalty)(x)
    expected = case.value(as_float64(x))
    wide = "float32" if dtype in ("float16", "bfloat16") else dtype
    assert keras.backend.standardize_dtype(value.dtype) == wide
    assert tuple(value.shape) == ()
    tolerance = TOLERANCE.get(dtype, 2e-5)
    assert as_float64(value) == pytest.approx(expected, rel=tolerance, abs=1e-6)


@pytest.mark.parametrize("case", LOSSES)
def test_variable_and_tensor_have_the_same_penalty(case: PenaltyCase) -> None:
    """A Keras variable is taken as its value; compiling on JAX changes nothing."""
    x = draw(case, case.shapes[-1]).astype("float32")
    on_variable = as_float64(case.penalty(keras.Variable(x)))
    on_tensor = as_float64(quick_value(case.penalty)(ops.array(x)))
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
    x = draw(case, case.shapes[0])
    x.flat[0] = np.nan
    assert np.isnan(as_float64(quick_value(case.penalty)(as_tensor(x, "float32"))))


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
