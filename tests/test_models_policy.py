"""Policies: applying, removing, seeing and training with them."""

from __future__ import annotations

import json
import warnings
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_regx
from keras_regx import Policy, Rule, constraints, penalties, regularizers, total_penalty
from keras_regx.models import policies
from tests import zoo
from tests.backends import as_float64, gradient

FACTOR = 0.125
ALL = Policy([Rule(rank=[2, 3, 4], regularizer=regularizers.L2(FACTOR))])
HIDDEN = {
    "class_name": "Sum",
    "config": {"regularizers": [{"class_name": "function", "module": "os"}]},
}
MODELS = pytest.mark.parametrize("make", zoo.ZOO.values(), ids=zoo.ZOO)


def oracle(model: keras.Model) -> float:
    """Return the sum of squares of all kernels, in float64."""
    kernels = [as_float64(w) for w in model.trainable_weights if len(w.shape) > 1]
    return FACTOR * sum(float((w**2).sum()) for w in kernels)


def config_of(model: keras.Model) -> str:
    """Return the whole config of a model."""
    return json.dumps(json.loads(model.to_json()), sort_keys=True)


@MODELS
def test_apply_costs_what_it_should(make: Any) -> None:
    """The penalty is the oracle's, and is what Keras adds to the loss."""
    model = ALL.apply(make()[0])
    zoo.seed_weights(model)
    assert float(total_penalty(model)) == pytest.approx(oracle(model), rel=1e-5)
    assert float(sum(model.losses)) == pytest.approx(oracle(model), rel=1e-5)
    kernels = [w for w in model.trainable_weights if len(w.shape) > 1]
    assert len(penalties(model)) == len(kernels) == len(model.losses)


@MODELS
def test_remove_restores_everything(make: Any) -> None:
    """After removal the config, the class, the losses are those of before."""
    model = make()[0]
    config, kind = config_of(model), type(model)
    policy = Policy([*ALL.rules, Rule("*", constraint=constraints.NonNeg())])
    policy.apply(model)
    assert type(model) is kind
    if isinstance(model, keras.Sequential) or hasattr(model, "_nodes_by_depth"):
        assert config_of(model) != config
    else:
        with pytest.warns(UserWarning, match="fully_connected/kernel"):
            assert config_of(model) == config
    policy.remove(model)
    assert type(model) is kind
    assert config_of(model) == config
    assert not model.losses
    assert all(w.constraint is None and w.regularizer is None for w in model.weights)
    with pytest.raises(ValueError, match="not applied"):
        policy.remove(model)


def test_trained_model_uses_it_in_the_next_fit_and_evaluate() -> None:
    """Compiled functions that exist already are made again."""
    model, x, y = zoo.functional()
    zoo.seed_weights(model)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    before = model.fit(x, y, verbose=0).history["loss"][0]
    assert model.evaluate(x, y, verbose=0) == pytest.approx(before, rel=1e-5)
    optimizer = model.optimizer
    ALL.apply(model)
    extra = oracle(model)
    assert model.optimizer is optimizer
    assert int(optimizer.iterations) == 1
    after = model.fit(x, y, verbose=0).history["loss"][0]
    assert after == pytest.approx(before + extra, rel=1e-5)
    assert model.evaluate(x, y, verbose=0) == pytest.approx(before + extra, rel=1e-5)
    ALL.remove(model)
    assert model.fit(x, y, verbose=0).history["loss"][0] == pytest.approx(
        before, rel=1e-5
    )


@pytest.mark.parametrize("jit", [True, False], ids=["jit", "eager"])
def test_step_follows_the_gradient_and_the_constraint(jit: bool) -> None:
    """One step of gradient descent is the oracle's, projection included."""
    model, x, _ = zoo.functional()
    zoo.seed_weights(model)
    Policy(
        [
            Rule("*/kernel", regularizer=regularizers.L2(0.5)),
            Rule("head/kernel", constraint=constraints.NonNeg()),
        ]
    ).apply(model)
    model.compile(
        keras.optimizers.SGD(0.1),
        loss=lambda _, out: 0.0 * ops.mean(out),
        jit_compile=jit and "auto",
        run_eagerly=not jit,
    )
    body, head = (as_float64(model.get_layer(n).kernel) for n in ("body", "head"))
    model.fit(x, np.zeros((6, 2), "float32"), batch_size=6, verbose=0)
    new_body, new_head = (
        as_float64(model.get_layer(n).kernel) for n in ("body", "head")
    )
    np.testing.assert_allclose(new_body, body * 0.9, rtol=1e-5)
    np.testing.assert_allclose(new_head, np.maximum(head * 0.9, 0), rtol=1e-5)


