"""Weights that are equal: Radial, Circulant, Toeplitz, FlipSymmetric.

Each is the mean over the orbits of a symmetry, the projection onto the weights
that the symmetry leaves alone.
"""

import math
from typing import Any

import numpy as np
from keras import ops

from keras_regx._core import validation as check
from keras_regx.constraints.base import Constraint, Grouped, register
from keras_regx.ops.numerics import dtype_of, upcast


def orbit_mean(rows: Any, labels: np.ndarray[Any, Any]) -> Any:
    """Replace each row by the mean of the rows with the same label.

    Differences to the first row of an orbit are averaged, not the rows: rows
    that are equal already come back bitwise unchanged.
    """
    _, index, count = np.unique(labels, return_inverse=True, return_counts=True)
    index = index.reshape(-1)
    # One row per orbit: its members, and its first one again to fill the row.
    order = np.argsort(index, kind="stable")
    place = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)
    table = np.repeat(order[np.cumsum(count) - count][:, None], count.max(), axis=1)
    table[index[order], place] = order
    first = ops.take(rows, ops.convert_to_tensor(table[:, 0].astype("int32")), axis=0)
    grouped = ops.take(rows, ops.convert_to_tensor(table.astype("int32")), axis=0)
    total = ops.sum(grouped - first[:, None], axis=1)
    count = ops.convert_to_tensor(count[:, None], dtype=dtype_of(rows))
    index = ops.convert_to_tensor(index.astype("int32"))
    return ops.take(first + total / count, index, axis=0)


@register
class Radial(Constraint):
    """Rings of equal weights around the centre of each filter.

        P(w)_p = mean of w_q over all q as far from the centre as p

    Args: none.

    Call: floating tensor or variable of rank >= 3, `(*spatial, channels,
        filters)` -> same shape and dtype.
    Exact: yes; a kernel constant on rings is bitwise unchanged.
    Convex: yes, a linear subspace.
    Raises: ValueError if the tensor is not floating or of rank below 3.
    Reference: as the name says in Keras 2, but the projection; see
        `RadialConstraint` for Keras 2's formula.

    Example:

    >>> from keras import ops
    >>> from keras_regx.constraints import Radial
    >>> w = ops.reshape(ops.arange(9, dtype="float32"), (3, 3, 1, 1))
    >>> [[int(v) for v in row] for row in Radial()(w + w)[:, :, 0, 0]]
    [[8, 8, 8], [8, 8, 8], [8, 8, 8]]
    """

    convex = True
    cone = True
    pools = True
    min_rank = 3

    def _project(self, w: Any) -> Any:
        spatial = tuple(w.shape[:-2])
        axes = [(2 * np.arange(n) - n + 1) ** 2 for n in spatial]
        radius = sum(np.meshgrid(*axes, indexing="ij"))
        rows = ops.reshape(upcast(w), (math.prod(spatial), -1))
        return ops.reshape(orbit_mean(rows, np.ravel(radius)), w.shape)


class _Diagonals(Constraint):
    """Matrices, in the last two axes, that are constant along their diagonals."""

    convex = True
    cone = True
    pools = True
    min_rank = 2

    def _labels(self, height: int, width: int) -> np.ndarray[Any, Any]:
        """Return the number of the diagonal of each entry."""
        return np.arange(width)[None, :] - np.arange(height)[:, None]

    def _project(self, w: Any) -> Any:
        height, width = w.shape[-2:]
        labels = self._labels(height, width).ravel()
        batch = math.prod(w.shape[:-2])
        rows = ops.transpose(ops.reshape(upcast(w), (batch, height * width)))
        return ops.reshape(ops.transpose(orbit_mean(rows, labels)), w.shape)


@register
class Toeplitz(_Diagonals):
    """Constant along each diagonal of the last two axes.

        P(w)_ij = mean of w over all entries with the same j - i

    A dense layer that is a convolution.

    Args: none.

    Call: floating tensor or variable of rank >= 2 -> same shape and dtype.
    Exact: yes; a Toeplitz matrix is bitwise unchanged.
    Convex: yes, a linear subspace.
    Raises: ValueError if the tensor is not floating or of rank below 2.
    Reference: Gray (2006), Toeplitz and Circulant Matrices.

    Example:

    >>> from keras_regx.constraints import Toeplitz
    >>> [[float(v) for v in row] for row in Toeplitz()([[1.0, 2.0], [3.0, 4.0]])]
    [[2.5, 2.0], [3.0, 2.5]]
    """


@register
class Circulant(_Diagonals):
    """Constant along each wrapped diagonal of the last two, square axes.

        P(w)_ij = mean of w over all entries with the same (j - i) mod n

    A dense layer that is a periodic convolution.

    Args: none.

    Call: floating tensor or variable of rank >= 2, square in its last two axes
        -> same shape and dtype.
    Exact: yes; a circulant matrix is bitwise unchanged.
    Convex: yes, a linear subspace.
    Raises: ValueError if the tensor is not floating, not square, or of rank
        below 2.
    Reference: Gray (2006), Toeplitz and Circulant Matrices.

    Example:

    >>> from keras_regx.constraints import Circulant
    >>> [[float(v) for v in row] for row in Circulant()([[1.0, 2.0], [4.0, 3.0]])]
    [[2.0, 3.0], [3.0, 2.0]]
    """

    def _labels(self, height: int, width: int) -> np.ndarray[Any, Any]:
        if height != width:
            expected = "a tensor that is square in its last two axes"
            check.fail(self, "w", expected, (height, width))
        return super()._labels(height, width) % width


@register
class FlipSymmetric(Grouped):
    """Unchanged when flipped along an axis.

        P(w) = (w + flip(w)) / 2

    Args:
        axis: Int or tuple of ints. Flipping all of them at once leaves the
            weights unchanged; `(0, 1)` is a turn by 180 degrees of a filter.

    Call: floating tensor or variable that has these axes -> same shape and
        dtype.
    Exact: yes; symmetric weights are bitwise unchanged.
    Convex: yes, a linear subspace.
    Raises: ValueError naming the argument and the value received.
    Reference: Cohen and Welling (2016), ICML.

    Example:

    >>> from keras_regx.constraints import FlipSymmetric
    >>> [float(v) for v in FlipSymmetric(axis=0)([1.0, 5.0, 3.0])]
    [2.0, 5.0, 2.0]
    """

    convex = True
    cone = True
    pools = True

    def __init__(self, axis: int | tuple[int, ...]) -> None:
        if isinstance(axis, str) or axis is None:
            check.fail(self, "axis", "an int or a tuple of distinct ints", axis)
        self.axis = check.axis(self, axis)

    def _project(self, w: Any) -> Any:
        w = upcast(w)
        flipped = ops.flip(w, axis=self._axes(w))
        return ops.where(w == flipped, w, w / 2 + flipped / 2)
