"""Fixed patterns of zeros: Mask, Triangular, Causal, Diagonal, BlockDiagonal."""

from typing import Any

from keras import ops

from keras_regx._core import masks
from keras_regx._core import validation as check
from keras_regx.constraints.base import Constraint, register


class _Support(Constraint):
    """Weights that are zero off a pattern: `P(w) = w` on it, 0 off it."""

    convex = True
    separable = True
    keeps_zeros = True
    cone = True
    even = True

    def _on(self, w: Any) -> Any:
        """Return where weights may differ from zero, broadcasting against `w`."""
        raise NotImplementedError

    def _project(self, w: Any) -> Any:
        return ops.where(self._on(w), w, ops.zeros_like(w))


@register
class Mask(_Support):
    """Zero wherever a mask is zero.

        P(w) = w where mask, 0 elsewhere

    Keeps a pruned layer pruned while it trains on.

    Args:
        mask: Array or nested list of booleans or of 0 and 1. Its shape is the
            trailing part of the weights' shape: it broadcasts as NumPy does. A
            big mask is kept as a string of compressed bits, at most a
            twentieth of its float32 weights in a saved model.

    Call: floating tensor or variable that the mask broadcasts against -> same
        shape and dtype. NaN off the mask becomes 0.
    Exact: yes. Convex: yes.
    Raises: ValueError if an entry is neither 0 nor 1, or the shapes do not fit.
    Reference: Han, Pool, Tran and Dally (2015), NeurIPS.

    Example:

    >>> from keras_regx.constraints import Mask
    >>> [float(v) for v in Mask([1, 0, 1])([4.0, 5.0, 6.0])]
    [4.0, 0.0, 6.0]
    """

    def __init__(self, mask: Any) -> None:
        self.mask = masks.pack(self, "mask", mask)

    def _on(self, w: Any) -> Any:
        return masks.fit(self, self.mask, w, "w")


def _indices(w: Any) -> tuple[Any, Any]:
    """Return the row and the column of each entry of the last two axes."""
    rows = ops.expand_dims(ops.arange(w.shape[-2], dtype="int32"), 1)
    columns = ops.expand_dims(ops.arange(w.shape[-1], dtype="int32"), 0)
    return rows, columns


@register
class Triangular(_Support):
    """Lower or upper triangular in the last two axes.

        P(w)_ij = w_ij where i >= j (lower) or i <= j (upper), 0 elsewhere

    Args:
        lower: Boolean. Which triangle is kept; the diagonal always is.

    Call: floating tensor or variable of rank >= 2 -> same shape and dtype.
    Exact: yes. Convex: yes.
    Raises: ValueError naming the argument and the value received.
    Reference: Golub and Van Loan (2013), Matrix Computations, section 1.2.

    Example:

    >>> from keras_regx.constraints import Triangular
    >>> w = Triangular(lower=False)([[1.0, 2.0], [3.0, 4.0]])
    >>> [[float(v) for v in row] for row in w]
    [[1.0, 2.0], [0.0, 4.0]]
    """

    min_rank = 2

    def __init__(self, lower: bool = True) -> None:
        self.lower = check.boolean(self, "lower", lower)

    def _on(self, w: Any) -> Any:
        rows, columns = _indices(w)
        return rows >= columns if self.lower else rows <= columns


@register
class Causal(_Support):
    """Output i depends on inputs up to i only: the lower triangle is kept.

        P(w)_ij = w_ij where i >= j, 0 elsewhere    (last two axes)

    Call: floating tensor or variable of rank >= 2 -> same shape and dtype.
    Exact: yes. Convex: yes.
    Raises: ValueError if the tensor is not floating or of rank below 2.
    Reference: Germain, Gregor, Murray and Larochelle (2015), ICML.

    Example:

    >>> from keras_regx.constraints import Causal
    >>> w = Causal()([[1.0, 2.0], [3.0, 4.0]])
    >>> [[float(v) for v in row] for row in w]
    [[1.0, 0.0], [3.0, 4.0]]
    """

    min_rank = 2

    def _on(self, w: Any) -> Any:
        rows, columns = _indices(w)
        return rows >= columns


@register
class Diagonal(_Support):
    """Zero off the diagonal of the last two axes.

        P(w)_ij = w_ij where i = j, 0 elsewhere

    On a convolution kernel: every filter sees its own channel only.

    Call: floating tensor or variable of rank >= 2 -> same shape and dtype.
    Exact: yes. Convex: yes.
    Raises: ValueError if the tensor is not floating or of rank below 2.
    Reference: Le, Jaitly and Hinton (2015), arXiv:1504.00941.

    Example:

    >>> from keras_regx.constraints import Diagonal
    >>> w = Diagonal()([[1.0, 2.0], [3.0, 4.0]])
    >>> [[float(v) for v in row] for row in w]
    [[1.0, 0.0], [0.0, 4.0]]
    """

    min_rank = 2

    def _on(self, w: Any) -> Any:
        rows, columns = _indices(w)
        return rows == columns


@register
class BlockDiagonal(_Support):
    """Zero off equal blocks on the diagonal of the last two axes.

        P(w)_ij = w_ij where floor(i b / rows) = floor(j b / columns), 0 elsewhere

    A grouped layer: each group of units sees its own group of inputs.

    Args:
        blocks: Integer >= 1. The number of blocks.

    Call: floating tensor or variable of rank >= 2 whose last two axes are
        multiples of `blocks` -> same shape and dtype.
    Exact: yes. Convex: yes.
    Raises: ValueError naming the argument and the value received, or the shape.
    Reference: Xie, Girshick, Dollar, Tu and He (2017), CVPR (grouped layers).

    Example:

    >>> from keras_regx.constraints import BlockDiagonal
    >>> w = BlockDiagonal(2)([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]])
    >>> [[int(v) for v in row] for row in w]
    [[1, 0], [3, 0], [0, 6], [0, 8]]
    """

    min_rank = 2

    def __init__(self, blocks: int) -> None:
        self.blocks = check.integer(self, "blocks", blocks, minimum=1)

    def _on(self, w: Any) -> Any:
        height, width = w.shape[-2:]
        if height % self.blocks or width % self.blocks:
            expected = f"a tensor whose last two axes are multiples of {self.blocks}"
            check.fail(self, "w", expected, tuple(w.shape))
        rows, columns = _indices(w)
        return rows // (height // self.blocks) == columns // (width // self.blocks)
