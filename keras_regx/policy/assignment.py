"""Which rule gives what to each weight and layer: the last match wins each field."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from keras_regx._core.config import fresh
from keras_regx.models.sites import LayerSite, Site
from keras_regx.policy.joint import EffectivePenalty, JointPenalty
from keras_regx.policy.layout import bind, laid_out
from keras_regx.policy.rule import FIELDS, UNTOUCHED, Rule


@dataclass(frozen=True)
class Assignment:
    """What rules are about, and which of them win.

    Attributes:
        rules: The rules, in order.
        targets: Weights and layers.
        matches: For each rule, the numbers of the targets it is about.
        winners: For each field, the number of the rule that wins a target.
        is_again: Whether the matches are those of an earlier time.
    """

    rules: Sequence[Rule]
    targets: Sequence[Site | LayerSite]
    matches: list[list[int]]
    winners: dict[str, dict[int, int]]
    is_again: bool = False

    def together(self, number: int) -> list[int]:
        """Return the targets of a rule that are remembered: joint ones as they are."""
        indices = self.matches[number]
        if self.rules[number].joint not in ("layer", "all") or self.is_again:
            return indices
        return [i for i in indices if self.targets[i].active]  # type: ignore[union-attr]

    def quantized(self) -> list[str]:
        """Return the paths of weights that are not trained, and get nothing."""
        numbers = {i for field in FIELDS for i in self.winners[field]}
        chosen = (self.targets[i] for i in sorted(numbers))
        return [site.path for site in chosen if not _is_trained(site)]

    def given(self) -> dict[int, dict[str, Any]]:
        """Return what each target gets, by its number and by field.

        The objects are copies for this model; those that remember something about
        their weight take it now.

        Raises:
            ValueError: If an object is not defined on a weight that it is given to.
        """
        given: dict[int, dict[str, Any]] = {}
        for field, number, indices in self._won():
            rule = self.rules[number]
            obj = fresh(getattr(rule, field))
            if field == "regularizer" and rule.joint is not None and obj is not None:
                values = self._joined(rule, obj, indices)
            elif obj is None or field == "activity_regularizer":
                values = dict.fromkeys(indices, obj)
            else:
                values = {i: bind(obj, self.targets[i]) for i in indices}  # type: ignore[arg-type]
            for index, value in values.items():
                given.setdefault(index, {})[field] = value
        return dict(sorted(given.items()))

    def _won(self) -> Iterator[tuple[str, int, list[int]]]:
        """Yield `(field, rule, targets)` for every rule that wins something."""
        for field in FIELDS:
            won: dict[int, list[int]] = {}
            for index, number in sorted(self.winners[field].items()):
                if _is_trained(self.targets[index]) or self.rules[number].joint:
                    won.setdefault(number, []).append(index)
            for number, indices in won.items():
                yield field, number, indices

    def _joined(self, rule: Rule, obj: Any, indices: list[int]) -> dict[int, Any]:
        """Return the penalties of a rule that binds several weights together."""
        trained = [i for i in indices if _is_trained(self.targets[i])]
        given: dict[int, Any] = dict.fromkeys(trained)
        if rule.joint == "lora":
            for index in trained:
                given |= self._effective(obj, index)
            return given
        groups: dict[int, list[int]] = {}
        for index in indices:
            site: Any = self.targets[index]
            # Later on a weight may be frozen: the others still belong with it.
            if site.active or self.is_again:
                key = id(site.layer) if rule.joint == "layer" else 0
                groups.setdefault(key, []).append(index)
        for members in groups.values():
            if not set(members) <= set(trained):
                continue  # Without one of them it is another penalty.
            together: list[Any] = [self.targets[index] for index in members]
            penalty = JointPenalty(obj, together)
            given[members[0]] = penalty.for_variable(together[0].variable)
        return given

    def _effective(self, obj: Any, index: int) -> dict[int, Any]:
        """Return the penalty of a kernel with LoRA, on the first of its factors."""
        site: Any = self.targets[index]
        factors = [
            i
            for i, other in enumerate(self.targets)
            if isinstance(other, Site)
            and other.layer is site.layer
            and "lora" in other.slot
        ]
        if not factors:
            return {index: bind(obj, site)}
        penalty = EffectivePenalty(laid_out(obj, site), site)
        return {
            **dict.fromkeys(factors),
            factors[0]: penalty.for_variable(site.variable),
        }


def assign(
    rules: Sequence[Rule],
    targets: Sequence[Site | LayerSite],
    matches: list[list[int]] | None = None,
) -> Assignment:
    """Find out which rule is about which target, and which rule wins each field.

    Args:
        rules: The rules, in order.
        targets: Weights and layers of a model; weights that are state are left out.
        matches: The numbers of the targets of each rule, where they are known.
    """
    is_again = matches is not None
    if matches is None:
        eligible = [
            (i, target)
            for i, target in enumerate(targets)
            if not getattr(target, "state", False)
        ]
        matches = [[i for i, t in eligible if rule.matches(t)] for rule in rules]
    winners: dict[str, dict[int, int]] = {field: {} for field in FIELDS}
    for number, (rule, indices) in enumerate(zip(rules, matches, strict=True)):
        for field in FIELDS:
            if getattr(rule, field) is not UNTOUCHED:
                is_layer = field == "activity_regularizer"
                chosen = [
                    i for i in indices if isinstance(targets[i], LayerSite) == is_layer
                ]
                winners[field] |= dict.fromkeys(chosen, number)
    return Assignment(rules, targets, matches, winners, is_again)


def _is_trained(target: Site | LayerSite) -> bool:
    return isinstance(target, LayerSite) or "float" in str(target.variable.dtype)
