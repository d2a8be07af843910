"""Loggers agree with NumPy and reach each other; ProjectAtEnd ends feasible."""

from __future__ import annotations

import csv
from typing import Any

import keras
import numpy as np
import pytest

import keras_regx
from keras_regx import Rule
from keras_regx.callbacks import (
    AdvanceSchedules,
    PenaltyLogger,
    ProjectAtEnd,
    SparsityLogger,
)
from keras_regx.constraints import NonNeg, UnitNorm
from keras_regx.optimizers import Proximal
from keras_regx.regularizers import L1, L2
from tests.backends import BACKEND
from tests.training import kernel_of, linear, regression, train

KO = keras.optimizers


def test_penalties_by_path(tmp_path: Any) -> None:
    """Entries equal the formula at the epoch's last weights; CSVLogger has them."""
    x, y = regression(16, 4, 2)
    model = linear(4, kernel_regularizer=L2(0.3), bias_regularizer=L1(0.2))
    model.compile(KO.SGD(0.05), "mse")
    path = tmp_path / "log.csv"
    callbacks = [PenaltyLogger(), keras.callbacks.CSVLogger(str(path))]
    history = train(model, x, y, 3, epochs=2, callbacks=callbacks).history
    w, b = kernel_of(model), np.asarray(model.get_weights()[1], "float64")
    assert history["penalty/linear/kernel"][-1] == pytest.approx(0.3 * (w**2).sum())
    assert history["penalty/linear/bias"][-1] == pytest.approx(0.2 * abs(b).sum())
    total = history["penalty/linear/kernel"][-1] + history["penalty/linear/bias"][-1]
    assert history["penalty/total"][-1] == pytest.approx(total)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["penalty/total"]) == pytest.approx(total)


@pytest.mark.skipif(
    BACKEND != "tensorflow", reason="Keras' TensorBoard callback needs TensorFlow"
)
def test_tensorboard_has_the_entries(tmp_path: Any) -> None:
    """TensorBoard, listed after the loggers, writes what they have added."""
    pytest.importorskip("tensorboard", reason="TensorFlow comes without it")
    x, y = regression(16, 4, 2)
    model = linear(4, kernel_regularizer=L2(0.3))
    model.compile(KO.SGD(0.05), "mse")
    board = keras.callbacks.TensorBoard(str(tmp_path), write_graph=False)
    train(model, x, y, 2, callbacks=[PenaltyLogger(), SparsityLogger(), board])
    (file,) = (tmp_path / "train").glob("events*")
    events = file.read_bytes()
    assert b"epoch_penalty/linear/kernel" in events
    assert b"epoch_zero_groups/linear/kernel" in events


@pytest.mark.parametrize(
    "scaled",
    [False, pytest.param(True, marks=pytest.mark.slow)],
    ids=["plain", "loss-scale"],
)
def test_penalties_by_rule_and_prox(scaled: bool) -> None:
    """Penalties that Proximal applies are logged, summed by rule."""
    x, y = regression(16, 4, 2)
    model = linear(4, bias_regularizer=L2(0.1))
    rule = Rule("*/kernel", regularizer=L1(0.5))
    optimizer = Proximal(KO.SGD(0.05), [rule])
    model.compile(KO.LossScaleOptimizer(optimizer) if scaled else optimizer, "mse")
    logger = PenaltyLogger([rule, Rule("*/bias", regularizer=None)])
    history = train(model, x, y, 3, callbacks=[logger]).history
    expected = 0.5 * abs(kernel_of(model)).sum()
    assert history["penalty/*/kernel"] == [pytest.approx(expected)]
    assert history["penalty/total"][0] == pytest.approx(
        expected + history["penalty/*/bias"][0]
    )


