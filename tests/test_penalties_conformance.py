"""`check_regularizer`: passes for penalties of every family, and says what is wrong."""

from __future__ import annotations

from typing import Any

import keras
import pytest
from keras import ops

from keras_regx import regularizers as r
from keras_regx.testing import check_regularizer

GOOD = [
    r.L1(0.1),
    r.L0(0.1),
    r.MCP(0.3),
    r.GroupLasso(0.1),
    r.SRIP(0.1),
    r.SpectralNorm(0.1),
    r.Anchor(0.1, anchor=0.5),
    r.DeCov(0.1),
]


@pytest.mark.slow
@pytest.mark.parametrize("penalty", GOOD, ids=lambda p: type(p).__name__)
def test_our_penalties_pass(penalty: Any) -> None:
    """The battery that others run is the one that ours pass."""
    check_regularizer(penalty, shapes=[(4, 4)])


class NotScalar(keras.regularizers.Regularizer):
    """Forgets to sum."""

    def __call__(self, x: Any) -> Any:
        """Return a tensor."""
        return ops.square(x)

    def get_config(self) -> dict[str, Any]:
        """Return nothing."""
        return {}


class BadGradient(NotScalar):
    """Has no finite gradient at zero."""

    def __call__(self, x: Any) -> Any:
        """Return the norm."""
        return ops.sqrt(ops.sum(ops.square(ops.cast(x, "float32"))))


class HalfPrecision(NotScalar):
    """Sums in half precision."""

    def __call__(self, x: Any) -> Any:
        """Return the sum of squares."""
        return ops.sum(ops.square(x))


class WrongProx(r.L1):
    """Leaves its factor out of the prox."""

    def _prox(self, x: Any, step_size: Any) -> Any:
        return x * 0.5


@pytest.mark.parametrize(
    ("penalty", "message"),
    [
        (NotScalar(), "Sum over all axes"),
        (BadGradient(), "not finite at zero weights"),
        (HalfPrecision(), "float32"),
        (WrongProx(0.01), "argmin"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_failures_say_what_to_do(penalty: Any, message: str) -> None:
    """A faulty penalty fails with the property and its remedy."""
    with pytest.raises(AssertionError, match=message):
        check_regularizer(penalty, shapes=[(4, 4)])
