"""Groups by label: units or inputs that share a label are one group."""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from keras import ops

from keras_regx.ops.axes import resolve_axis
from keras_regx.ops.numerics import safe_norm


def label_count(shape: tuple[int, ...], axis: Any) -> int:
    """Return how many labels a tensor of this shape needs."""
    axes = resolve_axis(axis, len(shape))
    return math.prod(n for a, n in enumerate(shape) if a not in axes)


def label_norms(
    x: Any, axis: Any, labels: Sequence[int]
) -> tuple[Any, list[int], Callable[[Any], Any]]:
    """Return the Euclidean norms of the groups that labels make.

    Args:
        x: Floating tensor of static shape.
        axis: The axes that one label stands for; see `resolve_axis`.
        labels: One integer for each index of the other axes, in row-major order.

    Returns:
        `(norms, sizes, spread)`: a tensor with one norm per group, in the order in
        which the labels first appear; the numbers of entries; and the function
        that hands a tensor of one number per group out to the entries, in a shape
        that broadcasts against `x`.

    Gradient: `x / ||x_g||`, and 0 where the norm is 0.
    """
    axes = resolve_axis(axis, len(x.shape))
    own = safe_norm(x, axes, keepdims=True)
    group_of, members, widths = _plan(tuple(labels))
    # The members of a group stand in a row; short rows are filled up by a zero.
    padded = ops.concatenate([ops.reshape(own, (-1,)), ops.zeros((1,), own.dtype)])
    norms = [safe_norm(_take(padded, rows), axis=-1) for _, rows in widths]
    order = [group for groups, _ in widths for group in groups]
    place = sorted(range(len(order)), key=order.__getitem__)
    together = _take(ops.concatenate(norms), place)
    size = math.prod([x.shape[a] for a in axes])

    def spread(values: Any) -> Any:
        return ops.reshape(_take(values, group_of), own.shape)

    return together, [size * count for count in members], spread


def _take(x: Any, indices: Any) -> Any:
    return ops.take(x, ops.convert_to_tensor(indices, dtype="int32"), axis=0)


@lru_cache(maxsize=256)
def _plan(
    labels: tuple[int, ...],
) -> tuple[list[int], list[int], list[tuple[list[int], list[list[int]]]]]:
    """Return the group of each label, the groups' counts, and their members.

    Members come in tables of equal width, a power of two, so that one large group
    among small ones costs no more than twice its own entries.
    """
    number = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    group_of = [number[label] for label in labels]
    members: list[list[int]] = [[] for _ in number]
    for position, group in enumerate(group_of):
        members[group].append(position)
    tables: dict[int, tuple[list[int], list[list[int]]]] = {}
    for group, found in enumerate(members):
        width = 1 << (len(found) - 1).bit_length()
        groups, rows = tables.setdefault(width, ([], []))
        groups.append(group)
        rows.append(found + [len(labels)] * (width - len(found)))
    return group_of, [len(found) for found in members], list(tables.values())
