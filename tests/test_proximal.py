"""Proximal against scikit-learn, cvxpy and NumPy, and its place in Keras' training."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import ElasticNet, Lasso, LogisticRegression

import keras_regx
from keras_regx import Rule
from keras_regx.constraints import NonNeg
from keras_regx.optimizers import Proximal
from keras_regx.regularizers import (
    L1,
    L1L2,
    L2,
    MCP,
    SCAD,
    GroupLasso,
    NuclearNorm,
    OrthogonalRegularizer,
    Scheduled,
    SparseGroupLasso,
    TotalVariation,
)
from tests.training import Array, ista, kernel_of, linear, regression, soft, train

pytestmark = pytest.mark.optimized
KO = keras.optimizers
ALPHA = 0.2


def l1_rules(factor: float = 2 * ALPHA) -> list[Rule]:
    """Return L1 on all kernels; scikit-learn's Lasso halves the squared error."""
    return [Rule("*/kernel", regularizer=L1(factor))]


def fitted(optimizer: Any, steps: int, x: Array, y: Array, **arguments: Any) -> Array:
    """Return the kernel of a linear model trained full-batch from zero."""
    model = linear(x.shape[1], **arguments)
    model.compile(optimizer, "mse")
    train(model, x, y, steps)
    return kernel_of(model)[:, 0]


EXACT = {
    "sgd": (lambda: KO.SGD(0.1), "auto", 200),
    "momentum": (lambda: KO.SGD(0.02, momentum=0.9), "auto", 300),
    "nesterov": (lambda: KO.SGD(0.02, momentum=0.9, nesterov=True), "auto", 300),
    "schedule": (
        lambda: KO.SGD(KO.schedules.CosineDecay(0.15, 300, 0.1)),
        "auto",
        300,
    ),
    "adam": (
        lambda: KO.Adam(KO.schedules.CosineDecay(0.1, 400, 0.005)),
        "auto",
        400,
    ),
    "amsgrad": (lambda: KO.Adam(0.1, amsgrad=True), "adaptive", 400),
    "adamw": (
        lambda: KO.AdamW(KO.schedules.CosineDecay(0.1, 400, 0.005), weight_decay=0.0),
        "auto",
        400,
    ),
    "rmsprop": (
        lambda: KO.RMSprop(KO.schedules.CosineDecay(0.1, 400, 0.005)),
        "auto",
        400,
    ),
    "adagrad": (lambda: KO.Adagrad(0.5), "adaptive", 300),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name != "sgd")) for name in EXACT],
)
def test_lasso(name: str) -> None:
    """The optimum of scikit-learn's Lasso, with its 17 exact zeros and no other."""
    inner, metric, steps = EXACT[name]
    x, y = regression()
    expected = Lasso(alpha=ALPHA, tol=1e-12, max_iter=100_000).fit(x, y[:, 0]).coef_
    coefficients = fitted(Proximal(inner(), l1_rules(), metric=metric), steps, x, y)
    assert (expected == 0).sum() == 17
    assert ((coefficients == 0) == (expected == 0)).all()
    np.testing.assert_allclose(coefficients, expected, atol=1e-4)


@pytest.mark.slow
def test_the_loss_alone_finds_no_zero() -> None:
    """The same penalty in the loss leaves all 17 zeros nonzero: why this exists."""
    x, y = regression()
    w = fitted(KO.SGD(0.1), 200, x, y, kernel_regularizer=L1(2 * ALPHA))
    assert (w == 0).sum() == 0


