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
    keys = keys_of(model)
    outside = iter(list(_groups(file, _STATE)))
    jobs: list[tuple[Site, str, Any, list[tuple[Any, Any]]]] = []
    shared: dict[tuple[str, ...], dict[str, Any]] = {}
    for site in sites(model):
        for field in ("regularizer", "constraint"):
            value = getattr(site.variable, field)
            wanted = bound(value, site.variable)
            in_slot = bool(site.holders) and not isinstance(value, OfModel)
            groups = _of_slots(file, site, field, keys) if in_slot else outside
            kept = [part for part in parts(wanted) if part.memory is not None]
            pairs = [(part, next(groups, None)) for part in kept]
            for part, group in pairs:
                if group is not None:  # With the first of the weights that share it.
                    shared.setdefault(_paths(part), group)
            jobs.append((site, field, wanted, pairs))
    taken: dict[tuple[str, ...], int] = {}
    for site, field, wanted, pairs in jobs:
        for part, own in pairs:
            paths = _paths(part)
            group = shared.get(paths, {}) if paths else own or {}
            order = taken[paths] = taken.get(paths, -1) + 1
            for name, array in _values(part, site, group, order).items():
                setattr(site.variable, field, wanted)
                part.state_tensors()[name].assign(array)


def _paths(part: Any) -> tuple[str, ...]:
    """Return the paths of the weights that shared one instance, if several did."""
    paths: tuple[str, ...] = vars(part).get("_shared", ())
    return paths


def _of_slots(
    file: Any, site: Site, field: str, keys: dict[int, str]
) -> Iterator[dict[str, Any]]:
    """Yield the arrays below the arguments of layers for one weight."""
    for holder, stem in site.holders:
        for sign in ("", "_"):
            yield from _groups(file, f"{keys.get(id(holder))}/{sign}{stem}_{field}")


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


def _values(part: Any, site: Site, group: dict[str, Any], order: int) -> dict[str, Any]:
    """Return the arrays for an object on one weight.

    Args:
        part: The object.
        site: The weight.
        group: The arrays that were saved, of all weights that shared the instance.
        order: How many of these came before; used where no path is the same.
    """
    paths = _paths(part)
    same = [i for i, path in enumerate(paths) if _is_same(path, site.path)]
    at = (same or [order])[0] if paths else 0
    names = {f"{at}_{name}": name for name in part.state_tensors()}
    # Of an AnchorBall: by the path of the weight.
    by_path = {key.replace("|", "/"): key for key in group if "|" in key}
    near = [key for path, key in by_path.items() if _is_same(path, site.path)]
    if by_path:
        names = {(near or [*by_path.values()][at:])[0]: "anchor"}
    return {name: group[key] for key, name in names.items() if key in group}


def _is_same(saved: str, path: str) -> bool:
    """Return whether two paths are of one weight: a Sequential may lose its name."""
    return saved == path or path in saved.split("/", 1)[1:]
