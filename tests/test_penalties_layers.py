"""Penalties in layers that train: every kind of kernel, references, activations."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops
from scipy.special import expit, softmax

from keras_regx import regularizers as r
from keras_regx.callbacks import AdvanceSchedules
from keras_regx.layers import ActivityRegularization
from tests.backends import as_float64, slow_on
from tests.cases import PENALTIES

PENALTY = {
    "group": lambda: r.GroupLasso(0.1),
    "matrix": lambda: r.SRIP(0.1) + r.NuclearNorm(0.01),
    "reference": lambda: 0.5 * r.Anchor(0.1),
}


def attention(regularizer: Any) -> keras.Model:
    """Return a model with one instance on the four kernels of attention."""
    inputs = keras.Input((5, 4))
    layer = keras.layers.MultiHeadAttention(2, 3, kernel_regularizer=regularizer)
    return keras.Model(inputs, layer(inputs, inputs))


MODELS = {
    "attention": attention,
    "conv": lambda reg: keras.Sequential(
        [keras.Input((5, 4, 1)), keras.layers.Conv2D(3, 2, kernel_regularizer=reg)]
    ),
    "embedding": lambda reg: keras.Sequential(
        [keras.Input((5,)), keras.layers.Embedding(7, 3, embeddings_regularizer=reg)]
    ),
    "lstm": lambda reg: keras.Sequential(
        [
            keras.Input((5, 4)),
            keras.layers.LSTM(3, kernel_regularizer=reg, recurrent_regularizer=reg),
        ]
    ),
}


def data(model: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs and targets that fit the model."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 6.9, size=(4, *model.input_shape[1:])).astype("float32")
    y = rng.normal(size=(4, *model.output_shape[1:])).astype("float32")
    return x, y


@pytest.mark.optimized
@pytest.mark.slow
@pytest.mark.parametrize("kind", PENALTY)
@pytest.mark.parametrize("layer", MODELS)
def test_every_layer_trains(layer: str, kind: str) -> None:
    """The kernels of each layer move, stay finite, and are penalized in `fit`."""
    model = MODELS[layer](PENALTY[kind]())
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    before = [as_float64(v) for v in model.trainable_variables]
    x, y = data(model)
    history = model.fit(x, y, epochs=2, batch_size=4, verbose=0).history["loss"]
    after = [as_float64(v) for v in model.trainable_variables]
    assert all(np.isfinite(v).all() for v in after)
    assert any((v != w).any() for v, w in zip(before, after, strict=True))
    error = float(((model.predict(x, verbose=0) - y) ** 2).mean())
    penalty = float(sum(as_float64(loss) for loss in model.losses))
    assert penalty > 0
    assert model.evaluate(x, y, verbose=0) == pytest.approx(error + penalty, rel=1e-4)
    assert np.isfinite(history).all()


@pytest.mark.slow
def test_one_anchor_serves_four_kernels() -> None:
    """Each kernel of attention is measured from its own start."""
    model = attention(r.Anchor(0.5))
    assert float(sum(as_float64(loss) for loss in model.losses)) == 0.0
    kernels = [v for v in model.trainable_variables if v.path.endswith("kernel")]
    for i, kernel in enumerate(kernels):
        kernel.assign(kernel + float(i))
    expected = 0.5 * sum(i**2 * int(np.prod(k.shape)) for i, k in enumerate(kernels))
    total = float(sum(as_float64(loss) for loss in model.losses))
    assert total == pytest.approx(expected, rel=1e-4)


def anchored() -> keras.Model:
    """Return a model with an anchor alone, and one inside a sum."""
    return keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(2, kernel_regularizer=r.Anchor(0.5), name="a"),
            keras.layers.Dense(
                2, kernel_regularizer=r.L2(0.1) + r.Anchor(0.5), name="b"
            ),
        ]
    )


@slow_on("jax")
@pytest.mark.parametrize("form", ["keras", "weights"])
def test_anchors_are_saved_and_are_no_weights(tmp_path: Any, form: str) -> None:
    """The reference comes back with the model; weights and config do not hold it."""
    model = anchored()
    model.compile(optimizer="sgd", loss="mse")
    x, y = np.ones((4, 3), "float32"), np.zeros((4, 2), "float32")
    model.fit(x, y, epochs=3, verbose=0)
    expected = [float(as_float64(loss)) for loss in model.losses]
    assert expected[0] > 0
    assert len(model.get_weights()) == 4
    if form == "keras":
        model.save(tmp_path / "m.keras")
        again = keras.models.load_model(tmp_path / "m.keras")
    else:
        model.save_weights(tmp_path / "m.weights.h5")
        again = anchored()
        again.load_weights(tmp_path / "m.weights.h5")
    actual = [float(as_float64(loss)) for loss in again.losses]
    assert actual == pytest.approx(expected, rel=1e-5)
    again.compile(optimizer="sgd", loss="mse")
    again.fit(x, y, verbose=0)
    model.fit(x, y, verbose=0)
    resumed = [float(as_float64(loss)) for loss in again.losses]
    went_on = [float(as_float64(loss)) for loss in model.losses]
    assert resumed == pytest.approx(went_on, rel=1e-4)


def test_plain_weights_load_and_become_the_anchor(tmp_path: Any) -> None:
    """Pretrained weights without references load; they are what is anchored."""
    plain = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="a")])
    plain.save_weights(tmp_path / "plain.weights.h5")
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(2, kernel_regularizer=r.Anchor(1.0), name="a"),
        ]
    )
    model.load_weights(tmp_path / "plain.weights.h5")
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    start = as_float64(plain.layers[0].kernel)
    x, y = np.ones((4, 3), "float32"), np.zeros((4, 2), "float32")
    model.fit(x, y, verbose=0)
    moved = as_float64(model.layers[0].kernel)
    total = float(as_float64(model.losses[0]))
    assert total == pytest.approx(((moved - start) ** 2).sum(), rel=1e-4)


def test_unknown_tensor_says_what_to_do() -> None:
    """A tensor without a reference is an error that names the ways out."""
    with pytest.raises(ValueError, match="for_variable"):
        r.Anchor(0.1)(ops.ones((2,)))


@pytest.mark.slow
def test_fisher_of_a_linear_gaussian_model_is_exact() -> None:
    """For y ~ N(w x, 1) the Fisher information is the mean of x squared."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    x = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    fisher = r.diagonal_fisher(model, x, distribution="normal", draws=30, verbose=0)
    kernel = model.layers[0].kernel
    expected = (x**2).mean(axis=0)
    np.testing.assert_allclose(fisher[kernel.path][:, 0], expected, rtol=0.25)


