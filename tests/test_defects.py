"""What Keras' own classes do wrong, beside ours, in the same test.

The assertions on Keras' classes document the installed Keras: one that fails
says that Keras has mended a defect, and the documentation should follow.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from keras_regx import constraints as c
from keras_regx import regularizers as r
from tests.backends import (
    BACKEND,
    DTYPES,
    as_float64,
    as_tensor,
    compiled,
    gradient,
)


def norm(w: Any) -> float:
    """Return the Euclidean norm of all entries in float64."""
    return float(np.linalg.norm(as_float64(w)))


# 1. A float32 tensor is stored


@pytest.mark.parametrize(
    ("name", "argument"), [("L1", "l1"), ("OrthogonalRegularizer", "factor")]
)
def test_config_keeps_the_number(name: str, argument: str) -> None:
    """A factor of 0.01 is 0.01 in the configuration, to the last digit."""
    theirs = getattr(keras.regularizers, name)(0.01).get_config()[argument]
    ours = getattr(r, name)(0.01).get_config()[argument]
    assert theirs == 0.009999999776482582
    assert ours == 0.01


def test_no_tensor_is_stored() -> None:
    """Keras' L1 holds a tensor; ours holds a Python float."""
    assert not isinstance(keras.regularizers.L1(0.01).l1, float)
    assert type(r.L1(0.01).l1) is float


# 2. Objects built in one context and used in another


def _value_of_a_penalty_built_in_a_trace(module: Any) -> float:
    built = []

    def step(x: Any) -> Any:
        built.append(module.L1(0.5))
        return built[-1](x)

    compiled(step)(ops.ones((2, 3)))
    return float(built[-1](ops.ones((2, 3))))


def test_built_inside_a_compiled_function() -> None:
    """A penalty built while tracing works after it; Keras' fails on TensorFlow."""
    if BACKEND == "tensorflow":
        with pytest.raises(TypeError, match="out of scope"):
            _value_of_a_penalty_built_in_a_trace(keras.regularizers)
    else:
        assert _value_of_a_penalty_built_in_a_trace(keras.regularizers) == 3.0
    assert _value_of_a_penalty_built_in_a_trace(r) == 3.0


def test_built_under_another_device() -> None:
    """A penalty belongs to no device; Keras' L1 stays on PyTorch's meta device."""
    with keras.device("meta" if BACKEND == "torch" else "cpu:0"):
        theirs, ours = keras.regularizers.L1(0.5), r.L1(0.5)
    x = ops.ones((2, 3))
    if BACKEND == "torch":
        assert theirs(x).device.type == "meta"  # A shape without a value.
    assert float(ours(x)) == 3.0


# 3. Names


@pytest.mark.parametrize("name", ["l1_l2", "l1l2", "L1L2"])
def test_l1_l2_by_name(name: str) -> None:
    """Every spelling of L1L2 means factors of 0.01, as Keras documents."""
    if name == "l1_l2":
        with pytest.raises(ValueError, match="Could not interpret"):
            keras.regularizers.get(name)
    else:
        assert float(keras.regularizers.get(name)(ops.ones((3,)))) == 0.0
    assert r.get(name) == r.L1L2(0.01, 0.01)


# 4. Arguments


def test_numpy_factor() -> None:
    """A NumPy scalar is a number."""
    with pytest.raises(ValueError, match="expected a non-negative float"):
        keras.regularizers.L2(np.float32(0.25))
    assert r.L2(np.float32(0.25)) == r.L2(0.25)


@pytest.mark.parametrize(
    ("theirs", "ours", "arguments", "named"),
    [
        (keras.regularizers.L2, r.L2, {"l2": True}, "l2"),
        (keras.constraints.MaxNorm, c.MaxNorm, {"max_value": -1}, "max_value"),
        (
            keras.constraints.MinMaxNorm,
            c.MinMaxNorm,
            {"min_value": 2.0, "max_value": 1.0},
            "max_value",
        ),
        (keras.constraints.MinMaxNorm, c.MinMaxNorm, {"rate": 5}, "rate"),
    ],
    ids=["L2-boolean", "MaxNorm-negative", "MinMaxNorm-empty", "MinMaxNorm-rate"],
)
def test_nonsense_arguments(
    theirs: type, ours: type, arguments: dict[str, Any], named: str
) -> None:
    """What Keras accepts without a word is refused, by argument and value."""
    theirs(**arguments)
    value = arguments[named]
    with pytest.raises(ValueError, match=f"`{named}`.*Received: {named}={value}"):
        ours(**arguments)


