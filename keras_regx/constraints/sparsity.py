"""A prescribed number of non-zero weights: TopK, GroupTopK, NMSparsity.

Among equal magnitudes those that come first are kept, on every backend.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_regx._core import validation as check
from keras_regx._core.counter import NOW, Moment, StepReader
from keras_regx.constraints.algebra import Timed
from keras_regx.constraints.base import Grouped, register
from keras_regx.ops.axes import group_rows, group_size
from keras_regx.ops.labels import label_count, label_norms
from keras_regx.ops.numerics import safe_norm, upcast
from keras_regx.ops.order import top_k_mask


class _Largest(Timed, Grouped, StepReader):
    """A count `k`, or a fraction, of what is largest is kept."""

    keeps_zeros = True
    k: int | None
    fraction: Any

    def _take_count(self, k: int | None, fraction: Any) -> None:
        if k is None and fraction is None:
            check.fail(self, "fraction", "one of `k` and `fraction` to be given", None)
        if k is not None and fraction is not None:
            check.fail(self, "k", "either `k` or `fraction`, not both", k)
        self.k = None if k is None else check.integer(self, "k", k, minimum=0)
        is_schedule = isinstance(
            fraction, keras.optimizers.schedules.LearningRateSchedule
        )
        if fraction is not None and not is_schedule:
            fraction = check.number(self, "fraction", fraction, minimum=0, maximum=1)
        self.fraction = fraction

    def _mask(self, magnitudes: Any, axis: check.Axis, moment: Moment = NOW) -> Any:
        """Mark the largest of each group; of equal ones the first."""
        size = group_size(tuple(magnitudes.shape), axis)
        if self.k is not None:
            return top_k_mask(magnitudes, min(self.k, size), axis)
        if isinstance(self.fraction, float):
            return top_k_mask(magnitudes, _count(self.fraction, size), axis)
        return self._scheduled(magnitudes, size, axis, moment)

    def _scheduled(
        self, magnitudes: Any, size: int, axis: check.Axis, moment: Moment
    ) -> Any:
        """Return the mask of a count that is only known while training."""
        step = self.step(moment)
        fraction = self.fraction(0 if step is None else step)
        fraction = ops.cast(ops.convert_to_tensor(fraction), "float32")
        count = ops.cast(ops.floor(fraction * size + 0.5), "int32")
        count = ops.maximum(count, ops.cast(fraction > 0, "int32"))
        count = ops.minimum(count, size)
        rows, restore = group_rows(magnitudes, axis)
        order = ops.argsort(-rows, axis=-1)
        rank = ops.cast(ops.argsort(order, axis=-1), "int32")
        return restore(rank < count)

    def __eq__(self, other: object) -> bool:
        """Compare the arguments, schedules by their configuration."""
        if type(other) is not type(self):
            return NotImplemented
        return self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((type(self), self.k, str(self.axis)))


@register
class TopK(_Largest):
    """The k largest weights of each group; all others are zero.

        P(w)_i = w_i where |w_i| is among the k largest of its group, 0 elsewhere

    Args:
        k: Integer >= 0. How many are kept; groups with fewer entries keep all.
        fraction: Float in [0, 1]: which part of a group is kept, rounded to the
            nearest count and at least one unless it is 0. Or a
            `keras.optimizers.schedules.LearningRateSchedule` of the training
            step that gives this part: `PolynomialDecay(1.0, 1000, 0.1, power=3)`
            is the cubic schedule of gradual pruning. Give either `k` or
            `fraction`.
        axis: Int, tuple of ints, `"units"`, `"inputs"` or `None` (the whole
            tensor): the axes that form a group.

    Call: floating tensor or variable of any shape -> same shape and dtype.
        Exactly k entries are kept; of equal ones the first. A schedule follows
        the optimizer that is built for the variable, or `keras_regx.advance`; where
        neither is known it stands at its step 0.
    Exact: yes, bitwise. Convex: no.
    Raises: ValueError naming the argument and the value received.
    Reference: Zhu and Gupta (2017), arXiv:1710.01878.

    Example:

    >>> from keras_regx.constraints import TopK
    >>> [float(v) for v in TopK(2)([1.0, -3.0, 2.0, -2.0])]
    [0.0, -3.0, 2.0, 0.0]
    >>> [float(v) for v in TopK(fraction=0.75)([1.0, -3.0, 2.0, -2.0])]
    [0.0, -3.0, 2.0, -2.0]
    """

    def __init__(
        self,
        k: int | None = None,
        fraction: Any = None,
        axis: check.Axis = None,
    ) -> None:
        self._take_count(k, fraction)
        self.axis = check.axis(self, axis)

    def _apply(self, w: Any, moment: Moment) -> Any:
        self._axes(w)
        kept = self._mask(ops.absolute(upcast(w)), self.axis, moment)
        return ops.where(kept | ops.isnan(w), w, ops.zeros_like(w))


def _count(fraction: float, size: int) -> int:
    """Return the nearest count to a fraction, at least one unless it is 0."""
    nearest = min(math.floor(fraction * size + 0.5), size)
    return max(nearest, 1) if fraction > 0 else 0


@register
class GroupTopK(_Largest):
    """The k groups of largest norm; all others are zero.

        P(w)_g = w_g where ||w_g||_2 is among the k largest, 0 elsewhere

    With `axis="units"` whole units or filters are removed.

    Args:
        k: Integer >= 0. How many groups are kept; fewer groups are all kept.
        axis: Int, tuple of ints, `"units"`, `"inputs"` or `None`: the axes that
            form a group.
        fraction: Float in [0, 1], or a schedule of it, as in `TopK`: which part of
            the groups is kept. Give either `k` or `fraction`.
        groups: List of integers, or `None`. One label per unit, or per input with
            `axis="inputs"`: those of one label form one group.

    Call: floating tensor or variable of any shape -> same shape and dtype.
        Exactly k groups are kept; of equal norms the first.
    Exact: yes, bitwise. Convex: no.
    Raises: ValueError naming the argument and the value received.
    Reference: Wen, Wu, Wang, Chen and Li (2016), NeurIPS.

    Example:

    >>> from keras_regx.constraints import GroupTopK
    >>> w = GroupTopK(1)([[3.0, 0.0], [0.0, 4.0]])
    >>> [[float(v) for v in row] for row in w]
    [[0.0, 0.0], [0.0, 4.0]]
    >>> w = GroupTopK(fraction=0.5, groups=[0, 0, 1])([[1.0, 2.0, 2.0]])
    >>> [[float(v) for v in row] for row in w]
    [[1.0, 2.0, 0.0]]
    """

    def __init__(
        self,
        k: int | None = None,
        axis: check.Axis = "units",
        fraction: Any = None,
        groups: Sequence[int] | None = None,
    ) -> None:
        self._take_count(k, fraction)
        self.axis = check.axis(self, axis)
        self.groups = check.labels(self, groups, self.axis)

    def _apply(self, w: Any, moment: Moment) -> Any:
        norms, spread = self._norms(w)
        kept = spread(self._mask(norms, None, moment) | ops.isnan(norms))
        return ops.where(kept, w, ops.zeros_like(w))

    def _norms(self, w: Any) -> tuple[Any, Callable[[Any], Any]]:
        axes = self._axes(w)
        if self.groups is None:
            return safe_norm(w, axes, keepdims=True), lambda values: values
        shape = tuple(w.shape)
        check.label_count(self, self.groups, label_count(shape, axes), shape)
        norms, _, spread = label_norms(w, axes, self.groups)
        return norms, spread


@register
class NMSparsity(Grouped):
    """At most n non-zero weights in every m consecutive ones.

        P(w)_i = w_i where |w_i| is among the n largest of its block of m,
                 0 elsewhere

    2 of 4 along the inputs is what sparse tensor cores run at twice the speed.

    Args:
        n: Integer >= 0. How many of a block are kept.
        m: Integer >= 1, at least n. Entries of a block. A remainder shorter than
            m keeps `min(n, remainder)`.
        axis: Int. The axis that blocks lie along: 0, the inputs, for `Dense`
            kernels, -2 for convolutions.

    Call: floating tensor or variable that has this axis -> same shape and
        dtype. Of equal entries the first are kept.
    Exact: yes, bitwise. Convex: no.
    Raises: ValueError naming the argument and the value received.
    Reference: Mishra et al. (2021), arXiv:2104.08378.

    Example:

    >>> from keras_regx.constraints import NMSparsity
    >>> [float(v) for v in NMSparsity(2, 4)([1.0, 4.0, -3.0, 2.0, 5.0])]
    [0.0, 4.0, -3.0, 0.0, 5.0]
    """

    min_rank = 1
    keeps_zeros = True

    def __init__(self, n: int = 2, m: int = 4, axis: int = 0) -> None:
        self.n = check.integer(self, "n", n, minimum=0)
        self.m = check.integer(self, "m", m, minimum=max(1, self.n))
        self.axis = check.integer(self, "axis", axis)

    def _project(self, w: Any) -> Any:
        rows, restore = group_rows(w, self._axes(w))
        size = rows.shape[-1]
        blocks = -(-size // self.m)
        padding = [[0, 0], [0, blocks * self.m - size]]
        # Magnitudes are >= 0, so that padding is kept last of all.
        padded = ops.pad(ops.absolute(rows), padding, constant_values=-1.0)
        blocked = ops.reshape(padded, (-1, self.m))
        kept = ops.reshape(top_k_mask(blocked, self.n, -1), padded.shape)[:, :size]
        return restore(ops.where(kept | ops.isnan(rows), rows, ops.zeros_like(rows)))