@pytest.mark.slow
@pytest.mark.parametrize("from_logits", [False, True], ids=["p", "logits"])
@pytest.mark.parametrize("distribution", ["categorical", "bernoulli"])
def test_fisher_of_a_classifier(distribution: str, from_logits: bool) -> None:
    """For logits x W it is the mean of x_i^2 p_j (1 - p_j), for both kinds of p."""
    link = {"categorical": "softmax", "bernoulli": "sigmoid"}[distribution]
    layer = keras.layers.Dense(3, None if from_logits else link, use_bias=False)
    model = keras.Sequential([keras.Input((2,)), layer])
    w = np.array([[1.0, 0.0, -1.0], [0.5, -0.5, 0.2]])
    layer.kernel.assign(w)
    x = np.random.default_rng(0).normal(size=(32, 2)).astype("float32")
    fisher = r.diagonal_fisher(
        model,
        x,
        distribution=distribution,
        from_logits=from_logits,
        draws=60,
        verbose=0,
    )
    logits = x @ w
    p = softmax(logits, 1) if link == "softmax" else expit(logits)
    expected = (x**2).T @ (p * (1 - p)) / len(x)
    np.testing.assert_allclose(fisher[layer.kernel.path], expected, rtol=0.2)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"x": np.ones((0, 2))}, "x"),
        ({"draws": 0}, "draws"),
        ({"distribution": "poisson"}, "distribution"),
        ({"seed": "a"}, "seed"),
    ],
    ids=["x", "draws", "distribution", "seed"],
)
def test_wrong_arguments_of_the_fisher(arguments: dict[str, Any], named: str) -> None:
    """A wrong argument is named."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match=f"argument `{named}` of diagonal_fisher"):
        r.diagonal_fisher(model, **({"x": np.ones((2, 2))} | arguments))


@slow_on("jax")
def test_consolidate_hands_the_fisher_over() -> None:
    """After `consolidate` each weight costs what its Fisher information says."""
    ewc = r.ElasticWeightConsolidation(2.0)
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(3, kernel_regularizer=ewc)]
    )
    kernel = model.layers[0].kernel
    fisher = np.arange(6.0).reshape(2, 3)
    r.consolidate(model, {kernel.path: fisher})
    assert float(as_float64(model.losses[0])) == 0.0
    kernel.assign(kernel + 1.0)
    assert float(as_float64(model.losses[0])) == pytest.approx(15.0, rel=1e-5)
    with pytest.raises(ValueError, match="ElasticWeightConsolidation"):
        r.consolidate(attention(r.L2(0.1)), {})


@pytest.mark.optimized
@pytest.mark.slow
def test_one_compiled_fit_step_of_every_penalty() -> None:
    """In one `fit` step each kernel moves by its penalty's own gradient."""
    cases = [c for c in PENALTIES if c.loss and c.shapes[-1] != (7,)]
    kernels = [c.sample(np.random.default_rng(0), c.shapes[-1]) for c in cases]

    class Bank(keras.layers.Layer):
        """Holds a kernel for each penalty, and lets its input through."""

        def build(self, _: Any) -> None:
            """Create the kernels."""
            self.kernels = [
                self.add_weight(
                    shape=kernel.shape,
                    initializer="zeros",
                    regularizer=case.penalty,
                    name=f"k{i}",
                )
                for i, (case, kernel) in enumerate(zip(cases, kernels, strict=True))
            ]

        def call(self, x: Any) -> Any:
            """Return the input."""
            return x

    model = keras.Sequential([keras.Input((1,)), Bank()])
    model.layers[0].set_weights([k.astype("float32") for k in kernels])
    rate = 1e-2
    model.compile(optimizer=keras.optimizers.SGD(rate), loss="mse")
    x = np.zeros((1, 1), "float32")
    model.fit(x, x, verbose=0, callbacks=[AdvanceSchedules()])
    wrong = []
    for case, kernel, variable in zip(
        cases, kernels, model.layers[0].kernels, strict=True
    ):
        step = (kernel - as_float64(variable)) / rate
        along = rate * 1e-3
        numeric = case.value(kernel + along * step) - case.value(kernel - along * step)
        expected = numeric / (2 * along)
        if not np.isclose((step**2).sum(), expected, rtol=2e-2, atol=1e-3):
            wrong.append((case.id, float((step**2).sum()), expected))
    assert not wrong