def test_last_match_wins_field_by_field() -> None:
    """A field that the last rule leaves out comes from an earlier one."""
    model = zoo.functional()[0]
    l1, l2, box = regularizers.L1(0.1), regularizers.L2(0.2), constraints.NonNeg()
    Policy(
        [
            Rule("*/kernel", regularizer=l1, constraint=box),
            Rule("*/head/*", regularizer=l2),
            Rule("*/bias", regularizer=None),
        ]
    ).apply(model)
    body, head = model.get_layer("body"), model.get_layer("head")
    assert (body.kernel.regularizer, body.kernel.constraint) == (l1, box)
    assert (head.kernel.regularizer, head.kernel.constraint) == (l2, box)
    assert head.bias.regularizer is None
    assert head.kernel_regularizer == l2  # The layer's slot follows.


def test_none_clears_and_left_out_stays() -> None:
    """None clears what a layer was built with; a field left out is untouched."""
    layer = layers.Dense(2, kernel_regularizer="l2", kernel_constraint="non_neg")
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layer(inputs))
    policy = Policy([Rule("*/kernel", regularizer=None)])
    policy.apply(model)
    assert layer.kernel.regularizer is None
    assert layer.kernel_regularizer is None
    assert layer.kernel.constraint is layer.kernel_constraint is not None
    policy.remove(model)
    assert layer.kernel.regularizer is layer.kernel_regularizer is not None


def test_apply_twice_is_apply_once() -> None:
    """Applying again changes nothing; one removal takes it all off."""
    model = zoo.functional()[0]
    config = config_of(model)
    ALL.apply(model)
    once = config_of(model)
    ALL.apply(model)
    assert config_of(model) == once
    assert policies(model) == [ALL]
    ALL.remove(model)
    assert config_of(model) == config


def test_policies_stack() -> None:
    """A second policy goes on top, and either can be removed alone."""
    model = zoo.functional()[0]
    first = Policy([Rule("*/kernel", regularizer=regularizers.L1(0.1))])
    second = Policy([Rule("head/kernel", regularizer=regularizers.L2(0.1))])
    first.apply(model)
    second.apply(model)
    names = [name.split("/")[0] + name[-2:] for name in penalties(model)]
    assert names == ["bodyl1", "headl2"]
    first.remove(model)
    assert [name.split("/")[0] + name[-2:] for name in penalties(model)] == ["headl2"]
    second.remove(model)
    assert not penalties(model)


def test_unmatched_rule_changes_nothing() -> None:
    """A rule without a match is an error before anything is changed."""
    model = zoo.functional()[0]
    config = config_of(model)
    policy = Policy([*ALL.rules, Rule("*/kernl", regularizer="l2")])
    with pytest.raises(ValueError, match=r"kernl.*matches no weight.*'body/kernel'"):
        policy.apply(model)
    assert config_of(model) == config
    assert not model.losses
    policy.apply(model, allow_unmatched=True)
    assert len(model.losses) == 2


def test_impossible_penalty_changes_nothing() -> None:
    """A penalty that a weight is too small for is an error before any change."""
    model = zoo.functional()[0]
    policy = Policy(
        [*ALL.rules, Rule("*", regularizer=regularizers.OrthogonalRegularizer())]
    )
    with pytest.raises(ValueError, match=r"rank >= 2.*'body/bias'"):
        policy.apply(model)
    policy = Policy([Rule("*", constraint=constraints.MaxNorm(axis=1))])
    with pytest.raises(ValueError, match=r"axis=1 for 'body/bias'"):
        policy.apply(model)
    assert not model.losses


@pytest.mark.parametrize("rules", [[], None, "rule", [1], Rule("*", regularizer=None)])
def test_wrong_rules(rules: Any) -> None:
    """A policy takes a non-empty list of rules and nothing else."""
    with pytest.raises(ValueError, match="argument `rules` of Policy"):
        Policy(rules)


def test_apply_takes_a_built_model() -> None:
    """Anything else is an error that says what to do."""
    with pytest.raises(ValueError, match="argument `model`"):
        ALL.apply(layers.Dense(2))
    with pytest.raises(ValueError, match="argument `model`"):
        ALL.remove(None)
    with pytest.raises(ValueError, match="not built"):
        ALL.apply(keras.Sequential([layers.Dense(2)]))


def test_partly_built_model() -> None:
    """What is built can be looked at; rules wait until all weights are there."""
    first = layers.Dense(2, kernel_regularizer="l2", name="first")
    first.build((None, 3))
    model = keras.Sequential([first, layers.Dense(2)])
    assert list(penalties(model)) == ["first/kernel/Regularizer/l2"]
    with pytest.raises(ValueError, match="not built"):
        ALL.apply(model)