# 5. The gradient of the absolute value at zero


@pytest.mark.parametrize("name", ["L1", "L1L2"])
def test_gradient_of_l1_at_zero(name: str) -> None:
    """Dead weights stay where they are; under Keras' L1 they drift on JAX."""
    zeros = np.zeros(2, "float32")
    theirs = getattr(keras.regularizers, name)(0.5)
    np.testing.assert_array_equal(
        gradient(theirs, zeros), 0.5 if BACKEND == "jax" else 0.0
    )
    np.testing.assert_array_equal(gradient(getattr(r, name)(0.5), zeros), 0.0)


def test_dead_weights_stay_dead_in_training() -> None:
    """Exact zeros survive a gradient step on every backend."""

    def kernel_after_a_step(regularizer: Any) -> np.ndarray:
        layer = keras.layers.Dense(
            2, kernel_initializer="zeros", kernel_regularizer=regularizer
        )
        model = keras.Sequential([keras.Input((3,)), layer])
        model.compile(keras.optimizers.SGD(0.1), "mse")
        model.fit(np.zeros((4, 3)), np.zeros((4, 2)), verbose=0)
        return as_float64(layer.kernel)

    drift = -0.05 if BACKEND == "jax" else 0.0
    theirs = kernel_after_a_step(keras.regularizers.L1(0.5))
    np.testing.assert_allclose(theirs, drift, rtol=1e-6)
    np.testing.assert_array_equal(kernel_after_a_step(r.L1(0.5)), 0.0)


# 6. OrthogonalRegularizer


@pytest.mark.parametrize("shape", [(1, 3), (0, 3)], ids=["one_row", "empty"])
def test_orthogonal_without_a_pair(shape: tuple[int, int]) -> None:
    """Where there is no pair of rows there is no penalty."""
    w = ops.ones(shape)
    assert math.isnan(float(keras.regularizers.OrthogonalRegularizer(0.5)(w)))
    assert float(r.OrthogonalRegularizer(0.5)(w)) == 0.0


def test_orthogonal_gradient_at_a_zero_row() -> None:
    """A dead row does not make the gradient NaN."""
    w = np.array([[0.0, 0.0], [1.0, 2.0]], "float32")
    theirs = gradient(keras.regularizers.OrthogonalRegularizer(0.5), w)
    assert np.isnan(theirs[0]).all() == (BACKEND != "tensorflow")
    assert np.isfinite(gradient(r.OrthogonalRegularizer(0.5), w)).all()


def test_orthogonal_gradient_at_the_identity() -> None:
    """The minimum is stationary; on JAX Keras pushes away from it."""
    eye = np.eye(3, dtype="float32")
    theirs = gradient(keras.regularizers.OrthogonalRegularizer(1.0), eye)
    expected = (1 - eye) / 3 if BACKEND == "jax" else 0 * eye
    np.testing.assert_allclose(theirs, expected, rtol=1e-6)
    ours = gradient(r.OrthogonalRegularizer(1.0), eye)
    np.testing.assert_array_equal(ours, 0.0)


def test_orthogonal_on_a_convolution() -> None:
    """A convolution kernel is seen as a matrix of shape (fan_in, units)."""
    rng = np.random.default_rng(0)
    w = rng.normal(size=(3, 3, 2, 4)).astype("float32")
    with pytest.raises(ValueError, match="must have rank 2"):
        keras.regularizers.OrthogonalRegularizer()(ops.convert_to_tensor(w))
    ours = r.OrthogonalRegularizer(0.5)
    np.testing.assert_allclose(float(ours(w)), float(ours(w.reshape(18, 4))), rtol=1e-6)


