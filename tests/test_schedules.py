"""Scheduled penalties follow the optimizer's steps, on every path through Keras."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import keras_regx
from keras_regx import Policy, Rule
from keras_regx._core.counter import StepReader
from keras_regx.callbacks import AdvanceSchedules
from keras_regx.constraints import Constraint, Every, LInfBall, TopK
from keras_regx.optimizers import Proximal
from keras_regx.regularizers import L1, L2, Scheduled
from tests.backends import BACKEND, as_float64, value_and_gradient
from tests.training import Array, kernel_of, linear, regression, train

KO = keras.optimizers
RAMP = KO.schedules.PolynomialDecay(0.0, 8, 0.8)
STEPS = 10


def ramp(step: int) -> float:
    """Return the strength at a step, as the formula of RAMP says."""
    return 0.1 * min(step, 8)


@keras.saving.register_keras_serializable(package="tests")
def doubling(step: int) -> float:
    """Return a strength that a plain function computes."""
    return 0.01 * 2.0 ** min(step, 4)


def problem() -> tuple[Array, Array]:
    """Return a small regression problem."""
    return regression(16, 4, 2)


def expected_kernel(
    strengths: list[float], weights: Array | None = None, start: Array | None = None
) -> Array:
    """Return the kernel after gradient steps of 0.05 on mse + strength ||w||^2."""
    x, y = problem()
    weights = np.ones((len(x), 1)) if weights is None else weights
    w = np.ones((4, 1)) if start is None else start
    for strength in strengths:
        gradient = 2 * x.T @ (weights * (x @ w - y)) / len(x) + 2 * strength * w
        w = w - 0.05 * gradient
    return w


def model_with(penalty: Any, optimizer: Any = None, **compile_arguments: Any) -> Any:
    """Return a compiled linear model with kernel one and this penalty."""
    model = linear(
        4, use_bias=False, kernel=np.ones((4, 1)), kernel_regularizer=penalty
    )
    model.compile(optimizer or KO.SGD(0.05), "mse", **compile_arguments)
    return model


STRENGTHS = [ramp(step) for step in range(STEPS)]


@pytest.mark.parametrize(
    "run_eagerly",
    [False, pytest.param(True, marks=pytest.mark.slow)],
    ids=["compiled", "eager"],
)
@pytest.mark.parametrize("validate", [False, True], ids=["alone", "validated"])
def test_every_step_has_its_strength(run_eagerly: bool, validate: bool) -> None:
    """Weights after 10 steps equal those of the analytic schedule."""
    x, y = problem()
    model = model_with(Scheduled(L2(1.0), RAMP), run_eagerly=run_eagerly)
    data = {"validation_data": (x.astype("float32"), y)} if validate else {}
    advance = AdvanceSchedules()
    history = train(model, x, y, STEPS // 2, epochs=2, callbacks=[advance], **data)
    np.testing.assert_allclose(kernel_of(model), expected_kernel(STRENGTHS), atol=1e-5)
    logged = history.history["strength/linear/kernel"]
    np.testing.assert_allclose(logged, [STRENGTHS[4], STRENGTHS[9]], rtol=1e-6)
    if validate:  # At the strength of the last training step.
        w = kernel_of(model)
        loss = ((x @ w - y) ** 2).mean() + STRENGTHS[9] * (w**2).sum()
        assert history.history["val_loss"][-1] == pytest.approx(loss, rel=1e-5)


def test_sample_weight() -> None:
    """Sample weights act on the loss alone, as without a schedule."""
    x, y = problem()
    weights = np.linspace(0.1, 2.0, len(x))[:, None]
    model = model_with(Scheduled(L2(1.0), RAMP))
    tiled = np.tile(weights[:, 0], STEPS)
    train(model, x, y, STEPS, callbacks=[AdvanceSchedules()], sample_weight=tiled)
    expected = expected_kernel(STRENGTHS, weights)
    np.testing.assert_allclose(kernel_of(model), expected, atol=1e-5)


def test_gradient_accumulation() -> None:
    """Micro-batches of one update share one strength."""
    x, y = problem()
    optimizer = KO.SGD(0.05, gradient_accumulation_steps=2)
    model = model_with(Scheduled(L2(1.0), RAMP), optimizer)
    train(model, x, y, STEPS, callbacks=[AdvanceSchedules()])
    expected = expected_kernel(STRENGTHS[: STEPS // 2])
    np.testing.assert_allclose(kernel_of(model), expected, atol=1e-5)


def test_loss_scale() -> None:
    """Loss scaling changes neither the strength nor the count."""
    x, y = problem()
    optimizer = KO.LossScaleOptimizer(KO.SGD(0.05), initial_scale=64.0)
    model = model_with(Scheduled(L2(1.0), RAMP), optimizer)
    train(model, x, y, STEPS, callbacks=[AdvanceSchedules()])
    np.testing.assert_allclose(kernel_of(model), expected_kernel(STRENGTHS), atol=1e-5)


@pytest.mark.skipif(
    BACKEND == "torch", reason="Keras forbids steps_per_execution > 1 on PyTorch"
)
def test_steps_per_execution() -> None:
    """With several steps an execution the strength changes once for all of them."""
    x, y = problem()
    model = model_with(Scheduled(L2(1.0), RAMP), steps_per_execution=5)
    train(model, x, y, STEPS, callbacks=[AdvanceSchedules()])
    expected = expected_kernel([ramp(0)] * 5 + [ramp(5)] * 5)
    np.testing.assert_allclose(kernel_of(model), expected, atol=1e-5)


class _Interrupt(keras.callbacks.Callback):
    """Stops training at the start of an epoch, as a crash would."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == 2:
            raise KeyboardInterrupt