@pytest.mark.parametrize(
    "look",
    [
        keras_regx.penalties,
        keras_regx.total_penalty,
        keras_regx.violations,
        keras_regx.project,
        keras_regx.report,
    ],
)
def test_looking_takes_a_built_model(look: Any) -> None:
    """Nothing is said of a model that has no weights yet, nor of anything else."""
    with pytest.raises(ValueError, match=r"Expected a Keras model or layer\. .* None"):
        look(None)
    with pytest.raises(ValueError, match="not built"):
        look(keras.Sequential([layers.Dense(2)]))


@pytest.mark.parametrize("scope", ["(", 3])
def test_scope_is_a_regular_expression(scope: Any) -> None:
    """Anything else is named."""
    model = zoo.functional()[0]
    with pytest.raises(ValueError, match="argument `scope` of penalties"):
        keras_regx.penalties(model, scope)


def test_preview_changes_nothing_and_tells_all() -> None:
    """The preview has a row per weight that is matched, and notes for the rest."""
    model = zoo.functional()[0]
    model.get_layer("body").trainable = False
    config = config_of(model)
    policy = Policy([*ALL.rules, Rule("nothing", regularizer="l1")])
    table = policy.preview(model)
    assert config_of(model) == config
    assert {row["path"]: row["active"] for row in table} == {
        "body/kernel": False,
        "head/kernel": True,
    }
    text = str(table)
    assert "L2(0.125)" in text
    assert "frozen" in text
    assert "Rule 1 matches nothing" in text
    assert json.loads(table.to_json())["rows"][0]["new_regularizer"] == "L2(0.125)"
    assert table.to_markdown().count("\n| ") == 4


def test_preview_says_which_rule_wins() -> None:
    """Overridden rules are told apart, and named where they never win."""
    model = zoo.functional()[0]
    table = Policy(
        [
            Rule("*", regularizer="l1"),
            Rule("*/kernel", regularizer="l2", constraint="non_neg"),
            Rule("head/kernel", constraint=None),
            Rule("*/bias", regularizer=None),
        ]
    ).preview(model)
    found = {row["path"]: (row["rules"], row["overridden"]) for row in table}
    assert found == {
        "body/kernel": ([1], [0]),
        "body/bias": ([3], [0]),
        "head/kernel": ([1, 2], [0]),
        "head/bias": ([3], [0]),
    }
    assert "Rule 0 has no effect" in str(table)
    assert "penalty now" not in str(table)  # It would be an empty column.


def test_frozen_weights_have_no_penalty_until_they_train() -> None:
    """As in Keras, a frozen weight costs nothing; unfreezing brings it back."""
    model = zoo.functional()[0]
    zoo.seed_weights(model)
    model.get_layer("body").trainable = False
    ALL.apply(model)
    assert [name.split("/")[0] for name in penalties(model)] == ["head"]
    model.get_layer("body").trainable = True
    assert len(penalties(model)) == 2
    assert float(total_penalty(model)) == pytest.approx(oracle(model), rel=1e-5)


def test_quantized_weights_warn() -> None:
    """A quantized weight cannot be penalized: a warning says so."""
    model = keras.Sequential([layers.Dense(2)])
    model.build((None, 3))
    model.layers[0].quantize("int8")
    policy = Policy([Rule("*/kernel", regularizer="l2")])
    with pytest.warns(UserWarning, match="Quantized weights"):
        policy.apply(model)
    assert not model.losses


def test_tied_weight_is_counted_once() -> None:
    """Reversible embeddings and shared layers have one penalty."""
    inputs = keras.Input((3,), dtype="int32")
    tied = layers.ReversibleEmbedding(5, 2, name="tied")
    model = keras.Model(inputs, tied(tied(inputs), reverse=True))
    Policy([Rule(slot="embeddings", regularizer=regularizers.L2(1.0))]).apply(model)
    tied.embeddings.assign(np.ones((5, 2)))
    assert [float(v) for v in penalties(model).values()] == [10.0]
    assert len(model.losses) == 1


def test_names_scope_and_order() -> None:
    """Names are path, Regularizer and snake name; the scope is a prefix."""
    model = zoo.subclassed()[0]
    ALL.apply(model)
    model.fully_connected.bias.regularizer = lambda w: ops.sum(w) * 1.0
    model.fully_connected_1.bias.regularizer = keras.regularizers.L1(0.1)
    names = list(penalties(model))
    assert names == [
        "EasyNet/fully_connected/kernel/Regularizer/l2",
        "EasyNet/fully_connected/bias/Regularizer/lambda",
        "EasyNet/fully_connected_1/kernel/Regularizer/l2",
        "EasyNet/fully_connected_1/bias/Regularizer/l1",
        "EasyNet/fully_connected_2/kernel/Regularizer/l2",
    ]
    assert list(penalties(model, "EasyNet/fully_connected/")) == names[:2]
    assert list(penalties(model, "EasyNet/.*bias")) == [names[1], names[3]]
    assert not penalties(model, "fully_connected")  # re.match, not re.search.
    assert float(total_penalty(model, "nothing")) == 0.0


