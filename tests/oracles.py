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


def under(
    mask: list[int], project: Callable[[Array], Array]
) -> Callable[[Array], Array]:
    """Apply a projection to the vector of the entries under a mask."""

    def masked(w: Array) -> Array:
        on = np.broadcast_to(np.asarray(mask, bool), w.shape)
        result = w.copy()
        result[on] = project(w[on])
        return result

    return masked


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


def capped_simplex(total: float, cap: float) -> Callable[[Array], Array]:
    """Return the projection onto 0 <= y <= cap, sum(y) = total, by bisection."""

    def project(v: Array) -> Array:
        low, high = v.min() - cap - total, v.max()
        for _ in range(200):
            middle = (low + high) / 2
            if np.clip(v - middle, 0, cap).sum() > total:
                low = middle
            else:
                high = middle
        return np.clip(v - (low + high) / 2, 0, cap)

    return project


def simplex(total: float) -> Callable[[Array], Array]:
    """Return the projection onto the simplex, by trying every size of support."""

    def project(v: Array) -> Array:
        v = v - v.max()  # The answer is the same, without cancellation.
        down = np.sort(v)[::-1]
        shifts = (np.cumsum(down) - total) / np.arange(1, len(v) + 1)
        size = np.nonzero(down > shifts)[0].max(initial=0)
        return np.maximum(v - shifts[size], 0)

    return project


def l1_ball(radius: float) -> Callable[[Array], Array]:
    """Return the projection onto the L1 ball, through the simplex of magnitudes."""

    def project(v: Array) -> Array:
        if np.abs(v).sum() <= radius:
            return v
        return np.sign(v) * simplex(radius)(np.abs(v))

    return project


def largest(k: int) -> Callable[[Array], Array]:
    """Return the map that keeps the k largest magnitudes, the first of equals."""

    def project(v: Array) -> Array:
        order = sorted(range(len(v)), key=lambda i: (-abs(v[i]), i))
        out = np.zeros_like(v)
        out[order[:k]] = v[order[:k]]
        return out

    return project


def largest_groups(k: int, axis: Any) -> Callable[[Array], Array]:
    """Return the map that keeps the k groups of largest norm."""

    def project(w: Array) -> Array:
        norms = np.sqrt((w**2).sum(axis=_axes(axis, w.ndim), keepdims=True))
        kept = largest(k)(norms.ravel()).reshape(norms.shape) != 0
        return np.where(kept, w, 0)

    return project


def largest_labels(k: int, labels: list[int]) -> Callable[[Array], Array]:
    """Return the map that keeps the k labels of largest norm along the last axis."""

    def project(w: Array) -> Array:
        squares = (w.reshape(-1, w.shape[-1]) ** 2).sum(axis=0)
        totals = {
            label: sum(
                q for q, own in zip(squares, labels, strict=True) if own == label
            )
            for label in labels
        }
        kept = sorted(totals, key=totals.__getitem__)[-k:] if k else []
        return w * np.isin(labels, kept)

    return project


def n_of_m(n: int, m: int) -> Callable[[Array], Array]:
    """Return the map of a vector that keeps n entries of every m."""

    def project(v: Array) -> Array:
        blocks = [largest(n)(v[i : i + m]) for i in range(0, len(v), m)]
        return np.concatenate(blocks)

    return project


def singular(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Return the map of a kernel, as (fan_in, units), by its singular values."""

    def project(w: Array) -> Array:
        u, s, vt = np.linalg.svd(w.reshape(-1, w.shape[-1]), full_matrices=False)
        return (u @ np.diag(function(s)) @ vt).reshape(w.shape)

    return project


def gram_bound(w: Array) -> float:
    """Return the Schatten norm of order 256, an upper bound of the spectral norm."""
    s = np.linalg.svd(w.reshape(-1, w.shape[-1]), compute_uv=False)
    return float(s[0] * ((s / s[0]) ** 512).sum() ** (1 / 512))


def eigen(lowest: float) -> Callable[[Array], Array]:
    """Return the map to symmetric matrices with eigenvalues at least `lowest`."""

    def project(w: Array) -> Array:
        out = np.empty_like(w)
        for index in np.ndindex(*w.shape[:-2]):
            values, vectors = np.linalg.eigh((w[index] + w[index].T) / 2)
            out[index] = vectors @ np.diag(np.maximum(values, lowest)) @ vectors.T
        return out

    return project


def solved(conditions: Callable[[Any], list[Any]]) -> Callable[[Array], Array]:
    """Return the projection onto a convex set that cvxpy's solver finds."""

    def project(w: Array) -> Array:
        import cvxpy as cp

        x = cp.Variable(w.shape)
        problem = cp.Problem(cp.Minimize(cp.sum_squares(x - w)), conditions(x))
        problem.solve(solver=cp.CLARABEL)
        return np.asarray(x.value)

    return project


def isotonic(*, increasing: bool) -> Callable[[Array], Array]:
    """Return scikit-learn's isotonic regression."""

    def project(v: Array) -> Array:
        from sklearn.isotonic import isotonic_regression

        return np.asarray(isotonic_regression(v, increasing=increasing))

    return project