def test_resume_from_backup(tmp_path: Any) -> None:
    """Training resumed by BackupAndRestore ends where uninterrupted training does."""
    x, y = problem()
    model = model_with(Scheduled(L2(1.0), RAMP))
    backup = keras.callbacks.BackupAndRestore(str(tmp_path / "backup"))
    advance = AdvanceSchedules()
    with pytest.raises(KeyboardInterrupt):
        train(model, x, y, 2, epochs=5, callbacks=[backup, advance, _Interrupt()])
    fresh = model_with(Scheduled(L2(1.0), RAMP))
    train(fresh, x, y, 2, epochs=5, callbacks=[backup, AdvanceSchedules()])
    np.testing.assert_allclose(kernel_of(fresh), expected_kernel(STRENGTHS), atol=1e-5)


def test_second_fit_goes_on() -> None:
    """A second fit continues the schedule from the optimizer's count."""
    x, y = problem()
    model = model_with(Scheduled(L2(1.0), RAMP))
    train(model, x, y, 4, callbacks=[AdvanceSchedules()])
    train(model, x, y, 6, callbacks=[AdvanceSchedules()])
    np.testing.assert_allclose(kernel_of(model), expected_kernel(STRENGTHS), atol=1e-5)


def test_inside_a_sum() -> None:
    """A schedule inside a sum is found and tracked, not frozen by compilation."""
    x, y = problem()
    model = model_with(0.5 * L2(0.2) + 0.5 * Scheduled(L2(1.0), RAMP))
    train(model, x, y, STEPS, callbacks=[AdvanceSchedules()])
    expected = expected_kernel([0.1 + 0.5 * s for s in STRENGTHS])
    np.testing.assert_allclose(kernel_of(model), expected, atol=1e-5)


