"""`check_regularizer`: passes for penalties of every family, and says what is wrong."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from keras_regx import regularizers as r
from keras_regx.testing import check_regularizer
from keras_regx.testing import regularizer as battery
from tests.cases import PENALTIES, PenaltyCase

ROWS = [pytest.param(case, id=case.id) for case in PENALTIES]
# Infinite at zero weights: it would hide the loss of the others.
BARRIERS = {"LogBarrier"}


@pytest.mark.slow
@pytest.mark.parametrize("check", battery.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", ROWS)
def test_battery(case: PenaltyCase, check: Any) -> None:
    """The value and the prox of every row are what `check_regularizer` asks for."""
    check(case.penalty, case.shapes[-1], np.random.default_rng(0))


@pytest.mark.parametrize(
    "check",
    [battery.is_no_no_op, *battery.CHECKS_OF_OBJECTS],
    ids=lambda check: check.__name__,
)
@pytest.mark.parametrize("case", ROWS)
def test_battery_of_objects(case: PenaltyCase, check: Any) -> None:
    """Every row is an object as `check_regularizer` asks for."""
    check(case.penalty)


@pytest.mark.slow
@pytest.mark.parametrize("barriers", [False, True], ids=["finite", "barriers"])
def test_battery_trains(*, barriers: bool) -> None:
    """One compiled step of every row, from ordinary and odd weights, is finite."""
    pairs = [
        (case.penalty, case.shapes[-1])
        for case in PENALTIES
        if case.loss and (case.id in BARRIERS) == barriers
    ]
    loss = battery.trains(pairs, np.random.default_rng(0))
    assert np.isfinite(loss) != barriers


@pytest.mark.slow
def test_our_penalties_pass() -> None:
    """The battery is one call: for a drop-in class, one with a prox alone, a batch."""
    for penalty in (r.L1(0.1), r.L0(0.1), r.DeCov(0.1)):
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
