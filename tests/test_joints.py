"""Where the parts meet: two models, loops, averages, rules about layers, files."""

from __future__ import annotations

import json
import threading
import warnings
import zipfile
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_regx
from keras_regx import Policy, Rule, callbacks, penalties, project, violations
from keras_regx import constraints as c
from keras_regx import regularizers as r
from keras_regx._core.config import parts
from keras_regx.optimizers import Proximal
from tests.backends import BACKEND, as_float64
from tests.data.make_models import wave
from tests.training import kernel_of, linear, train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RAMP = keras.optimizers.schedules.PolynomialDecay(0.0, 8, 0.8)
X, Y = wave(4, 3), wave(4, 2)


def net(name: str = "net", **arguments: Any) -> keras.Model:
    """Return a Functional model of two dense layers with these arguments."""
    inputs = keras.Input((3,))
    x = layers.Dense(4, name="body", **arguments)(inputs)
    model = keras.Model(inputs, layers.Dense(2, name="head", **arguments)(x), name=name)
    for variable in model.weights:
        variable.assign(0.4 * wave(*variable.shape))
    return model


def costs(model: keras.Model) -> list[float]:
    """Return the value of every penalty."""
    return [float(as_float64(value)) for value in penalties(model).values()]


def strengths(model: keras.Model) -> set[float]:
    """Return the strengths of the scheduled penalties of a model."""
    found = [p for v in model.weights for p in parts(v.regularizer)]
    return {round(p.strength, 6) for p in found if isinstance(p, r.Scheduled)}


def fit(model: keras.Model, epochs: int = 3, **compile_arguments: Any) -> None:
    """Train with schedules advanced."""
    if not model.compiled:
        model.compile(keras.optimizers.SGD(0.01), "mse", **compile_arguments)
    model.fit(
        X,
        Y,
        batch_size=4,
        epochs=epochs,
        verbose=0,
        shuffle=False,
        callbacks=[callbacks.AdvanceSchedules()],
    )


# Two models -----------------------------------------------------------------------


def with_policy(obj: Any) -> Callable[[], keras.Model]:
    """Return a function that makes models under one policy."""
    field = "constraint" if isinstance(obj, c.Constraint) else "regularizer"
    policy = Policy([Rule("*/kernel", **{field: obj})])
    return lambda: policy.apply(net())


def with_argument(obj: Any) -> Callable[[], keras.Model]:
    """Return a function that makes models whose layers are given one instance."""
    field = "constraint" if isinstance(obj, c.Constraint) else "regularizer"
    return lambda: net(**{f"kernel_{field}": obj})


WAYS = pytest.mark.parametrize("way", [with_policy, with_argument])


@WAYS
@pytest.mark.parametrize(
    "penalty",
    [
        lambda: r.Scheduled(r.L2(1.0), RAMP),
        lambda: 0.5 * r.Scheduled(r.L2(1.0), RAMP) + r.L1(0.0),
        lambda: r.Scheduled(r.Anchor(1.0) + r.L2(1.0), RAMP),
    ],
    ids=["alone", "in a sum", "around an anchor"],
)
def test_models_share_no_strength(way: Any, penalty: Any) -> None:
    """Training one model leaves the strength of the other where it was."""
    make = way(penalty())
    first, second = make(), make()
    keras_regx.advance(first, 8)
    assert strengths(first) == {0.8}
    fit(second)
    assert strengths(first) == {0.8}
    assert strengths(second) == {0.2}
    fit(first, 5)
    assert strengths(first) == {0.4}
    assert strengths(second) == {0.2}


@WAYS
def test_models_share_no_anchor(way: Any) -> None:
    """Each model is held near its own weights, equal paths or not."""
    make = way(c.AnchorBall(0.5))
    first = make()
    project(first)
    second = make()
    for variable in second.weights:
        variable.assign(variable + 5.0)
    if way is with_policy:  # Taken when it was applied.
        assert min(violations(second).values()) > 1.0
        project(second)
        gap = as_float64(second.get_layer("head").kernel) - 0.4 * wave(4, 2)
        assert np.linalg.norm(gap) == pytest.approx(0.5, rel=1e-5)
    else:
        assert max(violations(second).values()) == 0.0
    assert max(violations(first).values()) == 0.0