def test_attached_to_a_traced_model() -> None:
    """Attached to the variable of a model that has trained already, it takes effect."""
    x, y = problem()
    model = model_with(None)
    train(model, x, y, 3)
    start = kernel_of(model)
    model.get_layer("linear").kernel.regularizer = Scheduled(L2(1.0), RAMP)
    train(model, x, y, STEPS - 3, callbacks=[AdvanceSchedules()])
    expected = expected_kernel(STRENGTHS[3:], start=start)
    np.testing.assert_allclose(kernel_of(model), expected, atol=1e-5)


class Subclassed(keras.Model):
    """A subclassed model, whose tracker Keras locks once it is built."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def call(self, x: Any) -> Any:
        """Apply the layer."""
        return self.layer(x)


@pytest.mark.slow
def test_attached_to_a_subclassed_model() -> None:
    """A built subclassed model accepts a schedule too."""
    x, y = problem()
    layer = keras.layers.Dense(
        1, use_bias=False, kernel_initializer="ones", name="linear"
    )
    model = Subclassed(layer)
    model(np.zeros((1, 4), "float32"))
    layer.kernel.regularizer = Scheduled(L2(1.0), RAMP)
    model.compile(KO.SGD(0.05), "mse")
    train(model, x, y, STEPS, callbacks=[AdvanceSchedules()])
    np.testing.assert_allclose(kernel_of(model), expected_kernel(STRENGTHS), atol=1e-5)


def test_activity_penalty() -> None:
    """An activity regularizer follows its schedule."""
    inputs = keras.Input((2,))
    penalty = Scheduled(L2(1.0), RAMP)
    layer = keras.layers.Dense(
        1, kernel_initializer="ones", activity_regularizer=penalty, name="linear"
    )
    model = keras.Model(inputs, layer(inputs))
    model.compile(KO.SGD(0.0), loss=lambda y, p: 0.0 * ops.sum(y - p, axis=-1))
    x = np.ones((4, 2))
    history = train(
        model, x, np.zeros((4, 1)), 1, epochs=3, callbacks=[AdvanceSchedules()]
    )
    # Keras divides the sum of 4 squares of 2 by the batch size: 4 per unit strength.
    np.testing.assert_allclose(history.history["loss"], [0, 0.4, 0.8], atol=1e-6)


def test_one_instance_on_two_layers() -> None:
    """One instance on two kernels is one schedule, advanced once."""
    penalty = Scheduled(L2(1.0), RAMP)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(3, kernel_regularizer=penalty),
            keras.layers.Dense(1, kernel_regularizer=penalty),
        ]
    )
    model.compile(KO.SGD(0.01), "mse")
    x, y = problem()
    train(model, x, y, 4, callbacks=[AdvanceSchedules()])
    assert penalty.strength == pytest.approx(ramp(3))
    assert sum(v is penalty.state for v in model.variables) == 1


def test_plain_function() -> None:
    """Any function from the step to a float will do, and is saved if registered."""
    x, y = problem()
    penalty = Scheduled(L2(1.0), doubling)
    model = model_with(penalty)
    train(model, x, y, 6, callbacks=[AdvanceSchedules()])
    strengths = [0.01, 0.02, 0.04, 0.08, 0.16, 0.16]
    np.testing.assert_allclose(kernel_of(model), expected_kernel(strengths), atol=1e-5)
    assert Scheduled.from_config(penalty.get_config()) == penalty


def test_weights_are_unchanged(tmp_path: Any) -> None:
    """The strength is no weight: plain weights load, and there are no more of them."""
    plain, scheduled = model_with(None), model_with(Scheduled(L2(1.0), RAMP))
    assert len(scheduled.get_weights()) == len(plain.get_weights()) == 1
    plain.get_layer("linear").kernel.assign(np.full((4, 1), 3.0))
    path = str(tmp_path / "plain.weights.h5")
    plain.save_weights(path)
    scheduled.load_weights(path)
    np.testing.assert_array_equal(kernel_of(scheduled), np.full((4, 1), 3.0))


def test_save_and_load(tmp_path: Any) -> None:
    """A saved model goes on from its step."""
    x, y = problem()
    model = model_with(Scheduled(L2(1.0), RAMP))
    train(model, x, y, 5, callbacks=[AdvanceSchedules()])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_layer("linear").kernel_regularizer == Scheduled(L2(1.0), RAMP)
    train(loaded, x, y, 5, callbacks=[AdvanceSchedules()])
    np.testing.assert_allclose(kernel_of(loaded), expected_kernel(STRENGTHS), atol=1e-5)


def test_quantization_still_works() -> None:
    """`quantize("int8")` accepts a model with a schedule."""
    model = model_with(Scheduled(L2(1.0), RAMP))
    model.get_layer("linear").quantize("int8")
    assert model.get_layer("linear").quantization_mode == "int8"


def test_training_without_the_callback_warns() -> None:
    """Forgetting the callback is a warning that names it, once."""
    x, y = problem()
    model = model_with(Scheduled(L2(1.0), RAMP))
    with pytest.warns(UserWarning, match="AdvanceSchedules") as record:
        train(model, x, y, 3)
    assert sum("AdvanceSchedules" in str(warning.message) for warning in record) == 1


def test_any_gradient_without_an_advance_warns() -> None:
    """So does a loop of one's own, whatever its functions are called; once."""
    for penalty in (
        Scheduled(L2(1.0), RAMP),
        0.5 * Scheduled(L2(1.0), RAMP) + L1(0.1),
    ):
        model = model_with(penalty)
        regularizer, value = model.layers[-1].kernel.regularizer, ops.ones((4, 1))
        with pytest.warns(UserWarning, match=r"keras_regx\.advance") as record:
            [value_and_gradient(regularizer, value) for _ in range(2)]
        assert sum("advance" in str(warning.message) for warning in record) == 1


