"""What `clone_model` loses of a policy on a Sequential, said when it happens.

It makes such a clone from the layers' configs, without asking the model, while
the clone of a functional model is made by the model's own class.
"""

import sys
import warnings
from collections.abc import Iterator
from typing import Any

from keras_regx import constraints, regularizers
from keras_regx.models.sites import sites

_MODULES = {"regularizer": regularizers, "constraint": constraints}


def layers_of_sequential(model: Any) -> list[Any]:
    """Return the layers of a model with a policy; warn if `clone_model` reads them."""
    layers: list[Any] = type(model)._base.layers.fget(model)  # noqa: SLF001
    if sys._getframe(1).f_code.co_name == "_clone_sequential_model":  # noqa: SLF001
        lost = list(_lost(model, [layer.get_config() for layer in layers]))
        if lost:
            warnings.warn(
                "The clone of a Sequential has what its layers keep as arguments. It "
                f"has no penalty or constraint of the policy on {lost}. Apply the "
                "policy to the clone.",
                stacklevel=4,
            )
    return layers


def _lost(model: Any, saved: Any) -> Iterator[str]:
    """Yield the paths of weights whose penalty or constraint no saved config has."""
    found, configs = sites(model), list(_configs(saved))
    for index, before in type(model)._attached.before.items():  # noqa: SLF001
        site = found[index]
        for kind, module in _MODULES.items():
            now = getattr(site.variable, kind)
            kept = now == getattr(before, kind) or any(
                config.get("name") == holder.name
                and config.get(f"{stem}_{kind}") == module.serialize(now)
                for holder, stem in site.holders
                for config in configs
            )
            if not kept:
                yield site.path
                break


def _configs(saved: Any) -> Iterator[dict[str, Any]]:
    """Yield every dict in what was saved."""
    if isinstance(saved, dict):
        yield saved
        saved = saved.values()
    elif not isinstance(saved, list | tuple):
        return
    for value in saved:
        yield from _configs(value)