@WAYS
def test_models_share_no_count(way: Any) -> None:
    """A scheduled sparsity follows the optimizer of its own model."""
    thin = keras.optimizers.schedules.PolynomialDecay(1.0, 4, 0.25)
    make = way(c.TopK(fraction=thin))
    first, second = make(), make()
    fit(first, 5)
    fit(second, 1)
    first_zeros = (as_float64(first.get_layer("body").kernel) == 0).sum()
    second_zeros = (as_float64(second.get_layer("body").kernel) == 0).sum()
    assert (first_zeros, second_zeros) == (9, 0)
    fit(first, 1)
    assert (as_float64(first.get_layer("body").kernel) == 0).sum() == 9


def test_models_in_threads() -> None:
    """Two models under one policy are trained at the same time."""
    make = with_policy(r.Scheduled(r.L2(1.0), RAMP))
    models = [make() for _ in range(2)]
    alone = make()
    fit(alone, 4)
    failures: list[BaseException] = []

    def run(model: keras.Model) -> None:
        try:
            for _ in range(4):
                keras_regx.advance(model, int(model.steps))
                model.steps += 1
        except BaseException as error:  # noqa: BLE001  (handed to the test)
            failures.append(error)

    for model in models:
        object.__setattr__(model, "steps", 0)
    threads = [threading.Thread(target=run, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert [strengths(m) for m in (*models, alone)] == [{0.3}] * 3


def test_a_model_that_is_gone_frees_its_objects() -> None:
    """An instance whose model no longer exists serves the next one itself."""
    penalty = r.Scheduled(r.L2(1.0), RAMP)
    model = net(kernel_regularizer=penalty)
    keras_regx.advance(model, 3)
    assert penalty.strength == pytest.approx(0.3)
    assert model.get_layer("body").kernel.regularizer is penalty


def test_model_within_a_model_shares() -> None:
    """A model inside another one is the same model, for what objects remember."""
    inner = net(kernel_regularizer=r.Scheduled(r.L2(1.0), RAMP))
    keras_regx.advance(inner, 2)
    inputs = keras.Input((3,))
    outer = keras.Model(inputs, inner(inputs))
    keras_regx.advance(outer, 6)
    assert strengths(inner) == strengths(outer) == {0.6}


def test_twin_names() -> None:
    """Layers of one name have anchors of their own, and are saved with them."""
    inner_in = keras.Input((3,))
    inner = keras.Model(inner_in, layers.Dense(3, name="same")(inner_in), name="inner")
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Dense(3, name="same")(inner(inputs)))
    for i, variable in enumerate(model.weights):
        variable.assign(ops.ones(variable.shape) * (i + 1.0))
    Policy([Rule("*kernel", constraint=c.AnchorBall(0.0))]).apply(model)
    for variable in model.weights:
        variable.assign(ops.zeros(variable.shape))
    project(model)
    kernels = [w for w in model.weights if w.name == "kernel"]
    assert [float(as_float64(w).max()) for w in kernels] == [1.0, 3.0]


# Apply is all or nothing ----------------------------------------------------------


def tracked(model: keras.Model) -> list[int]:
    """Return everything that Keras tracks in a model."""
    return [id(v) for v in model.variables]


GROWING = Rule("*/kernel", regularizer=r.Scheduled(r.L2(1.0), RAMP))
NEAR = Rule("*/kernel", constraint=c.AnchorBall(0.1))


@pytest.mark.parametrize("trained", [False, True], ids=["built", "trained"])
@pytest.mark.parametrize(
    "rules",
    [
        [GROWING, Rule("nothing", constraint="non_neg")],
        [GROWING, Rule("*/bias", regularizer=r.NuclearNorm(0.1))],
        [NEAR, Rule("*/bias", constraint=c.Orthogonal())],
    ],
    ids=["unmatched", "rank", "wrong set"],
)
def test_apply_is_all_or_nothing(rules: Any, trained: bool) -> None:
    """Whatever apply raises, the model is as before."""
    model = net(kernel_regularizer=r.L1(0.1))
    model.compile("sgd", "mse")
    if trained:
        model.fit(X, Y, verbose=0)
    before = tracked(model), costs(model), [repr(v.constraint) for v in model.weights]
    attributes = set(vars(model))
    with pytest.raises(ValueError, match=r"matches no weight|rank|Received"):
        Policy(rules).apply(model)
    after = tracked(model), costs(model), [repr(v.constraint) for v in model.weights]
    assert after == before
    assert set(vars(model)) == attributes
    assert not keras_regx.models.policies(model)
    model.fit(X, Y, verbose=0)


def test_scheduled_policy_on_a_built_subclassed_model() -> None:
    """A model whose tracker Keras has locked takes a schedule, and gives it back."""
    from tests import zoo

    model, x, y = zoo.subclassed()
    count = len(model.variables)
    policy = Policy([Rule("*/kernel", regularizer=r.Scheduled(r.L2(1.0), RAMP))])
    policy.apply(model)
    assert len(model.variables) == count + 1
    model.compile("sgd", "mse")
    model.fit(x, y, verbose=0, callbacks=[callbacks.AdvanceSchedules()])
    policy.remove(model)
    assert len(model.variables) == count


def test_blocks_with_anchors() -> None:
    """Each block of a weight has its own part of the anchor."""
    model = net()
    ball = c.PerBlock(c.AnchorBall(0.1), axis=-1, blocks=2)
    Policy([Rule("*/kernel", constraint=ball)]).apply(model)
    for variable in model.weights:
        variable.assign(variable + 1.0)
    project(model)
    kernel = as_float64(model.get_layer("body").kernel)
    gap = kernel - 0.4 * wave(3, 4)
    for block in (gap[:, :2], gap[:, 2:]):
        assert np.linalg.norm(block) == pytest.approx(0.1, rel=1e-4)


def test_remove_after_lora() -> None:
    """Keras gave the factors what the layer had from the policy: they lose it too."""
    model = net(kernel_regularizer=r.L1(0.1))
    policy = Policy([Rule("*/kernel", regularizer=r.L2(0.1))])
    policy.apply(model)
    model.get_layer("body").enable_lora(2)
    policy.remove(model)
    found = {w.path: w.regularizer for w in model.weights if "bias" not in w.path}
    assert set(found.values()) == {r.L1(0.1)}
    assert len(found) == 4


# Averages, rare constraints, roles ------------------------------------------------


@pytest.mark.parametrize("steps", [25, 10, 13])
def test_every_ends_inside_the_set(steps: int) -> None:
    """Training that applied a rare constraint ends with it applied."""
    model = linear(8, 2, use_bias=False, kernel_constraint=c.Every(c.TopK(4), 10))
    model.compile(keras.optimizers.SGD(0.01), "mse")
    x, y = wave(4, 8), wave(4, 2)
    train(model, x, y, steps, callbacks=[callbacks.AdvanceSchedules()])
    assert np.count_nonzero(kernel_of(model)) == 4


def test_averages_keep_zeros_while_they_are_swapped_in() -> None:
    """SwapEMAWeights during training shows and keeps exact zeros."""
    rule = Rule("*kernel", regularizer=r.L1(0.5))
    optimizer = Proximal(keras.optimizers.SGD(0.1), [rule], use_ema=True)
    model = linear(6, use_bias=False, kernel=np.ones((6, 1)))
    model.compile(optimizer, "mse")
    seen: list[int] = []

    class Look(keras.callbacks.Callback):
        """Counts the zeros at the end of each epoch, after the swap."""

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen.append(np.count_nonzero(kernel_of(self.model) == 0))

    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    x, y = 2.0 * np.eye(6), 9.0 * np.eye(6)[:, :1]
    model.fit(x, y, batch_size=6, epochs=15, verbose=0, callbacks=[swap, Look()])
    assert seen[0] == 0
    assert seen[-2:] == [5, 5]
    assert np.count_nonzero(kernel_of(model) == 0) == 5


def test_units_of_an_embedding() -> None:
    """A role means rows for embeddings, as an argument of the layer as in a Rule."""
    bound = c.MaxNorm(1.0, axis="units")
    norms = []
    for way in ("argument", "rule"):
        arguments = {"embeddings_constraint": bound} if way == "argument" else {}
        model = keras.Sequential(
            [keras.Input((2,), dtype="int32"), layers.Embedding(5, 3, **arguments)]
        )
        model.layers[0].embeddings.assign(10.0 * wave(5, 3))
        if way == "rule":
            Policy([Rule(slot="embeddings", constraint=bound)]).apply(model)
        model.compile(keras.optimizers.SGD(0.0), "mse")
        tokens = np.arange(4, dtype="int32").reshape(2, 2)
        model.fit(tokens, np.zeros((2, 2, 3)), verbose=0)
        norms.append(np.linalg.norm(as_float64(model.layers[0].embeddings), axis=1))
    np.testing.assert_allclose(norms[0], 1.0, rtol=1e-5)
    np.testing.assert_allclose(norms[0], norms[1], rtol=1e-6)


def test_group_penalty_of_an_embedding() -> None:
    """So do penalties, which JAX calls with plain arrays."""
    model = keras.Sequential(
        [
            keras.Input((2,), dtype="int32"),
            layers.Embedding(5, 3, embeddings_regularizer=r.GroupLasso(1.0)),
        ]
    )
    model.layers[0].embeddings.assign(wave(5, 3))
    expected = np.sqrt(3) * np.linalg.norm(wave(5, 3), axis=1).sum()
    assert costs(model) == pytest.approx([expected], rel=1e-5)


def test_anchor_as_argument_is_taken_before_the_first_update() -> None:
    """Without a policy and without a callback, on a compiled fit."""
    model = net(kernel_constraint=c.AnchorBall(0.05))
    start = [as_float64(v) for v in model.weights]
    model.compile(keras.optimizers.Adam(0.5), "mse")
    model.fit(X, Y, epochs=5, verbose=0)
    for variable, before in zip(model.weights, start, strict=True):
        if variable.name == "kernel":
            gap = np.linalg.norm(as_float64(variable) - before)
            assert gap == pytest.approx(0.05, rel=1e-4)


# Proximal -------------------------------------------------------------------------


def test_proximal_around_multi_optimizer() -> None:
    """It is said what to do instead."""
    sgd = keras.optimizers.SGD(0.1)
    mapped = keras.optimizers.OptimizerMap(sgd)
    multi = keras.optimizers.MultiOptimizer(mapped)
    with pytest.raises(ValueError, match="inside the MultiOptimizer"):
        Proximal(multi, [Rule("*kernel", regularizer=r.L1(0.1))])


def test_proximal_that_lost_its_weights(tmp_path: Path) -> None:
    """The file loads; the first step says which weights are missing."""
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="d")], name="net")
    rule = Rule("net/d/kernel", regularizer=r.L1(0.1))
    model.compile(Proximal(keras.optimizers.SGD(0.1), [rule]), "mse")
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    loaded.fit(X, Y, verbose=0)  # By key: the path is another one now.
    config = Proximal.get_config(model.optimizer)
    config.pop("bound")
    other = net()
    other.compile(Proximal.from_config(config), "mse", run_eagerly=True)
    with pytest.raises(ValueError, match="net/d/kernel"):
        other.fit(X, Y, verbose=0)


