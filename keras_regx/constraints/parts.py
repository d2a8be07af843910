"""Constraints on parts of the weights: PerBlock, Masked."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Self

from keras import ops

from keras_regx._core import masks
from keras_regx._core import validation as check
from keras_regx._core.config import Configurable, bound
from keras_regx._core.counter import Moment
from keras_regx._core.memory import View
from keras_regx.constraints.algebra import Wrapper
from keras_regx.constraints.base import (
    Constraint,
    adapted,
    member,
    register,
    registry,
)
from keras_regx.ops.axes import resolve_axis
from keras_regx.ops.numerics import safe_norm, upcast


@register
class PerBlock(Wrapper):
    """A constraint on each block of an axis alone: heads, gates, groups.

        P(w)_b = P_0(w_b)    for each block b

    `PerBlock(Orthogonal(), axis=1)` makes each head of an attention kernel
    `(inputs, heads, key)` orthogonal; `PerBlock(Symmetric(), blocks=4)` each of
    the four gates in a recurrent kernel of an `LSTM`.

    Args:
        constraint: The constraint of a block: an instance, name, config or
            function.
        axis: Int. The axis that is cut.
        blocks: Integer >= 1 that divides the axis: into how many equal blocks.
            `None` takes each index alone, without that axis: a block is then a
            weight of its own, whose last axis are its units.

    Call: floating tensor or variable that has this axis -> same shape and dtype.
    Exact: as the member. Convex: as the member.
    Raises: ValueError naming the argument and the value received.
    Reference: Parikh and Boyd (2014), Proximal Algorithms, section 2.1 (separable
        sums).

    Example:

    >>> from keras_regx.constraints import PerBlock, Simplex
    >>> constraint = PerBlock(Simplex(axis=None), axis=-1, blocks=2)
    >>> [float(v) for v in constraint([3.0, 1.0, 0.5, 0.5])]
    [1.0, 0.0, 0.5, 0.5]
    """

    min_rank = 1
    _blocks: list[Any] | None = None  # Of a variable: a constraint for each block.

    def __init__(
        self, constraint: Any, axis: int = -1, blocks: int | None = None
    ) -> None:
        self.constraint = member(self, constraint)
        self.axis = check.integer(self, "axis", axis)
        if blocks is not None:
            blocks = check.integer(self, "blocks", blocks, minimum=1)
        self.blocks = blocks

    def _cut(self, w: Any) -> tuple[list[Any], int]:
        axis = resolve_axis(self.axis, len(w.shape), type(self).__name__)[0]
        if self.blocks is None:
            return ops.unstack(w, axis=axis), axis
        if w.shape[axis] % self.blocks:
            expected = f"a divisor of the {w.shape[axis]} entries of axis {axis}"
            check.fail(self, "blocks", expected, self.blocks)
        return ops.split(w, self.blocks, axis=axis), axis

    def children(self) -> Iterator[Any]:
        """Yield the constraint, or those of the blocks of a variable."""
        if self._blocks is None:
            yield from super().children()
        else:
            yield from (c for c in self._blocks if isinstance(c, Configurable))

    @property
    def has_state(self) -> bool:
        """Whether the blocks of a variable have constraints of their own."""
        return self._blocks is not None

    def parts_for(self, view: View) -> Self:
        """Return this with a constraint for each block of a variable."""
        old = [self._of_block(i) for i in range(len(self._cut(view.read())[0]))]
        new = [
            bound(member, view.through(partial(self._block, i)))
            for i, member in enumerate(old)
        ]
        same = all(a is b for a, b in zip(new, old, strict=True))
        return self if same else self.copied(_blocks=new)

    def _of_block(self, number: int) -> Any:
        return self.constraint if self._blocks is None else self._blocks[number]

    def _block(self, number: int, w: Any) -> Any:
        return self._cut(w)[0][number]

    def _each(self, function: Callable[[Any, Any], Any], w: Any) -> list[Any]:
        """Return what a function of constraint and block gives for each block."""
        return [
            function(adapted(self._of_block(i)), block)
            for i, block in enumerate(self._cut(w)[0])
        ]

    def _apply(self, w: Any, moment: Moment) -> Any:
        axis = self._cut(w)[1]
        done = self._each(lambda c, block: c.at(block, moment), w)
        if self.blocks is None:
            return ops.stack(done, axis=axis)
        return ops.concatenate(done, axis=axis)

    def contains(self, w: Any, tol: float | None = None) -> bool:
        """Return whether every block is in the set of the member."""
        w = check.floating(self, w, min_rank=1, argument="w")
        if 0 in w.shape:
            return True
        return all(self._each(lambda c, block: c.contains(block, tol), w))

    def distance(self, w: Any) -> Any:
        """Return the Euclidean distance: the root of the blocks' squares."""
        w = check.floating(self, w, min_rank=1, argument="w")
        if 0 in w.shape:
            return ops.sum(upcast(w))
        return safe_norm(ops.stack(self._each(lambda c, block: c.distance(block), w)))


@registry.saved_as("MaskedConstraint")
class Masked(Wrapper):
    """A constraint on some of the entries; the others stay as they are.

        P(w) = P_0(m w) where m, w elsewhere,    m the mask of zeros and ones

    The weights whose masked part is in the set of the member.

    Args:
        constraint: The constraint `P_0`: an instance, name or config. It must
            bound each entry on its own, or keep zero weights at zero: only then
            is this a projection. So do bounds, signs, norms, balls around zero,
            sparsity and masks; a simplex, a mean or a set of singular values
            does not.
        mask: Array or nested list of booleans or of 0 and 1, as in `Mask`.

    Call: floating tensor or variable that the mask broadcasts against -> same
        shape and dtype. Entries off the mask are bitwise unchanged, NaN too.
    Exact: as the member. Convex: as the member.
    Raises: ValueError naming the argument and the value received, or the shape.
    Reference: Parikh and Boyd (2014), Proximal Algorithms, section 2.1.

    Example:

    >>> from keras_regx.constraints import L2Ball, Masked
    >>> constraint = Masked(L2Ball(1.0, axis=None), [1, 1, 0])
    >>> [round(float(v), 6) for v in constraint([3.0, 4.0, 7.0])]
    [0.6, 0.8, 7.0]
    """

    def __init__(self, constraint: Any, mask: Any) -> None:
        self.constraint = member(self, constraint)
        if not (self.separable or self.keeps_zeros):
            expected = "a constraint that keeps zero weights at zero"
            check.fail(self, "constraint", expected, constraint)
        self.mask = masks.pack(self, "mask", mask)

    @property
    def separable(self) -> bool:  # type: ignore[override]
        """Whether the member bounds each entry on its own."""
        return self._member.separable

    def _apply(self, w: Any, moment: Moment) -> Any:
        mask = masks.fit(self, self.mask, w, "w")
        seen = ops.where(mask, w, ops.zeros_like(w))
        return ops.where(mask, self._member.at(seen, moment), w)

    def contains(self, w: Any, tol: float | None = None) -> bool:
        """Return whether the entries under the mask are where the member puts them."""
        return Constraint.contains(self, w, tol)

    def distance(self, w: Any) -> Any:
        """Return the Euclidean distance, over the entries under the mask."""
        return Constraint.distance(self, w)

    def _scale(self, w: Any) -> float:
        return self._member._scale(w)  # noqa: SLF001
