"""Which variable gets which penalty under `Proximal`, and the state that needs."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras

from keras_regx._core import validation as check
from keras_regx._core.config import parts
from keras_regx._core.counter import TrackedNumber
from keras_regx.models import Rule, Site
from keras_regx.policy.assignment import assign
from keras_regx.regularizers.reference import Referenced
from keras_regx.regularizers.scheduled import Scheduled


class Plan:
    """Rules, then the penalty of each variable.

    No list, which Keras would track in place of the optimizer's own.

    Attributes:
        rules: The rules, in order.
        matched: `(variable, penalty)` for each penalized variable, once built.
        lost: What is without its weights after loading: an error at the first step.
    """

    def __init__(self, rules: list[Rule]) -> None:
        self.rules = rules
        self.matched: list[tuple[Any, Any]] = []
        self.lost: list[str] = []
        self._matches: list[list[Any]] = []  # The variables of each rule.
        self._found: list[tuple[Any, Any]] | None = None  # Once the rules are bound.
        self._by_path: dict[str, Any] | None = None  # What a config says of that.
        self._is_loaded = False
        self._trained: set[int] = set()

    def bind(self, sites: Sequence[Site], matches: Any = None) -> None:
        """Find the penalty of each weight: the last rule that matches it wins.

        Raises:
            ValueError: If a rule matches nothing, unless the plan was loaded.
        """
        assignment = assign(self.rules, sites, matches)
        for rule, indices in zip(self.rules, assignment.matches, strict=True):
            if not indices and self._is_loaded:
                self.lost.append(repr(rule))
            elif not indices:
                known = ", ".join(site.path for site in sites)
                raise ValueError(
                    f"{rule!r} of Proximal matches no trainable variable. The "
                    f"variables are: {known}"
                )
        self._matches = [
            [sites[i].variable for i in indices] for indices in assignment.matches
        ]
        self._found = [
            (sites[i].variable, values["regularizer"])
            for i, values in assignment.given().items()
            if values["regularizer"] is not None
        ]

    def build(self, variables: list[Any], *, allow_double: bool) -> None:
        """Match variables to penalties; the rules are looked up if they were not.

        Raises:
            ValueError: If a rule matches nothing, or a variable has a penalty in the
                loss as well, unless `allow_double`.
        """
        self._trained = {id(variable) for variable in variables}
        if self._by_path is not None:
            self._found = self._at_paths(variables)
        elif self._found is None:
            self.bind([Site.of_variable(variable) for variable in variables])
        self._match()
        if not allow_double:
            self.refuse_double({id(v): v.regularizer for v, _ in self.matched})

    def refuse_double(self, in_loss: dict[int, Any]) -> None:
        """Raise a ValueError if a matched variable has a penalty in the loss as well.

        Args:
            in_loss: The penalty, or None, of variables, by their `id`.
        """
        for variable, penalty in self.matched:
            other = in_loss.get(id(variable))
            if other is not None:
                raise ValueError(
                    f"The variable {variable.path!r} has the penalty {other!r} in the "
                    f"loss and {penalty!r} in Proximal. Remove one, or pass "
                    "`allow_double=True` to Proximal to mean both."
                )

    def _match(self) -> None:
        found = self._found or ()
        self.matched = [(v, penalty) for v, penalty in found if id(v) in self._trained]

    def require_weights(self) -> None:
        """Raise a ValueError if a rule has lost its weights since it was saved."""
        if self.lost:
            raise ValueError(
                "Proximal was loaded with rules whose weights are not among the "
                f"variables that it trains: {', '.join(dict.fromkeys(self.lost))}. "
                "Compile the model anew."
            )

    # In configs and files -----------------------------------------------------------

    def config(self) -> dict[str, Any] | None:
        """Return what `bind` has found, by path; None if it was not called."""
        if self._found is None:
            return self._by_path
        return {variable.path: penalty for variable, penalty in self._found}

    def load(self, by_path: dict[str, Any] | None) -> None:
        """Take what `config` returned; the variables are known later."""
        self._by_path = by_path
        self._is_loaded = True

    def _at_paths(self, variables: list[Any]) -> list[tuple[Any, Any]]:
        """Return the variables at the paths of a config.

        A Sequential model has its name in its paths until it has been loaded.
        """
        at = {variable.path: variable for variable in variables}
        found = []
        for path, penalty in (self._by_path or {}).items():
            variable = at.get(path, at.get(path.partition("/")[2]))
            if variable is None:
                self.lost.append(path)
            else:
                found.append((variable, penalty.for_variable(variable)))
        return found

    def saved(self, keys: dict[int, str]) -> list[list[str]]:
        """Return the keys of the weights of each rule."""
        matches = self._matches if self.matched else []
        return [[keys[id(v)] for v in rule if id(v) in keys] for rule in matches]

    def restore(self, saved: list[list[str]], sites: Sequence[Site], keys: Any) -> None:
        """Match the weights that a file names, whatever their paths are now.

        Args:
            saved: What `saved` returned.
            sites: The weights of the model.
            keys: The key of each weight, by its `id`.
        """
        numbers = {keys.get(id(site.variable)): i for i, site in enumerate(sites)}
        self.lost = [key for rule in saved for key in rule if key not in numbers]
        matches = [[numbers[k] for k in rule if k in numbers] for rule in saved]
        self.bind(sites, matches)
        self._match()

    # State --------------------------------------------------------------------------

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
        numbers = (part for part in self.parts() if isinstance(part, TrackedNumber))
        yield from {id(number.state): number.state for number in numbers}.values()
        for part in self.parts():
            if isinstance(part, Referenced):
                yield from part.state_tensors().values()


def check_rules(rules: Any) -> list[Rule]:
    """Return the rules as a list, or say which is no rule that Proximal can use."""
    if not isinstance(rules, list | tuple) or not rules:
        check.fail("Proximal", "rules", "a non-empty list of Rule", rules)
    for rule in rules:
        if not isinstance(rule, Rule) or rule.joint is not None:
            check.fail("Proximal", "rules", "a list of Rule, none of them joint", rule)
        arguments = rule.arguments()
        others = {"constraint", "activity_regularizer"} & set(arguments)
        if others or "regularizer" not in arguments:
            expected = "rules that set a regularizer; a Policy sets constraints too"
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