def test_an_advance_is_enough() -> None:
    """A loop that advances the model's schedules is silent, and follows them."""
    model = model_with(Scheduled(L2(1.0), RAMP) + L1(0.0))
    keras_regx.advance(model, 4)
    penalty = model.layers[-1].kernel.regularizer
    value, gradient = value_and_gradient(penalty, ops.ones((4, 1)))
    assert float(value) == pytest.approx(4 * 0.4, rel=1e-6)
    np.testing.assert_allclose(as_float64(gradient), 0.8, rtol=1e-6)


def test_stateless_advance() -> None:
    """The pure function gives the values of a step, and changes nothing."""
    model = model_with(Scheduled(L2(1.0), RAMP))
    values = [v.value for v in model.non_trainable_variables]
    for step in (0, 3, 100):
        found = keras_regx.stateless_advance(model, values, step)
        expected = [0.1 * min(step, 8)]
        np.testing.assert_allclose([as_float64(v) for v in found], expected, rtol=1e-6)
    assert model.layers[-1].kernel.regularizer.strength == 0.0


def test_stateless_advance_of_what_is_not_tracked() -> None:
    """A schedule inside a sum is tracked from `advance(model, 0)` on, and says so."""
    model = model_with(Scheduled(L2(1.0), RAMP) + L1(0.1))
    values = [v.value for v in model.non_trainable_variables]
    with pytest.raises(ValueError, match=r"advance\(model, 0\)"):
        keras_regx.stateless_advance(model, values, 3)
    keras_regx.advance(model, 0)
    with pytest.raises(ValueError, match="1 values"):
        keras_regx.stateless_advance(model, values, 3)
    values = [v.value for v in model.non_trainable_variables]
    (strength,) = keras_regx.stateless_advance(model, values, 3)
    assert float(as_float64(strength)) == pytest.approx(0.3)


@pytest.mark.parametrize("step", [-1, 1.5, None, True])
def test_wrong_steps(step: Any) -> None:
    """A step is a count."""
    with pytest.raises(ValueError, match="argument `step` of advance"):
        keras_regx.advance(model_with(Scheduled(L2(1.0), RAMP)), step)


