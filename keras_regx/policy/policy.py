"""A policy: rules that put penalties and constraints on a model that exists."""

import difflib
import json
import re
import warnings
from collections.abc import Sequence
from typing import Any, Self

import keras

from keras_regx._core import validation as check
from keras_regx._core.config import Configurable
from keras_regx._core.registry import PACKAGE
from keras_regx._core.table import Column, Table, shape_text
from keras_regx.models.penalties import shown
from keras_regx.models.sites import LayerSite
from keras_regx.policy import carrier
from keras_regx.policy.assignment import Assignment, assign
from keras_regx.policy.carrier import Target, targets_of
from keras_regx.policy.rule import FIELDS, Rule
from keras_regx.policy.text import rules_from_json


@keras.saving.register_keras_serializable(package=PACKAGE)
class Policy(Configurable):
    """Rules that put penalties and constraints on a model that exists.

    For every weight or layer and each field, the last rule that matches and says
    something about the field wins. What no rule speaks of stays as it is.

    The model is changed in place, and stays the same object of the same class:
    compiled state and optimizer are kept, the next `fit` or `evaluate` uses the
    policy even if the model was trained before, and files, copies and pickles keep
    it, with what it remembers. Configs, and so clones, keep what layers have as
    arguments, and warn of the rest. Whatever `apply` raises, the model is as it was.
    Apply a policy to the model that is trained, not to a part of it.

    The objects on the model are copies: a policy may serve any number of models.

    Args:
        rules: Non-empty list of `Rule`.

    Raises: ValueError naming the argument and the value received.

    Example:

    >>> import keras
    >>> from keras_regx import Policy, Rule, penalties
    >>> from keras_regx.regularizers import L2
    >>> inputs = keras.Input((3,))
    >>> x = keras.layers.Dense(4, kernel_initializer="ones", name="body")(inputs)
    >>> outputs = keras.layers.Dense(1, kernel_initializer="ones", name="head")(x)
    >>> model = keras.Model(inputs, outputs)
    >>> policy = Policy([
    ...     Rule("*/kernel", regularizer=L2(0.5)),
    ...     Rule("*/head/*", regularizer=None),
    ... ])
    >>> model = policy.apply(model)
    >>> {name: float(value) for name, value in penalties(model).items()}
    {'body/kernel/Regularizer/l2': 6.0}
    >>> model = policy.remove(model)
    >>> penalties(model)
    {}
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        items = list(rules) if isinstance(rules, list | tuple) else []
        if not items or not all(isinstance(rule, Rule) for rule in items):
            check.fail(self, "rules", "a non-empty list of Rule", rules)
        self.rules = items

    def preview(self, model: Any) -> Table:
        """Return a table of what `apply` would do; the model is not changed.

        Args:
            model: Built model.

        Returns:
            Table with one row per weight that a rule matches. It prints as text,
            and has `to_markdown()` and `to_json()`. Its last columns number the
            rules that win, and those that match and are overridden. Rules without
            a match, or without an effect, are in its notes.
        """
        targets = targets_of(model)
        assignment = assign(self.rules, targets)
        given = assignment.given()
        rows = [_row(assignment, i, values) for i, values in given.items()]
        inactive = sum(not row["active"] for row in rows)
        notes = [
            f"Rule {i} matches nothing: {self.rules[i]!r}"
            for i, indices in enumerate(assignment.matches)
            if not indices
        ]
        used = {number for row in rows for number in row["rules"]}
        notes += [
            f"Rule {i} has no effect, later rules win everywhere: {self.rules[i]!r}"
            for i, indices in enumerate(assignment.matches)
            if indices and i not in used
        ]
        if inactive:
            notes.append(f"{inactive} frozen: without effect until they are trained.")
        weights = sum(not isinstance(target, LayerSite) for target in targets)
        count = sum(not isinstance(targets[i], LayerSite) for i in given)
        title = f"{model.name}: {count} of {weights} weights"
        if count < len(given):
            title += f", {len(given) - count} layers"
        columns = [c for c in _COLUMNS if any(row[c.key] for row in rows) or not rows]
        return Table(title, columns, rows, notes=notes)

    def apply(self, model: Any, allow_unmatched: bool = False) -> Any:
        """Put the penalties and constraints on the model.

        Args:
            model: Built model: functional, sequential or subclassed.
            allow_unmatched: Boolean. Permit rules that match nothing.

        Returns:
            The model: the same object.

        Raises:
            ValueError: If a rule matches nothing, or gives a weight what is not
                defined on it. The model is unchanged then.
        """
        self._require_model(model)
        check.boolean(self, "allow_unmatched", allow_unmatched)
        assignment = assign(self.rules, targets_of(model))
        if not allow_unmatched:
            for rule, indices in zip(self.rules, assignment.matches, strict=True):
                if not indices:
                    _fail_unmatched(rule, assignment.targets)
        carrier.attach(model, self, assignment)
        _warn_without_effect(assignment)
        return model

    def remove(self, model: Any) -> Any:
        """Take the policy off the model: as if it had never been applied.

        Args:
            model: Model that the policy, or an equal one, was applied to.

        Returns:
            The model: the same object.

        Raises:
            ValueError: If it is no model, or the policy is not applied to it.
        """
        self._require_model(model)
        carrier.detach(model, self)
        return model

    def _require_model(self, model: Any) -> None:
        if not isinstance(model, keras.Model):
            check.fail(self, "model", "a keras.Model", model)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the policy that a JSON text describes; nothing of it is run.

        Args:
            text: What `to_json` returned, or the short form, with expressions:
                `{"rules": [{"pattern": "*/kernel", "regularizer": "L2(1e-4)"}]}`.

        Raises:
            ValueError: If it is anything else, or names a class that is not a
                penalty or constraint.

        Example:

        >>> from keras_regx import Policy
        >>> Policy.from_json('''{"rules": [
        ...     {"pattern": "*/kernel", "regularizer": "L2(1e-4)"},
        ...     {"slot": "gamma", "regularizer": null}
        ... ]}''')
        Policy(rules=[Rule('*/kernel', regularizer=L2(l2=0.0001)),
        Rule(slot='gamma', regularizer=None)])
        """
        return cls(rules_from_json(text))

    def to_json(self, indent: int | None = 2) -> str:
        """Return the policy as JSON, for `Policy.from_json` and the command line."""
        rules = [rule.get_config() for rule in self.rules]
        return json.dumps({"rules": rules}, indent=indent)


