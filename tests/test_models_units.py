"""What a unit is for each layer, and several weights under one penalty."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from keras_regx import Policy, Rule, constraints, penalties, project, regularizers
from keras_regx.constraints import MaxNorm
from keras_regx.models import sites
from keras_regx.policy.layout import MatrixConstraint, MatrixPenalty, bind, kernel_axes
from tests import zoo
from tests.backends import as_float64

# Layer, shape of its input, slot, axes of its units, axes of its inputs.
LAYERS = [
    (layers.Dense(3), (None, 4), "kernel", (1,), (0,)),
    (layers.Conv1D(3, 2), (None, 5, 2), "kernel", (2,), (1,)),
    (layers.Conv2D(4, 2, groups=2), (None, 5, 5, 4), "kernel", (3,), (2,)),
    (layers.Conv3D(3, 2), (None, 4, 4, 4, 2), "kernel", (4,), (3,)),
    (layers.Conv1DTranspose(3, 2), (None, 5, 2), "kernel", (1,), (2,)),
    (layers.Conv2DTranspose(3, 2), (None, 5, 5, 2), "kernel", (2,), (3,)),
    (layers.Conv3DTranspose(3, 2), (None, 4, 4, 4, 2), "kernel", (3,), (4,)),
    (layers.DepthwiseConv1D(2, 1, "same", 2), (None, 5, 3), "depthwise", (1, 2), (1,)),
    (layers.DepthwiseConv2D(2), (None, 5, 5, 3), "depthwise", (2, 3), (2,)),
    (layers.SeparableConv2D(4, 2), (None, 5, 5, 3), "depthwise", (2, 3), (2,)),
    (layers.SeparableConv2D(4, 2), (None, 5, 5, 3), "pointwise", (3,), (2,)),
    (layers.Embedding(5, 3), (None, 2), "embeddings", (0,), (0,)),
    (layers.LSTM(2), (None, 3, 4), "recurrent", (1,), (0,)),
    (layers.EinsumDense("abc,cde->abde", (9, 2, 3)), (9, 9, 5), "kernel", (1, 2), (0,)),
    (layers.EinsumDense("ab...,bc->ac...", (3, 5)), (None, 4, 5), "kernel", (1,), (0,)),
    (layers.BatchNormalization(), (None, 4), "gamma", (0,), ()),
    (layers.PReLU(), (None, 4), "alpha", (0,), ()),
]  # fmt: skip


@pytest.mark.parametrize(
    ("layer", "shape", "slot", "units", "inputs"),
    LAYERS,
    ids=[f"{type(row[0]).__name__}-{row[2]}" for row in LAYERS],
)
def test_axes(layer: Any, shape: Any, slot: str, units: Any, inputs: Any) -> None:
    """The axes of units and inputs are known for every layer of Keras."""
    layer = type(layer).from_config(layer.get_config())
    layer.build(shape)
    site = next(site for site in sites(layer) if site.slot == slot)
    assert kernel_axes(site) == (units, inputs)


def test_attention_axes() -> None:
    """Query, key and value have a unit per head and key; the output one per feature."""
    layer = layers.MultiHeadAttention(2, 3)
    layer.build((None, 4, 5), (None, 4, 5))
    found = {s.path.split("/")[-2]: s for s in sites(layer) if s.slot == "kernel"}
    for name in ("query", "key", "value"):
        assert kernel_axes(found[name]) == ((1, 2), (0,))
    assert kernel_axes(found["attention_output"]) == ((2,), (0, 1))


def norms_of_units(model: keras.Model) -> dict[str, Any]:
    """Return the norms of the units of each kernel, by a rule written out here."""
    axes = {
        "transposed/kernel": (0, 1, 3),
        "depthwise/kernel": (0, 1),
        "separable/depthwise_kernel": (0, 1),
        "query/kernel": (0,),
        "key/kernel": (0,),
        "value/kernel": (0,),
        "tokens/embeddings": (1,),
    }
    found = {}
    for w in model.trainable_weights:
        if len(w.shape) > 1:
            default = tuple(range(len(w.shape) - 1)) if "bias" not in w.path else ()
            axis = next((a for end, a in axes.items() if w.path.endswith(end)), default)
            found[w.path] = np.sqrt((as_float64(w) ** 2).sum(axis))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "make", [zoo.convolutional, zoo.attention, zoo.functional], ids=lambda f: f.__name__
)
def test_constraint_on_units(make: Any) -> None:
    """`axis="units"` bounds the norm of what is a unit for each layer."""
    model = make()[0]
    policy = Policy([Rule(rank=[2, 3, 4], constraint=MaxNorm(0.5, axis="units"))])
    policy.apply(model)
    zoo.seed_weights(model)
    before = norms_of_units(model)
    assert all(norms.max() > 0.5 for norms in before.values())
    project(model)
    for path, norms in norms_of_units(model).items():
        expected = np.minimum(before[path], 0.5)
        np.testing.assert_allclose(norms, expected, rtol=1e-5, err_msg=path)


def test_objects_of_ordinary_layers_are_left_alone() -> None:
    """Nothing is copied where `"units"` already means the last axis."""
    site = sites(zoo.functional()[0])[0]
    for obj in (
        MaxNorm(axis="units"),
        regularizers.OrthogonalRegularizer(),
        regularizers.L2() + regularizers.L1(),
        abs,
        None,
    ):
        assert bind(obj, site) is obj


def test_axes_reach_members_of_sums() -> None:
    """A role inside a wrapper is bound too, and the result can be saved."""
    layer = layers.Conv2DTranspose(3, 2)
    layer.build((None, 5, 5, 2))
    site = sites(layer)[0]
    matrix = regularizers.OrthogonalRegularizer(0.5, mode="columns")
    bound = bind(regularizers.L2(0.1) + 0.5 * matrix, site)
    first, second = bound.regularizers
    assert first == regularizers.L2(0.1)
    assert second.regularizer == MatrixPenalty(matrix, (2,))
    assert regularizers.deserialize(regularizers.serialize(bound)) == bound


@pytest.mark.parametrize("index", range(len(LAYERS)), ids=lambda i: LAYERS[i][2])
def test_matrix_view(index: int) -> None:
    """A matrix penalty sees `(fan_in, units)`, and its prox comes back in shape."""
    layer, shape, slot, units, _ = LAYERS[index]
    layer = type(layer).from_config(layer.get_config())
    layer.build(shape)
    site = next(site for site in sites(layer) if site.slot == slot)
    if len(site.shape) < 2:
        with pytest.raises(ValueError, match="rank >= 2"):
            bind(regularizers.OrthogonalRegularizer(), site)
        return
    w = np.random.default_rng(0).normal(size=site.shape)
    others = tuple(a for a in range(w.ndim) if a not in units)
    count = int(np.prod([site.shape[a] for a in units]))
    matrix = np.transpose(w, others + units).reshape(-1, count)
    cosines = matrix.T @ matrix
    scale = np.sqrt(np.diag(cosines))
    cosines = np.abs(cosines / np.outer(scale, scale))
    pairs = max(count * (count - 1), 1)
    expected = (cosines.sum() - count) / pairs
    bound = bind(regularizers.OrthogonalRegularizer(1.0, mode="columns"), site)
    assert float(bound(w.astype("float32"))) == pytest.approx(expected, abs=1e-5)
    prox = MatrixPenalty(regularizers.L1(0.5), units).prox(w.astype("float32"), 1.0)
    soft = np.sign(w) * np.maximum(np.abs(w) - 0.5, 0)
    np.testing.assert_allclose(as_float64(prox), soft, atol=1e-6)


def test_matrix_constraint() -> None:
    """The view of a constraint projects, measures and is saved."""
    view = MatrixConstraint(MaxNorm(1.0), (0,))
    w = np.array([[3.0, 4.0], [0.0, 0.5]], "float32")
    np.testing.assert_allclose(as_float64(view(w)), [[0.6, 0.8], [0, 0.5]], rtol=1e-6)
    assert float(view.distance(w)) == pytest.approx(4.0)
    assert not view.contains(w)
    assert view.contains(view(w))
    assert constraints.deserialize(constraints.serialize(view)) == view
    for wrong in ("units", 0, (-1,), None):
        with pytest.raises(ValueError, match="unit_axes"):
            MatrixConstraint(MaxNorm(1.0), wrong)
        with pytest.raises(ValueError, match="unit_axes"):
            MatrixPenalty(regularizers.L2(), wrong)


class Norm(regularizers.Regularizer):
    """Euclidean norm of each column: not a sum over kernels and biases."""

    axis = "units"

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def _value(self, x: Any) -> Any:
        squares = keras.ops.sum(
            keras.ops.square(x), axis=tuple(range(len(x.shape) - 1))
        )
        return self.factor * keras.ops.sum(keras.ops.sqrt(squares))


def test_kernel_and_bias_together() -> None:
    """One penalty per layer: the bias is one more row below its kernel."""
    model, x, y = zoo.functional()
    zoo.seed_weights(model)
    Policy([Rule(layer="Dense", regularizer=Norm(0.5), joint="layer")]).apply(model)
    expected = {}
    for name in ("body", "head"):
        layer = model.get_layer(name)
        stacked = np.vstack([as_float64(layer.kernel), as_float64(layer.bias)[None]])
        expected[f"{name}/kernel/Regularizer/norm"] = (
            0.5 * np.sqrt((stacked**2).sum(0)).sum()
        )
    found = {name: float(value) for name, value in penalties(model).items()}
    assert found == pytest.approx(expected, rel=1e-5)
    old = {n: as_float64(model.get_layer(n).bias) for n in ("body", "head")}
    kernels = {n: as_float64(model.get_layer(n).kernel) for n in ("body", "head")}
    model.compile(keras.optimizers.SGD(0.1), lambda _, out: 0.0 * keras.ops.mean(out))
    model.fit(x, y, batch_size=6, verbose=0)
    for name in ("body", "head"):
        stacked = np.vstack([kernels[name], old[name][None]])
        step = 0.1 * 0.5 / np.sqrt((stacked**2).sum(0))
        layer = model.get_layer(name)
        np.testing.assert_allclose(
            as_float64(layer.bias), old[name] * (1 - step), rtol=1e-4, atol=1e-6
        )
        np.testing.assert_allclose(
            as_float64(layer.kernel), kernels[name] * (1 - step), rtol=1e-4, atol=1e-6
        )


def test_all_kernels_together(tmp_path: Any) -> None:
    """One penalty of all kernels with the same units; it survives saving."""
    inputs = keras.Input((3,))
    x = layers.Dense(4, name="a", **zoo.ONES)(inputs)
    model = keras.Model(inputs, layers.Dense(4, name="b", **zoo.ONES)(x))
    policy = Policy(
        [Rule("*/kernel", regularizer="orthogonal_regularizer", joint="all")]
    )
    policy.apply(model)
    zoo.seed_weights(model)
    (value,) = penalties(model).values()
    stacked = np.vstack([as_float64(model.get_layer(n).kernel) for n in "ab"])
    assert float(value) == pytest.approx(
        float(regularizers.OrthogonalRegularizer()(stacked.astype("float32"))), rel=1e-5
    )
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert float(sum(loaded.losses)) == pytest.approx(float(value), rel=1e-5)
    policy.remove(model)
    assert not model.losses


def test_joint_needs_equal_units_where_it_matters() -> None:
    """Entries alone may be joined anyhow; units must agree in number."""
    model = zoo.functional()[0]
    zoo.seed_weights(model)
    with pytest.raises(ValueError, match="same number of units"):
        Policy([Rule("*/kernel", regularizer=Norm(1.0), joint="all")]).apply(model)
    Policy([Rule("*/kernel", regularizer=regularizers.L2(1.0), joint="all")]).apply(
        model
    )
    (value,) = penalties(model).values()
    kernels = [as_float64(model.get_layer(n).kernel) for n in ("body", "head")]
    expected = sum((k**2).sum() for k in kernels)
    assert float(value) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("joint", ["lora", None])
def test_lora(joint: str | None, tmp_path: Any) -> None:
    """A rule can be about the kernel that a LoRA layer computes with."""
    inputs = keras.Input((4,))
    layer = layers.Dense(3, name="d", **zoo.ONES)
    model = keras.Model(inputs, layer(inputs))
    layer.enable_lora(2)
    policy = Policy([Rule("*/kernel", regularizer=regularizers.L2(1.0), joint=joint)])
    policy.apply(model)
    zoo.seed_weights(model)
    if joint is None:  # The kernel itself is frozen.
        assert not penalties(model)
        return
    ((name, value),) = penalties(model).items()
    assert name.endswith("/Regularizer/l2")
    effective = as_float64(layer.kernel)
    assert float(value) == pytest.approx((effective**2).sum(), rel=1e-5)
    a, b = as_float64(layer.lora_kernel_a), as_float64(layer.lora_kernel_b)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert float(sum(loaded.losses)) == pytest.approx(float(value), rel=1e-5)
    model.compile(keras.optimizers.SGD(0.01), lambda _, out: 0.0 * keras.ops.mean(out))
    model.fit(zoo.normal(5, 4), zoo.normal(5, 3), batch_size=5, verbose=0)
    np.testing.assert_allclose(
        as_float64(layer.lora_kernel_a),
        a - 0.02 * effective @ b.T,
        rtol=1e-4,
        atol=1e-5,
    )
    np.testing.assert_allclose(
        as_float64(layer.lora_kernel_b),
        b - 0.02 * a.T @ effective,
        rtol=1e-4,
        atol=1e-5,
    )
