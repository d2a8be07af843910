"""Keras 2's RadialConstraint, kept for models that were trained with it."""

from typing import Any

from keras import ops

from keras_regx._core import validation as check
from keras_regx.constraints.base import Constraint, register


@register
class RadialConstraint(Constraint):
    """Keras 2's constant rings, read off half of a square kernel's diagonal.

        C(w)_p = w[n // 2 + i, n // 2 + i]    for p in ring i from the centre

    of each channel and filter; the centre of an odd kernel gets
    `w[n // 2 - 1, n // 2 - 1]`. All other weights are ignored, so this is **no
    projection**, and applying it twice differs from applying it once. It
    reproduces Keras 2, number for number.

    Call: floating tensor of shape `(n, n, channels, filters)` -> same shape and
        dtype. Kernels of one by one are returned as they are.
    Exact: no. Convex: the set of ring-constant kernels is; this map onto it is
        not its projection.
    Raises: ValueError if the tensor is not of rank 4 or not square.
    Reference: as in Keras 2 (`tf_keras.constraints.RadialConstraint`).

    Example:

    >>> from keras import ops
    >>> from keras_regx.constraints import RadialConstraint
    >>> w = ops.reshape(ops.arange(9, dtype="float32"), (3, 3, 1, 1))
    >>> [[int(v) for v in row] for row in RadialConstraint()(w)[:, :, 0, 0]]
    [[4, 4, 4], [4, 0, 4], [4, 4, 4]]
    """

    convex = True
    exact = False
    min_rank = 4

    def _project(self, w: Any) -> Any:
        shape = tuple(w.shape)
        if len(shape) != 4 or shape[0] != shape[1]:
            check.fail(self, "w", "a tensor of shape (n, n, channels, filters)", shape)
        size = shape[0]
        start = size // 2
        if size == 1:
            return w
        centre = w[start - 1 : start, start - 1 : start]
        odd = size % 2
        ring = centre if odd else ops.tile(centre, (2, 2, 1, 1))
        for i in range(0 if odd else 1, start):
            corner = w[start + i :, start + i :][:1, :1]
            filled = ops.tile(corner, (ring.shape[0] + 2, ring.shape[1] + 2, 1, 1))
            ring = ops.slice_update(filled, (1, 1, 0, 0), ring)
        return ring

    def _gap(self, w: Any) -> Any:
        raise NotImplementedError(
            "RadialConstraint is no projection, so a distance to its set is not "
            "defined by it. Use Radial."
        )
