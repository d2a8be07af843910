"""How a policy stays with its model: through saving, cloning, copying, pickling.

Layers save the penalties of their own slots. Attention layers save one for four
kernels, and many layers have no slot at all. So a model with a policy becomes,
in place, an instance of a subclass of its class whose config says what the
policies did; reading that config does it again.
"""

import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from keras_regx import constraints, regularizers
from keras_regx._core.counter import TrackedNumber, parts
from keras_regx._core.saveable import PerVariable
from keras_regx.models.cloning import layers_of_sequential
from keras_regx.models.joint import OfModel
from keras_regx.models.sites import Site, sites
from keras_regx.models.slots import Before, Change, read, restore, write
from keras_regx.models.winners import changes_of

NAME = "ModelWithPolicy"


@dataclass
class Attached:
    """What policies did to a model.

    Attributes:
        policies: The policies, in the order they were applied.
        matches: For each policy and each rule, the numbers of the weights it is for.
        before: What each weight had, by its number.
    """

    policies: list[Any] = field(default_factory=list)
    matches: list[list[list[int]]] = field(default_factory=list)
    before: dict[int, Before] = field(default_factory=dict)


def attached(model: Any) -> Attached | None:
    """Return what policies did to this model, or None."""
    return getattr(type(model), "_attached", None)


def attach(model: Any, policy: Any, changes: dict[int, Change], match: Any) -> None:
    """Make the changes, and let the model's class carry the policy."""
    state = attached(model)
    if state is None:
        state = Attached()
        _become(model, _carrier(type(model), state))
    again = policy in state.policies
    if again:
        index = state.policies.index(policy)
        del state.policies[index], state.matches[index]
    state.policies.append(policy)
    state.matches.append(match)
    for index, change in changes.items():
        now = read(change.site)
        state.before.setdefault(index, now)
        write(change, now if again else None)
    _hold_state(model)
    _retrace(model)


def detach(model: Any, policy: Any) -> None:
    """Undo all changes, then make those of the remaining policies again."""
    state = attached(model)
    if state is None or policy not in state.policies:
        raise ValueError(
            f"The policy is not applied to the model {model.name!r}. Applied: "
            f"{state.policies if state else []}"
        )
    found = sites(model)
    now = {index: read(found[index]) for index in state.before}
    for index, before in state.before.items():
        restore(found[index], before)
    position = state.policies.index(policy)
    del state.policies[position], state.matches[position]
    if state.policies:
        for other, match in zip(state.policies, state.matches, strict=True):
            for index, change in changes_of(other.rules, found, match).items():
                write(change, now[index])
    else:
        _become(model, _base_of(model))
    _hold_state(model)
    _retrace(model)


def _hold_state(model: Any) -> None:
    """Let the model track numbers that change, and save state outside of slots."""
    held: list[Any] = []
    for site in sites(model):
        for obj in (site.variable.regularizer, site.variable.constraint):
            in_slot = bool(site.holders) and not isinstance(obj, OfModel)
            for part in parts(obj):
                is_number = isinstance(part, TrackedNumber)
                has_state = isinstance(part, PerVariable) and not in_slot
                if (is_number or has_state) and not any(part is h for h in held):
                    held.append(part)
    if held or hasattr(model, "_keras_regx_state"):
        model._keras_regx_state = held  # noqa: SLF001


def _retrace(model: Any) -> None:
    """Let a model that was trained already see its new penalties."""
    if getattr(model, "train_function", None) is not None:
        model.make_train_function(force=True)
    if getattr(model, "test_function", None) is not None:
        model.make_test_function(force=True)


def _become(model: Any, cls: type) -> None:
    object.__setattr__(model, "__class__", cls)


