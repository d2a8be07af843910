"""Orthogonal: kernels seen as (fan_in, units) with orthonormal columns or rows."""

from typing import Any

from keras import ops

from keras_regx._core import validation as check
from keras_regx.constraints.base import register
from keras_regx.constraints.spectral import _MatrixSet
from keras_regx.ops.axes import as_matrix
from keras_regx.ops.matrix import normalized
from keras_regx.ops.numerics import dtype_of
from keras_regx.ops.polar import polar


@register
class Orthogonal(_MatrixSet):
    """Orthonormal columns, or rows if there are fewer of them.

        P(W) = U V^T,    W = U diag(s) V^T    (the polar factor)

    Args:
        method: `"newton_schulz"`, products of matrices only: 1e-5 from
            orthonormal for condition numbers up to 1e4. `"svd"`: orthonormal
            whatever the condition, slower on accelerators.

    Call: floating tensor or variable of rank >= 2, seen as a matrix `(fan_in,
        units)` -> same shape and dtype. Zero has no direction: it stays zero.
    Exact: yes for full rank, to 1e-6. With `"newton_schulz"` the directions that
        a rank-deficient matrix lacks stay short, and `contains` is False; with
        `"svd"` some nearest member is returned.
    Convex: no.
    Raises: ValueError naming the argument and the value received.
    Reference: Higham (2008), Functions of Matrices, chapter 8.

    Example:

    >>> from keras_regx.constraints import Orthogonal
    >>> w = Orthogonal()([[0.0, 3.0], [-2.0, 0.0]])
    >>> [[round(float(v), 5) + 0.0 for v in row] for row in w]
    [[0.0, 1.0], [-1.0, 0.0]]
    """

    sees_matrix = True
    _size = 1.0

    def __init__(self, method: str = "newton_schulz") -> None:
        self.method = check.choice(self, "method", method, ("newton_schulz", "svd"))

    def _project(self, w: Any) -> Any:
        return ops.reshape(polar(as_matrix(w), self.method), w.shape)

    def _residual(self, w: Any) -> Any:
        """Return the smaller Gram matrix minus the identity."""
        t = ops.transpose(w)
        gram = t @ w if w.shape[0] >= w.shape[1] else w @ t
        return gram - ops.eye(gram.shape[0], dtype=gram.dtype)

    def _gap(self, w: Any) -> Any:
        # Of a matrix that the projection cannot make orthonormal, the residual
        # tells: half of it is the distance near the set.
        matrix = as_matrix(w)
        reached = polar(matrix, self.method)
        short = ops.max(ops.absolute(self._residual(reached)))
        failed = ~(short <= self._rounding(dtype_of(w)))
        values = ops.svd(normalized(matrix)[0], compute_uv=False)
        values = values * normalized(matrix)[1][0]
        away = ops.sqrt(ops.sum(ops.square(1 - values)))
        gap = ops.where(failed, ops.zeros_like(matrix), matrix - reached)
        lone = ops.reshape(ops.where(failed, away, ops.zeros_like(away)), (1,))
        return ops.concatenate([ops.reshape(gap, (-1,)), lone])