def policies(model: Any) -> list[Policy]:
    """Return the policies that are applied to a model, in order.

    Args:
        model: Model, perhaps loaded from a file.
    """
    state = carrier.attached(model)
    return list(state.policies) if state else []


def _fail_unmatched(rule: Rule, targets: Sequence[Target]) -> None:
    is_of_layers = rule.is_of_layers
    paths = [
        target.path
        for target in targets
        if isinstance(target, LayerSite) == is_of_layers
        and not getattr(target, "state", False)
    ]
    pattern = (
        rule.pattern if isinstance(rule.pattern, str) else " ".join(rule.pattern or ())
    )
    wanted = re.sub(r"^re:|[*^$?\\]", "", pattern).strip("/") or str(
        rule.slot or rule.layer
    )
    nearest = difflib.get_close_matches(wanted, paths, n=5, cutoff=0.3) or paths[:5]
    what = "layer" if is_of_layers else "weight"
    raise ValueError(
        f"{rule!r} matches no {what} of the model. The nearest paths are: "
        f"{', '.join(map(repr, nearest))}. To permit rules without a match, use "
        "apply(model, allow_unmatched=True)."
    )


def _warn_without_effect(assignment: Assignment) -> None:
    quantized = assignment.quantized()
    if quantized:
        warnings.warn(
            "Quantized weights are not trained, and get no penalty or constraint: "
            f"{', '.join(quantized[:5])}{' ...' if len(quantized) > 5 else ''}",
            stacklevel=3,
        )


def _row(assignment: Assignment, index: int, values: dict[str, Any]) -> dict[str, Any]:
    """Return what a weight or layer has now, and would have."""
    target = assignment.targets[index]
    numbers = [n for n, indices in enumerate(assignment.matches) if index in indices]
    won = {assignment.winners[field].get(index) for field in FIELDS} - {None}
    now = carrier.read(target).values
    shown_now = {field: shown(now.get(field)) for field in FIELDS}
    shown_then = {field: shown(values.get(field, now.get(field))) for field in FIELDS}
    if isinstance(target, LayerSite):  # A penalty on activations is a penalty.
        shown_now["regularizer"] = shown_now["activity_regularizer"]
        shown_then["regularizer"] = shown_then["activity_regularizer"]
    is_layer = isinstance(target, LayerSite)
    return {
        "path": f"{target.path}/activity" if is_layer else target.path,
        "shape": getattr(target, "shape", None),
        "slot": getattr(target, "slot", "activity"),
        "rules": sorted(n for n in won if n is not None),
        "overridden": [n for n in numbers if n not in won],
        "active": getattr(target, "active", True),
        "regularizer": shown_now["regularizer"],
        "new_regularizer": shown_then["regularizer"],
        "constraint": shown_now["constraint"],
        "new_constraint": shown_then["constraint"],
    }


def _numbers(values: list[int]) -> str:
    return ", ".join(map(str, values))


_COLUMNS = (
    Column("path", "weight"),
    Column("shape", "shape", lambda v: "" if v is None else shape_text(v)),
    Column("regularizer", "penalty now"),
    Column("new_regularizer", "penalty then"),
    Column("constraint", "constraint now"),
    Column("new_constraint", "constraint then"),
    Column("rules", "rules", _numbers),
    Column("overridden", "overridden", _numbers),
    Column("active", "", lambda v: "" if v else "frozen"),
)