@pytest.mark.slow
def test_adaptive_optimizer_in_the_euclidean_metric() -> None:
    """At the fixed point each entry's penalty is weighted by what Adam divides by."""
    x, y = regression()
    schedule = KO.schedules.CosineDecay(0.1, 800, 0.0003)
    inner = KO.Adam(schedule, beta_2=0.99, epsilon=1e-7)
    optimizer = Proximal(inner, l1_rules(0.5), metric="euclidean")
    w = fitted(optimizer, 800, x, y, use_bias=False)
    gradient = 2 * x.T @ (x @ w[:, None] - y)[:, 0] / len(y)
    divisor = np.sqrt(ops.convert_to_numpy(inner._velocities[0])[:, 0]) + 1e-7
    active = w != 0
    np.testing.assert_allclose(
        -gradient[active] / divisor[active], 0.5 * np.sign(w[active]), atol=0.2
    )


@pytest.mark.slow
def test_elastic_net() -> None:
    """The optimum of scikit-learn's ElasticNet: alpha, l1_ratio and all zeros."""
    x, y = regression()
    sk = ElasticNet(alpha=0.3, l1_ratio=0.7, tol=1e-12, max_iter=100_000)
    expected = sk.fit(x, y[:, 0]).coef_
    penalty = L1L2(l1=2 * 0.3 * 0.7, l2=0.3 * (1 - 0.7))
    rules = [Rule("*/kernel", regularizer=penalty)]
    w = fitted(Proximal(KO.SGD(0.1), rules), 200, x, y)
    assert ((w == 0) == (expected == 0)).all()
    np.testing.assert_allclose(w, expected, atol=1e-4)


@pytest.mark.slow
def test_positive_lasso() -> None:
    """L1 by proximal step and NonNeg by constraint: scikit-learn's positive Lasso."""
    x, y = regression()
    sk = Lasso(alpha=ALPHA, positive=True, tol=1e-12, max_iter=100_000)
    expected = sk.fit(x, y[:, 0]).coef_
    optimizer = Proximal(KO.SGD(0.1), l1_rules())
    w = fitted(optimizer, 200, x, y, kernel_constraint=NonNeg())
    assert ((w == 0) == (expected == 0)).all()
    np.testing.assert_allclose(w, expected, atol=1e-4)


@pytest.mark.slow
def test_logistic_regression() -> None:
    """The optimum of scikit-learn's L1 logistic regression on breast cancer."""
    x, y = load_breast_cancer(return_X_y=True)
    x = (x - x.mean(0)) / x.std(0)
    sk = LogisticRegression(
        l1_ratio=1.0, C=0.1, solver="saga", tol=1e-10, max_iter=20_000
    )
    expected = sk.fit(x, y).coef_[0]
    rules = l1_rules(1 / (0.1 * len(y)))
    optimizer = Proximal(KO.SGD(1.0, momentum=0.9, nesterov=True), rules)
    model = linear(x.shape[1])
    model.compile(optimizer, keras.losses.BinaryCrossentropy(from_logits=True))
    train(model, x, y[:, None], 500)
    w = kernel_of(model)[:, 0]
    assert ((w == 0) == (expected == 0)).all()
    np.testing.assert_allclose(w, expected, atol=1e-3)


RATES = [0.1, 0.05, 0.02]


def _steps(optimizer: Any, **compile_arguments: Any) -> tuple[Array, Array, Array]:
    """Return the problem and the kernel after 12 full-batch steps."""
    x, y = regression(20, 6, 3)
    model = linear(6, use_bias=False)
    model.compile(optimizer, "mse", **compile_arguments)
    train(model, x, y, 12)
    return x, y, kernel_of(model)


@pytest.mark.parametrize(
    "run_eagerly",
    [False, pytest.param(True, marks=pytest.mark.slow)],
    ids=["compiled", "eager"],
)
def test_steps_are_ista(run_eagerly: bool) -> None:
    """Every step is that of a NumPy ISTA, under a learning-rate schedule."""
    schedule = KO.schedules.PiecewiseConstantDecay([3, 7], RATES)
    optimizer = Proximal(KO.SGD(schedule), l1_rules())
    x, y, w = _steps(optimizer, run_eagerly=run_eagerly)
    rates = [RATES[0]] * 4 + [RATES[1]] * 4 + [RATES[2]] * 4
    expected = ista(x, y, np.zeros((6, 1)), rates, lambda v, t, _: soft(v, 0.4 * t))
    np.testing.assert_allclose(w, expected, atol=1e-6)
    assert int(optimizer.iterations) == 12


