"""What `"units"` and `(fan_in, units)` mean for the kernel of a given layer.

Most kernels end in their units. These do not, and get a copy of the object with
the axes of that layer, or a view of the kernel as a matrix:

| Kernel | Shape | One unit |
|---|---|---|
| transposed convolution | `(..., out, in)` | one output filter |
| depthwise convolution | `(..., in, multiplier)` | input channel and multiplier |
| attention query, key, value | `(in, heads, key)` | head and key dimension |
| embedding | `(tokens, features)` | one row |
"""

from typing import Any

import keras

from keras_regx._core.config import Configurable, bound
from keras_regx.constraints import PerBlock
from keras_regx.models.sites import Site
from keras_regx.ops.axes import ROLES, resolve_axis
from keras_regx.policy.views import Axes, MatrixConstraint, MatrixPenalty

_TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)


def kernel_axes(site: Site) -> tuple[Axes, Axes]:
    """Return the axes that number the units of a weight, and those of its inputs.

    Example:

    >>> import keras
    >>> from keras_regx.models import sites
    >>> from keras_regx.policy.layout import kernel_axes
    >>> layer = keras.layers.Conv2DTranspose(4, 3)
    >>> layer.build((None, 8, 8, 2))
    >>> kernel_axes(sites(layer)[0])
    ((2,), (3,))
    """
    ndim = len(site.shape)
    last, before = (ndim - 1,), (ndim - 2,)
    layer = site.layer
    if isinstance(layer, _TRANSPOSED) and ndim > 2:
        return before, last
    if site.slot == "depthwise":
        return before + last, before
    if site.slot.endswith("embeddings") and not site.slot.startswith("reverse"):
        return (0,), (0,)
    if isinstance(layer, keras.layers.EinsumDense):
        if site.slot == "bias":
            return tuple(range(ndim)), ()
        return _einsum_axes(layer.equation, ndim)
    return last[:ndim], before if ndim > 1 else ()


def _einsum_axes(equation: str, ndim: int) -> tuple[Axes, Axes]:
    """Return the axes of a kernel that appear in the output, and the others."""
    operands, output = equation.replace(" ", "").split("->")
    kernel = operands.split(",")[1].replace("...", "")
    units = tuple(i for i in range(ndim) if kernel[i] in output)
    return units, tuple(i for i in range(ndim) if i not in units)


def bind(obj: Any, site: Site) -> Any:
    """Return a penalty or constraint as the layer of `site` means it.

    Args:
        obj: Penalty, constraint, function or None.
        site: The weight that it is for.

    Returns:
        `obj` itself where nothing depends on the weight; otherwise a copy with the
        layer's axes, a view of the kernel as a matrix, or, for an object with a
        reference point, a copy that has taken it from the weight.

    Raises:
        ValueError: If the object is not defined on a weight of this rank.
    """
    return bound(laid_out(obj, site), site.variable)


def laid_out(obj: Any, site: Site) -> Any:
    """Return an object with the axes of the layer: itself where they are its own."""
    if not isinstance(obj, Configurable):
        return obj
    if isinstance(obj, MatrixPenalty | MatrixConstraint):
        return obj
    if isinstance(obj, PerBlock) and obj.blocks is None:
        return obj  # A block lacks an axis: the layer's axes are not its own.
    minimum = getattr(obj, "min_rank", 0)
    if len(site.shape) < minimum:
        raise ValueError(
            f"{type(obj).__name__} needs a weight of rank >= {minimum}. "
            f"Received: {site.path!r} of shape {site.shape}"
        )
    units, ndim = kernel_axes(site)[0], len(site.shape)
    # Where each entry is a unit, no tuple of axes says so: (1, units) does.
    as_row = len(units) == ndim > 1 and getattr(obj, "axis", None) in ROLES
    as_matrix = getattr(obj, "sees_matrix", False) and units != (ndim - 1,)
    if as_row or as_matrix:
        is_penalty = isinstance(obj, keras.regularizers.Regularizer)
        return (MatrixPenalty if is_penalty else MatrixConstraint)(obj, units)
    placed = obj.replace(lambda part: laid_out(part, site))
    axis = _axis(obj, site) if "axis" in obj.argument_names() else None
    return placed if axis is None else placed.copied(axis=axis)


def _axis(obj: Any, site: Site) -> Axes | None:
    """Return the axes that a role means for this layer; None for the usual ones."""
    ndim = len(site.shape)
    default = _resolve(obj.axis, ndim, type(obj).__name__, site)
    if not isinstance(obj.axis, str) or obj.axis not in ROLES:
        return None
    kept = kernel_axes(site)[ROLES.index(obj.axis)]
    axes = tuple(a for a in range(ndim) if a not in kept)
    return None if axes == default or not axes else axes


def _resolve(axis: Any, ndim: int, owner: str, site: Site) -> Axes:
    """Resolve an axis; say which weight it is that has no such axis."""
    try:
        return resolve_axis(axis, ndim, owner)
    except ValueError as error:
        raise ValueError(f"{error} for {site.path!r}") from None
