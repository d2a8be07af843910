"""Penalties on groups of weights: whole units, filters or input features."""

from typing import Any

from keras import ops

from keras_regx._core import validation as check
from keras_regx.ops.axes import group_rows, group_size
from keras_regx.ops.numerics import absolute, dtype_of, safe_norm
from keras_regx.ops.thresholds import group_soft_threshold, soft_threshold
from keras_regx.regularizers.base import Regularizer, register


@register
class GroupLasso(Regularizer):
    """Sum of the norms of groups: drives whole groups to zero together.

        f(x) = factor sum_g sqrt(d_g) ||x_g||_2,    d_g the size of the group

    Args:
        factor: Finite float >= 0. Regularization factor.
        axis: Int, tuple of ints, `"units"`, `"inputs"` or `None`: the axes that
            form a group. `"units"` removes units or filters, `"inputs"` input
            features or the rows of an embedding.
        weighted: Boolean. `False` leaves out `sqrt(d_g)`.

    Call: floating tensor of any shape -> scalar, float32 for half-precision input.
    Prox: `max(0, 1 - step_size factor sqrt(d_g) / ||x_g||) x_g`.
    Gradient at 0: 0 for a zero group, on every backend.
    Raises: ValueError naming the argument and the value received.
    Reference: Yuan and Lin (2006), J. R. Stat. Soc. B 68(1).

    Example:

    >>> from keras_regx.regularizers import GroupLasso
    >>> penalty = GroupLasso(1.0, axis="units", weighted=False)
    >>> float(penalty([[3.0, 0.0], [4.0, 1.0]]))
    6.0
    >>> y = penalty.prox([[3.0, 0.0], [4.0, 1.0]], step_size=2.5)
    >>> [[round(float(v), 6) for v in row] for row in y]
    [[1.5, 0.0], [2.0, 0.0]]
    """

    convex = True

    def __init__(
        self, factor: float, axis: check.Axis = "units", weighted: bool = True
    ) -> None:
        self.factor = check.number(self, "factor", factor, minimum=0)
        self.axis = check.axis(self, axis)
        self.weighted = check.boolean(self, "weighted", weighted)

    def _strength(self, x: Any) -> float:
        size = group_size(tuple(x.shape), self.axis)
        return self.factor * (size**0.5 if self.weighted else 1.0)

    def _value(self, x: Any) -> Any:
        return self._strength(x) * ops.sum(safe_norm(x, self.axis))

    def _prox(self, x: Any, step_size: Any) -> Any:
        return group_soft_threshold(x, step_size * self._strength(x), self.axis)


@register
class SparseGroupLasso(Regularizer):
    """Group lasso and L1: few groups, and few weights inside them.

        f(x) = factor (l1_ratio sum_i |x_i| + (1 - l1_ratio) sum_g sqrt(d_g) ||x_g||_2)

    Args:
        factor: Finite float >= 0. Regularization factor.
        l1_ratio: Float in [0, 1]. 1 is `L1`, 0 is `GroupLasso`.
        axis: Int, tuple of ints, `"units"`, `"inputs"` or `None`: the axes that
            form a group.

    Call: floating tensor of any shape -> scalar, float32 for half-precision input.
    Prox: the soft threshold of each weight, then that of each group. The other
        order is not the prox.
    Gradient at 0: 0 on every backend.
    Raises: ValueError naming the argument and the value received.
    Reference: Simon, Friedman, Hastie and Tibshirani (2013), J. Comput. Graph.
        Stat. 22(2).

    Example:

    >>> from keras_regx.regularizers import SparseGroupLasso
    >>> penalty = SparseGroupLasso(2.0, l1_ratio=0.5, axis=None)
    >>> float(penalty([3.0, 4.0, 0.0, 0.0]))
    17.0
    >>> y = penalty.prox([4.0, 5.0, 0.5, 0.0], step_size=1.0)
    >>> [round(float(v), 6) for v in y]
    [1.8, 2.4, 0.0, 0.0]
    """

    convex = True

    def __init__(
        self, factor: float, l1_ratio: float = 0.5, axis: check.Axis = "units"
    ) -> None:
        self.factor = check.number(self, "factor", factor, minimum=0)
        self.l1_ratio = check.number(self, "l1_ratio", l1_ratio, minimum=0, maximum=1)
        self.axis = check.axis(self, axis)

    def _strengths(self, x: Any) -> tuple[float, float]:
        size = group_size(tuple(x.shape), self.axis)
        l1 = self.factor * self.l1_ratio
        return l1, self.factor * (1 - self.l1_ratio) * size**0.5

    def _value(self, x: Any) -> Any:
        l1, group = self._strengths(x)
        norms = safe_norm(x, self.axis)
        return l1 * ops.sum(absolute(x)) + group * ops.sum(norms)

    def _prox(self, x: Any, step_size: Any) -> Any:
        l1, group = self._strengths(x)
        sparse = soft_threshold(x, step_size * l1)
        return group_soft_threshold(sparse, step_size * group, self.axis)


@register
class ExclusiveLasso(Regularizer):
    """Squared L1 norm of each group: weights of a group compete.

        f(x) = factor / 2 sum_g ||x_g||_1^2

    The opposite of the group lasso: zeros inside every group, no zero groups.

    Args:
        factor: Finite float >= 0. Regularization factor.
        axis: Int, tuple of ints, `"units"`, `"inputs"` or `None`: the axes that
            form a group.

    Call: floating tensor of any shape -> scalar, float32 for half-precision input.
    Prox: in each group the soft threshold by `max_k t S_k / (1 + t k)` with
        `t = factor step_size` and the sum `S_k` of its `k` largest magnitudes.
    Gradient at 0: 0 on every backend.
    Raises: ValueError naming the argument and the value received.
    Reference: Zhou, Jin and Hoi (2010), AISTATS.

    Example:

    >>> from keras_regx.regularizers import ExclusiveLasso
    >>> penalty = ExclusiveLasso(1.0, axis=None)
    >>> float(penalty([1.0, -3.0]))
    8.0
    >>> [float(v) for v in penalty.prox([1.0, -3.0], step_size=1.0)]
    [0.0, -1.5]
    """

    convex = True

    def __init__(self, factor: float, axis: check.Axis = "units") -> None:
        self.factor = check.number(self, "factor", factor, minimum=0)
        self.axis = check.axis(self, axis)

    def _value(self, x: Any) -> Any:
        sums = ops.sum(absolute(group_rows(x, self.axis)[0]), axis=-1)
        return self.factor / 2 * ops.sum(ops.square(sums))

    def _prox(self, x: Any, step_size: Any) -> Any:
        t = ops.convert_to_tensor(self.factor * step_size, dtype_of(x))
        rows, restore = group_rows(x, self.axis)
        descending = -ops.sort(-ops.absolute(rows), axis=-1)
        sums = ops.cumsum(descending, axis=-1)
        counts = ops.arange(1, rows.shape[-1] + 1, dtype=dtype_of(x))
        # Every k bounds the threshold from below, the right one attains it.
        threshold = ops.max(sums * (t / (1 + t * counts)), axis=-1, keepdims=True)
        return restore(soft_threshold(rows, threshold))
