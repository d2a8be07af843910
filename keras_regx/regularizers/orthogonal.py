"""Keras' OrthogonalRegularizer: the mean cosine between the rows or columns."""

from typing import Any

from keras import ops

from keras_regx._core import validation as check
from keras_regx.ops.axes import as_matrix
from keras_regx.ops.numerics import absolute
from keras_regx.regularizers.base import Regularizer, register


def unit_vectors(w: Any, axis: int) -> Any:
    """Return the vectors along an axis divided by their norms; zero stays zero.

    Each one is scaled by its largest entry first: the derivative of `w / ||w||`
    would square the norm of a tiny vector to zero.
    """
    scale = ops.stop_gradient(ops.max(ops.absolute(w), axis=axis, keepdims=True))
    w = w / ops.where(scale == 0, ops.ones_like(scale), scale)
    squares = ops.sum(w * w, axis=axis, keepdims=True)  # At least 1, or exactly 0.
    return w * ops.rsqrt(ops.where(squares == 0, ops.ones_like(squares), squares))


@register
class OrthogonalRegularizer(Regularizer):
    """Mean absolute cosine between the rows, or the columns, of a matrix.

        f(W) = factor / (n (n - 1) / 2) sum_{i < j} |cos(w_i, w_j)|

    A kernel of rank > 2 is seen as a matrix of shape `(fan_in, units)`.

    Args:
        factor: Finite float >= 0. Regularization factor.
        mode: `"rows"` or `"columns"`: which vectors are made orthogonal.

    Call: floating tensor of rank >= 2 -> scalar, float32 for half-precision input.
        A single row has penalty 0, and so has a zero row.
    Prox: none in closed form.
    Gradient: 0 with respect to a zero row, and from a pair that is orthogonal.
    Raises: ValueError naming the argument and the value received.
    Reference: Brock et al. (2017), arXiv:1609.07093; as in Keras.

    Example:

    >>> from keras_regx.regularizers import OrthogonalRegularizer
    >>> float(OrthogonalRegularizer(0.5)([[1.0, 0.0], [2.0, 0.0]]))
    0.5
    >>> float(OrthogonalRegularizer(0.5)([[1.0, 0.0], [0.0, 2.0]]))
    0.0
    """

    min_rank = 2
    sees_matrix = True

    def __init__(self, factor: float = 0.01, mode: str = "rows") -> None:
        self.factor = check.number(self, "factor", factor, minimum=0)
        self.mode: str = check.choice(self, "mode", mode, ("rows", "columns"))

    def _value(self, x: Any) -> Any:
        rows = self.mode == "rows"
        w = unit_vectors(as_matrix(x), axis=1 if rows else 0)
        cosines = w @ ops.transpose(w) if rows else ops.transpose(w) @ w
        size = cosines.shape[0]
        others = 1 - ops.eye(size, dtype=x.dtype)
        pairs = max(size * (size - 1), 1)
        return self.factor / pairs * ops.sum(absolute(cosines * others))
