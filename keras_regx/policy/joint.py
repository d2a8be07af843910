"""One penalty for several weights together, and for LoRA's effective kernel.

These live on one variable of a model, and read the others. They hold on to the
model, so they are not saved by themselves: the `Policy` that made them is.
"""

import math
from collections.abc import Sequence
from typing import Any, NoReturn

from keras import ops

from keras_regx import regularizers
from keras_regx._core.config import parts
from keras_regx._core.memory import View
from keras_regx.models.sites import Site
from keras_regx.ops.axes import ROLES
from keras_regx.ops.numerics import upcast
from keras_regx.policy.layout import kernel_axes
from keras_regx.policy.views import units_matrix


class OfModel(regularizers.Regularizer):
    """A penalty that reads variables of the model it was made for."""

    def __init__(self, regularizer: Any, sites: Sequence[Site]) -> None:
        self.regularizer = regularizer
        self.variables = [site.variable for site in sites]

    @property
    def shown_as(self) -> Any:
        """The penalty that listings name."""
        return self.regularizer

    def arguments(self) -> dict[str, Any]:
        """Return the penalty alone: the weights belong to the model."""
        return {"regularizer": self.regularizer}

    proximable = False
    no_prox_reason = "it reads several weights"

    def get_config(self) -> NoReturn:
        """Refuse: the `Policy` is saved, and makes this anew."""
        raise NotImplementedError(
            f"{type(self).__name__} belongs to the variables of one model. Save the "
            "Policy that made it."
        )

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, OfModel)
            and type(self) is type(other)
            and self.regularizer == other.regularizer
            and list(map(id, self.variables)) == list(map(id, other.variables))
        )

    def __hash__(self) -> int:
        return hash((type(self), self.regularizer))


class JointPenalty(OfModel):
    """A penalty of several weights, stacked to `(sum of fan_in, units)`.

    A bias is one more row below its kernel. Weights with different numbers of
    units are laid out as one vector instead, for penalties that need no more.
    """

    def __init__(self, regularizer: Any, sites: Sequence[Site]) -> None:
        super().__init__(regularizer, sites)
        self._unit_axes = [kernel_axes(site)[0] for site in sites]
        counts = {_units(site) for site in sites}
        self._stacked = len(counts) == 1
        if not self._stacked and any(map(_needs_units, parts(regularizer))):
            names = ", ".join(f"{site.path} ({_units(site)} units)" for site in sites)
            raise ValueError(
                f"{regularizer!r} needs weights with the same number of units. "
                f"Received: {names}"
            )

    def _inner_view(self, view: View) -> View:  # noqa: ARG002
        first = self.variables[0]
        return View(first, lambda: self._together(first))

    def __call__(self, x: Any) -> Any:
        """Return the penalty of `x` and the other weights together."""
        return self.regularizer(self._together(x))

    def _together(self, x: Any) -> Any:
        weights = [upcast(w) for w in (x, *self.variables[1:])]
        if not self._stacked:
            return ops.concatenate([ops.reshape(w, (-1,)) for w in weights])
        pairs = zip(weights, self._unit_axes, strict=True)
        return ops.concatenate([units_matrix(w, axes)[0] for w, axes in pairs])


class EffectivePenalty(OfModel):
    """A penalty of the kernel that a LoRA layer uses: `W + (alpha / r) A B`."""

    def __init__(self, regularizer: Any, site: Site) -> None:
        super().__init__(regularizer, [site])
        self.layer = site.layer
        self.attribute = "embeddings" if site.slot == "embeddings" else "kernel"

    def _inner_view(self, view: View) -> View:  # noqa: ARG002
        return View(self.variables[0], self._effective)

    def __call__(self, x: Any) -> Any:  # noqa: ARG002  (the layer merges both factors)
        """Return the penalty of the merged kernel."""
        return self.regularizer(self._effective())

    def _effective(self) -> Any:
        return getattr(self.layer, self.attribute)


def _units(site: Site) -> int:
    return math.prod(site.shape[axis] for axis in kernel_axes(site)[0])


def _needs_units(part: Any) -> bool:
    has_role = getattr(part, "axis", None) in ROLES
    return has_role or getattr(part, "min_rank", 0) > 1
