"""Sets of square matrices: Symmetric, SkewSymmetric, PSD, DoublyStochastic."""

from typing import Any

import numpy as np
from keras import ops

from keras_regx._core import validation as check
from keras_regx.constraints.base import Constraint, magnitude, register
from keras_regx.constraints.spectral import _MatrixSet
from keras_regx.ops.matrix import normalized
from keras_regx.ops.numerics import dtype_of, larger, positive_part, upcast


def transposed(owner: Any, w: Any) -> Any:
    """Return the transpose of the last two axes, which must be equally long."""
    if w.shape[-1] != w.shape[-2]:
        expected = "a tensor that is square in its last two axes"
        check.fail(owner, "w", expected, tuple(w.shape))
    return ops.swapaxes(w, -1, -2)


@register
class Symmetric(Constraint):
    """Equal to its transpose, in the last two axes.

        P(W) = (W + W^T) / 2

    Args: none.

    Call: floating tensor or variable, square in its last two axes -> same shape
        and dtype.
    Exact: yes; a symmetric matrix is bitwise unchanged.
    Convex: yes, a linear subspace.
    Raises: ValueError if the tensor is not floating or not square.
    Reference: Fan and Hoffman (1955), Proceedings of the AMS 6(1).

    Example:

    >>> from keras_regx.constraints import Symmetric
    >>> [[float(v) for v in row] for row in Symmetric()([[1.0, 2.0], [4.0, 3.0]])]
    [[1.0, 3.0], [3.0, 3.0]]
    """

    convex = True
    cone = True
    pools = True
    min_rank = 2

    def _project(self, w: Any) -> Any:
        w = upcast(w)
        t = transposed(self, w)
        return ops.where(w == t, w, w / 2 + t / 2)


@register
class SkewSymmetric(Constraint):
    """Minus its transpose, in the last two axes.

        P(W) = (W - W^T) / 2

    The generator of a rotation: a recurrence that neither grows nor decays.

    Args: none.

    Call: floating tensor or variable, square in its last two axes -> same shape
        and dtype.
    Exact: yes; a skew-symmetric matrix is bitwise unchanged.
    Convex: yes, a linear subspace.
    Raises: ValueError if the tensor is not floating or not square.
    Reference: Chang, Chen, Haber and Chi (2019), ICLR.

    Example:

    >>> from keras_regx.constraints import SkewSymmetric
    >>> w = SkewSymmetric()([[1.0, 2.0], [4.0, 3.0]])
    >>> [[float(v) for v in row] for row in w]
    [[0.0, -1.0], [1.0, 0.0]]
    """

    convex = True
    cone = True
    min_rank = 2

    def _project(self, w: Any) -> Any:
        w = upcast(w)
        t = transposed(self, w)
        return ops.where(w == -t, w, w / 2 - t / 2)


@register
class PSD(_MatrixSet):
    """Symmetric with eigenvalues at least `min_eigenvalue`, in the last two axes.

        P(W) = V diag(max(lambda, min_eigenvalue)) V^T,
        (W + W^T) / 2 = V diag(lambda) V^T

    Args:
        min_eigenvalue: Finite float. 0 is positive semidefinite, more is definite.

    Call: floating tensor or variable, square in its last two axes -> same shape
        and dtype. Not finite becomes NaN.
    Exact: to 1e-6. Convex: yes.
    Raises: ValueError naming the argument and the value received.
    Reference: Higham (1988), Linear Algebra and its Applications 103.

    Example:

    >>> from keras_regx.constraints import PSD
    >>> w = PSD()([[2.0, 0.0], [0.0, -1.0]])
    >>> [[round(float(v), 5) + 0.0 for v in row] for row in w]
    [[2.0, 0.0], [0.0, 0.0]]
    """

    convex = True

    def __init__(self, min_eigenvalue: float = 0.0) -> None:
        self.min_eigenvalue = check.number(self, "min_eigenvalue", min_eigenvalue)
        self.cone = self.min_eigenvalue == 0

    def _project(self, w: Any) -> Any:
        dtype, w = dtype_of(w), upcast(w)
        t = transposed(self, w)
        symmetric = ops.where(w == t, w, w / 2 + t / 2)
        unit, scale, finite = normalized(symmetric)
        values, vectors = ops.eigh(unit)
        values = values * scale[..., 0]
        lowest = ops.full_like(values[..., :1], self.min_eigenvalue)
        raised = larger(lowest, values)
        largest = ops.max(ops.absolute(values), axis=-1, keepdims=True)
        allowed = self._slack(w, dtype) * larger(largest, ops.absolute(lowest))
        kept = ops.all(raised - values <= allowed, axis=-1)[..., None, None]
        moved = (vectors * raised[..., None, :]) @ ops.swapaxes(vectors, -1, -2)
        moved = moved / 2 + ops.swapaxes(moved, -1, -2) / 2
        moved = ops.where(kept, symmetric, moved)
        return ops.where(finite, moved, ops.full_like(moved, float("nan")))

    def _scale(self, w: Any) -> float:
        return max(magnitude(w), abs(self.min_eigenvalue))


