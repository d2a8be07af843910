"""The one way in and out of files: what a model remembers, and its policies.

Keras walks over the attributes of a model when it saves or loads one, and calls what
it finds there. `Door` is what it finds, on every model: it writes what objects remember
into the weights, so that `.weights.h5` and checkpoints have it too. Policies are in the
config of Functional and Sequential models; those of other models, and what `Proximal`
is about, are a text beside the weights, which only whole files have. Copies and pickles
are whole files in memory. Everything is keyed as `models.sites.keys_of` says.
"""

import json
import re
import warnings
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_regx import keras_internals as internals
from keras_regx._core.config import Configurable, bound, parts
from keras_regx.models.sites import keys_of, sites
from keras_regx.models.tracking import Holder, adopt, holders
from keras_regx.policy import carrier, legacy
from keras_regx.policy.assignment import assign
from keras_regx.policy.carrier import (
    MODULES,
    Applied,
    Before,
    Reference,
    attach,
    attached,
    subject,
    targets_of,
)
from keras_regx.policy.policy import Policy
from keras_regx.version import __version__

NAME = legacy.NAME_NOW
_FILE = "policy.json"
_HEAD: dict[str, Any] = {"format": 1, "version": __version__}


class Door(internals.KerasSaveable):
    """Writes and reads what a model remembers, and its policies."""

    def __init__(self, model: Any) -> None:
        # Weak: Keras walks over the attributes of this, too.
        self._model = weakref.ref(model)
        self._left: Any = None

    def __repr__(self) -> str:
        return "<what keras_regx remembers of a model>"

    def _obj_type(self) -> str:
        return "Loss"  # The kind whose own attribute names Keras skips: none of ours.

    def save_own_variables(self, store: Any) -> None:
        """Write what objects remember; called by Keras."""
        model = self._model()
        if model is None or not _is_outermost(store):
            return  # The outermost model has written it.
        adopt(model)
        index, arrays = [], []
        for entry, tensor in remembered(model):
            index.append(entry)
            arrays.append(ops.convert_to_numpy(tensor))
        if index:
            text = json.dumps(index).encode()
            store["index"] = np.frombuffer(text, dtype="uint8")
            for i, array in enumerate(arrays):
                store[str(i)] = array

    def load_own_variables(self, store: Any) -> None:
        """Read what objects remember; called by Keras."""
        model = self._model()
        if model is None or not _is_outermost(store):
            return
        if "index" not in store.keys():  # noqa: SIM118  (a store is no dictionary)
            legacy.load(model, store)
            return
        index = json.loads(bytes(np.asarray(store["index"])))
        values = [(e, np.asarray(store[str(i)])) for i, e in enumerate(index)]
        self._left = remember(model, values)  # For policies that are read next.

    def save_assets(self, folder: str) -> None:
        """Write the policies that configs do not have; called by Keras."""
        model = self._model()
        saved = {} if model is None or not model.built else beside_config(model)
        if saved:
            text = json.dumps({**_HEAD, **saved}, indent=1)
            (Path(folder) / _FILE).write_text(text, "utf-8")

    def load_assets(self, folder: str | None) -> None:
        """Read the policies that configs do not have; called by Keras."""
        model, left = self._model(), self._left
        self._left = None
        path = None if folder is None else Path(folder) / _FILE
        if model is not None and path is not None and path.exists():
            read_beside_config(model, json.loads(path.read_text("utf-8")))
            remember(model, left or [])


def _is_outermost(store: Any) -> bool:
    return internals.entry_path(store) in ("", NAME)


def remembered(model: Any) -> Iterator[tuple[dict[str, Any], Any]]:
    """Yield `(entry, array)` for everything that objects on a model remember."""
    places: list[tuple[str, Any]] = [("", place) for place in holders(model)]
    places += [(at, place) for at, place in covered(model) if not place.is_shown]
    found = [
        (at, place, i, part, name, array)
        for at, place in places
        for i, part in enumerate(parts(place.value))
        for name, array in part.saved_state().items()
    ]
    keys = keys_of(model) if found else {}  # A walk over everything, as saving is.
    for at, place, i, part, name, array in found:
        entry = {
            "of": keys.get(id(place.owner)),
            "field": place.field,
            "part": i,
            "class": type(part).__name__,
            "name": name,
        }
        yield entry | ({"at": at} if at else {}), array


