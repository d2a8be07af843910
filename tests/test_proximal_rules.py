"""What a rule of Proximal may hold, and which variables it reaches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from keras import ops
from keras.optimizers.schedules import PiecewiseConstantDecay

from keras_regx import Rule
from keras_regx.optimizers import Proximal
from keras_regx.regularizers import (
    L1,
    L2,
    Anchor,
    ElasticWeightConsolidation,
    Scheduled,
)
from tests.backends import as_float64
from tests.training import Array, ista, kernel_of, linear, regression, soft, train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KO = keras.optimizers
CONSTANT = PiecewiseConstantDecay([100], [0.5, 0.0])


def rules(penalty: Any, pattern: str = "re:.*") -> list[Rule]:
    """Return a rule with this penalty."""
    return [Rule(pattern, regularizer=penalty)]


def _square(gap: Array, t: float) -> Array:
    return gap / (1 + 2 * t)


# Penalty of the distance to the anchor -> the same as a prox of that distance.
REFERENCES: dict[str, tuple[Any, Callable[[Array, float], Array]]] = {
    "anchor": (Anchor(0.6), lambda gap, t: _square(gap, 0.6 * t)),
    "anchor-l1": (Anchor(0.6, p=1), lambda gap, t: soft(gap, 0.6 * t)),
    "scaled": (2.0 * Anchor(0.6), lambda gap, t: _square(gap, 1.2 * t)),
    "scheduled": (
        Scheduled(Anchor(0.6, p=1), CONSTANT),
        lambda gap, t: soft(gap, 0.3 * t),
    ),
    "consolidation": (
        ElasticWeightConsolidation(0.6),
        lambda gap, t: gap / (1 + 0.6 * t),
    ),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_anchors_are_taken_when_built(name: str) -> None:
    """One instance serves two variables, each with its value at build as anchor."""
    penalty, prox = REFERENCES[name]
    starts = [np.array([1.0, -2.0, 0.5]), np.array([4.0, 0.0])]
    variables = [
        keras.Variable(start.astype("float32"), name=name)
        for start, name in zip(starts, ("first", "second"), strict=True)
    ]
    optimizer = Proximal(KO.SGD(0.5), rules(penalty))
    optimizer.build(variables)
    for variable in variables:
        variable.assign(variable + 1.0)
    optimizer.apply([ops.zeros((3,)), ops.zeros((2,))], variables)
    for variable, start in zip(variables, starts, strict=True):
        expected = start + prox(np.ones_like(start), 0.5)
        np.testing.assert_allclose(as_float64(variable), expected, atol=1e-6)


def test_anchor_in_a_sum() -> None:
    """A member of a sum finds its anchor: prox of |w - a| + w^2 / 2."""
    start = np.array([1.0, -2.0, 0.5])
    variable = keras.Variable(start.astype("float32"), name="w")
    optimizer = Proximal(KO.SGD(0.5), rules(Anchor(0.6, p=1) + L2(0.5)))
    optimizer.build([variable])
    variable.assign([3.0, -2.1, -1.0])
    optimizer.apply([ops.zeros((3,))], [variable])
    shrink = 1 / 1.5
    gap = np.array([3.0, -2.1, -1.0]) * shrink - start
    expected = start + soft(gap, 0.5 * shrink * 0.6)
    np.testing.assert_allclose(as_float64(variable), expected, atol=1e-6)


@pytest.mark.parametrize(
    "penalty",
    [
        pytest.param(Anchor(0.8, p=1), marks=pytest.mark.slow),
        Scheduled(Anchor(1.6, p=1), CONSTANT),
    ],
    ids=["plain", "scheduled"],
)
def test_anchor_through_fit_and_file(penalty: Any, tmp_path: Path) -> None:
    """Compiled steps are those of a NumPy ISTA around the weights before training.

    A model that is saved half-way keeps the anchor that its training began with.
    """
    x, y = regression(20, 6, 3)
    start = np.linspace(-1, 1, 6)[:, None]
    model = linear(6, use_bias=False, kernel=start)
    model.compile(Proximal(KO.SGD(0.1), rules(penalty)), "mse")
    train(model, x, y, 3)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    train(loaded, x, y, 3)

    def prox(w: Array, rate: float, _: int) -> Array:
        return start + soft(w - start, 0.8 * rate)

    expected = ista(x, y, start, [0.1] * 6, prox)
    assert (expected == start).any()
    np.testing.assert_allclose(kernel_of(loaded), expected, atol=1e-6)
    assert loaded.optimizer.penalties["linear/kernel"] == penalty


def test_scheduled_sum_on_two_kernels() -> None:
    """One scheduled sum on two variables is one number, and moves by one step."""
    first, second = keras.Variable([1.0, 0.1]), keras.Variable([2.0], name="other")
    ramp = PiecewiseConstantDecay([0], [0.0, 1.0])  # From the second step on.
    penalty = Scheduled(L1(0.2) + L2(0.5), ramp)
    optimizer = Proximal(KO.SGD(1.0), rules(penalty))
    zeros = [ops.zeros((2,)), ops.zeros((1,))]
    optimizer.apply(zeros, [first, second])
    np.testing.assert_allclose(as_float64(first), [1.0, 0.1], atol=1e-7)
    optimizer.apply(zeros, [first, second])
    np.testing.assert_allclose(as_float64(first), [0.4, 0.0], atol=1e-6)
    np.testing.assert_allclose(as_float64(second), [0.9], atol=1e-6)
    assert sum(v.name == "scheduled_number" for v in optimizer.variables) == 1


@pytest.mark.parametrize("use_ema", [False, True], ids=["plain", "average"])
def test_variable_left_out_of_a_step(use_ema: bool) -> None:
    """What is frozen after the optimizer was built is not shrunk any more."""
    first, second = keras.Variable([1.0]), keras.Variable([1.0], name="other")
    optimizer = Proximal(KO.SGD(1.0), rules(L1(0.1)), use_ema=use_ema)
    optimizer.build([first, second])
    optimizer.apply([ops.zeros((1,))], [second])
    assert as_float64(first) == 1.0
    assert as_float64(second) == pytest.approx(0.9)


def test_frozen_layer() -> None:
    """A rule reaches trainable variables alone, and must reach one."""
    inputs = keras.Input((4,))
    body = keras.layers.Dense(3, name="body")
    model = keras.Model(inputs, keras.layers.Dense(1, name="head")(body(inputs)))
    body.trainable = False
    before = kernel_of(model, "body")
    model.compile(Proximal(KO.SGD(0.1), rules(L1(5.0), "*/kernel")), "mse")
    train(model, np.ones((4, 4)), np.ones((4, 1)), 3)
    assert list(model.optimizer.penalties) == ["head/kernel"]
    np.testing.assert_array_equal(kernel_of(model, "body"), before)
    with pytest.raises(ValueError, match="head/kernel, head/bias"):
        Proximal(KO.SGD(0.1), rules(L1(1.0), "body/*")).build(model.trainable_variables)


@pytest.mark.slow
def test_lora() -> None:
    """LoRA freezes the kernel: a rule on it is an error, one on a factor is not."""
    model = linear(4, 3, kernel=np.ones((4, 3)))
    layer = model.get_layer("linear")
    layer.enable_lora(2)
    with pytest.raises(ValueError, match="lora_kernel_a"):
        Proximal(KO.SGD(0.1), rules(L1(1.0), "*/kernel")).build(
            model.trainable_variables
        )
    optimizer = Proximal(KO.SGD(0.1), rules(L1(100.0), "*/lora_kernel_a"))
    model.compile(optimizer, "mse")
    train(model, np.ones((4, 4)), np.zeros((4, 3)), 2)
    assert not as_float64(layer.lora_kernel_a).any()
    np.testing.assert_array_equal(as_float64(layer._kernel), np.ones((4, 3)))


def test_penalty_in_the_loss_too() -> None:
    """Keras' own penalty in the loss counts as a second one; a Policy's as well."""
    model = linear(4, kernel_regularizer=keras.regularizers.L2(0.1))
    with pytest.raises(ValueError, match=r"keras.*L2.*allow_double=True"):
        Proximal(KO.SGD(0.1), rules(L1(0.1), "*/kernel")).build(
            model.trainable_variables
        )
    optimizer = Proximal(KO.SGD(0.1), rules(L1(0.1), "*/bias"))
    optimizer.build(model.trainable_variables)  # Another variable: no conflict.