def test_gradient_accumulation() -> None:
    """One proximal step per update: accumulating 3 micro-batches takes 4 of them."""
    inner = KO.SGD(0.1, gradient_accumulation_steps=3)
    optimizer = Proximal(inner, l1_rules(), use_ema=True, ema_momentum=0.0)
    x, y, w = _steps(optimizer)
    expected = ista(x, y, np.zeros((6, 1)), [0.1] * 4, lambda v, t, _: soft(v, 0.4 * t))
    np.testing.assert_allclose(w, expected, atol=1e-6)
    assert int(optimizer.iterations) == 4


@pytest.mark.slow
def test_loss_scale_outside() -> None:
    """A LossScaleOptimizer around Proximal changes nothing on finite gradients."""
    inner = Proximal(KO.SGD(0.1), l1_rules())
    optimizer = KO.LossScaleOptimizer(inner, initial_scale=64.0)
    x, y, w = _steps(optimizer)
    rates = [0.1] * 12
    expected = ista(x, y, np.zeros((6, 1)), rates, lambda v, t, _: soft(v, 0.4 * t))
    np.testing.assert_allclose(w, expected, atol=1e-5)
    assert int(optimizer.iterations) == 12


def test_scheduled_penalty_in_a_rule() -> None:
    """A scheduled penalty follows the optimizer's own count, without a callback."""
    ramp = KO.schedules.PolynomialDecay(0.0, 10, 0.8)
    rules = [Rule("*/kernel", regularizer=Scheduled(L1(1.0), ramp))]
    x, y, w = _steps(Proximal(KO.SGD(0.1), rules))

    def prox(v: Array, t: float, step: int) -> Array:
        return soft(v, t * 0.08 * min(step, 10))

    expected = ista(x, y, np.zeros((6, 1)), [0.1] * 12, prox)
    np.testing.assert_allclose(w, expected, atol=1e-6)


@pytest.mark.slow
def test_clipping_still_gives_zeros() -> None:
    """Clipped gradients are the inner optimizer's; the zeros are still exact."""
    x, y = regression()
    optimizer = Proximal(KO.SGD(0.1, clipnorm=5.0), l1_rules())
    assert (fitted(optimizer, 200, x, y) == 0).sum() == 17


@pytest.mark.slow
def test_mixed_precision() -> None:
    """Under mixed_float16 (loss scaling added by compile) there are exact zeros."""
    x, y = regression()
    model = linear(30, dtype="mixed_float16")
    optimizer = Proximal(KO.SGD(0.05), l1_rules())
    scaled = KO.LossScaleOptimizer(optimizer, initial_scale=16.0)
    model.compile(scaled, "mse")
    train(model, x, y, 150)
    assert (kernel_of(model) == 0).sum() >= 15
    assert np.isfinite(kernel_of(model)).all()


def test_learning_rate_callbacks() -> None:
    """LearningRateScheduler and ReduceLROnPlateau set the inner's learning rate."""
    x, y = regression(20, 6, 3)
    model = linear(6, use_bias=False)
    optimizer = Proximal(KO.SGD(0.1), l1_rules())
    model.compile(optimizer, "mse")
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch: RATES[epoch])
    plateau = keras.callbacks.ReduceLROnPlateau(
        "loss", factor=0.5, patience=1, min_delta=1e9
    )
    train(model, x, y, 2, epochs=3, callbacks=[schedule, plateau])
    rates = [0.1] * 2 + [0.05] * 2 + [0.02] * 2
    expected = ista(x, y, np.zeros((6, 1)), rates, lambda v, t, _: soft(v, 0.4 * t))
    np.testing.assert_allclose(kernel_of(model), expected, atol=1e-6)
    rate = float(ops.convert_to_numpy(optimizer.inner.learning_rate))
    assert rate == pytest.approx(0.01)


