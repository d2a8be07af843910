"""References on whole models: shared instances, matrix views, joint rules, policies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest

import keras_regx
from keras_regx import Policy, Rule, constraints, penalties, regularizers
from keras_regx.models import Site
from keras_regx.policy.views import MatrixPenalty
from keras_regx.regularizers import L2, Anchor, ElasticWeightConsolidation
from tests import zoo
from tests.backends import as_float64

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def chain(*kernel_regularizers: Any, constraint: Any = None) -> keras.Model:
    """Return dense layers in a row, of 4, 3 and 2 units, with these arguments."""
    inputs = x = keras.Input((5,))
    for number, regularizer in enumerate(kernel_regularizers):
        x = keras.layers.Dense(
            4 - number,
            kernel_regularizer=regularizer,
            kernel_constraint=constraint,
            name=f"d{number}",
            **zoo.ONES,
        )(x)
    return keras.Model(inputs, x)


def shift(model: keras.Model, by: float) -> None:
    """Add a number to all weights."""
    for variable in model.trainable_weights:
        variable.assign(variable + by)


def costs(model: keras.Model) -> list[float]:
    """Return the value of every penalty."""
    return [float(as_float64(value)) for value in penalties(model).values()]


def through_file(model: keras.Model, folder: Path) -> keras.Model:
    """Save to a .keras file and load it."""
    model.save(folder / "model.keras")
    return keras_regx.load_model(folder / "model.keras")


FAMILIES: dict[str, Callable[[Any], tuple[Any, ...]]] = {
    "alone": lambda r: (r, r, r),
    "in a sum": lambda r: (r + L2(0.0), L2(0.0) + r, r),
    "multiples": lambda r: (r, 2.0 * r, 3.0 * r),
}


@pytest.mark.parametrize("arrange", FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize("cls", [Anchor, ElasticWeightConsolidation])
def test_instance_shared_by_layers(cls: Any, arrange: Any, tmp_path: Path) -> None:
    """Each of three layers keeps its own reference, also after loading twice."""
    model = chain(*arrange(cls(1.0)))
    assert costs(model) == [0.0, 0.0, 0.0]
    shift(model, 0.5)
    expected = costs(model)
    assert min(expected) > 0
    loaded = through_file(model, tmp_path)
    assert costs(loaded) == pytest.approx(expected, rel=1e-6)
    assert costs(through_file(loaded, tmp_path)) == pytest.approx(expected, rel=1e-6)


def test_shared_instance_evaluated_in_another_order(tmp_path: Path) -> None:
    """References find their weights by path: a frozen layer may have come last."""
    model = chain(*[Anchor(1.0)] * 3)
    first = model.get_layer("d0")
    first.trainable = False
    assert costs(model) == [0.0, 0.0]
    first.trainable = True
    shift(model, 0.5)
    costs(model)  # Now the first layer has a reference, the last of three.
    shift(model, 0.5)
    expected = costs(model)
    assert expected == pytest.approx([20 * 0.25, 12.0, 6.0])
    assert costs(through_file(model, tmp_path)) == pytest.approx(expected)


def test_shared_instance_and_weight_files(tmp_path: Path) -> None:
    """Files of weights alone carry the references of a shared instance too."""
    model = chain(*[Anchor(1.0)] * 3)
    costs(model)
    shift(model, 0.5)
    model.save_weights(tmp_path / "m.weights.h5")
    again = keras.models.model_from_json(model.to_json())
    again.load_weights(tmp_path / "m.weights.h5")
    assert costs(again) == pytest.approx(costs(model), rel=1e-6)


@pytest.mark.slow
def test_anchor_ball_shared_by_layers(tmp_path: Path) -> None:
    """The constraint keeps the anchors of both layers, too."""
    model = chain(None, None, constraint=constraints.AnchorBall(0.5))
    assert keras_regx.violations(model) == {"d0/kernel": 0.0, "d1/kernel": 0.0}
    loaded = through_file(model, tmp_path)
    shift(loaded, 10.0)
    keras_regx.project(loaded)
    for ours, theirs in zip(loaded.layers[1:], model.layers[1:], strict=True):
        gap = as_float64(ours.kernel) - as_float64(theirs.kernel)
        assert np.linalg.norm(gap) == pytest.approx(0.5, rel=1e-5)


def test_policy_takes_the_weights_at_attach_time(tmp_path: Path) -> None:
    """Not those at the first evaluation; applying again does not take them anew."""
    model = chain(None, None)
    policy = Policy([Rule("*/kernel", regularizer=0.5 * Anchor(1.0))])
    policy.apply(model)
    shift(model, 1.0)
    assert costs(model) == pytest.approx([10.0, 6.0])
    policy.apply(model)
    assert costs(model) == pytest.approx([10.0, 6.0])
    other = Policy([Rule("*/bias", regularizer=L2(0.0))])
    other.remove(other.apply(model))
    assert costs(model) == pytest.approx([10.0, 6.0])
    assert costs(through_file(model, tmp_path)) == pytest.approx([10.0, 6.0])
    policy.apply(policy.remove(model))
    assert costs(model) == [0.0, 0.0]


def test_one_policy_on_two_models() -> None:
    """A policy's reference belongs to each model, and not to the policy."""
    policy = Policy([Rule("*/kernel", regularizer=Anchor(1.0))])
    text = policy.to_json()
    first, second = policy.apply(chain(None, None)), chain(None, None)
    shift(second, 5.0)
    policy.apply(second)
    shift(first, 1.0)
    assert costs(first) == pytest.approx([20.0, 12.0])
    assert costs(second) == [0.0, 0.0]
    assert policy.to_json() == text


