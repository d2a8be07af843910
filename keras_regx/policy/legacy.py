"""Reading what version 0.1.0 wrote: another class for the model, other keys.

A model with a policy was saved as `ModelWithPolicy`, whose config numbered the
weights; references were saved under the attributes of layers that held them, in the
order in which Keras walks over these.
"""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_regx import keras_internals as internals
from keras_regx._core.config import bound, parts
from keras_regx.models.sites import Site, keys_of, sites
from keras_regx.policy.assignment import assign
from keras_regx.policy.carrier import (
    MODULES,
    Before,
    Reference,
    attach,
    attached,
    targets_of,
)
from keras_regx.policy.joint import OfModel

NAME_NOW = "keras_regx"  # Where files have had it since.
_STATE = "_keras_regx_state"  # What the model itself held: objects without a slot.


class ModelWithPolicy:
    """Stands for the class of saved models with a policy."""

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Any:
        """Build the model, and let its policies do what they did."""
        model = keras.saving.deserialize_keras_object(
            config["model"], custom_objects=custom_objects
        )
        weights = sites(model)
        for saved, matches in zip(config["policies"], config["matches"], strict=True):
            policy = keras.saving.get_registered_object("keras_regx>Policy")
            policy = policy.from_config(saved)
            attach(model, policy, assign(policy.rules, targets_of(model), matches))
        state = attached(model)
        for number, before in config["before"].items():
            if state is not None:
                site = weights[int(number)]
                values = {
                    name: MODULES[name].deserialize(before.get(name))
                    for name in ("regularizer", "constraint")
                }
                reference = Reference.to(site)
                state.before[id(site.variable)] = (reference, Before(values))
        return model


# By its plain name, as those files have it.
keras.saving.get_custom_objects()["ModelWithPolicy"] = ModelWithPolicy


def load(model: Any, store: Any) -> None:
    """Give objects of a model the references that a file of version 0.1.0 has."""
    file = internals.weights_file(store)
    if file is None or NAME_NOW in file:
        return
    keys, shared = keys_of(model), {}  # type: ignore[var-annotated]
    outside = iter(list(_groups(file, _STATE)))
    for site in sites(model):
        for field in ("regularizer", "constraint"):
            value = getattr(site.variable, field)
            wanted = bound(value, site.variable)
            kept = [part for part in parts(wanted) if part.memory is not None]
            if not kept:
                continue
            if site.holders and not isinstance(value, OfModel):
                slots = (
                    f"{keys.get(id(holder))}/{sign}{stem}_{field}"
                    for holder, stem in site.holders
                    for sign in ("", "_")
                )
                groups = iter([g for slot in slots for g in _groups(file, slot)])
            else:
                groups = outside
            found = [_values(part, site, groups, shared) for part in kept]
            if not any(found):
                continue
            setattr(site.variable, field, wanted)
            for part, values in zip(kept, found, strict=True):
                for name, array in values.items():
                    part.state_tensors()[name].assign(array)


def _groups(file: Any, path: str) -> Iterator[dict[str, Any]]:
    """Yield the arrays of every object below a path of the file, by their keys."""
    if path not in file:
        return
    for name in _names(file[path]):
        if "_family" not in name:  # What the first also has.
            group = file[f"{path}/{name}"]
            yield {key: np.asarray(group[key]) for key in group}


def _names(group: Any) -> list[str]:
    """Return the paths of the groups of arrays below a group, in order."""
    names: list[str] = []
    group.visit(names.append)
    return [n for n in names if n == "vars" or n.endswith("/vars")]


def _values(
    part: Any, site: Site, groups: Iterator[dict[str, Any]], shared: dict[Any, Any]
) -> dict[str, Any]:
    """Return the arrays for an object on one weight.

    An instance of several layers was saved with the first of them, and its config
    named all their weights.
    """
    paths = vars(part).get("_shared", ())
    group = next(groups, None) or shared.get(paths, {})
    if paths:
        shared.setdefault(paths, group)
    at = _position(paths, site.path)
    named = {f"{at}_{name}": name for name in part.state_tensors()}
    found = {name: group[key] for key, name in named.items() if key in group}
    for key, array in group.items():  # Of an AnchorBall: by the path of the weight.
        if _is_same(key.replace("|", "/"), site.path):
            found["anchor"] = array
    return found


def _position(paths: tuple[str, ...], path: str) -> int:
    return next((i for i, p in enumerate(paths) if _is_same(p, path)), 0)


def _is_same(saved: str, path: str) -> bool:
    """Return whether two paths are of one weight: a Sequential may lose its name."""
    tails = {saved, saved.partition("/")[2]}
    return bool(tails & {path, path.partition("/")[2]} - {""}) and "/" in saved