def test_average_is_taken_after_the_proximal_step() -> None:
    """The EMA is that of the sparse iterates; fit ends on it, with the zeros kept."""
    x, y = regression(20, 6, 3)
    model = linear(6, use_bias=False, kernel_constraint=NonNeg())
    optimizer = Proximal(KO.SGD(0.1), l1_rules(2.0), use_ema=True, ema_momentum=0.5)
    model.compile(optimizer, "mse")
    train(model, x, y, 8)
    average, w = None, np.zeros((6, 1))
    for _ in range(8):
        step = w - 0.1 * 2 * x.T @ (x @ w - y) / y.size
        w = np.maximum(soft(np.maximum(step, 0), 0.2), 0)
        average = w if average is None else 0.5 * average + 0.5 * w
    expected = np.where(w == 0, 0, average)
    np.testing.assert_allclose(kernel_of(model), expected, atol=1e-6)
    train(model, x, y, 2)  # Fails on JAX if the average shares the weights' buffer.
    assert (kernel_of(model) >= 0).all()


@pytest.mark.slow
def test_average_overwrites_on_schedule() -> None:
    """`ema_overwrite_frequency` puts the average into the weights that often."""
    x, y = regression(20, 6, 3)
    model = linear(6, use_bias=False)
    optimizer = Proximal(
        KO.SGD(0.1),
        l1_rules(),
        use_ema=True,
        ema_momentum=0.5,
        ema_overwrite_frequency=2,
    )
    model.compile(optimizer, "mse")
    train(model, x, y, 6)
    average, w = np.zeros((6, 1)), np.zeros((6, 1))
    for step in range(6):
        w = soft(w - 0.1 * 2 * x.T @ (x @ w - y) / y.size, 0.04)
        average = w if step == 0 else 0.5 * average + 0.5 * w
        if step % 2 == 1:
            w = np.where(w == 0, 0, average)
    np.testing.assert_allclose(kernel_of(model), w, atol=1e-6)


@pytest.mark.slow
def test_swap_ema_weights() -> None:
    """Keras' SwapEMAWeights finds the averages of Proximal."""
    x, y = regression(20, 6, 3)
    model = linear(6)
    optimizer = Proximal(KO.SGD(0.1), l1_rules(), use_ema=True, ema_momentum=0.5)
    model.compile(optimizer, "mse")
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    train(model, x, y, 3, epochs=2, callbacks=[swap])
    assert np.isfinite(kernel_of(model)).all()


@pytest.mark.slow
def test_save_load_and_resume(tmp_path: Any) -> None:
    """A model saved half-way goes on exactly like one that was never saved."""
    x, y = regression(20, 6, 3)
    straight = linear(6)
    optimizer = Proximal(KO.SGD(0.05, momentum=0.9), l1_rules(), use_ema=True)
    straight.compile(optimizer, "mse")
    train(straight, x, y, 5)
    path = tmp_path / "model.keras"
    straight.save(path)
    train(straight, x, y, 5)
    loaded = keras.models.load_model(path)
    assert loaded.optimizer.rules == optimizer.rules
    train(loaded, x, y, 5)
    np.testing.assert_array_equal(kernel_of(loaded), kernel_of(straight))


def test_config_names_no_backend() -> None:
    """The saved config names Keras' public optimizer, which every backend can load."""
    config = Proximal(KO.Adam(0.1), l1_rules()).get_config()
    assert config["inner"]["module"] == "keras.optimizers"
    assert config["inner"]["class_name"] == "Adam"
    assert Proximal.from_config(config).get_config() == config