@pytest.mark.parametrize("dtype", sorted({*DTYPES} - {"float32"}))
def test_orthogonal_in_other_dtypes(dtype: str) -> None:
    """Dtypes other than float32 work; Keras' class fails on TensorFlow."""
    w = as_tensor([[1.0, 0.0], [1.0, 1.0]], dtype)
    theirs = keras.regularizers.OrthogonalRegularizer(1.0)
    if BACKEND == "tensorflow":
        with pytest.raises(Exception, match="expected to be a float tensor"):
            theirs(w)
    else:
        np.testing.assert_allclose(float(theirs(w)), math.sqrt(0.5), rtol=1e-2)
    ours = float(r.OrthogonalRegularizer(1.0)(w))
    np.testing.assert_allclose(ours, math.sqrt(0.5), rtol=1e-6)


def test_orthogonal_columns_of_a_numpy_array() -> None:
    """NumPy weights and the same weights as a tensor give the same penalty."""
    w = np.array([[0.0, 1.0], [1.0, 1.0]], "float32")
    theirs = keras.regularizers.OrthogonalRegularizer(1.0, mode="columns")
    ours = r.OrthogonalRegularizer(1.0, mode="columns")
    right = float(theirs(ops.convert_to_tensor(w)))
    assert abs(float(theirs(w)) - right) > 0.01
    np.testing.assert_allclose([float(ours(w)), right], math.sqrt(0.5), rtol=1e-6)


# 7. MaxNorm on feasible weights


def test_max_norm_leaves_feasible_weights_alone() -> None:
    """A vector inside the ball is bitwise the same after 1000 projections."""
    theirs = ours = w = ops.convert_to_tensor(np.full((2, 1), 5e-5, "float32"))
    for _ in range(1000):
        theirs = keras.constraints.MaxNorm(2.0)(theirs)
    for _ in range(3):
        ours = c.MaxNorm(2.0)(ours)
    assert norm(theirs) == 0.0
    np.testing.assert_array_equal(as_float64(ours), as_float64(w))


# 8. Norms at other scales than one


def _pair(name: str) -> tuple[Any, Any]:
    """Return Keras' constraint and ours, of the same name and arguments."""
    arguments = {"MaxNorm": (1.0,), "UnitNorm": (), "MinMaxNorm": (1.0, 1.0)}[name]
    return getattr(keras.constraints, name)(*arguments), getattr(c, name)(*arguments)


# What Keras makes of the norm of (1, 2, 3, 1) times the factor; it should be 1,
# and the same as before where the vector lies inside the ball of MaxNorm.
AT_SCALE = [
    ("UnitNorm", 1e20, "float32", 0.0),
    ("MaxNorm", 1e20, "float32", 0.0),
    ("MinMaxNorm", 1e20, "float32", math.nan),
    ("UnitNorm", 1e-25, "float32", 0.0),
    ("MaxNorm", 1e-25, "float32", 0.0),
    ("MinMaxNorm", 1e-25, "float32", 0.0),
    ("UnitNorm", 300.0, "float16", 0.0),
    ("MaxNorm", 300.0, "float16", 0.0),
    ("MinMaxNorm", 300.0, "float16", math.nan),
    ("UnitNorm", 1e-4, "float16", 0.915),
    ("MinMaxNorm", 1e-4, "float16", 0.915),
]


@pytest.mark.parametrize(
    ("name", "scale", "dtype", "norm_of_theirs"),
    AT_SCALE,
    ids=[f"{name}-{scale:g}-{dtype}" for name, scale, dtype, _ in AT_SCALE],
)
def test_norms_at_every_scale(
    name: str, scale: float, dtype: str, norm_of_theirs: float
) -> None:
    """Large and tiny weights are projected as well as those of size one."""
    theirs, ours = _pair(name)
    w = as_tensor(scale * np.array([[1.0], [2.0], [3.0], [1.0]]), dtype)
    np.testing.assert_allclose(norm(theirs(w)), norm_of_theirs, atol=1e-3)
    inside = name == "MaxNorm" and scale < 1
    expected = norm(w) if inside else 1.0
    tolerance = 1e-3 if dtype == "float16" else 1e-6
    np.testing.assert_allclose(norm(ours(w)), expected, rtol=tolerance)


# 9. Zero groups in half precision


