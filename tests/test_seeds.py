"""The examples of Keras' documentation, with this package in Keras' place."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_regx import constraints, regularizers
from tests.backends import as_float64


def total(losses: list[Any]) -> float:
    """Return the sum of a layer's losses."""
    return float(sum(as_float64(loss) for loss in losses))


# Regularizers in layers


def test_penalties_of_a_dense_layer() -> None:
    """The kernel's penalty is 0.25 and the activity's, divided by the batch, 5."""
    layer = layers.Dense(
        units=5,
        kernel_initializer="ones",
        kernel_regularizer=regularizers.L1(0.01),
        activity_regularizer=regularizers.L2(0.01),
    )
    layer(ops.ones((5, 5)) * 2.0)
    losses = sorted(float(as_float64(loss)) for loss in layer.losses)
    np.testing.assert_allclose(losses, [0.25, 5.0], rtol=1e-6)
    np.testing.assert_allclose(total(layer.losses), 5.25, rtol=1e-6)


@pytest.mark.parametrize("batch", [1, 5, 32])
def test_activity_penalty_does_not_grow_with_the_batch(batch: int) -> None:
    """The activity penalty is divided by the number of samples."""
    layer = layers.Dense(
        5, kernel_initializer="ones", activity_regularizer=regularizers.L2(0.01)
    )
    layer(ops.ones((batch, 5)) * 2.0)
    np.testing.assert_allclose(total(layer.losses), 5.0, rtol=1e-6)


LAYERS = {
    "Dense": (lambda **kw: layers.Dense(4, **kw), (2, 3)),
    "Conv1D": (lambda **kw: layers.Conv1D(4, 2, **kw), (2, 5, 3)),
    "Conv2D": (lambda **kw: layers.Conv2D(4, 2, **kw), (2, 5, 5, 3)),
    "Conv3D": (lambda **kw: layers.Conv3D(4, 2, **kw), (2, 4, 4, 4, 3)),
}
EVERY_LAYER = pytest.mark.parametrize(
    ("build", "shape"), LAYERS.values(), ids=LAYERS.keys()
)


@EVERY_LAYER
def test_regularizer_arguments(build: Any, shape: tuple[int, ...]) -> None:
    """Kernel, bias and activity each get their own penalty."""
    layer = build(
        kernel_initializer="ones",
        bias_initializer="ones",
        kernel_regularizer=regularizers.L1L2(l1=1e-5, l2=1e-4),
        bias_regularizer=regularizers.L2(1e-4),
        activity_regularizer=regularizers.L2(1e-5),
    )
    out = as_float64(layer(ops.ones(shape)))
    kernel = as_float64(layer.kernel)
    expected = [
        1e-5 * np.abs(kernel).sum() + 1e-4 * (kernel**2).sum(),
        1e-4 * 4,
        1e-5 * (out**2).sum() / len(out),
    ]
    losses = [float(as_float64(loss)) for loss in layer.losses]
    np.testing.assert_allclose(sorted(losses), sorted(expected), rtol=1e-6)


@pytest.mark.slow
@EVERY_LAYER
def test_constraint_arguments(build: Any, shape: tuple[int, ...]) -> None:
    """Kernel and bias constraints hold after a training step."""
    layer = build(
        kernel_constraint=constraints.MaxNorm(0.5, axis="units"),
        bias_constraint=constraints.NonNeg(),
        bias_initializer=keras.initializers.Constant(-1.0),
    )
    model = keras.Sequential([keras.Input(shape[1:]), layer])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    x = np.ones(shape, "float32")
    model.train_on_batch(x, np.ones(model.compute_output_shape(shape)))
    assert layer.kernel_constraint.contains(layer.kernel)
    assert layer.bias_constraint.contains(layer.bias)