def test_rules_about_layers_need_the_model() -> None:
    """`bind(model)` resolves rules on layers, and the config keeps the result."""
    model = linear(4)
    rules = [Rule(layer="Dense", slot="kernel", regularizer=L1(0.1))]
    model.compile(Proximal(KO.SGD(0.1), rules), "mse")
    x, y = np.ones((4, 4)), np.ones((4, 1))
    with pytest.raises(ValueError, match="names a layer"):
        train(model, x, y, 1)
    model.compile(Proximal(KO.SGD(0.1), rules).bind(model), "mse")
    train(model, x, y, 1)
    assert model.optimizer.penalties == {"linear/kernel": L1(0.1)}
    again = Proximal.from_config(model.optimizer.get_config())
    again.build(model.trainable_variables)
    assert again.penalties == model.optimizer.penalties


def test_last_rule_wins() -> None:
    """A later rule with None exempts what an earlier one has matched."""
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(3, name="body")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1, name="head")(hidden))
    rules = [*l1_rules(), Rule("*head/kernel", regularizer=None)]
    optimizer = Proximal(KO.SGD(0.1), rules)
    optimizer.build(model.trainable_variables)
    assert list(optimizer.penalties) == ["body/kernel"]


def test_same_penalty_in_loss_and_prox_is_an_error() -> None:
    """Using a penalty twice is refused, unless it is asked for."""
    model = linear(4, kernel_regularizer=L1(0.1))
    with pytest.raises(ValueError, match="allow_double=True"):
        Proximal(KO.SGD(0.1), l1_rules()).build(model.trainable_variables)
    allowed = Proximal(KO.SGD(0.1), l1_rules(), allow_double=True)
    allowed.build(model.trainable_variables)
    assert allowed.penalties == {"linear/kernel": L1(2 * ALPHA)}