@register
class DoublyStochastic(_MatrixSet):
    """Non-negative with rows and columns that sum to one, in the last two axes.

        P(W) = argmin ||X - W||    over X >= 0, X 1 = 1, X^T 1 = 1

    A soft permutation. This is the Euclidean projection, found by alternating
    projections of the rows and the columns with Dykstra's correction; Sinkhorn's
    scaling, the one in relative entropy, is `keras_regx.ops.sinkhorn`.

    Args:
        iterations: Integer >= 1. Rounds of rows and columns.

    Call: floating tensor or variable, square in its last two axes -> same shape
        and dtype. Not finite becomes NaN.
    Exact: the sums are right to rounding for every number of rounds; the nearest
        member is found to 1e-5 for ordinary weights, less so for weights much
        larger than one.
    Convex: yes.
    Raises: ValueError naming the argument and the value received.
    Reference: Zass and Shashua (2006), NeurIPS; Altschuler, Weed and Rigollet
        (2017), NeurIPS, for the last step.

    Example:

    >>> from keras_regx.constraints import DoublyStochastic
    >>> w = DoublyStochastic()([[0.9, 0.3], [0.5, 0.7]])
    >>> [[round(float(v), 4) for v in row] for row in w]
    [[0.7, 0.3], [0.3, 0.7]]
    """

    convex = True
    _size = 1.0

    def __init__(self, iterations: int = 60) -> None:
        self.iterations = check.integer(self, "iterations", iterations, minimum=1)

    def _project(self, w: Any) -> Any:
        transposed(self, w)
        dtype, w = dtype_of(w), upcast(w)
        finite = normalized(w)[2]
        x = ops.where(finite, w, ops.zeros_like(w))
        allowed = self._slack(w, dtype)
        kept = ops.all(x >= 0, axis=(-2, -1), keepdims=True)
        for axis in (-2, -1):
            off = ops.absolute(ops.sum(x, axis=axis, keepdims=True) - 1)
            kept = kept & ops.all(off <= allowed, axis=(-2, -1), keepdims=True)
        result = ops.where(kept, x, finish(self._dykstra(x)))
        return ops.where(finite, result, ops.full_like(result, float("nan")))

    def _dykstra(self, w: Any) -> Any:
        """Return nearly the projection: rows exact, columns nearly so.

        A simplex projection subtracts a number from its row. Dykstra's
        correction adds it back before the next: what remains is the matrix
        minus one number per row and one per column.
        """
        start = ops.zeros_like(w[..., :1, :])
        columns, _ = ops.fori_loop(0, self.iterations, _round, (start, w))
        x = w - columns
        return positive_part(x - shift_to_simplex(x, -1))


def _round(_: Any, state: tuple[Any, Any]) -> tuple[Any, Any]:
    """Shift the rows, then the columns, of `w` onto the simplex."""
    columns, w = state
    rows = shift_to_simplex(w - columns, -1)
    return shift_to_simplex(w - rows, -2), w


def shift_to_simplex(w: Any, axis: int) -> Any:
    """Return t with `max(w - t, 0)` summing to one along an axis.

    It is the largest `(sum of the k largest entries - 1) / k` over k.
    """
    top = ops.max(w, axis=axis, keepdims=True)
    down = -ops.sort(top - w, axis=axis)  # Descending, the largest being 0.
    # Means of the k largest by a product: a cumulative sum may round to float32.
    size = w.shape[axis]
    count = np.arange(1, size + 1)
    weights = np.tril(np.ones((size, size))) / count[:, None]
    weights = ops.convert_to_tensor(weights, dtype=dtype_of(w))
    mean = weights @ down if axis == -2 else down @ ops.transpose(weights)
    count = ops.convert_to_tensor(1 / count, dtype=dtype_of(w))
    share = ops.reshape(count, (-1, 1) if axis == -2 else (1, -1))
    return top + ops.max(mean - share, axis, keepdims=True)


def finish(x: Any) -> Any:
    """Return a doubly stochastic matrix near a non-negative, nearly one.

    Rows and columns are scaled down to sums of at most one; what is missing
    then is a rank-one matrix of the missing sums.
    """
    for axis in (-1, -2):
        total = ops.sum(x, axis=axis, keepdims=True)
        x = x / larger(total, ops.ones_like(total))
    rows = positive_part(1 - ops.sum(x, axis=-1, keepdims=True))
    columns = positive_part(1 - ops.sum(x, axis=-2, keepdims=True))
    total = ops.sum(rows, axis=-2, keepdims=True)
    share = rows / ops.where(total > 0, total, ops.ones_like(total))
    return x + share * columns