class ModelWithPolicy:
    """Mixin of the classes that carry policies; reads what they save."""

    _attached: Attached
    _base: type

    def get_config(self) -> dict[str, Any]:
        """Return the config of the model, and what the policies did to it."""
        state, base, found = self._attached, self._base, sites(self)
        with _as_base(self):
            inner = {
                **_class_name(base),
                "config": self.get_config(),
                "build_config": self.get_build_config(),  # type: ignore[attr-defined]
            }
        return {
            "name": self.name,  # type: ignore[attr-defined]
            "model": inner,
            "policies": [
                _saved_policy(policy, match, found)
                for policy, match in zip(state.policies, state.matches, strict=True)
            ],
            "matches": state.matches,
            "before": {str(i): _saved_before(b) for i, b in state.before.items()},
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Any:
        """Build the model, and let the policies do what they did."""
        from keras_regx.models.policy import Policy  # noqa: PLC0415  (cycle)

        model = keras.saving.deserialize_keras_object(
            config["model"], custom_objects=custom_objects
        )
        found = sites(model)
        before = {int(i): _loaded_before(b) for i, b in config["before"].items()}
        for saved, match in zip(config["policies"], config["matches"], strict=True):
            policy = Policy.from_config(saved)
            attach(model, policy, changes_of(policy.rules, found, match), match)
        state = attached(model)
        if state is not None:
            state.before = before
        return model

    def __reduce__(self) -> Any:
        """Pickle as Keras does, by a function that imports this package."""
        reduced: Any = super().__reduce__()
        function, arguments = reduced
        return _unpickle, (self._base, function.__name__, arguments)

    def save(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Save the model; refuse the legacy format, which would lose the policy."""
        if Path(str(filepath)).suffix in (".h5", ".hdf5"):
            raise ValueError(
                "The legacy HDF5 format cannot keep a policy. Save to a file that "
                f"ends in '.keras', or call policy.remove(model). Received: {filepath}"
            )
        super().save(filepath, *args, **kwargs)  # type: ignore[misc]


def _unpickle(base: type, method: str, arguments: Any) -> Any:
    return getattr(base, method)(*arguments)


def _carrier(base: type, state: Attached) -> type:
    """Return the subclass that carries the policies of one model."""
    body: dict[str, Any] = {"_attached": state, "_base": base, "__module__": __name__}
    if inspect.getfullargspec(base.__init__).args[1:] == ["inputs", "outputs", "name"]:  # type: ignore[misc]
        body["__init__"] = _init_functional
    if issubclass(base, keras.Sequential):
        body["layers"] = property(layers_of_sequential)
    cls = type(NAME, (ModelWithPolicy, base), body)
    cls.__doc__ = base.__doc__
    return cls


def _init_functional(
    self: Any, inputs: Any, outputs: Any, name: str | None = None, **kwargs: Any
) -> None:
    """Build a copy of a functional model, as `clone_model` does, policies and all."""
    source, base = self._attached, self._base
    _become(self, base)
    base.__init__(self, inputs, outputs, name=name, **kwargs)
    found = sites(self)
    for policy, match in zip(source.policies, source.matches, strict=True):
        attach(self, policy, changes_of(policy.rules, found, match), match)
    state = attached(self)
    if state is not None:
        state.before = dict(source.before)


def _base_of(model: Any) -> type:
    """Return the class that the model had before any policy."""
    return type(model)._base  # noqa: SLF001


@contextmanager
def _as_base(model: Any) -> Iterator[None]:
    """Let the model be of its own class for a moment."""
    carrier = type(model)
    _become(model, _base_of(model))
    try:
        yield
    finally:
        _become(model, carrier)


def _class_name(cls: type) -> dict[str, Any]:
    """Return how Keras' configs name a class."""
    public = getattr(keras, cls.__name__, None) is cls
    registered = keras.saving.get_registered_name(cls)
    return {
        "module": "keras" if public else cls.__module__,
        "class_name": cls.__name__,
        "registered_name": None if public else registered,
    }


def _saved_policy(
    policy: Any, match: list[list[int]], found: list[Site]
) -> dict[str, Any]:
    """Return a policy's config, with the weights that a predicate chose for it."""
    rules = []
    for rule, indices in zip(policy.rules, match, strict=True):
        arguments = rule.arguments()
        if arguments.pop("predicate", None) is not None:
            paths = [f"re:^{re.escape(found[i].path)}$" for i in indices]
            arguments["pattern"] = paths or ["re:$^"]  # The latter matches nothing.
        rules.append(type(rule)(**arguments))
    return type(policy)(rules).get_config()


def _saved_before(before: Before) -> dict[str, Any]:
    saved = {
        "regularizer": regularizers.serialize(before.regularizer),
        "constraint": constraints.serialize(before.constraint),
    }
    return {kind: config for kind, config in saved.items() if config is not None}


def _loaded_before(config: dict[str, Any]) -> Before:
    return Before(
        regularizers.deserialize(config.get("regularizer")),
        constraints.deserialize(config.get("constraint")),
    )


# By its plain name, so that every model's own class is saved as this one.
keras.saving.get_custom_objects()[NAME] = ModelWithPolicy
