"""What policies did to a model: doing it, undoing it, and saying what a config loses.

A policy changes variables, which training reads, and the slots of layers, which
Keras' configs are written from. What was there before is kept on the model.
"""

import warnings
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keras_regx import constraints, regularizers
from keras_regx import keras_internals as internals
from keras_regx._core.config import parts
from keras_regx.models.sites import LayerSite, Site, layer_sites, sites
from keras_regx.models.tracking import adopt, set_argument
from keras_regx.policy.assignment import Assignment
from keras_regx.policy.joint import OfModel

_LEGACY = (
    "The legacy HDF5 format cannot keep a policy. Save to a file that ends in "
    "'.keras', or call policy.remove(model)."
)
Target = Site | LayerSite
MODULES = {
    "regularizer": regularizers,
    "constraint": constraints,
    "activity_regularizer": regularizers,
}


@dataclass(frozen=True)
class Reference:
    """A weight or layer, which may be gone: quantization replaces weights."""

    ref: Any
    path: str

    @classmethod
    def to(cls, target: Target) -> "Reference":
        """Return a reference to a weight or layer."""
        return cls(weakref.ref(subject(target)), target.path)


@dataclass
class Before:
    """What a weight or layer had before any policy.

    Attributes:
        values: What it had itself, by field.
        slots: What layers had as arguments for it: layer, attribute and value; None
            if that is not known, and the same as it had itself.
    """

    values: dict[str, Any]
    slots: list[tuple[Any, str, Any]] | None = None


@dataclass
class Applied:
    """A policy, the weights and layers that each rule is about, and what it gave.

    What it gave is kept, with what that remembers, while a later policy stands above.
    """

    policy: Any
    matches: list[list[Reference]]
    given: list[tuple[Reference, dict[str, Any]]] = field(default_factory=list)


@dataclass
class Attached:
    """What policies did to a model.

    Attributes:
        applied: The policies, in the order they were applied.
        before: What each weight or layer had, by its `id`.
    """

    applied: list[Applied] = field(default_factory=list)
    before: dict[int, tuple[Reference, Before]] = field(default_factory=dict)

    @property
    def policies(self) -> list[Any]:
        """The policies, in the order they were applied."""
        return [applied.policy for applied in self.applied]


def subject(target: Target) -> Any:
    """Return the variable or layer that a target is."""
    return target.layer if isinstance(target, LayerSite) else target.variable


def targets_of(model: Any) -> list[Target]:
    """Return every weight and layer that a rule may be about."""
    return [*sites(model), *layer_sites(model)]


def attached(model: Any) -> Attached | None:
    """Return what policies did to this model, or None; what is gone is forgotten."""
    state: Attached | None = vars(model).get("_keras_regx_attached")
    if state is not None:
        gone = [i for i, (r, _) in state.before.items() if r.ref() is None]
        for i in gone:  # Another variable may have its `id` now.
            del state.before[i]
    return state


def attach(model: Any, policy: Any, assignment: Assignment) -> None:
    """Put what a policy gives on a model; on an error the model is as before."""
    given = assignment.given()  # All that may fail about the rules fails here.
    in_loss = {
        id(subject(assignment.targets[i])): values.get("regularizer")
        for i, values in given.items()
    }
    for optimizer in internals.optimizers_of(model):
        if hasattr(optimizer, "plan") and not optimizer.allow_double:
            optimizer.plan.refuse_double(in_loss)
    state = attached(model)
    old = Attached() if state is None else state
    again = policy in old.policies
    applied = [a for a in old.applied if a.policy != policy]
    matches = [
        [Reference.to(assignment.targets[i]) for i in assignment.together(number)]
        for number in range(len(assignment.rules))
    ]
    now = {i: read(assignment.targets[i]) for i in given}
    if again:  # Equal objects stay, with what they remember.
        given = {i: _kept(values, now[i]) for i, values in given.items()}
    gave = [(Reference.to(assignment.targets[i]), v) for i, v in given.items()]
    new = Attached([*applied, Applied(policy, matches, gave)], dict(old.before))
    for i, before in now.items():
        target = assignment.targets[i]
        new.before.setdefault(id(subject(target)), (Reference.to(target), before))
    tracked = [(x, list(internals.tracked(x))) for x in internals.all_layers(model)]
    try:
        for i, values in given.items():
            write(assignment.targets[i], values)
        _settle(model, new)
    except BaseException:
        for i, before in now.items():
            restore(assignment.targets[i], before)
        for layer, numbers in tracked:
            internals.track_only(layer, numbers)
        _hold(model, state)
        raise


