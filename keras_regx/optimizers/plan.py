"""Which variable gets which penalty under `Proximal`, and the state that needs."""

from collections.abc import Iterator
from typing import Any

import keras

from keras_regx._core import validation as check
from keras_regx._core.counter import parts
from keras_regx.models import Rule, Site
from keras_regx.models.binding import bind
from keras_regx.regularizers.reference import Referenced
from keras_regx.regularizers.scheduled import Scheduled


class Plan:
    """Rules, then penalties by path, then penalties by variable.

    No list, which Keras would track in place of the optimizer's own.

    Attributes:
        rules: The rules, in order.
        bound: The penalty of each path; None until the rules have been looked up.
        matched: `(variable, penalty)` for each penalized variable, once built.
    """

    def __init__(self, rules: list[Rule]) -> None:
        self.rules = rules
        self.bound: dict[str, Any] | None = None
        self.matched: list[tuple[Any, Any]] = []

    def bind(self, sites: list[Site]) -> None:
        """Find the penalty of each path: the last rule that matches it wins.

        Raises:
            ValueError: If a rule matches nothing.
        """
        bound: dict[str, Any] = {}
        for rule in self.rules:
            found = [site for site in sites if rule.matches(site)]
            if not found:
                known = ", ".join(site.path for site in sites)
                raise ValueError(
                    f"{rule!r} of Proximal matches no trainable variable. The "
                    f"variables are: {known}"
                )
            bound |= {site.path: bind(rule.regularizer, site) for site in found}
        self.bound = {path: r for path, r in bound.items() if r is not None}

    def build(self, variables: list[Any], *, allow_double: bool) -> None:
        """Match variables to penalties; the rules are looked up if they were not.

        Raises:
            ValueError: If a rule matches nothing, or a variable has a penalty in the
                loss as well, unless `allow_double`.
        """
        if self.bound is None:
            self.bind([Site.of_variable(variable) for variable in variables])
        bound = self.bound or {}
        for variable in variables:
            penalty = bound.get(variable.path)
            if penalty is None:
                continue
            if variable.regularizer is not None and not allow_double:
                raise ValueError(
                    f"The variable {variable.path!r} has the penalty "
                    f"{variable.regularizer!r} in the loss and {penalty!r} in "
                    "Proximal. Remove one, or pass `allow_double=True` to mean both."
                )
            # A penalty from a saved config has no reference yet: it is loaded later.
            self.matched.append((variable, penalty.for_variable(variable)))

    def parts(self) -> Iterator[Any]:
        """Yield each penalty in use and what it is made of, once."""
        seen: set[int] = set()
        for _, penalty in self.matched:
            for part in parts(penalty):
                if id(part) not in seen:
                    seen.add(id(part))
                    yield part

    def scheduled(self) -> list[Scheduled]:
        """Return every scheduled penalty in use; copies that share a state, once."""
        found = {id(p.state): p for p in self.parts() if isinstance(p, Scheduled)}
        return list(found.values())

    def state(self) -> Iterator[Any]:
        """Yield the variables that compiled steps and checkpoints have to know."""
        for penalty in self.scheduled():
            yield penalty.state
        for part in self.parts():
            if isinstance(part, Referenced):
                kept = (part.reference(name) for name in part.kept)
                yield from (variable for variable in kept if variable is not None)


def check_rules(rules: Any) -> list[Rule]:
    """Return the rules as a list, or say which is no rule that Proximal can use."""
    if not isinstance(rules, list | tuple) or not rules:
        check.fail("Proximal", "rules", "a non-empty list of Rule", rules)
    for rule in rules:
        if not isinstance(rule, Rule) or rule.joint is not None:
            check.fail("Proximal", "rules", "a list of Rule, none of them joint", rule)
        arguments = rule.arguments()
        if "constraint" in arguments or "regularizer" not in arguments:
            expected = "rules that set a regularizer; a Policy sets constraints"
            check.fail("Proximal", "rules", expected, rule)
        regularizer = arguments["regularizer"]
        if regularizer is not None and not getattr(regularizer, "proximable", False):
            reason = getattr(regularizer, "no_prox_reason", "it has no `prox`")
            check.fail("Proximal", "rules", f"proximable penalties ({reason})", rule)
        for part in parts(regularizer):
            if isinstance(part, Scheduled):
                _check_schedule(part)
    return list(rules)


def _check_schedule(penalty: Scheduled) -> None:
    schedule = penalty.schedule
    if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        expected = "schedules that are a LearningRateSchedule, which can be compiled"
        check.fail("Proximal", "rules", expected, penalty)