def test_stateless_project() -> None:
    """The pure projection does what `project` does; with a step, what is due then."""
    thin = KO.schedules.PolynomialDecay(1.0, 4, 0.25)
    rules = [
        Rule("body/kernel", constraint=Every(LInfBall(0.5), 3)),
        Rule("head/kernel", constraint=TopK(fraction=thin)),
    ]
    inputs = keras.Input((3,))
    x = keras.layers.Dense(4, name="body")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, name="head")(x))
    Policy(rules).apply(model)
    values = [np.full(v.shape, 2.0, "float32") for v in model.trainable_variables]
    now = keras_regx.stateless_project(model, values)
    assert as_float64(now[0]).max() == 0.5
    assert [float(as_float64(v).max()) for v in values] == [2.0] * 4
    for step, largest, count in ((0, 2.0, 8), (2, 0.5, 5), (3, 2.0, 4), (5, 0.5, 2)):
        done = keras_regx.stateless_project(model, values, step=step)
        assert as_float64(done[0]).max() == largest
        assert np.count_nonzero(as_float64(done[2])) == count
    keras_regx.advance(model, 5)
    assert (
        np.count_nonzero(as_float64(keras_regx.stateless_project(model, values)[2]))
        == 2
    )
    with pytest.raises(ValueError, match="the 4 values"):
        keras_regx.stateless_project(model, values[1:])


def test_no_warning_without_training() -> None:
    """Building, calling, evaluating and reading losses do not warn."""
    x, y = problem()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model = model_with(Scheduled(L2(1.0), doubling))
        model.evaluate(x, y, verbose=0)
        assert float(ops.convert_to_numpy(model.losses[0])) == pytest.approx(0.04)


def test_evaluate_with_the_callback() -> None:
    """Evaluating a loaded model with the callback uses the strength of its step."""
    x, y = problem()
    model = model_with(Scheduled(L2(1.0), RAMP))
    model.optimizer.build(model.trainable_variables)
    model.optimizer.iterations.assign(6)
    loss = model.evaluate(x, y, verbose=0, callbacks=[AdvanceSchedules()])
    w = np.ones((4, 1))
    assert loss == pytest.approx(((x @ w - y) ** 2).mean() + 0.6 * 4, rel=1e-5)


@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, lambda r: pickle.loads(pickle.dumps(r))],
    ids=["deepcopy", "pickle"],
)
def test_copies(duplicate: Any) -> None:
    """Copies are equal, hash equal, and have a state of their own."""
    penalty = Scheduled(L1(0.5), RAMP)
    other = duplicate(penalty)
    assert other == penalty
    assert hash(other) == hash(penalty)
    assert other != Scheduled(L1(0.4), RAMP)
    other.advance(8)
    assert penalty.strength == 0.0
    assert "PolynomialDecay(initial_learning_rate=0.0" in repr(penalty)


@pytest.mark.parametrize("schedule", [0.5, None, "cosine", KO.schedules.CosineDecay])
def test_wrong_schedule(schedule: Any) -> None:
    """What is no schedule is rejected by name."""
    with pytest.raises(ValueError, match="argument `schedule` of Scheduled"):
        Scheduled(L1(0.1), schedule)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_wrong_strength(value: float) -> None:
    """A negative or infinite strength is an error at the step that has it."""
    penalty = Scheduled(L1(0.1), lambda step: 0.0 if step == 0 else value)
    with pytest.raises(ValueError, match="at step 3"):
        penalty.advance(3)


class Shrinking(Constraint, StepReader):
    """Keeps the first 8 entries, of which one goes with every step."""

    def _project(self, w: Any) -> Any:
        step = self.step()
        count = 8 if step is None else 8 - step
        kept = ops.arange(8)[:, None] < count
        return ops.where(kept, w, ops.zeros_like(w))