def detach(model: Any, policy: Any) -> None:
    """Undo all changes, then make those of the remaining policies again."""
    state = attached(model)
    if state is None or policy not in state.policies:
        raise ValueError(
            f"The policy is not applied to the model {model.name!r}. Applied: "
            f"{state.policies if state else []}"
        )
    targets = targets_of(model)
    places = {id(subject(target)): target for target in targets}
    for i, (_, before) in state.before.items():
        if i in places:
            restore(places[i], before)
            _restore_factors(places[i], targets, state)
    remaining = [a for a in state.applied if a.policy != policy]
    for applied in remaining:
        for reference, values in applied.given:
            target = places.get(id(reference.ref()))
            if target is not None:
                write(target, values)
    _settle(model, Attached(remaining, state.before) if remaining else None)


def read(target: Target) -> Before:
    """Return what a weight and its slots, or a layer, have now."""
    if isinstance(target, LayerSite):
        return Before({"activity_regularizer": target.layer.activity_regularizer}, [])
    fields = ("regularizer", "constraint")
    slots = [
        (holder, f"{stem}_{name}", getattr(holder, f"{stem}_{name}"))
        for holder, stem in target.holders
        for name in fields
        if hasattr(holder, f"{stem}_{name}")
    ]
    return Before({name: getattr(target.variable, name) for name in fields}, slots)


def _kept(values: dict[str, Any], now: Before) -> dict[str, Any]:
    """Return what is given, or what is there now where that is equal."""
    return {n: now.values[n] if now.values[n] == v else v for n, v in values.items()}


def write(target: Target, values: dict[str, Any]) -> None:
    """Set the variable, which training reads, and the slots, which saving reads."""
    for name, value in values.items():
        _set(target, name, value)
        if isinstance(target, Site):
            for holder, stem in target.holders:
                kept = None if isinstance(value, OfModel) else value
                _set_slot(holder, f"{stem}_{name}", kept)


def restore(target: Target, before: Before) -> None:
    """Give a weight and its slots, or a layer, back what they had."""
    for name, value in before.values.items():
        _set(target, name, value)
        if isinstance(target, Site) and before.slots is None:
            for holder, stem in target.holders:
                _set_slot(holder, f"{stem}_{name}", value)
    for holder, attribute, value in before.slots or ():
        _set_slot(holder, attribute, value)


def _restore_factors(
    target: Target, targets: Sequence[Target], state: Attached
) -> None:
    """Give LoRA's factors of a weight what its layer has: Keras made them with that."""
    for other in targets:
        if (
            isinstance(target, Site)
            and isinstance(other, Site)
            and other.layer is target.layer
            and f"lora_{target.slot}" in other.slot
            and id(other.variable) not in state.before
        ):
            other.variable.regularizer = target.variable.regularizer


def _set(target: Target, name: str, value: Any) -> None:
    if isinstance(target, LayerSite):
        _set_slot(target.layer, name, value)
    else:
        setattr(target.variable, name, value)


def _set_slot(holder: Any, attribute: str, value: Any) -> None:
    if hasattr(holder, attribute):
        set_argument(holder, attribute, value)


def _settle(model: Any, state: Attached | None) -> None:
    """Let the model hold a state, track what changes, and see it in compiled steps."""
    adopt(model)
    _retrace(model)
    _hold(model, state)


def _retrace(model: Any) -> None:
    """Let a model that was trained already see its new penalties."""
    if getattr(model, "train_function", None) is not None:
        model.make_train_function(force=True)
    if getattr(model, "test_function", None) is not None:
        model.make_test_function(force=True)


def _hold(model: Any, state: Attached | None) -> None:
    """Keep what was done on the model, and let its configs say what they lose."""
    layers = internals.all_layers(model)
    if state is None:
        vars(model).pop("_keras_regx_attached", None)
        for layer in layers:
            internals.restore(layer, "get_config")
        internals.restore(model, "save")
        for layer in layers:  # Models inside may have policies of their own.
            if layer is not model and attached(layer) is not None:
                _hold(layer, attached(layer))
        return
    object.__setattr__(model, "_keras_regx_attached", state)
    concerned = [t for t in targets_of(model) if id(subject(t)) in state.before]
    around = [x for t in concerned for x in (t.layer, *t.parents) if x is not None]
    for layer in (model, *around):
        internals.override(layer, "get_config", _Config(model, layer))
    internals.override(model, "save", _refuse_legacy)


