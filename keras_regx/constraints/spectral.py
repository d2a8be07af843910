"""Sets of matrices given by their singular values; kernels seen as (fan_in, units).

Half precision is computed in float32, a NaN or infinity gives NaN.
"""

import math
from operator import attrgetter
from typing import Any, ClassVar

from keras import ops

from keras_regx._core import validation as check
from keras_regx.constraints.base import Constraint, register
from keras_regx.ops.axes import as_matrix
from keras_regx.ops.matrix import svd
from keras_regx.ops.numerics import EPSILON, dtype_of, larger, smaller
from keras_regx.ops.power import norm_bound
from keras_regx.ops.simplex import project_l1_ball


class _MatrixSet(Constraint):
    """A set of matrices, known to the rounding of a decomposition."""

    min_rank = 2
    matrix_set: ClassVar[bool] = True

    def _rounding(self, dtype: str) -> float:
        return {"float32": 1e-5, "float64": 1e-10}.get(dtype, 10 * EPSILON[dtype])

    def _slack(self, w: Any, dtype: str) -> float:
        """Return the rounding of singular values, relative to the largest."""
        size = min((as_matrix(w) if self.sees_matrix else w).shape[-2:])
        return 16 * EPSILON[dtype_of(w)] + (
            EPSILON[dtype] * math.sqrt(size) if dtype != dtype_of(w) else 0.0
        )


class _SingularValues(_MatrixSet):
    """A set that bounds the vector of singular values."""

    sees_matrix = True

    def _values(self, s: Any) -> Any:
        """Return the nearest admissible singular values, in their order."""
        raise NotImplementedError

    def _nearest(self, w: Any) -> tuple[Any, Any, Any]:
        u, s, vt = svd(as_matrix(w))
        values = self._values(s)
        # A maximum may drop NaN, a sum does not: not finite becomes NaN.
        excess = ops.max(ops.absolute(values - s)) + 0 * ops.sum(s)
        scale = larger(s[0], ops.full_like(s[0], self._size))
        return ops.reshape((u * values) @ vt, w.shape), excess, scale


@register
class SpectralNormBall(_SingularValues):
    """Largest singular value at most `max_value`: a Lipschitz bound of the layer.

        P(W) = U diag(min(s, max_value)) V^T,    W = U diag(s) V^T

    Args:
        max_value: Finite float >= 0.
        method: `"svd"` for the projection. `"bound"` scales the whole matrix by
            `max_value / b` where an upper bound b of the norm exceeds
            `max_value`: products of matrices only, feasible for certain, but
            no projection. b is at most `rank^(1/256)` times the norm, 2% more at
            rank 256.

    Call: floating tensor or variable of rank >= 2, seen as a matrix `(fan_in,
        units)` -> same shape and dtype.
    Exact: with `method="svd"`, to 1e-6.
    Convex: yes.
    Raises: ValueError naming the argument and the value received.
    Reference: Cisse et al. (2017), ICML; Delattre, Barthelemy, Araujo and
        Allauzen (2023), ICML, for the bound.

    Example:

    >>> from keras_regx.constraints import SpectralNormBall
    >>> w = SpectralNormBall(2.0)([[3.0, 0.0], [0.0, 1.0]])
    >>> [[round(float(v), 5) + 0.0 for v in row] for row in w]
    [[2.0, 0.0], [0.0, 1.0]]
    """

    convex = True
    _size = property(attrgetter("max_value"))

    def __init__(self, max_value: float = 1.0, method: str = "svd") -> None:
        self.max_value = check.number(self, "max_value", max_value, minimum=0)
        self.method = check.choice(self, "method", method, ("svd", "bound"))

    @property
    def exact(self) -> bool:  # type: ignore[override]
        """Whether a call is the projection, and not only feasible."""
        return self.method == "svd"

    def _values(self, s: Any) -> Any:
        return smaller(ops.full_like(s, self.max_value), s)

    def _nearest(self, w: Any) -> tuple[Any, Any, Any]:
        if self.method == "svd":
            return super()._nearest(w)
        bound = norm_bound(as_matrix(w))
        excess = bound - self.max_value
        factor = self.max_value / ops.where(excess <= 0, 1.0, bound)
        return w * factor, excess, self.max_value

    def _gap(self, w: Any) -> Any:
        exact = SpectralNormBall(self.max_value)
        return w - exact(w)