# Files ----------------------------------------------------------------------------


def edited(path: Path, change: Callable[[str], str]) -> Path:
    """Return a copy of a model file with its config changed."""
    out = path.with_name("edited.keras")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                content = change(content.decode()).encode()
            new.writestr(name, content)
    return out


def saved(folder: Path) -> Path:
    """Return the file of a model with a policy."""
    model = net()
    Policy([Rule("*/kernel", regularizer=r.Anchor(1.0), constraint="non_neg")]).apply(
        model
    )
    model.save(folder / "m.keras")
    return folder / "m.keras"


def test_newer_file(tmp_path: Path) -> None:
    """A file of a newer version is one error that names both."""
    path = edited(saved(tmp_path), lambda t: t.replace('"format": 1', '"format": 99'))
    with pytest.raises(ValueError, match="newer than this one"):
        keras.saving.load_model(path)


def test_unknown_class(tmp_path: Path) -> None:
    """A class that is not known is named."""
    path = edited(saved(tmp_path), lambda t: t.replace("Anchor", "Ankor"))
    with pytest.raises((ValueError, TypeError), match="Ankor"):
        keras.saving.load_model(path)


def test_weights_that_are_gone(tmp_path: Path) -> None:
    """The rest loads, and a warning names what is gone."""
    path = edited(
        saved(tmp_path),
        lambda t: t.replace('"layers/dense_1/kernel"', '"layers/gone/kernel"'),
    )
    with pytest.warns(UserWarning, match="layers/gone/kernel"):
        model = keras.saving.load_model(path)
    assert model.get_layer("body").kernel.regularizer == r.Anchor(1.0)