ANCHOR = Anchor(1.0)
VIEWS: dict[str, Any] = {
    "sum with a matrix penalty": Rule(
        "transposed/kernel",
        regularizer=regularizers.OrthogonalRegularizer(0.0) + ANCHOR,
    ),
    "inside the view": Rule("conv/kernel", regularizer=MatrixPenalty(ANCHOR, (2, 3))),
    "view of a sum": Rule(
        "conv/kernel", regularizer=0.5 * MatrixPenalty(ANCHOR + ANCHOR, (0,))
    ),
    "joint in a layer": Rule("conv/*", regularizer=ANCHOR, joint="layer"),
    "joint in all": Rule(
        ["conv/*", "head/*"], regularizer=L2(0.0) + ANCHOR, joint="all"
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("rule", VIEWS.values(), ids=VIEWS)
def test_anchor_in_a_view(rule: Rule, tmp_path: Path) -> None:
    """The reference has the layout of the view, and is saved with the model."""
    model = zoo.convolutional()[0]
    zoo.seed_weights(model)
    policy = Policy([rule])
    policy.apply(model)
    assert costs(model) == [0.0]
    shift(model, 1.0)
    matched = [w for w in model.weights if rule.matches(Site.of_variable(w))]
    size = sum(int(np.prod(w.shape)) for w in matched)
    assert costs(model) == pytest.approx([size], rel=1e-5)
    assert float(sum(map(as_float64, model.losses))) == pytest.approx(size, rel=1e-5)
    policy.apply(model)
    assert costs(model) == pytest.approx([size], rel=1e-5)
    assert costs(through_file(model, tmp_path)) == pytest.approx([size], rel=1e-5)


def test_matrix_view_as_argument_of_a_layer(tmp_path: Path) -> None:
    """Without a policy it takes its reference when it is first evaluated."""
    model = chain(MatrixPenalty(Anchor(1.0), (0,)))
    assert costs(model) == [0.0]
    shift(model, 1.0)
    assert costs(model) == pytest.approx([20.0])
    assert costs(through_file(model, tmp_path)) == pytest.approx([20.0])


def test_anchor_of_the_effective_kernel() -> None:
    """With LoRA the reference is the merged kernel at attach time."""
    model = chain(None)
    layer = model.get_layer("d0")
    layer.enable_lora(2)
    layer.lora_kernel_b.assign(np.full(layer.lora_kernel_b.shape, 0.5))
    Policy([Rule("d0/kernel", regularizer=Anchor(1.0), joint="lora")]).apply(model)
    assert costs(model) == pytest.approx([0.0], abs=1e-9)
    before = as_float64(layer.kernel)
    layer.lora_kernel_b.assign(np.full(layer.lora_kernel_b.shape, 1.5))
    expected = ((as_float64(layer.kernel) - before) ** 2).sum()
    assert expected > 1e-6
    assert costs(model) == pytest.approx([expected], rel=1e-4)