@pytest.mark.parametrize("name", ["UnitNorm", "MinMaxNorm"])
def test_zero_column_in_half_precision(name: str) -> None:
    """A zero column stays zero; Keras makes it NaN on JAX, or everywhere."""
    theirs, ours = _pair(name)
    zeros = as_tensor(np.zeros((3, 1)), "float16")
    becomes_nan = BACKEND == "jax" or name == "MinMaxNorm"
    assert np.isnan(as_float64(theirs(zeros))).all() == becomes_nan
    np.testing.assert_array_equal(as_float64(ours(zeros)), 0.0)


# 10. Gradients through a projection


@pytest.mark.parametrize("name", ["UnitNorm", "MaxNorm", "MinMaxNorm"])
def test_gradient_through_a_zero_column(name: str) -> None:
    """The gradient through a zero column is of ordinary size on every backend."""
    theirs, ours = _pair(name)
    w = np.array([[0.0, 1.0], [0.0, 2.0]], "float32")

    def slope(constraint: Any) -> np.ndarray:
        return gradient(lambda x: ops.sum(constraint(x)), w)[:, 0]

    if BACKEND == "tensorflow":
        expected = 0.0 if name == "MaxNorm" else 1e7
        np.testing.assert_allclose(slope(theirs), expected, rtol=1e-6)
    else:
        assert np.isnan(slope(theirs)).all()
    np.testing.assert_array_equal(slope(ours), 1.0)


# 11. The axis


def test_filters_of_a_convolution() -> None:
    """The default axis keeps Keras' meaning; "units" bounds the filters."""
    layer = keras.layers.Conv2D(2, 3, kernel_initializer="ones")
    layer.build((None, 8, 8, 4))

    def filter_norms(constraint: Any) -> np.ndarray:
        return np.sqrt((as_float64(constraint(layer.kernel)) ** 2).sum((0, 1, 2)))

    wrong = math.sqrt(3 * 4)
    theirs = filter_norms(keras.constraints.MaxNorm(1.0))
    np.testing.assert_allclose(theirs, wrong, rtol=1e-5)
    np.testing.assert_allclose(filter_norms(c.MaxNorm(1.0)), wrong, rtol=1e-6)
    ours = filter_norms(c.MaxNorm(1.0, axis="units"))
    np.testing.assert_allclose(ours, 1.0, rtol=1e-6)


def test_output_projection_of_attention() -> None:
    """An attention layer's output kernel (heads, key, out) has units last, too."""
    shape = (2, 3, 5)
    w = ops.ones(shape)

    def unit_norms(constraint: Any) -> np.ndarray:
        return np.sqrt((as_float64(constraint(w)) ** 2).sum((0, 1)))

    layer = keras.layers.MultiHeadAttention(2, 3)
    layer.build(query_shape=(None, 4, 5), value_shape=(None, 4, 5))
    kernels = [tuple(v.shape) for v in layer.trainable_variables if "kernel" in v.path]
    assert kernels[-1] == shape
    theirs = unit_norms(keras.constraints.MaxNorm(1.0))
    np.testing.assert_allclose(theirs, math.sqrt(3), rtol=1e-5)
    ours = unit_norms(c.MaxNorm(1.0, axis="units"))
    np.testing.assert_allclose(ours, 1.0, rtol=1e-6)


# 12. Activity penalties under mixed precision


@pytest.mark.parametrize("name", ["L1", "L2", "L1L2"])
def test_activity_penalty_in_mixed_precision(name: str) -> None:
    """The penalty of 131072 half-precision activations is a float32 number."""

    def loss(regularizer: Any) -> Any:
        layer = keras.layers.Dense(
            2048,
            kernel_initializer="ones",
            activity_regularizer=regularizer,
            dtype="mixed_float16",
        )
        layer(np.ones((64, 8), "float32"))
        return layer.losses[0]

    assert np.isinf(as_float64(loss(getattr(keras.regularizers, name)(1.0))))
    ours = loss(getattr(r, name)(1.0))
    assert keras.backend.standardize_dtype(ours.dtype) == "float32"
    expected = {"L1": 8.0, "L2": 64.0, "L1L2": 8.0}[name] * 2048
    np.testing.assert_allclose(as_float64(ours), expected, rtol=1e-6)