def test_unmatched_rule_is_an_error() -> None:
    """A rule that matches nothing is an error that lists the variables."""
    rules = [Rule("*/missing", regularizer=L1(0.1))]
    with pytest.raises(ValueError, match="linear/kernel, linear/bias"):
        Proximal(KO.SGD(0.1), rules).build(linear(4).trainable_variables)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no-inner": ({"inner": None}, "`inner`"),
    "loss-scale": ({"inner": KO.LossScaleOptimizer(KO.SGD())}, "`inner`"),
    "inner-ema": ({"inner": KO.SGD(use_ema=True)}, "use_ema=True to Proximal"),
    "no-rules": ({"rules": []}, "`rules`"),
    "no-rule": ({"rules": [L1(0.1)]}, "`rules`"),
    "no-prox": (
        {"rules": [Rule("*", regularizer=OrthogonalRegularizer())]},
        "proximable",
    ),
    "keras-own": (
        {"rules": [Rule("*", regularizer=keras.regularizers.L1(0.1))]},
        "proximable",
    ),
    "constraint": (
        {"rules": [Rule("*", regularizer=L1(0.1), constraint="non_neg")]},
        "a Policy sets constraints",
    ),
    "joint": ({"rules": [Rule("*", regularizer=L2(), joint="all")]}, "joint"),
    "metric": ({"metric": "mahalanobis"}, "`metric`"),
    "no-metric": ({"metric": "adaptive"}, "`metric`"),
    "python-schedule": (
        {"rules": [Rule("*", regularizer=Scheduled(L1(1.0), lambda step: 0.1 * step))]},
        "LearningRateSchedule",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments(name: str) -> None:
    """A wrong argument is named, with what was expected."""
    arguments, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        Proximal(**({"inner": KO.SGD(), "rules": l1_rules()} | arguments))


def test_custom_loop() -> None:
    """`apply` with variables builds the optimizer and makes one exact step."""
    v = keras.Variable(np.array([1.0, -0.05, 0.3], "float32"), name="kernel")
    optimizer = Proximal(KO.SGD(0.5), [Rule("re:.*", regularizer=L1(1.0))])
    optimizer.apply([ops.zeros((3,))], [v])
    w = ops.convert_to_numpy(v)
    np.testing.assert_allclose(w, [0.5, 0.0, 0.0], atol=1e-7)
    assert keras_regx.regularizers.L1(1.0) in optimizer.penalties.values()


@pytest.mark.slow
def test_group_lasso() -> None:
    """The optimum that cvxpy finds for group lasso, with the same zero groups."""
    cvxpy = pytest.importorskip("cvxpy", reason="the oracle of this test")
    x, y = regression(60, 8, 3)
    y = np.concatenate([y, -y, 0.5 * y + x[:, 1:2]], axis=1)
    w, b = cvxpy.Variable((8, 3)), cvxpy.Variable((1, 3))
    residual = x @ w + np.ones((60, 1)) @ b - y
    norms = sum(cvxpy.norm(w[i]) for i in range(8))
    objective = cvxpy.sum_squares(residual) / y.size + 0.4 * np.sqrt(3) * norms
    cvxpy.Problem(cvxpy.Minimize(objective)).solve()
    expected = np.where(
        np.linalg.norm(w.value, axis=1, keepdims=True) < 1e-4, 0, w.value
    )
    rules = [Rule("*/kernel", regularizer=GroupLasso(0.4, axis="inputs"))]
    model = linear(8, 3)
    model.compile(Proximal(KO.SGD(0.3), rules), "mse")
    train(model, x, y, 300)
    kernel = kernel_of(model)
    assert 0 < (expected == 0).all(axis=1).sum() < 8
    assert ((kernel == 0).all(axis=1) == (expected == 0).all(axis=1)).all()
    np.testing.assert_allclose(kernel, expected, atol=2e-4)


@pytest.mark.parametrize(
    "penalty",
    [
        SparseGroupLasso(0.5),
        pytest.param(NuclearNorm(0.5), marks=pytest.mark.slow),
        pytest.param(TotalVariation(0.5, axis=0), marks=pytest.mark.slow),
    ],
    ids=["sparse-group", "nuclear", "total-variation"],
)
def test_structure(penalty: Any) -> None:
    """At the end every step is a fixed point: w = prox(w - t gradient)."""
    x, y = regression(60, 8, 3)
    y = np.concatenate([y, 0.5 * y, x[:, :1]], axis=1)
    model = linear(8, 3, use_bias=False)
    model.compile(Proximal(KO.SGD(0.3), [Rule("*", regularizer=penalty)]), "mse")
    train(model, x, y, 150)
    w = kernel_of(model)
    gradient = 2 * x.T @ (x @ w - y) / y.size
    moved = penalty.prox((w - 0.3 * gradient).astype("float32"), 0.3)
    np.testing.assert_allclose(ops.convert_to_numpy(moved), w, atol=1e-5)
    if isinstance(penalty, NuclearNorm):
        assert np.linalg.matrix_rank(w, tol=1e-5) < 3
    elif isinstance(penalty, TotalVariation):
        assert (np.abs(np.diff(w, axis=0)) < 1e-6).any()
    else:
        assert (w == 0).any()


@pytest.mark.parametrize(
    "penalty",
    [
        L1(0.3),
        L2(0.3),
        L1L2(0.2, 0.1),
        pytest.param(MCP(0.3), marks=pytest.mark.slow),
        pytest.param(SCAD(0.3), marks=pytest.mark.slow),
        0.5 * L1(0.3),
    ],
    ids=lambda penalty: type(penalty).__name__,
)
def test_step_size_per_entry(penalty: Any) -> None:
    """A step size per entry gives what a scalar one gives for each entry alone."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 3)).astype("float32")
    steps = rng.uniform(0.1, 1.5, size=(4, 3)).astype("float32")
    together = ops.convert_to_numpy(penalty.prox(x, ops.convert_to_tensor(steps)))
    alone = [
        float(
            ops.convert_to_numpy(penalty.prox(x[i : i + 1, j], float(steps[i, j])))[0]
        )
        for i in range(4)
        for j in range(3)
    ]
    np.testing.assert_allclose(together.ravel(), alone, atol=1e-6)