@dataclass
class Covered:
    """What a policy covers on a weight or layer, until it is removed."""

    owner: Any
    field: str
    values: dict[str, Any]

    @property
    def value(self) -> Any:
        """The penalty or constraint itself."""
        return self.values[self.field]

    @value.setter
    def value(self, value: Any) -> None:
        self.values[self.field] = value

    @property
    def is_shown(self) -> bool:
        """Whether it is what the weight or layer has now: nothing covers it."""
        return self.value is Holder(self.owner, self.field).value


def covered(model: Any) -> Iterator[tuple[str, Covered]]:
    """Yield what policies cover, each with the place that names it in a file."""
    for number, layer in enumerate(internals.all_layers(model)):
        state = attached(layer)
        if state is None:
            continue
        kept = [("before", r, before.values) for r, before in state.before.values()]
        for i, applied in enumerate(state.applied):
            kept += [(f"given/{i}", r, values) for r, values in applied.given]
        for where, reference, values in kept:
            owner = reference.ref()
            for field in values if owner is not None else ():
                yield f"{number}/{where}", Covered(owner, field, values)


Remembered = list[tuple[dict[str, Any], Any]]


def remember(model: Any, values: Remembered) -> Remembered:
    """Give objects on a model what was remembered; return what is for none of them."""
    owners, left = _owners(model), []
    below = {(at, id(c.owner), c.field): c for at, c in covered(model)}
    for entry, value in values:
        owner = owners.get(entry["of"])
        place: Any = None if owner is None else Holder(owner, entry["field"])
        if "at" in entry:
            place = below.get((entry["at"], id(owner), entry["field"]))
        part = None if place is None else _part(place, entry)
        if part is None:
            left.append((entry, value))
        elif not part.load_state(entry["name"], value):
            warnings.warn(
                f"The {entry['name']} that was saved for {entry['of']!r}, of shape "
                f"{value.shape}, does not fit {part!r}, and is not used.",
                stacklevel=2,
            )
    return left


def _owners(model: Any) -> dict[str, Any]:
    """Return the weights and layers of a model by key."""
    keys = keys_of(model)
    items = (*internals.all_layers(model), *model.weights)
    return {keys[id(item)]: item for item in items if id(item) in keys}


def _part(place: Any, entry: dict[str, Any]) -> Any:
    """Return the object that an entry is for, or None if it is not there."""
    value = place.value
    if not isinstance(value, Configurable):
        return None
    if not isinstance(place.owner, keras.Layer):
        value = bound(value, place.owner)
    found = list(value.parts())
    at = entry["part"]
    if at >= len(found) or type(found[at]).__name__ != entry["class"]:
        return None
    if value is not place.value:
        place.value = value
    return found[at]


# Policies -------------------------------------------------------------------------


def beside_config(model: Any) -> dict[str, Any]:
    """Return the policies that the config of a model does not have, as JSON values."""
    inside = [
        layer
        for layer in internals.all_layers(model)
        if attached(layer) is not None
        # The config of a model inside another one may be in no file.
        and not (layer is model and internals.carries_in_config(layer))
    ]
    plans = _plans(model)
    if not inside and not any(plan.matched for plan in plans):
        return {}
    keys = keys_of(model)
    models = [{"model": keys[id(x)], **saved_policies(x)} for x in inside]
    return {"models": models, "proximal": [plan.saved(keys) for plan in plans]}


def saved_policies(model: Any) -> dict[str, Any]:
    """Return the policies of a model, and what was before, as JSON values."""
    state, keys = attached(model), keys_of(model)
    if state is None:
        return {}
    with internals.unshared():
        return {
            **_HEAD,
            "policies": [_saved(applied, keys) for applied in state.applied],
            "before": [
                _saved_before(keys[i], before)
                for i, (_, before) in state.before.items()
                if i in keys
            ],
        }


def _plans(model: Any) -> list[Any]:
    """Return which variable gets which penalty, of each `Proximal` of a model."""
    optimizers = internals.optimizers_of(model)
    return [optimizer.plan for optimizer in optimizers if hasattr(optimizer, "plan")]


