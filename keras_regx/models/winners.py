"""Which rule gives what to each weight: the last match wins, field by field."""

from collections.abc import Sequence
from typing import Any

from keras_regx.models.binding import bind
from keras_regx.models.joint import EffectivePenalty, JointPenalty
from keras_regx.models.rules import UNTOUCHED, Rule
from keras_regx.models.sites import Site
from keras_regx.models.slots import FIELDS, Change


def matches_of(rules: Sequence[Rule], found: list[Site]) -> list[list[int]]:
    """Return, for each rule, the numbers of the weights it is about."""
    return [
        [i for i, site in enumerate(found) if not site.state and rule.matches(site)]
        for rule in rules
    ]


def changes_of(
    rules: Sequence[Rule], found: list[Site], match: list[list[int]]
) -> dict[int, Change]:
    """Return what the rules give to each weight, by the weight's number.

    Args:
        rules: The rules, in order.
        found: The weights of the model.
        match: For each rule, the numbers of the weights it is about.
    """
    winners: dict[str, dict[int, int]] = {field: {} for field in FIELDS}
    for number, (rule, indices) in enumerate(zip(rules, match, strict=True)):
        for field in FIELDS:
            if getattr(rule, field) is not UNTOUCHED:
                winners[field] |= dict.fromkeys(indices, number)
    given: dict[str, dict[int, Any]] = {field: {} for field in FIELDS}
    joint: dict[int, list[int]] = {}
    for field in FIELDS:
        for index, number in sorted(winners[field].items()):
            rule, site = rules[number], found[index]
            if "float" not in str(site.variable.dtype):
                continue
            if rule.joint is not None and rule.regularizer is not None:
                joint.setdefault(number, []).append(index)
            else:
                given[field][index] = bind(getattr(rule, field), site)
    for number, indices in joint.items():
        given["regularizer"] |= _join(rules[number], found, indices)
    return {
        i: Change(found[i], *(given[field].get(i, UNTOUCHED) for field in FIELDS))
        for i in sorted({i for field in FIELDS for i in given[field]})
    }


def _join(rule: Rule, found: list[Site], indices: list[int]) -> dict[int, Any]:
    """Return the penalties of a rule that binds several weights together."""
    given: dict[int, Any] = dict.fromkeys(indices)
    if rule.joint == "lora":
        for index in indices:
            site = found[index]
            factors = [
                i
                for i, other in enumerate(found)
                if other.layer is site.layer and "lora" in other.slot
            ]
            if factors:
                given |= dict.fromkeys(factors)
                given[factors[0]] = EffectivePenalty(rule.regularizer, site)
            else:
                given[index] = bind(rule.regularizer, site)
        return given
    groups: dict[int, list[int]] = {}
    for index in indices:
        if found[index].active:
            key = id(found[index].layer) if rule.joint == "layer" else 0
            groups.setdefault(key, []).append(index)
    for members in groups.values():
        together = [found[index] for index in members]
        given[members[0]] = JointPenalty(rule.regularizer, together)
    return given
