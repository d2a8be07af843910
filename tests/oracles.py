"""Float64 NumPy projections, written from the definitions of the sets.

They share no code with the package: sums over index sets, exhaustive search and
textbook formulas, slow and plain.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

Array = np.ndarray


def over_groups(
    axis: Any, project: Callable[[Array], Array]
) -> Callable[[Array], Array]:
    """Return the map that projects each group, given as a vector, on its own."""

    def whole(w: Array) -> Array:
        axes = _axes(axis, w.ndim)
        kept = tuple(a for a in range(w.ndim) if a not in axes)
        moved = np.transpose(w, kept + axes)
        lead = moved.shape[: len(kept)]
        out = np.empty_like(moved)
        for index in product(*(range(n) for n in lead)):
            group = moved[index]
            out[index] = project(np.ravel(group)).reshape(np.shape(group))
        return np.transpose(out, np.argsort(kept + axes))

    return whole


def _axes(axis: Any, ndim: int) -> tuple[int, ...]:
    if axis == "units":
        return tuple(range(ndim - 1))
    if axis == "inputs":
        return (*range(ndim - 2), ndim - 1)
    if axis is None:
        return tuple(range(ndim))
    return tuple(sorted(a % ndim for a in np.atleast_1d(axis)))


def nonneg_unit_norm(v: Array) -> Array:
    """Return the best of all faces: the positive part, or one coordinate."""
    if (v > 0).any():
        positive = np.maximum(v, 0)
        return positive / np.linalg.norm(positive)
    return np.eye(len(v))[np.argmax(v)]


def standardized(mean: float, std: float) -> Callable[[Array], Array]:
    """Return the map to a population mean and standard deviation."""

    def project(v: Array) -> Array:
        deviation = v - v.mean()
        return mean + std * deviation / np.sqrt((deviation**2).mean())

    return project


def plane(normal: Any, offset: float, *, half: bool) -> Callable[[Array], Array]:
    """Return the projection onto `<normal, w> = offset`, or `<=` if `half`."""

    def project(w: Array) -> Array:
        n = np.broadcast_to(np.asarray(normal, "float64"), w.shape)
        excess = (n * w).sum() - offset
        if half and excess <= 0:
            return w
        return w - excess * n / (n**2).sum()

    return project


def signs(sign: Any) -> Callable[[Array], Array]:
    """Return the projection onto prescribed signs of the leading axis."""

    def project(w: Array) -> Array:
        out = w.copy()
        for index in np.ndindex(*w.shape):
            wanted = np.asarray(sign)[index[: np.ndim(sign)]]
            if wanted and np.sign(out[index]) == -wanted:
                out[index] = 0.0
        return out

    return project


def keep(rule: Callable[[int, int, int, int], bool]) -> Callable[[Array], Array]:
    """Return the map that keeps entry i, j of a height x width matrix by a rule."""

    def project(w: Array) -> Array:
        out = w.copy()
        height, width = w.shape[-2:]
        for i in range(height):
            for j in range(width):
                if not rule(i, j, height, width):
                    out[..., i, j] = 0.0
        return out

    return project


def tie(label: Callable[[tuple[int, ...], tuple[int, ...]], Any], axes: slice) -> Any:
    """Return the mean over entries whose indices, on some axes, share a label."""

    def project(w: Array) -> Array:
        out = np.empty_like(w)
        sums: dict[Any, list[float]] = {}
        keys = {}
        for index in np.ndindex(*w.shape):
            inner = label(index[axes], w.shape[axes])
            others = tuple(i for i in range(w.ndim) if i not in range(w.ndim)[axes])
            keys[index] = (inner, tuple(index[i] for i in others))
            sums.setdefault(keys[index], []).append(float(w[index]))
        for index, key in keys.items():
            out[index] = np.mean(sums[key])
        return out

    return project


def ring(index: tuple[int, ...], shape: tuple[int, ...]) -> float:
    """Return the squared distance from the centre."""
    return sum((i - (n - 1) / 2) ** 2 for i, n in zip(index, shape, strict=True))