class _Config:
    """Stands before `get_config` of a layer: adds policies, warns of what is lost.

    Policies are in the config of the model that they were applied to, if its class
    is known to read them there; files have what objects remember as well. The config
    of a layer alone, and so a clone, has what are arguments of layers.
    """

    name = ""
    saved: Any = staticmethod(lambda model: {})  # noqa: ARG005  (see `say_in_configs`)
    _is_asked = False  # The outermost layer that is asked speaks for those inside.

    def __init__(self, model: Any, layer: Any) -> None:
        self._model = weakref.ref(model)
        self._layer = weakref.ref(layer)

    def __call__(self, original: Any) -> dict[str, Any]:
        if internals.is_in_legacy_file():
            raise ValueError(_LEGACY)
        layer, model = self._layer(), self._model()
        in_file = internals.is_in_file("config")
        # The file of the model itself has all that its config lacks.
        is_outermost = not _Config._is_asked and not (in_file and layer is model)
        before, _Config._is_asked = _Config._is_asked, True
        try:
            config: dict[str, Any] = original()
        finally:
            _Config._is_asked = before
        if layer is model and internals.carries_in_config(layer):
            saved = self.saved(layer)
            config = internals.written_to_config(config, self.name, saved)
        lost = list(self._lost(config, in_file=in_file)) if is_outermost else []
        if lost:
            warnings.warn(
                "A config, and so a clone, has what layers keep as arguments, and not "
                "what objects remember. It lacks a penalty or constraint of the "
                f"policy, or what that remembers, on {lost}. Apply the policy to the "
                "new model: keras_regx.models.policies(model).",
                stacklevel=3,
            )
        return config

    def _lost(self, config: dict[str, Any], *, in_file: bool) -> Iterator[str]:
        """Yield the paths inside this layer for which the config lacks something."""
        model, layer = self._model(), self._layer()
        state = None if model is None else attached(model)
        if state is None or layer is None:
            return
        inside = {id(item) for item in internals.all_layers(layer)}
        inside |= {id(variable) for variable in layer.weights}
        places = {id(subject(t)): t for t in targets_of(model)}
        configs = list(_dictionaries({"config": config}))
        has_policies = any(self.name in c for c in configs)
        for i, (_, before) in state.before.items():
            if i not in inside or i not in places:
                continue
            known = None if has_policies else configs
            if _is_lost(places[i], before, known, in_file=in_file):
                yield places[i].path


def _is_lost(
    target: Target,
    before: Before,
    configs: list[dict[str, Any]] | None,
    *,
    in_file: bool,
) -> bool:
    """Return whether configs lack what a policy gave, or what that remembers.

    Args:
        target: Weight or layer.
        before: What it had before any policy.
        configs: The configs of layers; None where the policies are there as well.
        in_file: Whether a file has the configs: it has what objects remember, too.
    """
    for name, value in read(target).values.items():
        if value is None and before.values[name] is None:
            continue
        if value == before.values[name]:
            continue
        if not in_file and any(part.has_state for part in parts(value)):
            return True
        if configs is None:
            continue
        if isinstance(target, LayerSite):
            keys = [(target.layer.name, name)]
        else:
            keys = [(holder.name, f"{stem}_{name}") for holder, stem in target.holders]
        if not any(_says(configs, owner, key, name, value) for owner, key in keys):
            return True
    return False


def _says(
    configs: list[dict[str, Any]], owner: str, key: str, name: str, value: Any
) -> bool:
    """Return whether a layer's config has a value among its arguments."""
    if isinstance(value, OfModel):
        return False
    with internals.unshared():
        wanted = MODULES[name].serialize(value)
    found = [c[key] for c in configs if c.get("name") == owner and key in c]
    return any(_without_ids(config) == wanted for config in found)


def _without_ids(saved: Any) -> Any:
    """Return a config without the numbers that files give to shared objects."""
    if isinstance(saved, dict):
        items = saved.items()
        return {k: _without_ids(v) for k, v in items if k != "shared_object_id"}
    if isinstance(saved, list | tuple):
        return type(saved)(map(_without_ids, saved))
    return saved


def _dictionaries(saved: Any) -> Iterator[dict[str, Any]]:
    """Yield every dict in what was saved."""
    if isinstance(saved, dict):
        yield saved
        saved = saved.values()
    elif not isinstance(saved, list | tuple):
        return
    for value in saved:
        yield from _dictionaries(value)


def say_in_configs(name: str, saved: Any) -> None:
    """Let the configs of models have `saved(model)` under `name`."""
    _Config.name, _Config.saved = name, staticmethod(saved)


def _refuse_legacy(original: Any, filepath: Any, *args: Any, **kwargs: Any) -> None:
    """Save the model; refuse the legacy format, which would lose the policy."""
    if Path(str(filepath)).suffix in (".h5", ".hdf5"):
        raise ValueError(f"{_LEGACY} Received: {filepath}")
    original(filepath, *args, **kwargs)
