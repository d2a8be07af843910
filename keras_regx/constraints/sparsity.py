"""A prescribed number of non-zero weights: TopK, GroupTopK, NMSparsity.

Among equal magnitudes those that come first are kept, on every backend.
"""

import math
from typing import Any

import keras
from keras import ops

from keras_regx._core import validation as check
from keras_regx._core.counter import Moment, StepReader
from keras_regx.constraints.algebra import Timed
from keras_regx.constraints.base import Grouped, register
from keras_regx.ops.axes import group_rows, group_size
from keras_regx.ops.numerics import safe_norm, upcast
from keras_regx.ops.order import top_k_mask


@register
class TopK(Timed, Grouped, StepReader):
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

    keeps_zeros = True

    def __init__(
        self,
        k: int | None = None,
        fraction: Any = None,
        axis: check.Axis = None,
    ) -> None:
        if (k is None) == (fraction is None):
            given = "k" if k is not None else "fraction"
            value = k if k is not None else fraction
            check.fail(self, given, "either `k` or `fraction`, not both", value)
        self.k = None if k is None else check.integer(self, "k", k, minimum=0)
        is_schedule = isinstance(
            fraction, keras.optimizers.schedules.LearningRateSchedule
        )
        if fraction is not None and not is_schedule:
            fraction = check.number(self, "fraction", fraction, minimum=0, maximum=1)
        self.fraction = fraction
        self.axis = check.axis(self, axis)

    def _apply(self, w: Any, moment: Moment) -> Any:
        size = group_size(tuple(w.shape), self._axes(w))
        magnitudes = ops.absolute(upcast(w))
        if self.k is not None:
            kept = top_k_mask(magnitudes, min(self.k, size), self.axis)
        elif isinstance(self.fraction, float):
            kept = top_k_mask(magnitudes, _count(self.fraction, size), self.axis)
        else:
            kept = self._scheduled(magnitudes, size, self.step(moment))
        return ops.where(kept | ops.isnan(w), w, ops.zeros_like(w))

    def _scheduled(self, magnitudes: Any, size: int, step: Any) -> Any:
        """Return the mask of a count that is only known while training."""
        fraction = self.fraction(0 if step is None else step)
        fraction = ops.cast(ops.convert_to_tensor(fraction), "float32")
        count = ops.cast(ops.floor(fraction * size + 0.5), "int32")
        count = ops.maximum(count, ops.cast(fraction > 0, "int32"))
        count = ops.minimum(count, size)
        rows, restore = group_rows(magnitudes, self.axis)
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


def _count(fraction: float, size: int) -> int:
    """Return the nearest count to a fraction, at least one unless it is 0."""
    nearest = min(math.floor(fraction * size + 0.5), size)
    return max(nearest, 1) if fraction > 0 else 0


@register
class GroupTopK(Grouped):
    """The k groups of largest norm; all others are zero.

        P(w)_g = w_g where ||w_g||_2 is among the k largest, 0 elsewhere

    With `axis="units"` whole units or filters are removed.

    Args:
        k: Integer >= 0. How many groups are kept; fewer groups are all kept.
        axis: Int, tuple of ints, `"units"`, `"inputs"` or `None`: the axes that
            form a group.

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
    """

    keeps_zeros = True

    def __init__(self, k: int, axis: check.Axis = "units") -> None:
        self.k = check.integer(self, "k", k, minimum=0)
        self.axis = check.axis(self, axis)

    def _project(self, w: Any) -> Any:
        norms = safe_norm(w, self._axes(w), keepdims=True)
        groups = math.prod(norms.shape)
        kept = top_k_mask(norms, min(self.k, groups)) | ops.isnan(norms)
        return ops.where(kept, w, ops.zeros_like(w))


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