def _saved(applied: Applied, keys: dict[int, str]) -> dict[str, Any]:
    """Return a policy, with the weights of its rules; a predicate becomes its paths."""
    rules, matches, lost = [], [], []
    for rule, references in zip(applied.policy.rules, applied.matches, strict=True):
        gone = [r.path for r in references if id(r.ref()) not in keys]
        there = [r for r in references if id(r.ref()) in keys]
        if gone and rule.joint in ("layer", "all"):  # Another penalty without these.
            layers = {path.rpartition("/")[0] for path in gone}
            there = [
                r
                for r in there
                if rule.joint == "layer" and r.path.rpartition("/")[0] not in layers
            ]
        lost += gone
        arguments = rule.arguments()
        if arguments.pop("predicate", None) is not None:
            paths = [f"re:^{re.escape(r.path)}$" for r in there]
            arguments["pattern"] = paths or ["re:$^"]  # The latter matches nothing.
        rules.append(type(rule)(**arguments))
        matches.append([keys[id(r.ref())] for r in there])
    if lost:
        _warn_lost(lost)
    policy = keras.saving.serialize_keras_object(type(applied.policy)(rules))
    return {"policy": policy, "matches": matches}


def _saved_before(key: str, before: Before) -> dict[str, Any]:
    values = {
        name: MODULES[name].serialize(value)
        for name, value in before.values.items()
        if value is not None
    }
    return {"of": key, "is_layer": "activity_regularizer" in before.values, **values}


def read_beside_config(model: Any, saved: dict[str, Any]) -> None:
    """Put what `beside_config` returned on a model again.

    Raises:
        ValueError: If the text is of a newer version, or names an unknown class.
    """
    _check_version(saved)
    owners = _owners(model)
    for part in saved["models"]:
        inner = owners.get(part["model"])
        if inner is not None:
            read_policies(inner, part)
    for plan, text in zip(_plans(model), saved["proximal"], strict=False):
        if text:
            plan.restore(text, sites(model), keys_of(model))


def _check_version(saved: dict[str, Any]) -> None:
    if saved.get("format", 0) > _HEAD["format"]:
        raise ValueError(
            f"The policies of this model were saved by keras_regx {saved['version']}, "
            f"which is newer than this one, {__version__}."
        )


def read_policies(model: Any, saved: dict[str, Any]) -> None:
    """Put saved policies on a model again, on the weights that they were on.

    Raises:
        ValueError: If the text is of a newer version, or names an unknown class.
    """
    _check_version(saved)
    owners = _owners(model)
    targets = targets_of(model)
    numbers = {id(subject(target)): i for i, target in enumerate(targets)}
    lost: list[str] = []
    for text in saved["policies"]:
        matches = []
        for keys in text["matches"]:
            there = [numbers.get(id(owners.get(key))) for key in keys]
            matches.append([i for i in there if i is not None])
            lost += [k for k, i in zip(keys, there, strict=True) if i is None]
        policy = _policy(text["policy"])
        assignment = assign(policy.rules, targets, matches)
        lost += assignment.quantized()
        attach(model, policy, assignment)
    state = attached(model)
    if state is not None:
        for item in saved["before"]:
            i = numbers.get(id(owners.get(item["of"])))
            if i is not None:
                before = Before(_loaded_before(item))
                subject_of = subject(targets[i])
                state.before[id(subject_of)] = (Reference.to(targets[i]), before)
    if lost:
        _warn_lost(lost)


def _policy(config: dict[str, Any]) -> Policy:
    try:
        policy: Policy = keras.saving.deserialize_keras_object(config)
    except (TypeError, ValueError) as error:
        raise ValueError(f"A policy of this file cannot be read: {error}") from error
    return policy


def _loaded_before(saved: dict[str, Any]) -> dict[str, Any]:
    is_layer = saved["is_layer"]
    names = [n for n in MODULES if (n == "activity_regularizer") == is_layer]
    return {name: MODULES[name].deserialize(saved.get(name)) for name in names}


def _warn_lost(paths: list[str]) -> None:
    warnings.warn(
        "Weights that rules of a policy are about are gone, or quantized, and get "
        f"nothing: {', '.join(dict.fromkeys(paths))}",
        stacklevel=2,
    )


internals.save_with_models(NAME, Door)
internals.read_from_configs(NAME, read_policies)
carrier.say_in_configs(NAME, saved_policies)