@pytest.mark.parametrize(
    "traced",
    [pytest.param(False, marks=pytest.mark.slow), True],
    ids=["fresh", "traced"],
)
@pytest.mark.parametrize("proximal", [False, True], ids=["sgd", "proximal"])
def test_scheduled_constraint(traced: bool, proximal: bool) -> None:
    """A constraint that depends on the step sees the count of its update."""
    x, y = regression(16, 8, 4)
    model = linear(8, use_bias=False)
    optimizer = KO.SGD(0.01)
    if proximal:
        optimizer = Proximal(optimizer, [Rule("*kernel", regularizer=L2(0.1))])
    model.compile(optimizer, "mse")
    if traced:
        train(model, x, y, 1)
        optimizer.iterations.assign(0)
    model.get_layer("linear").kernel.constraint = Shrinking()
    train(model, x, y, 5, callbacks=[AdvanceSchedules()])
    assert (kernel_of(model) != 0).sum() == 8 - 4


class Record(keras.callbacks.Callback):
    """Keeps what a function says about the kernel after every batch."""

    def __init__(self, measure: Any) -> None:
        super().__init__()
        self.measure = measure
        self.seen: list[Any] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Look at the kernel."""
        self.seen.append(self.measure(kernel_of(self.model)))


def l2_proximal(inner: Any) -> Any:
    """Return Proximal with a penalty that makes no zeros."""
    return Proximal(inner, [Rule("*kernel", regularizer=L2(0.1))])


@pytest.mark.parametrize("proximal", [False, True], ids=["sgd", "proximal"])
@pytest.mark.parametrize(
    "run_eagerly",
    [False, pytest.param(True, marks=pytest.mark.slow)],
    ids=["compiled", "eager"],
)
def test_gradual_pruning(run_eagerly: bool, proximal: bool) -> None:
    """TopK under a cubic schedule keeps the analytic count at every update.

    The schedule is that of gradual pruning: with sparsity s_f from step n on,
    s = s_f - s_f (1 - t / n)^3.
    """
    x, y = regression(16, 20, 4)
    kept = KO.schedules.PolynomialDecay(1.0, 6, 0.2, power=3)
    kernel = np.linspace(1, 2, 20)[:, None]
    model = linear(
        20, use_bias=False, kernel=kernel, kernel_constraint=TopK(fraction=kept)
    )
    sgd = KO.SGD(0.001)
    model.compile(l2_proximal(sgd) if proximal else sgd, "mse", run_eagerly=run_eagerly)
    record = Record(np.count_nonzero)
    # Proximal hands itself over; other optimizers need the callback.
    advance = [] if proximal else [AdvanceSchedules()]
    train(model, x, y, 8, callbacks=[*advance, record])
    sparsity = 0.8 - 0.8 * (1 - np.minimum(np.arange(8), 6) / 6) ** 3
    assert record.seen == np.floor(20 * (1 - sparsity) + 0.5).tolist()


@pytest.mark.parametrize("accumulate", [None, 2], ids=["steps", "accumulated"])
@pytest.mark.parametrize("proximal", [False, True], ids=["sgd", "proximal"])
def test_every_other_update(proximal: bool, accumulate: int | None) -> None:
    """Every(c, 2) holds after each second update, counted in updates."""
    inner = KO.SGD(0.01, gradient_accumulation_steps=accumulate)
    model = linear(3, use_bias=False, kernel_constraint=Every(LInfBall(1e-3), 2))
    model.compile(l2_proximal(inner) if proximal else inner, "mse")
    record = Record(lambda w: bool(np.abs(w).max() <= 1.001e-3))
    batches = 8 if accumulate else 5
    x, y = np.ones((4, 3)), np.full((4, 1), 100.0)
    train(model, x, y, batches, callbacks=[AdvanceSchedules(), record])
    every_batch = [True, False, False, True, True, False, False, True]
    assert record.seen == (every_batch if accumulate else [False, True] * 2 + [False])
