"""What may be passed: tensors, variables of Keras and of the backend, arrays, lists."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from keras_regx import ops as k
from tests.backends import as_float64, slow_on
from tests.cases import CONSTRAINTS, PENALTIES, ConstraintCase, PenaltyCase
from tests.test_ops_symbolic import CALLS, sample

CASES = [pytest.param(case, id=case.id) for case in (*PENALTIES, *CONSTRAINTS)]


def called(case: PenaltyCase | ConstraintCase, x: Any) -> list[np.ndarray]:
    """Return what the object gives: value and prox, or projection."""
    if isinstance(case, ConstraintCase):
        found = [case.constraint(x)]
    else:
        found = [case.penalty(x)] if case.loss else []
        found += [case.penalty.prox(x, 0.5)] if case.penalty.proximable else []
    return [as_float64(value) for value in found]


@slow_on("jax")  # There the value of a variable is a tensor.
@pytest.mark.parametrize("case", CASES)
def test_variables_are_taken_as_their_values(case: Any) -> None:
    """A Keras variable and what it wraps give what the tensor gives."""
    x = case.sample(np.random.default_rng(0), case.shapes[0]).astype("float32")
    expected = called(case, ops.convert_to_tensor(x))
    variable = keras.Variable(x)
    for given in (variable, variable.value, x.tolist()):
        for result, value in zip(called(case, given), expected, strict=True):
            # PyTorch takes another routine for values that want a gradient.
            np.testing.assert_allclose(result, value, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("name", CALLS)
def test_primitives_take_variables(name: str) -> None:
    """The functions of `keras_regx.ops` too, but for those that only reshape."""
    if name in ("as_matrix", "group_rows", "resolve_axis"):
        return
    expected = as_float64(CALLS[name](ops.convert_to_tensor(sample())))
    result = as_float64(CALLS[name](keras.Variable(sample()).value))
    np.testing.assert_allclose(result, expected, rtol=2e-6, atol=1e-6)


def test_half_precision_variable() -> None:
    """What a variable in half precision wraps is cast as its tensor is."""
    variable = keras.Variable(np.ones((2, 2)), dtype="bfloat16")
    assert "bfloat16" in str(k.project_simplex(variable.value, axis=0).dtype)