@pytest.mark.slow
def test_a_network_with_penalties() -> None:
    """The regularized network of Keras' tutorial on overfitting trains."""
    model = keras.Sequential(
        [
            layers.Dense(
                16, kernel_regularizer=regularizers.l2(0.001), activation="relu"
            ),
            layers.Dense(
                16, kernel_regularizer=regularizers.l2(0.001), activation="relu"
            ),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile("adam", "binary_crossentropy")
    x = np.random.default_rng(0).normal(size=(8, 10)).astype("float32")
    y = (x[:, :1] > 0).astype("float32")
    history = model.fit(x, y, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    kernels = [as_float64(layer.kernel) for layer in model.layers[:2]]
    expected = 0.001 * sum((kernel**2).sum() for kernel in kernels)
    np.testing.assert_allclose(total(model.losses), expected, rtol=1e-5)


def test_activity_regularizer_is_a_settable_property() -> None:
    """Every layer, a custom one too, takes an activity regularizer after the fact."""

    class Double(layers.Layer):
        def call(self, x: Any) -> Any:
            return 2 * x

    layer = Double()
    layer(ops.ones((4, 3)))
    assert total(layer.losses) == 0.0
    layer.activity_regularizer = regularizers.L1(0.5)
    layer(ops.ones((4, 3)))
    np.testing.assert_allclose(total(layer.losses), 3.0)


# Constructors, calls and names


def test_available_penalties() -> None:
    """The constructors take Keras' arguments, by position and by name."""
    x = ops.convert_to_tensor([1.0, -2.0])
    np.testing.assert_allclose(as_float64(regularizers.L1(0.3)(x)), 0.9, rtol=1e-6)
    np.testing.assert_allclose(as_float64(regularizers.L2(0.1)(x)), 0.5, rtol=1e-6)
    both = regularizers.L1L2(l1=0.01, l2=0.01)
    np.testing.assert_allclose(as_float64(both(x)), 0.08, rtol=1e-6)


def test_calling_a_regularizer() -> None:
    """L2 of a matrix of ones is the factor times the number of entries."""
    assert float(regularizers.L2(2.0)(ops.ones((5, 5)))) == 50.0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("l1", regularizers.L1(0.01)),
        ("l2", regularizers.L2(0.01)),
        ("l1_l2", regularizers.L1L2(0.01, 0.01)),
        ("orthogonal_regularizer", regularizers.OrthogonalRegularizer(0.01, "rows")),
    ],
)
def test_names_and_their_defaults(name: str, expected: Any) -> None:
    """A string stands for a penalty with the factor that Keras documents."""
    assert regularizers.get(name) == expected
    layer = layers.Dense(3, kernel_regularizer=regularizers.get(name))
    layer.build((None, 4))
    assert layer.kernel.regularizer == expected


@pytest.mark.parametrize("name", ["l1", "l2"])
def test_a_name_as_a_layer_argument(name: str) -> None:
    """Keras resolves a bare string itself: to its own class, of the same value."""
    layer = layers.Dense(3, kernel_regularizer=name, kernel_initializer="ones")
    layer.build((None, 4))
    ours = regularizers.get(name)(layer.kernel)
    np.testing.assert_allclose(as_float64(ours), 0.12, rtol=1e-6)
    np.testing.assert_allclose(total(layer.losses), 0.12, rtol=1e-6)


@pytest.mark.parametrize(
    ("defaults", "expected"),
    [
        (regularizers.L1, {"l1": 0.01}),
        (regularizers.L2, {"l2": 0.01}),
        (regularizers.L1L2, {"l1": 0.0, "l2": 0.0}),
        (regularizers.l1_l2, {"l1": 0.01, "l2": 0.01}),
        (regularizers.OrthogonalRegularizer, {"factor": 0.01, "mode": "rows"}),
        (constraints.MaxNorm, {"max_value": 2.0, "axis": 0}),
        (constraints.NonNeg, {}),
        (constraints.UnitNorm, {"axis": 0}),
        (
            constraints.MinMaxNorm,
            {"min_value": 0.0, "max_value": 1.0, "rate": 1.0, "axis": 0},
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_defaults(defaults: Any, expected: dict[str, Any]) -> None:
    """The defaults are those of Keras' signatures."""
    assert defaults().get_config() == expected


def test_orthogonal_regularizer_in_a_layer() -> None:
    """Rows of a Dense kernel that are all alike cost the full factor."""
    regularizer = regularizers.OrthogonalRegularizer(factor=0.01)
    layer = layers.Dense(
        units=4, kernel_regularizer=regularizer, kernel_initializer="ones"
    )
    layer(ops.ones((2, 3)))
    np.testing.assert_allclose(total(layer.losses), 0.01, rtol=1e-6)


@pytest.mark.parametrize(
    ("alias", "cls"),
    [
        (regularizers.l1, regularizers.L1),
        (regularizers.l2, regularizers.L2),
        (regularizers.orthogonal_regularizer, regularizers.OrthogonalRegularizer),
        (constraints.max_norm, constraints.MaxNorm),
        (constraints.non_neg, constraints.NonNeg),
        (constraints.unit_norm, constraints.UnitNorm),
        (constraints.min_max_norm, constraints.MinMaxNorm),
    ],
)
def test_lower_case_aliases(alias: Any, cls: type) -> None:
    """`max_norm(2.)` and `MaxNorm(2.)` are the same, as in Keras."""
    assert alias is cls


def test_max_norm_in_a_layer() -> None:
    """The shortcut function works as a layer's argument."""
    layer = layers.Dense(64, kernel_constraint=constraints.max_norm(2.0))
    layer.build((None, 3))
    assert layer.kernel.constraint == constraints.MaxNorm(2.0)


# Regularizers of one's own


@pytest.fixture
def registered() -> Any:
    """Return Keras' decorator, and forget what it registered afterwards."""
    known = dict(keras.saving.get_custom_objects())
    yield keras.saving.register_keras_serializable
    keras.saving.get_custom_objects().clear()
    keras.saving.get_custom_objects().update(known)


def test_function_as_a_regularizer(registered: Any) -> None:
    """Any function from a weight tensor to a scalar is a regularizer."""

    @registered(package="Custom", name="l1")
    def l1_reg(weight_matrix: Any) -> Any:
        return 0.01 * ops.sum(ops.absolute(weight_matrix))

    layer = layers.Dense(
        5, kernel_initializer="ones", kernel_regularizer=regularizers.get(l1_reg)
    )
    layer(ops.ones((5, 5)))
    np.testing.assert_allclose(total(layer.losses), 0.25, rtol=1e-6)
    config = regularizers.serialize(l1_reg)
    assert regularizers.deserialize(config) is l1_reg


def test_class_as_a_regularizer(registered: Any) -> None:
    """A subclass that writes `__call__` and `get_config` is a regularizer."""

    @registered(package="Custom", name="l2")
    class L2Regularizer(regularizers.Regularizer):
        def __init__(self, l2: float = 0.0) -> None:
            self.l2 = l2

        def __call__(self, x: Any) -> Any:
            return self.l2 * ops.sum(ops.square(x))

        def get_config(self) -> dict[str, float]:
            return {"l2": float(self.l2)}

    layer = layers.Dense(
        5, kernel_initializer="ones", kernel_regularizer=L2Regularizer(l2=0.5)
    )
    layer(ops.ones((5, 5)))
    np.testing.assert_allclose(total(layer.losses), 12.5, rtol=1e-6)
    again = layers.Dense.from_config(layer.get_config())
    assert again.kernel_regularizer == L2Regularizer(l2=0.5)


def test_subclass_without_get_config(registered: Any) -> None:
    """The configuration of a subclass comes from its constructor's arguments."""

    @registered(package="Custom")
    class MyRegularizer(regularizers.Regularizer):
        def __init__(self, strength: float) -> None:
            self.strength = strength

        def __call__(self, x: Any) -> Any:
            return self.strength * ops.sum(ops.square(x))

    regularizer = MyRegularizer(0.5)
    assert regularizer.get_config() == {"strength": 0.5}
    assert float(regularizer(ops.ones((5, 5)))) == 12.5
    config = regularizers.serialize(regularizer)
    assert regularizers.deserialize(config) == regularizer


# Constraints of one's own


class NonNegative(constraints.Constraint):
    """Non-negative weights, as Keras' documentation writes them."""

    def __call__(self, w: Any) -> Any:
        """Return the weights with the negative ones zeroed."""
        return w * ops.cast(ops.greater_equal(w, 0.0), dtype=w.dtype)


class CenterAround(constraints.Constraint):
    """Constrains weight tensors to be centered around `ref_value`."""

    def __init__(self, ref_value: float) -> None:
        self.ref_value = ref_value

    def __call__(self, w: Any) -> Any:
        """Return the weights, shifted to have the mean `ref_value`."""
        return w - ops.mean(w) + self.ref_value

    def get_config(self) -> dict[str, float]:
        """Return the arguments, as Keras' documentation does."""
        return {"ref_value": self.ref_value}


def test_non_negative_as_a_constraint() -> None:
    """The documented constraint keeps (0, 1) of (-1, 1)."""
    weight = ops.convert_to_tensor((-1.0, 1.0))
    np.testing.assert_array_equal(as_float64(NonNegative()(weight)), [0, 1])
    layer = layers.Dense(4, kernel_constraint=NonNegative())
    layer.build((None, 2))
    assert layer.kernel.constraint == NonNegative()


def test_center_around_as_a_constraint() -> None:
    """The documented constraint moves the mean, and its config rebuilds it."""
    constraint = CenterAround(ref_value=0.5)
    w = ops.convert_to_tensor([[1.0, 2.0], [3.0, 6.0]])
    np.testing.assert_allclose(as_float64(constraint(w)).mean(), 0.5)
    assert constraint.get_config() == {"ref_value": 0.5}
    assert CenterAround.from_config(constraint.get_config()) == constraint


def test_constraint_of_ones_own_in_training() -> None:
    """A custom constraint is applied after every step, and measures a distance."""
    layer = layers.Dense(2, kernel_constraint=CenterAround(0.5))
    model = keras.Sequential([keras.Input((3,)), layer])
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    np.testing.assert_allclose(as_float64(layer.kernel).mean(), 0.5, rtol=1e-6)
    assert layer.kernel_constraint.contains(layer.kernel)
    shifted = layer.kernel + 1.0
    distance = as_float64(layer.kernel_constraint.distance(shifted))
    np.testing.assert_allclose(distance, np.sqrt(6), rtol=1e-5)


def test_config_of_a_built_in_constraint() -> None:
    """`from_config` reverses `get_config`."""
    constraint = constraints.UnitNorm()
    again = constraints.UnitNorm.from_config(constraint.get_config())
    assert again == constraint


@pytest.mark.parametrize("axis", [0, (0, 1, 2), [0, 1, 2]])
def test_max_norm_of_filters(axis: Any) -> None:
    """A list of axes works, as in Keras' documentation of convolutions."""
    w = ops.ones((3, 3, 2, 4))
    projected = as_float64(constraints.MaxNorm(1.0, axis=axis)(w))
    axes = axis if isinstance(axis, int) else tuple(axis)
    norms = np.sqrt((projected**2).sum(axis=axes))
    np.testing.assert_allclose(norms, 1.0, rtol=1e-6)