def test_sparsity() -> None:
    """Zeros, zero groups and ranks are those of the kernel."""
    kernel = np.array([[1.0, 0, 0, 2], [0, 0, 0, 4], [3, 0, 0, 6]])
    model = linear(3, 4, kernel=kernel)
    model.compile(KO.SGD(0.0), "mse")
    x, y = np.ones((4, 3)), np.ones((4, 4))
    history = train(model, x, y, 1, callbacks=[SparsityLogger(rank=True)]).history
    assert history["zeros/linear/kernel"] == [pytest.approx(7 / 12)]
    assert history["zero_groups/linear/kernel"] == [0.5]
    assert history["rank/linear/kernel"] == [2]
    assert history["zeros/total"] == [pytest.approx(7 / 12)]


def test_sparsity_tolerance_and_axis() -> None:
    """`tolerance` widens zero, `axis` chooses the groups."""
    model = linear(2, 2, kernel=[[1e-5, -1e-5], [1.0, 2.0]])
    model.compile(KO.SGD(0.0), "mse")
    x, y = np.ones((4, 2)), np.ones((4, 2))
    logger = SparsityLogger(axis="inputs", tolerance=1e-4)
    history = train(model, x, y, 1, callbacks=[logger]).history
    assert history["zeros/total"] == [0.5]
    assert history["zero_groups/linear/kernel"] == [0.5]


def test_project_after_ema() -> None:
    """Keras' average violates NonNeg, taken before the projection; this does not."""
    x, y = np.ones((8, 3)), -np.ones((8, 2))
    for callbacks, feasible in (([], False), ([ProjectAtEnd()], True)):
        model = linear(3, 2, kernel_constraint=NonNeg(), kernel=np.ones((3, 2)))
        model.compile(KO.SGD(0.5, use_ema=True, ema_momentum=0.5), "mse")
        train(model, x, y, 1, callbacks=callbacks)
        assert (keras_regx.violations(model)["linear/kernel"] == 0) is feasible


@pytest.mark.slow
def test_project_after_swapped_averages() -> None:
    """An average of unit vectors, swapped in by Keras, is made a unit vector."""
    x, y = regression(16, 4, 2)
    ends = []
    for callbacks in ([], [ProjectAtEnd()]):
        model = linear(
            4, kernel_constraint=UnitNorm(axis=None), kernel=[[1.0], [0], [0], [0]]
        )
        model.compile(KO.SGD(0.5, use_ema=True, ema_momentum=0.5), "mse")
        swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
        train(model, x, y, 3, epochs=2, callbacks=[swap, *callbacks])
        ends.append(kernel_of(model))
    average, projected = ends
    norm = np.linalg.norm(average)
    assert abs(norm - 1) > 1e-3
    np.testing.assert_allclose(projected, average / norm, atol=1e-6)


@pytest.mark.slow
def test_project_at_start_and_each_epoch() -> None:
    """Loaded weights are projected first; an average of unit vectors, each epoch."""
    x, y = regression(16, 4, 2)
    model = linear(
        4, kernel_constraint=UnitNorm(axis=None), kernel=np.full((4, 1), 3.0)
    )
    model.compile(KO.SGD(0.0), "mse")
    norms: list[float] = []

    class Norm(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            norms.append(float(np.linalg.norm(kernel_of(self.model))))

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            norms.append(float(np.linalg.norm(kernel_of(self.model))))
            self.model.get_layer("linear").kernel.assign(np.full((4, 1), 3.0))

    callbacks = [ProjectAtEnd(at_start=True, each_epoch=True), Norm()]
    train(model, x, y, 1, callbacks=callbacks)
    np.testing.assert_allclose(norms, [1, 1], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(kernel_of(model)), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("callback", "arguments", "message"),
    [
        (PenaltyLogger, {"rules": ["*/kernel"]}, "`rules`"),
        (SparsityLogger, {"tolerance": -1.0}, "`tolerance`"),
        (SparsityLogger, {"axis": "filters"}, "`axis`"),
        (ProjectAtEnd, {"at_start": 1}, "`at_start`"),
        (AdvanceSchedules, {"log": 1}, "`log`"),
    ],
    ids=["rules", "tolerance", "axis", "at_start", "log"],
)
def test_wrong_arguments(callback: Any, arguments: Any, message: str) -> None:
    """A wrong argument is named."""
    with pytest.raises(ValueError, match=message):
        callback(**arguments)