ACTIVATIONS = np.array([[1.0, -2.0], [3.0, 0.0]], "float32")


@pytest.mark.parametrize(
    ("reduction", "expected"),
    [("sum", 6.0), ("batch", 3.0), ("mean", 1.5), (None, 3.0)],
)
def test_activity_layer_reduces_as_asked(reduction: str, expected: float) -> None:
    """The penalty is divided by nothing, by the samples or by the entries."""
    layer = ActivityRegularization(r.L1(1.0), reduction=reduction)
    layer(ACTIVATIONS)
    assert float(as_float64(layer.losses[0])) == pytest.approx(expected)


@slow_on("jax")
def test_activity_layer_leaves_a_statistic_alone() -> None:
    """A statistic of the batch is not divided by the batch once more."""
    penalty = r.DeCov(1.0)
    layer = ActivityRegularization(penalty)
    layer(ACTIVATIONS)
    expected = float(as_float64(penalty(ACTIVATIONS)))
    assert float(as_float64(layer.losses[0])) == pytest.approx(expected)


@slow_on("jax")
@pytest.mark.parametrize("penalty", [r.L1(1.0), r.ZLoss(1.0), r.KLSparsity(1.0)])
def test_activity_layer_respects_masks(penalty: Any) -> None:
    """What is masked costs nothing, whatever it is."""
    x = np.random.default_rng(0).uniform(0.1, 0.9, (3, 4, 2)).astype("float32")
    mask = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]], bool)
    other = np.where(mask[..., None], x, 7.0).astype("float32")
    values = []
    for array in (x, other):
        layer = ActivityRegularization(penalty, reduction="sum")
        layer(array, mask=ops.convert_to_tensor(mask))
        values.append(float(as_float64(layer.losses[0])))
    assert values[0] == pytest.approx(values[1], rel=1e-6)
    kept = float(as_float64(penalty(x[mask])))
    assert values[0] == pytest.approx(kept, rel=1e-5)


def test_activity_layer_means_over_what_is_kept() -> None:
    """`"mean"` divides by the entries that are not masked."""
    layer = ActivityRegularization(r.L1(1.0), reduction="mean")
    layer(ACTIVATIONS, mask=ops.convert_to_tensor([True, False]))
    assert float(as_float64(layer.losses[0])) == pytest.approx(1.5)


def test_masked_matrices() -> None:
    """A mask is for whole matrices where each of them has a penalty."""
    penalty = r.BatchedOrthogonality(1.0)
    x = np.random.default_rng(0).normal(size=(3, 2, 2)).astype("float32")
    mask = np.array([True, False, True])
    found = float(as_float64(penalty(x, mask=ops.convert_to_tensor(mask))))
    assert found == pytest.approx(float(as_float64(penalty(x[mask]))), rel=1e-6)
    with pytest.raises(ValueError, match="`mask` of BatchedOrthogonality"):
        penalty(x, mask=ops.ones((3, 2), "bool"))


def test_activity_penalty_is_float32_under_mixed_precision() -> None:
    """Large half-precision activations do not overflow their penalty."""
    layer = ActivityRegularization(r.L2(1.0), dtype="mixed_float16")
    layer(ops.ones((64, 2048), "float16"))
    assert float(as_float64(layer.losses[0])) == pytest.approx(2048.0)


@slow_on("jax")
def test_activity_layer_trains_and_saves(tmp_path: Any) -> None:
    """Both ways of penalizing activations work in a compiled, saved model."""
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, activity_regularizer=r.ZLoss(0.1)),
            ActivityRegularization(r.DeCov(0.1)),
        ]
    )
    model.compile(optimizer="sgd", loss="mse")
    x, y = np.ones((4, 3), "float32"), np.zeros((4, 4), "float32")
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert again.layers[1].regularizer == r.DeCov(0.1)
    loss = model.evaluate(x, y, verbose=0)
    assert again.evaluate(x, y, verbose=0) == pytest.approx(loss, rel=1e-5)
