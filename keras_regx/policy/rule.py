"""A rule: which weights and layers of a model, and what they get."""

import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

import keras

from keras_regx import constraints, regularizers
from keras_regx._core import validation as check
from keras_regx._core.config import Configurable
from keras_regx._core.registry import PACKAGE
from keras_regx.models.sites import LayerSite, Site


class _Untouched:
    """The value of a field that a rule says nothing about."""

    def __repr__(self) -> str:
        return "UNTOUCHED"

    def __reduce__(self) -> str:
        return "UNTOUCHED"  # There is one: copies and pickles are it.


UNTOUCHED: Final = _Untouched()
JOINT = (None, "layer", "all", "lora")
FIELDS = ("regularizer", "constraint", "activity_regularizer")


@keras.saving.register_keras_serializable(package=PACKAGE)
class Rule(Configurable):
    """Which weights and layers of a model, and the penalties and constraints they get.

    All conditions given must hold. A field left out is left as it is by the
    rule; `None` clears it. Penalties and constraints of weights go to the weights
    that match. A penalty on activations goes to the layers that match themselves:
    `pattern` and `exclude` are then about the layer's path, `layer` about the layer
    and not those around it; `slot`, `rank` and `predicate` select weights alone.

    Args:
        pattern: String or list of strings: a glob on the variable's path
            (`"*/kernel"`; `*` crosses `/`, and a leading `*/` may stand for
            nothing), or `"re:..."`, searched for as a regular expression. `None`
            matches every path.
        layer: Class, class name, or glob on the name, of the layer or of one of the
            layers around it; or a list of these.
        slot: Stem of Keras' arguments, `"kernel"`, `"bias"`, `"recurrent"`,
            `"depthwise"`, `"pointwise"`, `"embeddings"`, `"beta"`, `"gamma"`,
            `"alpha"`; the attribute's name for a weight without such arguments; or
            a list.
        rank: Int or list of ints: the number of axes of the weight.
        predicate: Function `(variable, layer) -> bool`.
        exclude: Pattern or list of patterns of paths that are left out.
        regularizer: Penalty: instance, class, name, config, function; or `None`.
        constraint: Constraint: likewise.
        activity_regularizer: Penalty on the outputs of the layers: likewise.
        joint: `"layer"` binds one penalty to the matched weights of each layer
            together (a kernel and its bias), `"all"` to all matched weights,
            `"lora"` to the kernel that a LoRA layer computes with; `None` to each
            weight by itself.

    Raises: ValueError naming the argument and the value received.

    Example:

    >>> from keras_regx import Rule
    >>> from keras_regx.regularizers import L2
    >>> Rule("*/kernel", regularizer=L2(1e-4), exclude="*/head/*")
    Rule('*/kernel', exclude='*/head/*', regularizer=L2(l2=0.0001))
    >>> Rule(layer="Conv2D", slot="kernel", constraint="max_norm")
    Rule(layer='Conv2D', slot='kernel', constraint=MaxNorm(max_value=2.0, axis=0))
    """

    def __init__(
        self,
        pattern: str | Sequence[str] | None = None,
        *,
        layer: Any = None,
        slot: str | Sequence[str] | None = None,
        rank: int | Sequence[int] | None = None,
        predicate: Callable[[Any, Any], bool] | None = None,
        exclude: str | Sequence[str] | None = None,
        regularizer: Any = UNTOUCHED,
        constraint: Any = UNTOUCHED,
        activity_regularizer: Any = UNTOUCHED,
        joint: str | None = None,
    ) -> None:
        self.pattern = self._patterns("pattern", pattern)
        self.exclude = self._patterns("exclude", exclude)
        self.layer = self._names("layer", _layer_names(layer))
        self.slot = self._names("slot", slot)
        self.rank = self._ranks(rank)
        if predicate is not None and not callable(predicate):
            check.fail(self, "predicate", "a function of variable and layer", predicate)
        self.predicate = predicate
        self.regularizer = _get(regularizers, regularizer)
        self.constraint = _get(constraints, constraint)
        self.activity_regularizer = _get(regularizers, activity_regularizer)
        self.joint: str | None = check.choice(self, "joint", joint, JOINT)
        self._check_fields()

    @property
    def is_of_layers(self) -> bool:
        """Whether the rule is about layers alone, and not about weights."""
        given = [field for field in FIELDS if getattr(self, field) is not UNTOUCHED]
        return given == ["activity_regularizer"]

    def _check_fields(self) -> None:
        """Raise unless there is a field, and each condition is about one."""
        given = [field for field in FIELDS if getattr(self, field) is not UNTOUCHED]
        if not given:
            check.fail(self, "regularizer", "a regularizer or a constraint", "nothing")
        if self.joint is not None and given != ["regularizer"]:
            check.fail(self, "joint", "a rule with a regularizer alone", self.joint)
        if self.is_of_layers:
            for name in ("slot", "rank", "predicate"):
                if getattr(self, name) is not None:
                    expected = "None in a rule about layers, since it selects weights"
                    check.fail(self, name, expected, getattr(self, name))

    def matches(self, site: Site | LayerSite) -> bool:
        """Return whether the rule is about this weight or layer.

        Args:
            site: A weight of a model; see `keras_regx.models.sites`. For a
                variable alone use `Site.of_variable(variable)`. Or a layer.

        Raises:
            ValueError: If the rule names a layer and the site has none.
        """
        if not self._path_matches(site.path):
            return False
        if isinstance(site, LayerSite):
            says = self.activity_regularizer is not UNTOUCHED
            return says and (self.layer is None or self._names_one((site.layer,)))
        if self.regularizer is UNTOUCHED and self.constraint is UNTOUCHED:
            return False
        return self._weight_matches(site)

    def _path_matches(self, path: str) -> bool:
        if self.pattern is not None and not _any_match(self.pattern, path):
            return False
        return self.exclude is None or not _any_match(self.exclude, path)

    def _weight_matches(self, site: Site) -> bool:
        if self.rank is not None and len(site.shape) not in _as_tuple(self.rank):
            return False
        if self.slot is not None and site.slot not in _as_tuple(self.slot):
            return False
        if self.layer is not None and not self._layer_matches(site):
            return False
        return self.predicate is None or bool(self.predicate(site.variable, site.layer))

    def _layer_matches(self, site: Site) -> bool:
        if site.layer is None:
            raise ValueError(
                f"{self!r} names a layer, but only the variable {site.path!r} is "
                "known here. Use a pattern on the path."
            )
        return self._names_one((*site.parents, site.layer))

    def _names_one(self, layers: Sequence[Any]) -> bool:
        """Return whether the rule names one of these layers, or its class."""
        return any(
            fnmatchcase(layer.name, name)
            or name in (cls.__name__ for cls in type(layer).__mro__)
            for layer in layers
            for name in _as_tuple(self.layer)
        )

    def arguments(self) -> dict[str, Any]:
        """Return the arguments that were given, by name."""
        given = {}
        for name in self.argument_names():
            value = getattr(self, name)
            if value is not (UNTOUCHED if name in FIELDS else None):
                given[name] = value
        return given

    def __repr__(self) -> str:
        given = self.arguments()
        first = [repr(given.pop("pattern"))] if "pattern" in given else []
        return f"Rule({', '.join(first + [f'{k}={v!r}' for k, v in given.items()])})"

    def _patterns(self, argument: str, value: Any) -> Any:
        value = self._names(argument, value)
        for pattern in _as_tuple(value):
            if pattern.startswith("re:"):
                check.regular_expression(self, argument, pattern[3:], value)
        return value

    def _names(self, argument: str, value: Any) -> Any:
        if value is None or (isinstance(value, str) and value):
            return value
        items = list(value) if isinstance(value, list | tuple) else []
        if not items or not all(isinstance(item, str) and item for item in items):
            check.fail(self, argument, "a non-empty string or a list of these", value)
        return items

    def _ranks(self, value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, list | tuple):
            return [check.integer(self, "rank", item, minimum=0) for item in value]
        return check.integer(self, "rank", value, minimum=0)


def _get(module: Any, value: Any) -> Any:
    """Return the object of a field, or that nothing is said about it."""
    return UNTOUCHED if value is UNTOUCHED else module.get(value)


def _layer_names(layer: Any) -> Any:
    """Return class names for classes."""
    if isinstance(layer, list | tuple):
        return [_layer_names(item) for item in layer]
    return layer.__name__ if isinstance(layer, type) else layer


def _as_tuple(value: Any) -> tuple[Any, ...]:
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _any_match(patterns: Any, path: str) -> bool:
    return any(_match(pattern, path) for pattern in _as_tuple(patterns))


def _match(pattern: str, path: str) -> bool:
    if pattern.startswith("re:"):
        return re.search(pattern[3:], path) is not None
    # Functional models leave their name out of the paths: let `*/` match nothing.
    return fnmatchcase(path, pattern) or fnmatchcase(f"/{path}", pattern)
