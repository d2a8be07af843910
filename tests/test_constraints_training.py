"""Constraints inside `fit`: every kind of layer, counts, anchors, LoRA, big weights."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from keras import ops
from keras.optimizers.schedules import PolynomialDecay

import keras_regx
from keras_regx import constraints as c
from keras_regx.callbacks import AdvanceSchedules
from keras_regx.testing import check_constraint
from tests.backends import as_float64, as_tensor, quick, slow_on
from tests.training import kernel_of, linear, train

if TYPE_CHECKING:
    from pathlib import Path

FAMILIES = {
    "box": c.Box(-0.1, 0.2),
    "norm": c.MaxNorm(0.5, axis="units"),
    "sphere": c.UnitNorm(axis="units"),
    "simplex": c.Simplex(axis="units"),
    "affine": c.Centered(axis="units"),
    "top_k": c.TopK(fraction=0.4),
    "n_of_m": c.NMSparsity(1, 2, axis=-1),
    "orthogonal": c.Orthogonal(),
    "spectral": c.SpectralNormBall(0.5),
    "symmetry": c.FlipSymmetric(-1),
    "order": c.Monotonic(axis=-2),
    "intersection": c.NonNeg() & c.L2Ball(0.5, axis=None),
}


def _many_layers(constraint: Any) -> keras.Model:
    """Return a model with the constraint on kernels of six kinds of layer."""
    layers = keras.layers
    inputs = keras.Input((6,), dtype="int32")
    x = layers.Embedding(8, 4, embeddings_constraint=constraint)(inputs)
    attention = layers.MultiHeadAttention(2, 4, kernel_constraint=constraint)
    x = attention(x, x)
    x = layers.LSTM(
        4,
        return_sequences=True,
        kernel_constraint=constraint,
        recurrent_constraint=constraint,
    )(x)
    x = layers.Reshape((6, 4, 1))(x)
    x = layers.Conv2D(2, 3, kernel_constraint=constraint)(x)
    x = layers.DepthwiseConv2D(2, depth_multiplier=2, depthwise_constraint=constraint)(
        x
    )
    x = layers.Flatten()(x)
    return keras.Model(inputs, layers.Dense(2, kernel_constraint=constraint)(x))


def _outside(variables: list[Any]) -> list[str]:
    """Return the paths of the weights that are not in their sets.

    One function computes all gaps, compiled: eagerly, JAX compiles each operation
    for each shape.
    """
    constraints = [v.constraint for v in variables]
    gaps = quick(lambda ws: [p._gap(w) for p, w in zip(constraints, ws, strict=True)])
    found = []
    values = [ops.convert_to_tensor(v) for v in variables]
    for variable, gap in zip(variables, gaps(values), strict=True):
        constraint = copy.copy(variable.constraint)
        vars(constraint)["_gap"] = lambda _, gap=gap: gap
        if not constraint.contains(variable):
            found.append(variable.path)
    return found


@pytest.mark.optimized
@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_ends_feasible(family: str) -> None:
    """20 compiled steps leave each kernel of six kinds of layer in its set."""
    model = _many_layers(FAMILIES[family])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    rng = np.random.default_rng(0)
    before = [as_float64(v) for v in model.trainable_variables]
    model.fit(
        rng.integers(0, 8, size=(40, 6)),
        rng.normal(size=(40, 2)).astype("float32"),
        batch_size=2,
        verbose=0,
    )
    constrained = [v for v in model.trainable_variables if v.constraint is not None]
    assert len(constrained) == 10
    assert not _outside(constrained)
    assert all(np.isfinite(as_float64(variable)).all() for variable in constrained)
    moved = [
        np.abs(as_float64(v) - b).max()
        for v, b in zip(model.trainable_variables, before, strict=True)
    ]
    assert min(moved) > 0


X, Y = np.ones((4, 3)), np.full((4, 2), 100.0)


def test_every_counts_updates() -> None:
    """Every applies its constraint at each n-th update, and is silent."""
    model = linear(3, 2, kernel_constraint=c.Every(c.LInfBall(1e-3), 3))
    model.compile(keras.optimizers.SGD(0.01), "mse")
    largest = []
    for _ in range(7):
        train(model, X, Y, 1, callbacks=[AdvanceSchedules()])
        largest.append(np.abs(kernel_of(model)).max() <= 1.001e-3)
    assert largest == [False, False, True, False, False, True, False]


def test_every_counts_updates_not_micro_batches() -> None:
    """Under gradient accumulation the count is that of updates."""
    model = linear(3, 2, kernel_constraint=c.Every(c.LInfBall(1e-3), 2))
    model.compile(keras.optimizers.SGD(0.01, gradient_accumulation_steps=2), "mse")
    feasible = []
    for _ in range(8):
        train(model, X, Y, 1, callbacks=[AdvanceSchedules()])
        feasible.append(bool(np.abs(kernel_of(model)).max() <= 1.001e-3))
    # Updates after micro-batches 2, 4, 6, 8; the constraint at the even ones.
    assert feasible == [True, False, False, True, True, False, False, True]


def test_every_without_callback_warns_and_applies() -> None:
    """Without the count the constraint is applied at every update, with a warning."""
    model = linear(3, 2, kernel_constraint=c.Every(c.LInfBall(1e-3), 100))
    model.compile(keras.optimizers.SGD(0.01), "mse")
    with pytest.warns(UserWarning, match="AdvanceSchedules"):
        train(model, X, Y, 3)
    assert np.abs(kernel_of(model)).max() <= 1.001e-3


def test_every_applies_to_tensors_now() -> None:
    """`project` is no update: it makes the weights feasible at once."""
    model = linear(3, 2, kernel=np.full((3, 2), 5.0))
    model.get_layer("linear").kernel.constraint = c.Chain(
        [c.Every(c.LInfBall(1.0), 1000)]
    )
    keras_regx.project(model)
    assert np.abs(kernel_of(model)).max() == 1.0


def test_cubic_schedule_of_sparsity() -> None:
    """TopK's fraction follows a cubic schedule of the optimizer's steps."""
    schedule = PolynomialDecay(1.0, 4, 0.25, power=3)
    model = linear(8, 2, kernel_constraint=c.TopK(fraction=schedule))
    model.compile(keras.optimizers.SGD(0.01), "mse")
    x = np.random.default_rng(0).normal(size=(8, 8))
    counts = []
    for _ in range(6):
        train(model, x, np.ones((8, 2)), 1, callbacks=[AdvanceSchedules()])
        counts.append(np.count_nonzero(kernel_of(model)))
    steps = np.minimum(np.arange(6), 4)
    expected = np.floor((0.75 * (1 - steps / 4) ** 3 + 0.25) * 16 + 0.5)
    assert counts == expected.tolist()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_anchor_is_taken_and_saved(norm: str, tmp_path: Path) -> None:
    """The anchor is the value before training; it survives saving, outside config."""
    start = np.full((3, 2), 2.0)
    model = linear(3, 2, kernel=start, kernel_constraint=c.AnchorBall(0.5, norm))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    train(model, X, Y, 5, callbacks=[AdvanceSchedules()])
    gap = kernel_of(model) - start
    size = np.linalg.norm(gap) if norm == "l2" else np.abs(gap).max()
    assert size == pytest.approx(0.5, rel=1e-5)
    assert "2.0" not in json.dumps(model.get_layer("linear").get_config())
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    train(loaded, X, -Y, 5)
    gap = kernel_of(loaded) - start
    size = np.linalg.norm(gap) if norm == "l2" else np.abs(gap).max()
    assert size == pytest.approx(0.5, rel=1e-5)
    assert gap.max() < 0


def test_one_anchor_ball_for_several_kernels() -> None:
    """One instance keeps one anchor for each variable."""
    first, second = keras.Variable([1.0]), keras.Variable([5.0], name="other")
    ball = c.AnchorBall(1.0)
    bound = [ball.for_variable(v) for v in (first, second)]
    assert [float(b([9.0])[0]) for b in bound] == [2.0, 6.0]
    with pytest.raises(ValueError, match="no anchor"):
        ball([1.0])


def test_mask_is_small_in_a_saved_model(tmp_path: Path) -> None:
    """A big mask is saved in one bit per weight, and holds after loading."""
    mask = np.random.default_rng(0).random((256, 64)) < 0.5
    model = linear(256, 64, kernel_constraint=c.Mask(mask))
    config = json.dumps(model.get_layer("linear").get_config()["kernel_constraint"])
    assert len(config) < mask.size / 5
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    train(loaded, np.ones((2, 256)), np.ones((2, 64)), 2)
    kernel = kernel_of(loaded)
    assert (kernel[~mask] == 0).all()
    assert (kernel[mask] != 0).all()


def test_masked_constraint_leaves_the_rest_alone(tmp_path: Path) -> None:
    """Entries off the mask train freely; the mask is small in a saved model."""
    mask = np.random.default_rng(0).random((256, 64)) < 0.5
    constraint = c.Masked(c.LInfBall(1e-3), mask)
    model = linear(256, 64, kernel_constraint=constraint)
    config = json.dumps(model.get_layer("linear").get_config()["kernel_constraint"])
    assert len(config) < mask.size / 5
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_layer("linear").kernel_constraint == constraint
    train(loaded, np.ones((2, 256)), np.full((2, 64), 100.0), 2)
    kernel = kernel_of(loaded)
    assert np.abs(kernel[mask]).max() <= 1.001e-3
    assert np.abs(kernel[~mask]).min() > 1e-2


def test_each_head_of_attention() -> None:
    """PerBlock sees one head of each attention kernel, also through a Policy."""
    inputs = keras.Input((5, 6))
    layer = keras.layers.MultiHeadAttention(2, 3)
    model = keras.Model(inputs, layer(inputs, inputs))
    per_head = c.PerBlock(c.Orthogonal(), axis=1)
    rules = [
        keras_regx.Rule(f"*/{name}/kernel", constraint=per_head)
        for name in ("query", "key", "value")
    ]
    model = keras_regx.Policy(rules).apply(model)
    keras_regx.project(model)
    kernels = [v for v in model.trainable_variables if v.constraint is not None]
    assert len(kernels) == 3
    for kernel in kernels:
        assert kernel.constraint.contains(kernel)
        for head in np.moveaxis(as_float64(kernel), 1, 0):
            np.testing.assert_allclose(head.T @ head, np.eye(3), atol=1e-5)


MATRIX_SETS = {
    c.Orthogonal,
    c.SpectralNormBall,
    c.SingularValueBox,
    c.NuclearBall,
    c.LowRank,
}


@pytest.mark.parametrize("name", sorted(c.registry.classes))
def test_matrix_sets_see_a_matrix(name: str) -> None:
    """Sets of (fan_in, units) matrices say so, sets in the last two axes do not."""
    cls = c.registry.classes[name]
    assert cls.sees_matrix == (cls in MATRIX_SETS)


def test_frozen_and_shared_weights() -> None:
    """A frozen weight is not projected in fit but by `project`; a shared one once."""
    layer = keras.layers.Dense(3, use_bias=False, kernel_constraint=c.LInfBall(0.1))
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layer(layer(inputs)))
    layer.kernel.assign(np.full((3, 3), 5.0))
    layer.trainable = False
    assert list(keras_regx.violations(model).values()) == [pytest.approx(4.9 * 3)]
    keras_regx.project(model)
    assert list(keras_regx.violations(model).values()) == [0]
    layer.trainable = True
    model.compile(keras.optimizers.SGD(0.1), "mse")
    train(model, X, np.full((4, 3), 50.0), 3)
    assert np.abs(as_float64(layer.kernel)).max() == pytest.approx(0.1)


def test_lora_refuses_a_constraint() -> None:
    """LoRA trains a product that a constraint on its factors would not bound."""
    layer = keras.layers.Dense(2, kernel_constraint=c.LInfBall(0.1))
    layer.build((None, 3))
    with pytest.raises(ValueError, match="constraint"):
        layer.enable_lora(1)


def test_quantized_weights_are_left_alone() -> None:
    """Quantizing replaces the kernel by integers, which no constraint touches."""
    layer = keras.layers.Dense(2, kernel_constraint=c.LInfBall(0.1))
    layer.build((None, 4))
    layer.quantize("int8")
    before = as_float64(layer._kernel)
    assert layer._kernel.constraint is None
    keras_regx.project(layer)
    np.testing.assert_array_equal(as_float64(layer._kernel), before)


@pytest.mark.optimized
@pytest.mark.slow
def test_two_million_weights() -> None:
    """Counts and sums stay exact where float32 sums would not."""
    size = 2_000_003
    rng = np.random.default_rng(0)
    w = rng.normal(size=size).astype("float32")
    w[: size // 2] = np.round(w[: size // 2], 1)  # Many ties.
    x = as_tensor(w, "float32")
    kept = as_float64(c.TopK(fraction=0.3)(x))
    count = int(np.floor(0.3 * size + 0.5))
    assert np.count_nonzero(kept) == count
    smallest = np.sort(np.abs(w))[-count]
    assert np.abs(kept[kept != 0]).min() == smallest
    blocks = as_float64(c.NMSparsity(2, 4)(x))
    assert np.add.reduceat(blocks != 0, np.arange(0, size, 4)).max() == 2
    simplex = c.Simplex(total=3.0, axis=None)(x)
    values = as_float64(simplex)
    assert values.min() == 0
    assert values.sum() == pytest.approx(3.0, rel=1e-6)
    support = values > 0
    shift = w[support] - values[support]
    assert np.ptp(shift) < 1e-5  # One threshold for all that remains,
    assert w[~support].max() <= shift.max() + 1e-6  # above all that does not.
    np.testing.assert_array_equal(
        as_float64(c.Simplex(total=3.0, axis=None)(simplex)), values
    )


@slow_on("jax")
def test_newton_schulz_for_ill_conditioned_kernels() -> None:
    """The default method is orthonormal to 1e-5 for condition numbers up to 1e4."""
    rng = np.random.default_rng(0)
    u, _, vt = np.linalg.svd(rng.normal(size=(40, 20)), full_matrices=False)
    w = (u * np.geomspace(1, 1e-4, 20)) @ vt
    q = as_float64(c.Orthogonal()(as_tensor(w, "float32")))
    assert np.abs(q.T @ q - np.eye(20)).max() < 1e-5


@slow_on("jax")
def test_low_rank_matrices() -> None:
    """Where the polar factor is not unique, SVD still gives a member."""
    w = as_tensor(np.outer(np.ones(5), [1.0, 2.0, 3.0]), "float32")
    assert c.Orthogonal(method="svd").contains(c.Orthogonal(method="svd")(w))
    assert not c.Orthogonal().contains(c.Orthogonal()(w))
    box = c.SingularValueBox(0.5, 1.0)
    assert box.contains(box(w))
    zero = ops.zeros((4, 3))
    assert np.abs(as_float64(c.Orthogonal()(zero))).max() == 0
    assert not c.Orthogonal().contains(zero)


@slow_on("jax")
def test_norm_bound_is_an_upper_bound() -> None:
    """The bound that needs no SVD is never below the norm, and 2% above at most."""
    rng = np.random.default_rng(0)
    for shape in ((30, 20), (5, 64)):
        w = rng.normal(size=shape)
        result = as_float64(
            c.SpectralNormBall(1.0, method="bound")(as_tensor(w, "float32"))
        )
        assert 0.98 < np.linalg.norm(result, 2) <= 1 + 1e-6


def test_intersection_is_no_chain() -> None:
    """Dykstra ends at the nearest point; a chain of projections leaves the set."""
    sets = [c.Simplex(axis=None), c.LInfBall(0.4)]
    w = as_tensor([3.0, 1.0, 0.5], "float32")
    chained = as_float64(quick(c.Chain(sets).__call__)(w))
    nearest = as_float64(quick(c.Intersection(sets).__call__)(w))
    assert chained.sum() == pytest.approx(0.4)
    assert nearest.sum() == pytest.approx(1.0, abs=1e-4)
    np.testing.assert_allclose(nearest, [0.4, 0.4, 0.2], atol=1e-3)


@pytest.mark.parametrize("member", [c.NonNeg(), keras.constraints.NonNeg()])
def test_relaxed_aims_at_its_member(member: Any) -> None:
    """Membership and distance are those of the set that is aimed at, Keras' too."""
    relaxed = c.Relaxed(member, 0.5)
    w = ops.convert_to_tensor([-3.0, 4.0])
    assert float(relaxed.distance(w)) == pytest.approx(3.0)
    assert [relaxed.contains(v) for v in (w, ops.abs(w))] == [False, True]
    assert [c.Chain([member]).contains(v) for v in (w, ops.abs(w))] == [False, True]


def test_radial_constraint_of_one_pixel() -> None:
    """A single pixel is radial."""
    w = ops.convert_to_tensor(np.full((1, 1, 2, 2), 3.0, "float32"))
    np.testing.assert_array_equal(as_float64(c.RadialConstraint()(w)), 3.0)


@pytest.mark.slow
def test_battery_passes_for_ours_and_fails_for_others() -> None:
    """check_constraint accepts this package's and names what is wrong with others."""
    check_constraint(c.NonNeg, shapes=[(4,), (5, 4)])

    class Shrinking(keras.constraints.Constraint):
        def __call__(self, w: Any) -> Any:
            return 0.9 * w

    with pytest.raises(AssertionError, match=r"Shrinking.*idempotent"):
        check_constraint(Shrinking())
    with pytest.raises(AssertionError, match=r"UnitNorm, shape"):
        check_constraint(keras.constraints.UnitNorm())
    with pytest.raises(TypeError, match="Expected a constraint"):
        check_constraint(3)