def test_type_and_configs_stay_keras_own(tmp_path: Path) -> None:
    """With a policy attached a model is of its own class, and its config is read."""
    model = net()
    Policy([Rule("*/kernel", regularizer=r.L2(0.1))]).apply(model)
    assert type(model).__name__ == "Functional"
    again = keras.Model.from_config(model.get_config())
    again.set_weights(model.get_weights())
    assert costs(again) == costs(model)
    sequential = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="d")])
    Policy([Rule("*/kernel", regularizer=r.L2(0.1))]).apply(sequential)
    again = keras.Sequential.from_config(sequential.get_config())
    again.set_weights(sequential.get_weights())
    assert costs(again) == costs(sequential)


@pytest.mark.slow
def test_presets(tmp_path: Path) -> None:
    """KerasHub's presets are saved and loaded; what they cannot carry is named."""
    hub = pytest.importorskip("keras_hub")
    backbone = hub.models.BertBackbone(
        vocabulary_size=11, num_layers=1, num_heads=2, hidden_dim=4,
        intermediate_dim=6, max_sequence_length=5,
    )  # fmt: skip
    Policy([Rule("*/kernel", regularizer=r.Anchor(1.0))]).apply(backbone)
    with pytest.warns(UserWarning, match="query/kernel"):
        backbone.save_to_preset(str(tmp_path / "preset"))
    loaded = hub.models.Backbone.from_preset(str(tmp_path / "preset"))
    assert type(loaded) is type(backbone)
    assert not costs(loaded)
    for ours, theirs in zip(backbone.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    backbone.enable_lora(2)
    backbone.save(tmp_path / "lora.keras")
    again = keras.saving.load_model(tmp_path / "lora.keras")
    # Its config does not say that LoRA is enabled: the factors are not there again.
    have = {w.path for w in again.weights if w.regularizer is not None}
    assert have == {
        w.path
        for w in backbone.weights
        if w.regularizer is not None and "lora" not in w.path
    }


# Rules about layers ---------------------------------------------------------------


def test_activity_rule() -> None:
    """A penalty on activations goes to the layers that match themselves."""
    model = net()
    rule = Rule(layer="Dense", activity_regularizer=r.L2(0.5), exclude="head")
    policy = Policy([rule])
    table = policy.preview(model)
    assert [row["path"] for row in table] == ["body/activity"]
    policy.apply(model)
    found = penalties(model, X)
    hidden = X @ (0.4 * wave(3, 4)) + 0.4 * wave(4)
    assert list(found) == ["body/activity/Regularizer/l2"]
    expected = 0.5 * (hidden**2).sum() / len(X)
    assert float(as_float64(found["body/activity/Regularizer/l2"])) == pytest.approx(
        expected, rel=1e-4
    )
    assert not penalties(model)
    assert keras_regx.report(model, X).total == pytest.approx(expected, rel=1e-4)
    model(X)
    assert float(as_float64(sum(model.losses))) == pytest.approx(expected, rel=1e-4)
    policy.remove(model)
    assert model.get_layer("body").activity_regularizer is None


def test_activity_rule_in_a_policy_file() -> None:
    """It is read as the other fields are, and written."""
    text = '{"rules": [{"layer": "Dense", "activity_regularizer": "L1(0.1)"}]}'
    policy = Policy.from_json(text)
    assert policy.rules[0].activity_regularizer == r.L1(0.1)
    assert Policy.from_json(policy.to_json()) == policy


def test_optimizers_share_no_strength() -> None:
    """Two optimizers with the same rules have strengths of their own."""
    rules = [Rule("*/kernel", regularizer=r.Scheduled(r.L1(0.1), RAMP))]
    models = [net(), net()]
    for model in models:
        model.compile(Proximal(keras.optimizers.SGD(0.01), rules), "mse")
    models[0].fit(X, Y, batch_size=4, epochs=4, verbose=0)
    models[1].fit(X, Y, batch_size=4, epochs=1, verbose=0)
    found = [
        {round(p.strength, 6) for p in model.optimizer.penalties.values()}
        for model in models
    ]
    assert found == [{0.3}, {0.0}]


def test_advance_to_the_count_of_an_optimizer() -> None:
    """A step may be the optimizer's own variable."""
    model = net(kernel_regularizer=r.Scheduled(r.L2(1.0), RAMP))
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.iterations.assign(5)
    keras_regx.advance(model, optimizer.iterations)
    assert strengths(model) == {0.5}


def test_activity_rule_is_saved(tmp_path: Path) -> None:
    """It comes back with the strength that it had."""
    model = net()
    rule = Rule("body", activity_regularizer=r.Scheduled(r.L2(1.0), RAMP))
    Policy([rule]).apply(model)
    fit(model, 4)
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    ours, theirs = penalties(model, X), penalties(loaded, X)
    assert list(ours) == list(theirs)
    for name, value in ours.items():
        assert float(as_float64(theirs[name])) == pytest.approx(
            float(as_float64(value)), rel=1e-5
        )


@pytest.mark.parametrize(
    ("rule", "match"),
    [
        (lambda: Rule("*", activity_regularizer="l2", slot="kernel"), "slot"),
        (lambda: Rule("*", activity_regularizer="l2", rank=2), "rank"),
        (lambda: Rule("*", activity_regularizer="non_neg"), "non_neg"),
    ],
)
def test_wrong_activity_rules(rule: Any, match: str) -> None:
    """Conditions on weights are refused in a rule about layers alone."""
    with pytest.raises(ValueError, match=match):
        rule()


def test_unmatched_activity_rule() -> None:
    """A rule that reaches no layer is an error; one that reaches weights is not."""
    model = net()
    with pytest.raises(ValueError, match="matches no layer"):
        Policy([Rule(layer="Conv2D", activity_regularizer="l2")]).apply(model)
    both = Rule("*", layer="Dense", regularizer="l2", activity_regularizer="l1")
    Policy([both]).apply(model)
    assert model.get_layer("body").activity_regularizer == r.L1(0.01)
    assert len(penalties(model)) == 4


def test_report_lists_what_the_optimizer_applies() -> None:
    """Penalties of Proximal are rows of the report, by prox."""
    model = net()
    rule = Rule("*/kernel", regularizer=r.L1(0.1))
    model.compile(Proximal(keras.optimizers.SGD(0.1), [rule]), "mse")
    model.fit(X, Y, verbose=0)
    result = keras_regx.report(model)
    text = str(result)
    assert text.count("by prox") == 2
    expected = 0.1 * sum(
        np.abs(as_float64(v)).sum() for v in model.weights if v.name == "kernel"
    )
    values = [row["value"] for row in result if row["value"] is not None]
    assert sum(values) == pytest.approx(expected, rel=1e-5)
    assert result.total == 0.0


def test_warning_of_a_config_names_no_more_than_it_loses() -> None:
    """A policy that remembers nothing is in the config, and says nothing."""
    model = net()
    Policy([Rule("*/kernel", regularizer=r.L2(0.1))]).apply(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        json.loads(model.to_json())
    assert BACKEND  # The same on every backend.


# What is covered, and comes back ---------------------------------------------------


def shift(model: keras.Model, by: float = 0.1) -> None:
    """Move all weights."""
    for variable in model.trainable_weights:
        variable.assign(variable + by)


def through(model: keras.Model, folder: Path) -> keras.Model:
    """Save and load."""
    model.save(folder / "through.keras")
    return keras.saving.load_model(folder / "through.keras")


def assert_uncovers(
    policy: Policy, model: keras.Model, expected: list[float], path: Path
) -> None:
    """Removing a policy gives back these penalties, also after loading."""
    for either in (model, through(model, path)):
        policy.remove(either)
        assert costs(either) == pytest.approx(expected, rel=1e-5)


def test_removal_leaves_the_anchors_of_other_policies(tmp_path: Path) -> None:
    """What a later policy covered comes back as it was, after loading as well."""
    model = net()
    below = Policy([Rule("*/kernel", regularizer=r.Anchor(0.1))])
    above = Policy([Rule("*/kernel", regularizer=r.L2(0.2))])
    below.apply(model)
    shift(model)
    expected = costs(model)
    above.apply(model)
    assert_uncovers(above, model, expected, tmp_path)


def test_removal_gives_back_what_was_remembered_before(tmp_path: Path) -> None:
    """An anchor that is an argument of the layer is saved under a policy, too."""
    model = net(kernel_regularizer=r.Scheduled(r.Anchor(0.3), RAMP))
    keras_regx.advance(model, 4)
    policy = Policy([Rule("*/kernel", regularizer=r.L2(0.1))])
    shift(model)
    expected = costs(model)
    policy.apply(model)
    assert_uncovers(policy, model, expected, tmp_path)


@keras.saving.register_keras_serializable(package="joints")
class Outer(keras.Model):
    """A subclassed model that makes a functional one in its constructor."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inner = net("inner")
        self.head = layers.Dense(2)

    def call(self, x: Any) -> Any:
        """Return the head of the inner model."""
        return self.head(self.inner(x))


def test_policy_on_a_model_inside_a_subclassed_one(tmp_path: Path) -> None:
    """Its config is in no file: the text beside the weights has the policy."""
    model = Outer()
    model(X)
    Policy([Rule("*/kernel", regularizer=r.L2(0.1))]).apply(model.inner)
    assert costs(through(model, tmp_path)) == pytest.approx(costs(model), rel=1e-5)


def test_policies_inside_and_outside(tmp_path: Path) -> None:
    """Removing the outer policy leaves the inner one to be saved."""
    inner = net("inner")
    rule = Rule("body/*", regularizer=r.GroupLasso(0.1), joint="layer")
    Policy([rule]).apply(inner)
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Dense(2, name="h")(inner(inputs)))
    outer = Policy([Rule("*h/bias", regularizer=r.L1(0.1))])
    outer.remove(outer.apply(model))
    loaded = through(model, tmp_path)
    assert costs(loaded) == pytest.approx(costs(model), rel=1e-5)
    assert len(costs(loaded)) == 1


@keras.saving.register_keras_serializable(package="joints")
class Built(keras.Model):
    """A functional model with a constructor of its own."""

    def __init__(self, **kwargs: Any) -> None:
        inputs = keras.Input((3,))
        super().__init__(inputs, layers.Dense(2, name="d")(inputs), **kwargs)


def test_functional_model_with_its_own_constructor(tmp_path: Path) -> None:
    """A config without layers has the policy all the same."""
    model = Built()
    Policy([Rule("*kernel", regularizer=r.L2(0.1))]).apply(model)
    loaded = through(model, tmp_path)
    assert type(loaded) is Built
    assert costs(loaded) == pytest.approx(costs(model), rel=1e-5)


def test_copies_of_policies() -> None:
    """A copy of a policy is equal, and does the same."""
    import copy
    import pickle

    policy = Policy([Rule("*kernel", regularizer=r.L2(0.1))])
    for other in (copy.deepcopy(policy), pickle.loads(pickle.dumps(policy))):
        assert other == policy
        assert costs(other.apply(net())) == costs(policy.apply(net()))


def test_policy_over_proximal() -> None:
    """A second penalty on a weight of Proximal is refused when it is applied."""
    model = net()
    rule = Rule("*/kernel", regularizer=r.L1(0.1))
    model.compile(Proximal(keras.optimizers.SGD(0.1), [rule]), "mse")
    model.fit(X, Y, verbose=0)
    with pytest.raises(ValueError, match="allow_double"):
        Policy([Rule("*/kernel", regularizer=r.L2(0.1))]).apply(model)
    assert not costs(model)


def test_every_holds_on_all_weights_of_a_rule(tmp_path: Path) -> None:
    """One object serves several weights; a new optimizer starts a new count."""
    model = net()
    policy = Policy([Rule("*/kernel", constraint=c.Every(c.LInfBall(0.05), 4))])
    policy.apply(model)
    fit(model, 9)
    assert max(violations(model).values()) == 0.0
    model.compile(keras.optimizers.SGD(0.01), "mse")
    fit(model, 7)
    assert max(violations(model).values()) == 0.0
    fit(model, 5)
    loaded = through(model, tmp_path)
    fit(model, 2)
    fit(loaded, 2)
    for ours, theirs in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_allclose(as_float64(ours), as_float64(theirs), atol=1e-6)


def test_interrupted_apply_leaves_every_tracker() -> None:
    """Whatever interrupts it, each layer tracks what it tracked, in its order."""
    model = net(kernel_regularizer=r.Scheduled(r.L2(1.0), RAMP))
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0, callbacks=[callbacks.AdvanceSchedules()])
    before = tracked(model)

    def interrupt(force: bool = False) -> None:
        raise KeyboardInterrupt

    object.__setattr__(model, "make_train_function", interrupt)
    with pytest.raises(KeyboardInterrupt):
        Policy([Rule("head/kernel", regularizer=r.L1(0.1))]).apply(model)
    assert tracked(model) == before


def test_part_of_a_model_saved_alone(tmp_path: Path) -> None:
    """Its file lacks what spans several weights: this is said; the whole has it."""
    inner = keras.Sequential([layers.Input((3,)), layers.Dense(4, name="body")])
    model = keras.Sequential([layers.Input((3,)), inner, layers.Dense(1)])
    together = Policy([Rule("*body/*", regularizer=r.GroupLasso(0.1), joint="layer")])
    together.apply(model)
    with pytest.warns(UserWarning, match="body/kernel"):
        inner.save(tmp_path / "inner.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model.save(tmp_path / "model.keras")
        around = keras.Sequential([layers.Input((3,)), model])
        around.save(tmp_path / "around.keras")
        together.remove(model)
        anchored = Rule("*body/kernel", regularizer=r.Anchor(0.1))
        Policy([anchored]).apply(model)
        inner.save(tmp_path / "inner.keras")
    again = keras.saving.load_model(tmp_path / "inner.keras")
    assert again.get_layer("body").kernel.regularizer == r.Anchor(0.1)


def test_scheduled_set_in_a_penalty() -> None:
    """A penalty cannot see the optimizer's count, and says so."""
    thin = c.Chain([c.TopK(fraction=RAMP)])
    with pytest.raises(ValueError, match="argument `constraint` of SetDistance"):
        r.SetDistance(thin)


@pytest.mark.parametrize("step", [-1, 1.5, True, "a"])
def test_wrong_steps_of_pure_functions(step: Any) -> None:
    """They take counts, as `advance` does."""
    model = net(kernel_regularizer=r.Scheduled(r.L2(1.0), RAMP))
    values = [v.value for v in model.non_trainable_variables]
    with pytest.raises(ValueError, match="argument `step` of stateless_advance"):
        keras_regx.stateless_advance(model, values, step)
    values = [v.value for v in model.trainable_variables]
    with pytest.raises(ValueError, match="argument `step` of stateless_project"):
        keras_regx.stateless_project(model, values, step=step)
