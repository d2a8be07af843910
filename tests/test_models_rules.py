"""Rules: what they match, and what they refuse."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from keras_regx import Policy, Rule, constraints, penalties, regularizers
from keras_regx.models import Site, sites
from keras_regx.policy.text import parse_object, parse_rule
from tests import zoo

L2 = regularizers.L2(0.1)


def matched(model: keras.Model, **conditions: Any) -> list[str]:
    """Return the paths of the weights that a rule matches."""
    rule = Rule(regularizer=L2, **conditions)
    return [site.path for site in sites(model) if not site.state and rule.matches(site)]


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"pattern": "*/kernel"}, ["body/kernel", "head/kernel"]),
        ({"pattern": "*/head/*"}, ["head/kernel", "head/bias"]),
        ({"pattern": "head/*"}, ["head/kernel", "head/bias"]),
        ({"pattern": ["body/bias", "head/bias"]}, ["body/bias", "head/bias"]),
        ({"pattern": "re:^body/"}, ["body/kernel", "body/bias"]),
        ({"pattern": "re:d/k"}, ["head/kernel"]),
        ({"pattern": "*/kernel", "exclude": "*head*"}, ["body/kernel"]),
        ({"slot": "bias"}, ["body/bias", "head/bias"]),
        ({"slot": ["bias", "gamma"], "layer": "head"}, ["head/bias"]),
        ({"layer": "Dense", "slot": "kernel"}, ["body/kernel", "head/kernel"]),
        ({"layer": layers.Dense, "rank": 1}, ["body/bias", "head/bias"]),
        ({"layer": "he*"}, ["head/kernel", "head/bias"]),
        ({"rank": [2, 3]}, ["body/kernel", "head/kernel"]),
        ({"predicate": lambda v, _: v.shape[0] == 5}, ["body/bias", "head/kernel"]),
        (
            {"predicate": lambda _, layer: layer.units == 5},
            ["body/kernel", "body/bias"],
        ),
        ({"pattern": "nothing"}, []),
    ],
    ids=lambda value: "-".join(value) or "none",
)
def test_match(conditions: dict[str, Any], expected: list[str]) -> None:
    """Every condition narrows the choice, alone and together."""
    assert matched(zoo.functional()[0], **conditions) == expected


def test_last_component_of_sequential_paths() -> None:
    """A leading `*/` covers the name that sequential models put into their paths."""
    model = zoo.sequential()[0]
    assert matched(model, pattern="*/body/kernel") == ["sequential/body/kernel"]


@pytest.mark.parametrize(
    ("make", "conditions", "count"),
    [
        (zoo.sequential, {"slot": "gamma"}, 1),
        (zoo.sequential, {"slot": "beta"}, 1),
        (zoo.sequential, {"slot": "alpha"}, 1),
        (zoo.convolutional, {"slot": "depthwise"}, 2),
        (zoo.convolutional, {"slot": "pointwise"}, 1),
        (zoo.convolutional, {"slot": "kernel"}, 3),
        (zoo.attention, {"slot": "embeddings"}, 1),
        (zoo.attention, {"slot": "scale"}, 1),
        (zoo.attention, {"slot": "gain"}, 1),
        (zoo.attention, {"layer": "MultiHeadAttention", "slot": "kernel"}, 4),
        (zoo.attention, {"layer": "attention"}, 8),
        (zoo.recurrent, {"slot": "recurrent"}, 2),
        (zoo.recurrent, {"layer": "LSTM", "slot": "kernel"}, 2),
        (zoo.recurrent, {"layer": "LSTMCell"}, 6),
        (zoo.recurrent, {"layer": "sn", "slot": "kernel"}, 1),
        (zoo.nested, {"layer": "inner"}, 2),
        (zoo.nested, {"pattern": "*/kernel"}, 3),
    ],
    ids=lambda v: getattr(v, "__name__", str(v)),
)
def test_slots_and_layers(make: Any, conditions: dict[str, Any], count: int) -> None:
    """Slots and enclosing layers are known for every kind of layer."""
    assert len(matched(make()[0], **conditions)) == count


def test_sites_are_the_weights_in_order() -> None:
    """There is one site per weight, shared ones once; moving averages are state."""
    for make in zoo.ZOO.values():
        model = make()[0]
        found = sites(model)
        assert [id(s.variable) for s in found] == [id(w) for w in model.weights]
        trained = {id(w) for w in model.trainable_weights}
        assert {id(s.variable) for s in found if not s.state} == trained


def test_weights_in_containers() -> None:
    """Weights that a layer keeps in a dictionary or a list have slots too."""

    class Bank(keras.layers.Layer):
        def build(self, input_shape: Any) -> None:
            shape = (input_shape[-1], 2)
            self.named = {"left": self.add_weight(shape, name="w0")}
            self.listed = [self.add_weight(shape, name="right")]

        def call(self, x: Any) -> Any:
            return x @ self.named["left"] + x @ self.listed[0]

    model = keras.Sequential([keras.Input((3,)), Bank(name="bank")], name="net")
    assert [site.slot for site in sites(model)] == ["left", "right"]
    Policy([Rule(slot="left", regularizer="l2")]).apply(model)
    assert list(penalties(model)) == ["net/bank/w0/Regularizer/l2"]


def test_variable_alone() -> None:
    """A rule on the path needs no model; a rule on the layer says that it does."""
    site = Site.of_variable(zoo.functional()[0].weights[0])
    assert Rule("*/kernel", slot="kernel", regularizer=L2).matches(site)
    with pytest.raises(ValueError, match="names a layer"):
        Rule(layer="Dense", regularizer=L2).matches(site)


def test_unbuilt_model_is_an_error() -> None:
    """A model without weights is an error that says what to do."""
    with pytest.raises(ValueError, match="not built"):
        sites(keras.Sequential([layers.Dense(2)]))
    with pytest.raises(ValueError, match="Expected a Keras model"):
        sites("model.keras")


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({}, "regularizer"),
        ({"pattern": "", "regularizer": L2}, "pattern"),
        ({"pattern": 3, "regularizer": L2}, "pattern"),
        ({"pattern": [], "regularizer": L2}, "pattern"),
        ({"pattern": "re:(", "regularizer": L2}, "pattern"),
        ({"exclude": "re:[", "regularizer": L2}, "exclude"),
        ({"slot": ["kernel", 1], "regularizer": L2}, "slot"),
        ({"layer": 5, "regularizer": L2}, "layer"),
        ({"rank": -1, "regularizer": L2}, "rank"),
        ({"rank": True, "regularizer": L2}, "rank"),
        ({"predicate": "f", "regularizer": L2}, "predicate"),
        ({"joint": "model", "regularizer": L2}, "joint"),
        ({"joint": "layer", "constraint": "non_neg"}, "joint"),
    ],
    ids=lambda v: str(v)[:40],
)
def test_wrong_arguments(arguments: dict[str, Any], argument: str) -> None:
    """A wrong argument is an error that names it."""
    with pytest.raises(ValueError, match=f"argument `{argument}` of Rule"):
        Rule(**arguments)


def test_unknown_penalty_suggests() -> None:
    """A misspelt penalty is an error with a suggestion."""
    with pytest.raises(ValueError, match="Did you mean"):
        Rule("*", regularizer="l22")


@pytest.mark.parametrize(
    "rule",
    [
        Rule("*/kernel", regularizer=L2),
        Rule(["a", "re:b"], exclude="c", constraint=constraints.MaxNorm(2.0)),
        Rule(layer=["Dense", "Conv2D"], slot="kernel", rank=[2, 4], regularizer=None),
        Rule(joint="layer", regularizer="l1"),
    ],
    ids=str,
)
def test_rule_round_trip(rule: Rule) -> None:
    """A rule equals what its config makes, and its repr is what one writes."""
    again = Rule.from_config(rule.get_config())
    assert again == rule
    assert hash(again) == hash(rule)
    names = {**vars(regularizers), **vars(constraints), "Rule": Rule}
    assert eval(repr(rule), names) == rule  # noqa: S307  (our own repr)
    assert keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(rule)
    ) == rule  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("L2(1e-4)", regularizers.L2(1e-4)),
        ("l2", regularizers.L2()),
        ("L1L2(l1=0.1, l2=2)", regularizers.L1L2(0.1, 2.0)),
        ("l1_l2", regularizers.L1L2(0.01, 0.01)),
        ("L1(0.1) + L2(0.2)", regularizers.L1(0.1) + regularizers.L2(0.2)),
        ("0.5 * L2(0.2)", 0.5 * regularizers.L2(0.2)),
        ("(L1(0.1) + L2(0.2)) * 3", 3 * (regularizers.L1(0.1) + regularizers.L2(0.2))),
        ("Sum(['l1', L2(0.2)])", regularizers.L1(0.01) + regularizers.L2(0.2)),
        ("MaxNorm(3, axis='units')", constraints.MaxNorm(3, axis="units")),
        ("MaxNorm(3, axis=(0, -1))", constraints.MaxNorm(3, axis=(0, -1))),
        (" non_neg ", constraints.NonNeg()),
        ("None", None),
    ],
)
def test_expression(text: str, expected: Any) -> None:
    """An expression is the object that Python would build."""
    assert parse_object(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "L2(",
        "L3(1)",
        "L2(1e-4).prox",
        "__import__('os').system('true')",
        "L2.__init__.__globals__",
        "(lambda: 1)()",
        "[L2(1) for _ in 'ab']",
        "L2(**{'l2': 1})",
        "L2(*[1])",
        "L2(l2=open('x'))",
        "L2(f'{1}')",
        "L2(1) - L2(1)",
        "L2(1) ** 9",
        "9 ** 9 ** 9 * L2(1)",
        "L2(2 + 3)",
        "MaxNorm(1) + L2(1)",
        "3 * MaxNorm(1)",
        "L2(wrong=1)",
        "L2(-1)",
        "L2(True)",
        "L2(1e999)",
        "L2(1) if 1 else L1(1)",
        "exec",
        "(" * 500 + "L2" + ")" * 500,
        "-" * 5000 + "1",
        "L2(" + "1" * 20_000 + ")",
        "\x00L2",
    ],
    ids=lambda text: text[:30],
)
def test_malicious_or_broken_expression(text: str) -> None:
    """Anything but the grammar is an error, and nothing of it runs."""
    with pytest.raises(ValueError, match=r"Cannot read|too long|Invalid value"):
        parse_object(text)


@pytest.mark.parametrize("text", ["*/kernel", "=L2(1)", "*/kernel=", "  = "])
def test_broken_rule_text(text: str) -> None:
    """A rule without a pattern or an object is an error with an example."""
    with pytest.raises(ValueError, match="Expected a rule such as"):
        parse_rule(text)


def test_rule_text_keeps_later_equals_signs() -> None:
    """The first equals sign ends the pattern."""
    rule = parse_rule("re:kernel$ = MaxNorm(max_value=2)")
    assert rule == Rule("re:kernel$", constraint=constraints.MaxNorm(2))
    assert np.isclose(rule.constraint.max_value, 2)
