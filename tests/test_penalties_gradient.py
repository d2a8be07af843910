"""Every penalty's gradient: against central differences, and pinned at kinks."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from tests.backends import (
    as_float64,
    as_tensor,
    compiled_value_and_gradient,
    quick_gradient,
)
from tests.cases import PENALTIES, PenaltyCase
from tests.test_penalties import LOSSES, SHAPED, draw


def differences(case: PenaltyCase, x: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """Return the gradient of the oracle by central differences, in float64."""
    grad = np.empty_like(x)
    for i in range(x.size):
        high, low = x.copy(), x.copy()
        high.flat[i] += step
        low.flat[i] -= step
        grad.flat[i] = (case.value(high) - case.value(low)) / (2 * step)
    return grad


@pytest.mark.parametrize(("case", "shape"), SHAPED)
def test_gradient_is_the_oracles(case: PenaltyCase, shape: tuple[int, ...]) -> None:
    """Away from kinks the gradient is that of the oracle."""
    x = as_tensor(draw(case, shape), "float32")
    expected = differences(case, np.asarray(ops.convert_to_numpy(x), "float64"))
    scale = max(np.abs(expected).max(), 1e-3)
    actual = quick_gradient(case.penalty, x)
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4 * scale)


@pytest.mark.optimized
@pytest.mark.slow
@pytest.mark.parametrize("case", LOSSES)
def test_compiled_penalty_is_the_oracles(case: PenaltyCase) -> None:
    """Compiled as `fit` compiles, value and gradient are the oracle's as well."""
    x = as_tensor(draw(case, case.shapes[-1]), "float32")
    expected = differences(case, np.asarray(ops.convert_to_numpy(x), "float64"))
    scale = max(np.abs(expected).max(), 1e-3)
    value, actual = compiled_value_and_gradient(case.penalty, x)
    assert as_float64(value) == pytest.approx(case.value(as_float64(x)), rel=2e-5)
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4 * scale)


@pytest.mark.parametrize(("case", "shape"), SHAPED)
def test_gradient_at_zero(case: PenaltyCase, shape: tuple[int, ...]) -> None:
    """Zero weights get the documented gradient on every backend."""
    actual = quick_gradient(case.penalty, ops.zeros(shape))
    expected = case.gradient_at_zero
    expected = expected(shape) if callable(expected) else expected
    np.testing.assert_allclose(actual, expected, atol=1e-6)


def degenerate(shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Return weights at which norms, cosines and singular values have kinks."""
    rows = int(np.prod(shape[:-1], dtype=int))
    identity = np.eye(rows, shape[-1]).reshape(shape)
    one_column = np.ones(shape)
    one_column[..., 0] = 0
    last = np.zeros(shape)
    last.flat[-1] = 1
    return {
        "equal": np.full(shape, 0.5),
        "orthonormal": identity,
        "zero_column": one_column,
        "single_entry": last,
        "opposite": np.ones(shape) * np.resize([1.0, -1.0], shape),
        "tiny": 1e-30 * np.ones(shape),
    }


@pytest.mark.parametrize(("case", "shape"), SHAPED)
def test_gradient_is_finite_at_kinks(case: PenaltyCase, shape: tuple[int, ...]) -> None:
    """Ties, zero groups and repeated singular values give finite gradients."""
    found = {
        name: quick_gradient(case.penalty, as_tensor(x, "float32"))
        for name, x in degenerate(shape).items()
    }
    not_finite = [name for name, grad in found.items() if not np.isfinite(grad).all()]
    assert not not_finite


def test_l0_as_a_loss_says_what_to_do() -> None:
    """A penalty without a gradient refuses to be a loss."""
    (case,) = (case for case in PENALTIES if not case.loss)
    with pytest.raises(NotImplementedError, match="Proximal"):
        case.penalty(ops.ones((2,)))