@register
class SingularValueBox(_SingularValues):
    """All singular values between two bounds.

        P(W) = U diag(clip(s, min_value, max_value)) V^T,    W = U diag(s) V^T

    Args:
        min_value: Finite float >= 0.
        max_value: Finite float >= `min_value`.

    Call: floating tensor or variable of rank >= 2, seen as a matrix `(fan_in,
        units)` -> same shape and dtype. Directions that a rank-deficient matrix
        lacks are filled in, one of equally near choices.
    Exact: to 1e-6. Convex: only with `min_value=0`.
    Raises: ValueError naming the argument and the value received.
    Reference: Jia, Tao, Gao and Xu (2017), CVPR.

    Example:

    >>> from keras_regx.constraints import SingularValueBox
    >>> w = SingularValueBox(1.0, 2.0)([[3.0, 0.0], [0.0, 0.5]])
    >>> [[round(float(v), 5) + 0.0 for v in row] for row in w]
    [[2.0, 0.0], [0.0, 1.0]]
    """

    _size = property(attrgetter("max_value"))

    def __init__(self, min_value: float, max_value: float) -> None:
        self.min_value = check.number(self, "min_value", min_value, minimum=0)
        self.max_value = check.number(self, "max_value", max_value, minimum=0)
        if self.max_value < self.min_value:
            expected = f"a number >= min_value={self.min_value:g}"
            check.fail(self, "max_value", expected, max_value)

    @property
    def convex(self) -> bool:  # type: ignore[override]
        """Whether the set is a ball, without a hole."""
        return self.min_value == 0

    def _values(self, s: Any) -> Any:
        s = smaller(ops.full_like(s, self.max_value), s)
        return larger(ops.full_like(s, self.min_value), s)


@register
class NuclearBall(_SingularValues):
    """Sum of singular values at most `radius`: the convex relation of a low rank.

        P(W) = U diag(max(s - t, 0)) V^T    with t >= 0 as small as the radius allows

    Args:
        radius: Finite float >= 0.

    Call: floating tensor or variable of rank >= 2, seen as a matrix `(fan_in,
        units)` -> same shape and dtype.
    Exact: to 1e-6. Convex: yes.
    Raises: ValueError naming the argument and the value received.
    Reference: Cai, Candes and Shen (2010), SIAM Journal on Optimization 20(4).

    Example:

    >>> from keras_regx.constraints import NuclearBall
    >>> w = NuclearBall(2.0)([[3.0, 0.0], [0.0, 2.0]])
    >>> [[round(float(v), 5) + 0.0 for v in row] for row in w]
    [[1.5, 0.0], [0.0, 0.5]]
    """

    convex = True
    _size = property(attrgetter("radius"))

    def __init__(self, radius: float) -> None:
        self.radius = check.number(self, "radius", radius, minimum=0)

    def _values(self, s: Any) -> Any:
        return project_l1_ball(s, self.radius)


@register
class LowRank(_SingularValues):
    """Rank at most `rank`.

        P(W) = sum_{i <= rank} s_i u_i v_i^T    (the largest singular values)

    Args:
        rank: Integer >= 0. A rank that the shape does not reach changes nothing.

    Call: floating tensor or variable of rank >= 2, seen as a matrix `(fan_in,
        units)` -> same shape and dtype.
    Exact: to 1e-6. Convex: no.
    Raises: ValueError naming the argument and the value received.
    Reference: Eckart and Young (1936), Psychometrika 1(3).

    Example:

    >>> from keras_regx.constraints import LowRank
    >>> w = LowRank(1)([[3.0, 0.0], [0.0, 1.0]])
    >>> [[round(float(v), 5) + 0.0 for v in row] for row in w]
    [[3.0, 0.0], [0.0, 0.0]]
    """

    def __init__(self, rank: int) -> None:
        self.rank = check.integer(self, "rank", rank, minimum=0)

    def _values(self, s: Any) -> Any:
        kept = ops.arange(s.shape[0]) < self.rank
        return ops.where(kept | ops.isnan(s), s, ops.zeros_like(s))
