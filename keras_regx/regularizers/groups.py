"""Penalties on groups of weights: whole units, filters or input features."""

from collections.abc import Callable, Sequence
from typing import Any

from keras import ops

from keras_regx._core import validation as check
from keras_regx.ops.axes import group_rows, group_size
from keras_regx.ops.labels import label_count, label_norms
from keras_regx.ops.numerics import absolute, dtype_of, safe_norm
from keras_regx.ops.thresholds import shrink_by_norm, soft_threshold
from keras_regx.regularizers.base import Regularizer, register


class _Grouped(Regularizer):
    """A function of the norms of groups, by axes or by labels."""

    convex = True
    axis: check.Axis
    groups: list[int] | None

    def _take_groups(self, axis: check.Axis, groups: Any) -> None:
        self.axis = check.axis(self, axis)
        self.groups = check.labels(self, groups, self.axis)

    def _norms(self, x: Any) -> tuple[Any, Any, Callable[[Any], Any]]:
        """Return the norms, their groups' sizes, and how to hand them to entries."""
        shape = tuple(x.shape)
        if self.groups is None:
            norms = safe_norm(x, self.axis, keepdims=True)
            return norms, group_size(shape, self.axis), lambda values: values
        check.label_count(self, self.groups, label_count(shape, self.axis), shape)
        norms, sizes, spread = label_norms(x, self.axis, self.groups)
        return norms, ops.convert_to_tensor(sizes, dtype_of(norms)), spread

    def _shrink(self, x: Any, threshold: Callable[[Any], Any]) -> Any:
        """Return the soft threshold of each group by a function of its size."""
        norms, sizes, spread = self._norms(x)
        t = ops.convert_to_tensor(threshold(sizes), dtype_of(x))
        t = ops.broadcast_to(t, norms.shape)
        return shrink_by_norm(x, spread(norms), spread(t))


@register
class GroupLasso(_Grouped):
    """Sum of the norms of groups: drives whole groups to zero together.

        f(x) = factor sum_g sqrt(d_g) ||x_g||_2,    d_g the size of the group

    Args:
        factor: Finite float >= 0. Regularization factor.
        axis: Int, tuple of ints, `"units"`, `"inputs"` or `None`: the axes that
            form a group. `"units"` removes units or filters, `"inputs"` input
            features or the rows of an embedding.
        weighted: Boolean. `False` leaves out `sqrt(d_g)`.
        groups: List of integers, or `None`. One label per unit, or per input with
            `axis="inputs"`: those of one label form one group, whose size is the
            number of entries of all of it.

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
    >>> float(GroupLasso(1.0, weighted=False, groups=[0, 0, 1])([[3.0, 4.0, 1.0]]))
    6.0
    """

    def __init__(
        self,
        factor: float,
        axis: check.Axis = "units",
        weighted: bool = True,
        groups: Sequence[int] | None = None,
    ) -> None:
        self.factor = check.number(self, "factor", factor, minimum=0)
        self.weighted = check.boolean(self, "weighted", weighted)
        self._take_groups(axis, groups)

    def _strength(self, size: Any) -> Any:
        return self.factor * (size**0.5 if self.weighted else 1.0)

    def _value(self, x: Any) -> Any:
        norms, sizes, _ = self._norms(x)
        return ops.sum(self._strength(sizes) * norms)

    def _prox(self, x: Any, step_size: Any) -> Any:
        return self._shrink(x, lambda size: step_size * self._strength(size))


@register
class SparseGroupLasso(_Grouped):
    """Group lasso and L1: few groups, and few weights inside them.

        f(x) = factor (l1_ratio sum_i |x_i| + (1 - l1_ratio) sum_g sqrt(d_g) ||x_g||_2)

    Args:
        factor: Finite float >= 0. Regularization factor.
        l1_ratio: Float in [0, 1]. 1 is `L1`, 0 is `GroupLasso`.
        axis: Int, tuple of ints, `"units"`, `"inputs"` or `None`: the axes that
            form a group.
        groups: List of integers, or `None`: one label per unit, or per input with
            `axis="inputs"`, as in `GroupLasso`.

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

    def __init__(
        self,
        factor: float,
        l1_ratio: float = 0.5,
        axis: check.Axis = "units",
        groups: Sequence[int] | None = None,
    ) -> None:
        self.factor = check.number(self, "factor", factor, minimum=0)
        self.l1_ratio = check.number(self, "l1_ratio", l1_ratio, minimum=0, maximum=1)
        self._take_groups(axis, groups)

    def _strengths(self) -> tuple[float, float]:
        return self.factor * self.l1_ratio, self.factor * (1 - self.l1_ratio)

    def _value(self, x: Any) -> Any:
        l1, group = self._strengths()
        norms, sizes, _ = self._norms(x)
        return l1 * ops.sum(absolute(x)) + ops.sum(group * sizes**0.5 * norms)

    def _prox(self, x: Any, step_size: Any) -> Any:
        l1, group = self._strengths()
        sparse = soft_threshold(x, step_size * l1)
        return self._shrink(sparse, lambda size: step_size * group * size**0.5)


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
