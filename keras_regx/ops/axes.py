"""Which weights belong together: axes by number or by role, group and matrix views.

A group is a set of entries that is normed, sorted or projected together.
`axis` names the axes that are reduced over, as in `keras.ops.sum`:

- an int or a tuple of ints, Keras' meaning;
- `"units"`: all axes but the last, the weights incident to one unit or filter;
- `"inputs"`: all axes but the last but one, the weights of one input feature;
- `None`: the whole tensor is one group.
"""

import math
from collections.abc import Callable
from typing import Any

from keras import ops

from keras_regx._core import validation as check
from keras_regx._core.validation import ROLES as ROLES


def resolve_axis(axis: Any, ndim: int, owner: str = "ops") -> tuple[int, ...]:
    """Return the axes that `axis` reduces over, sorted and non-negative.

    Args:
        axis: Int, tuple or list of ints, `"units"`, `"inputs"` or `None`.
        ndim: Rank of the tensor.
        owner: Name for the error message.

    Returns:
        A tuple of ints. It is empty for `"units"` on a vector, where every
        entry is its own group.

    Raises:
        ValueError: If an axis is out of range, repeated, or has no meaning at
            this rank.

    Example:

    >>> from keras_regx.ops import resolve_axis
    >>> resolve_axis("units", 4)
    (0, 1, 2)
    >>> resolve_axis("inputs", 4)
    (0, 1, 3)
    >>> resolve_axis(-1, 2)
    (1,)
    """
    if axis is None:
        return tuple(range(ndim))
    if isinstance(axis, str):
        if axis == "units":
            return tuple(range(ndim - 1))
        if axis == "inputs" and ndim >= 2:
            return (*range(ndim - 2), ndim - 1)
        needed = f"a tensor of rank >= 2, not {ndim}"
        expected = needed if axis == "inputs" else f"one of {ROLES}"
        check.fail(owner, "axis", expected, axis)
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    resolved = sorted(a + ndim if a < 0 else a for a in axes)
    in_range = all(0 <= a < ndim for a in resolved)
    if not in_range or len(set(resolved)) != len(resolved):
        expected = f"distinct axes of a tensor of rank {ndim}"
        check.fail(owner, "axis", expected, axis)
    return tuple(resolved)


def group_rows(x: Any, axis: Any) -> tuple[Any, Callable[[Any], Any]]:
    """View `x` as one row per group.

    Args:
        x: Tensor; the axes that form a group have static lengths.
        axis: Axes that form a group; see `resolve_axis`.

    Returns:
        `(rows, restore)`: a tensor of shape `(groups, group_size)` and the
        function that takes a tensor of that shape back to the shape of `x`.

    Example:

    >>> from keras import ops
    >>> from keras_regx.ops import group_rows
    >>> rows, restore = group_rows(ops.ones((3, 2)), "units")
    >>> tuple(rows.shape), tuple(restore(rows).shape)
    ((2, 3), (3, 2))
    """
    shape = tuple(x.shape)
    x_shape = ops.shape(x) if None in shape else shape
    axes = resolve_axis(axis, len(shape))
    kept = tuple(a for a in range(len(shape)) if a not in axes)
    order = kept + axes
    inverse = tuple(order.index(a) for a in range(len(shape)))
    size = _product([shape[a] for a in axes])
    groups = _product([shape[a] for a in kept])
    moved = _known([x_shape[a] for a in order])
    is_sorted = order == tuple(range(len(shape)))

    def restore(rows: Any) -> Any:
        y = ops.reshape(rows, moved)
        return y if is_sorted else ops.transpose(y, inverse)

    moved_x = x if is_sorted else ops.transpose(x, order)
    return ops.reshape(moved_x, (groups, size)), restore


def _product(lengths: list[Any]) -> int:
    """Return the product of lengths; -1, for `reshape`, if one is only known later."""
    return -1 if None in lengths else math.prod(lengths)


def _known(lengths: Any) -> tuple[Any, ...]:
    """Return lengths for `reshape`: -1 for one that a symbolic tensor leaves open."""
    return tuple(-1 if n is None else n for n in lengths)


def group_size(shape: tuple[int, ...], axis: Any) -> int:
    """Return the number of entries in each group of a tensor of this shape."""
    return math.prod(shape[a] for a in resolve_axis(axis, len(shape)))


def as_matrix(w: Any) -> Any:
    """View a kernel of rank >= 2 as a matrix of shape `(fan_in, units)`."""
    if len(w.shape) == 2:
        return w
    return ops.reshape(w, (_product(list(w.shape[:-1])), w.shape[-1]))