def test_training_with_an_activity_penalty_in_mixed_precision() -> None:
    """Training is possible; with Keras' L2 it is not, or its loss is infinite."""

    def loss(regularizer: Any) -> float:
        layer = keras.layers.Dense(
            64,
            kernel_initializer="ones",
            activity_regularizer=regularizer,
            dtype="mixed_float16",
        )
        model = keras.Sequential([keras.Input((8,)), layer])
        model.compile("sgd", "mse", jit_compile=False)
        x, y = np.ones((64, 8)), np.ones((64, 64))
        return model.fit(x, y, batch_size=64, verbose=0).history["loss"][0]

    theirs = keras.regularizers.L2(0.5)
    if BACKEND == "tensorflow":
        with pytest.raises(TypeError, match="float16"):
            loss(theirs)
    else:
        assert math.isinf(loss(theirs))
    expected = 49 + 0.5 * 64 * 64  # The error, (8 - 1)^2, and the penalty.
    np.testing.assert_allclose(loss(r.L2(0.5)), expected, rtol=1e-6)


# 13. Complex weights


def test_complex_weights() -> None:
    """A sum of squares that is imaginary is no penalty: an error says so."""
    z = ops.convert_to_tensor(np.array([1 + 2j, 3j], "complex64"))
    theirs = np.asarray(ops.convert_to_numpy(keras.regularizers.L2(0.5)(z)))
    np.testing.assert_allclose(theirs, -6 + 2j)
    with pytest.raises(ValueError, match=r"of L2\. .*Received: x=.*complex64"):
        r.L2(0.5)(z)


# 14. Averaged weights


def test_constraint_and_averaged_weights() -> None:
    """Keras averages before it projects; projecting the average mends it."""
    layer = keras.layers.Dense(
        1,
        use_bias=False,
        kernel_initializer=keras.initializers.Constant(-1.0),
        kernel_constraint=c.NonNeg(),
    )
    model = keras.Sequential([keras.Input((3,)), layer])
    optimizer = keras.optimizers.SGD(
        0.1, use_ema=True, ema_overwrite_frequency=None, ema_momentum=0.5
    )
    model.compile(optimizer, "mse")
    x = np.ones((8, 3), "float32")
    model.fit(x, -np.ones((8, 1)), epochs=2, batch_size=4, verbose=0)
    assert as_float64(layer.kernel).min() < 0
    assert not layer.kernel_constraint.contains(layer.kernel)
    layer.kernel.assign(layer.kernel_constraint(layer.kernel))
    assert layer.kernel_constraint.contains(layer.kernel)


# 15. Exact zeros


def test_exact_zeros_of_the_lasso() -> None:
    """The proximal step finds the support; the gradient step finds no zero."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 20))
    w_true = np.zeros(20)
    w_true[:3] = 2.0, -3.0, 1.5
    y = x @ w_true + 0.01 * rng.normal(size=100)
    step_size = 0.2

    def smooth_step(w: np.ndarray) -> np.ndarray:
        return w - step_size * x.T @ (x @ w - y) / len(y)

    theirs = ours = np.zeros(20)
    for _ in range(100):
        slope = gradient(keras.regularizers.L1(0.1), theirs.astype("float32"))
        theirs = smooth_step(theirs) - step_size * slope
        shrunk = r.L1(0.1).prox(smooth_step(ours).astype("float32"), step_size)
        ours = as_float64(shrunk)
    assert np.count_nonzero(theirs == 0) == 0
    assert np.count_nonzero(ours == 0) == 17


# 16. `call` in place of `__call__`


@pytest.mark.parametrize("kind", ["Regularizer", "Constraint"])
def test_call_without_underscores(kind: str) -> None:
    """A subclass that would do nothing, silently, cannot be defined."""
    body = {"call": lambda _, x: 0 * x}
    theirs = {"Regularizer": keras.regularizers, "Constraint": keras.constraints}[kind]
    silent = type("Silent", (getattr(theirs, kind),), body)()
    x = ops.ones((2,))
    expected = 0.0 if kind == "Regularizer" else 1.0
    np.testing.assert_array_equal(as_float64(silent(x)), expected)
    ours = {"Regularizer": r.Regularizer, "Constraint": c.Constraint}[kind]
    with pytest.raises(TypeError, match="Silent defines `call`"):
        type("Silent", (ours,), body)