def test_total_penalty_is_differentiable() -> None:
    """A training loop of one's own can use it."""
    model = ALL.apply(zoo.functional()[0])
    zoo.seed_weights(model)
    kernel = model.get_layer("body").kernel
    regularizer = kernel.regularizer
    np.testing.assert_allclose(
        gradient(regularizer, as_float64(kernel).astype("float32")),
        2 * FACTOR * as_float64(kernel),
        rtol=1e-5,
    )


def test_equal_paths_are_numbered() -> None:
    """Two weights of one path are two entries, not one."""

    class Twins(keras.Model):
        def __init__(self) -> None:
            super().__init__(name="twins")
            self.left = layers.Dense(2, use_bias=False, name="body")
            self.right = layers.Dense(2, use_bias=False, name="body")

        def call(self, inputs: Any) -> Any:
            return self.left(inputs) + self.right(inputs)

    model = Twins()
    model(np.ones((1, 3)))
    rule = Rule("*/kernel", regularizer="l2", constraint=constraints.UnitNorm())
    Policy([rule]).apply(model)
    names = [f"twins/body/kernel/Regularizer/l2{end}" for end in ("", "_1")]
    assert list(penalties(model)) == names
    assert list(keras_regx.violations(model)) == [
        "twins/body/kernel",
        "twins/body/kernel_1",
    ]


def test_violations_and_project() -> None:
    """Initial weights violate a constraint until `project` moves them."""
    model = zoo.functional()[0]
    zoo.seed_weights(model)
    kernel = as_float64(model.get_layer("head").kernel)
    Policy(
        [
            Rule("head/kernel", constraint=constraints.NonNeg()),
            Rule("body/kernel", constraint=keras.constraints.NonNeg()),
            Rule("*/bias", constraint=constraints.MaxNorm(100.0)),
        ]
    ).apply(model)
    found = keras_regx.violations(model)
    assert list(found) == ["body/kernel", "body/bias", "head/kernel", "head/bias"]
    expected = np.sqrt((np.minimum(kernel, 0) ** 2).sum())
    assert found["head/kernel"] == pytest.approx(expected, rel=1e-5)
    assert found["head/bias"] == 0.0
    assert keras_regx.project(model) is model
    assert set(keras_regx.violations(model).values()) == {0.0}
    np.testing.assert_allclose(
        as_float64(model.get_layer("head").kernel), np.maximum(kernel, 0), rtol=1e-6
    )


def test_json_round_trip_and_short_form() -> None:
    """A policy equals what its JSON makes, in the long and in the short form."""
    policy = Policy(
        [
            Rule("*/kernel", regularizer=regularizers.L1(0.1) + regularizers.L2(0.2)),
            Rule(layer="Dense", slot="bias", constraint=constraints.MaxNorm(axis=(0,))),
            Rule("*/head/*", regularizer=None),
        ]
    )
    assert Policy.from_json(policy.to_json()) == policy
    assert Policy.from_config(policy.get_config()) == policy
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(policy)
    )
    assert again == policy
    assert eval(  # noqa: S307  (our own repr)
        repr(policy), {**vars(regularizers), **vars(constraints), **globals()}
    ) == policy  # fmt: skip
    short = '{"rules": [{"pattern": "*", "regularizer": "0.5 * L2(0.1)"}]}'
    assert Policy.from_json(short).rules[0].regularizer == 0.5 * regularizers.L2(0.1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"rules": 3}',
        '{"rules": [3]}',
        '{"rules": []}',
        '{"rules": [{"pattern": "*"}]}',
        '{"rules": [{"patern": "*", "regularizer": "l2"}]}',
        '{"rules": [{"pattern": "*", "predicate": "f", "regularizer": "l2"}]}',
        '{"rules": [{"pattern": "*", "regularizer": "os.system(1)"}]}',
        '{"rules": [{"regularizer": {"class_name": "Lambda", "module": "keras"}}]}',
        '{"rules": [{"regularizer": {"class_name": "__lambda__", "config": {}}}]}',
        json.dumps({"rules": [{"regularizer": HIDDEN}]}),
        "[" * 100_000,
    ],
    ids=lambda text: text[:60],
)
def test_malicious_or_broken_policy_file(text: str) -> None:
    """A policy file that is anything else is a clear error, and runs nothing."""
    with pytest.raises(ValueError, match=r"Expected|valid JSON|may|Cannot|Invalid"):
        Policy.from_json(text)


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "uncompiled"])
def test_no_warnings_and_no_output(
    compiled: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Applying says nothing, whether or not the model is compiled."""
    model = zoo.functional()[0]
    if compiled:
        model.compile("sgd", "mse")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ALL.apply(model)
    assert capsys.readouterr() == ("", "")
    assert model.compiled is compiled
