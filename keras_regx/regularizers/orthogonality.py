"""Penalties on the distance of a kernel from an orthogonal one."""

import math
from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_regx._core import validation as check
from keras_regx.ops.axes import as_matrix
from keras_regx.ops.numerics import absolute, dtype_of
from keras_regx.ops.power import spectral_norm
from keras_regx.regularizers.base import Regularizer, register
from keras_regx.regularizers.ratios import largest


class _Gram(Regularizer):
    """A penalty on `G - I`, with the smaller one of `W^T W` and `W W^T`.

    The larger one has rank at most `min(m, n)`: it cannot come near to `I`.
    """

    min_rank = 2
    sees_matrix = True

    def __init__(self, factor: float) -> None:
        self.factor = check.number(self, "factor", factor, minimum=0)

    def _excess(self, x: Any) -> Any:
        w = as_matrix(x)
        rows, columns = w.shape
        wt = ops.transpose(w)
        gram = wt @ w if rows >= columns else w @ wt
        return gram - ops.eye(min(rows, columns), dtype=dtype_of(x))


@register
class SoftOrthogonality(_Gram):
    """Squared distance of the Gram matrix from the identity.

        f(W) = factor ||G - I||_F^2,    G the smaller one of W^T W and W W^T

    A kernel of rank > 2 is seen as a matrix of shape `(fan_in, units)`.

    Args:
        factor: Finite float >= 0. Regularization factor.

    Call: floating tensor of rank >= 2 -> scalar, float32 for half-precision input.
        0 for orthonormal columns or rows, whichever are fewer.
    Prox: none in closed form.
    Gradient at 0: 0.
    Raises: ValueError naming the argument and the value received.
    Reference: Bansal, Chen and Wang (2018), arXiv:1810.09102 (SO).

    Example:

    >>> from keras_regx.regularizers import SoftOrthogonality
    >>> float(SoftOrthogonality(0.5)([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]]))
    4.5
    """

    def _value(self, x: Any) -> Any:
        return self.factor * ops.sum(ops.square(self._excess(x)))


@register
class DoubleSoftOrthogonality(_Gram):
    """Squared distances of both Gram matrices from the identity.

        f(W) = factor (||W^T W - I||_F^2 + ||W W^T - I||_F^2)

    For a kernel that is not square the least value is `factor |fan_in - units|`.

    Args:
        factor: Finite float >= 0. Regularization factor.

    Call: floating tensor of rank >= 2 -> scalar, float32 for half-precision input.
    Prox: none in closed form.
    Gradient at 0: 0.
    Raises: ValueError naming the argument and the value received.
    Reference: Bansal, Chen and Wang (2018), arXiv:1810.09102 (DSO).

    Example:

    >>> from keras_regx.regularizers import DoubleSoftOrthogonality
    >>> float(DoubleSoftOrthogonality(0.5)([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
    0.5
    """

    def _value(self, x: Any) -> Any:
        w = as_matrix(x)
        # The Gram matrices share their non-zero eigenvalues.
        gap = abs(w.shape[0] - w.shape[1])
        return self.factor * (2 * ops.sum(ops.square(self._excess(x))) + gap)


@register
class MutualCoherence(_Gram):
    """Largest deviation of the Gram matrix from the identity, entry by entry.

        f(W) = factor max_ij |G - I|_ij,    G the smaller one of W^T W and W W^T

    The entrywise maximum, not the largest row sum.

    Args:
        factor: Finite float >= 0. Regularization factor.

    Call: floating tensor of rank >= 2 -> scalar, float32 for half-precision input.
    Prox: none in closed form.
    Gradient at 0: 0; among equal entries it is shared equally.
    Raises: ValueError naming the argument and the value received.
    Reference: Bansal, Chen and Wang (2018), arXiv:1810.09102 (MC).

    Example:

    >>> from keras_regx.regularizers import MutualCoherence
    >>> float(MutualCoherence(1.0)([[1.0, 0.5], [0.0, 1.0]]))
    0.5
    """

    def _value(self, x: Any) -> Any:
        return self.factor * largest(absolute(self._excess(x)))


@register
class SRIP(_Gram):
    """Spectral norm of the deviation of the Gram matrix from the identity.

        f(W) = factor sigma_max(G - I),    G the smaller one of W^T W and W W^T

    The spectral restricted isometry property, by power iteration from a fixed
    start: no state, nothing random, and the same under compilation.

    Args:
        factor: Finite float >= 0. Regularization factor.
        iterations: Int >= 1. Steps of the power iteration.

    Call: floating tensor of rank >= 2 -> scalar, float32 for half-precision input.
        Never above the norm; it nears it as `iterations` grows.
    Prox: none in closed form.
    Gradient at 0: 0.
    Raises: ValueError naming the argument and the value received.
    Reference: Bansal, Chen and Wang (2018), arXiv:1810.09102 (SRIP).

    Example:

    >>> from keras_regx.regularizers import SRIP
    >>> round(float(SRIP(1.0)([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]])), 5)
    3.0
    """

    def __init__(self, factor: float, iterations: int = 16) -> None:
        super().__init__(factor)
        self.iterations = check.integer(self, "iterations", iterations, minimum=1)

    def _value(self, x: Any) -> Any:
        return self.factor * spectral_norm(self._excess(x), self.iterations)


@register
class ConvOrthogonality(Regularizer):
    """Distance of a convolution, as an operator, from an orthogonal one.

        f(K) = factor (||conv(K, K) - I_0||_F^2 - max(0, M - C prod(strides)))

    `conv(K, K)` correlates the `M` filters over `C` channels with each other at
    all shifts that are multiples of the strides; `I_0` is the identity at shift
    zero. The penalty is 0 exactly for an orthogonal convolution with circular
    padding (for filters smaller than half of the image). Orthogonality of the
    reshaped kernel, `SoftOrthogonality`, says nothing about the shifts.

    Args:
        factor: Finite float >= 0. Regularization factor.
        strides: Int >= 1, or one for each spatial axis: those of the layer.

    Call: floating tensor of rank >= 2, `(*spatial, channels, filters)` -> scalar,
        float32 for half-precision input. A matrix is a convolution of one pixel.
    Prox: none in closed form.
    Gradient at 0: 0.
    Raises: ValueError naming the argument and the value received.
    Reference: Wang et al. (2020), arXiv:1911.12207; Achour, Malgouyres and
        Mamalet (2022), J. Mach. Learn. Res. 23.

    Example:

    >>> from keras import ops
    >>> from keras_regx.regularizers import ConvOrthogonality
    >>> delta = ops.reshape(ops.convert_to_tensor([0.0, 1.0, 0.0]), (3, 1, 1))
    >>> float(ConvOrthogonality(1.0)(delta))
    0.0
    >>> float(ConvOrthogonality(1.0)(ops.ones((2, 1, 1))))
    3.0
    """

    min_rank = 2

    def __init__(self, factor: float, strides: int | Sequence[int] = 1) -> None:
        self.factor = check.number(self, "factor", factor, minimum=0)
        if isinstance(strides, list | tuple) and strides:
            self.strides: Any = [
                check.integer(self, "strides", stride, minimum=1) for stride in strides
            ]
        else:
            self.strides = check.integer(self, "strides", strides, minimum=1)

    def _value(self, x: Any) -> Any:
        if len(x.shape) == 2:
            x = ops.expand_dims(x, 0)
        *sizes, channels, filters = x.shape
        strides = self.strides
        strides = [strides] * len(sizes) if isinstance(strides, int) else strides
        if len(strides) != len(sizes):
            expected = f"{len(sizes)} strides for a kernel of shape {tuple(x.shape)}"
            check.fail(self, "strides", expected, self.strides)
        shifts = [(size - 1) // s for size, s in zip(sizes, strides, strict=True)]
        first = ops.moveaxis(x, -1, 0)
        pads = [(n * s, n * s) for n, s in zip(shifts, strides, strict=True)]
        first = ops.pad(first, [(0, 0), *pads, (0, 0)])
        correlation = ops.conv(
            first, x, tuple(strides), padding="valid", data_format="channels_last"
        )
        # At shift zero ||A - I||^2 = ||A||^2 - 2 tr(A) + M, and tr(A) = ||K||^2.
        total = ops.sum(ops.square(correlation)) - 2 * ops.sum(ops.square(x)) + filters
        surplus = max(0, filters - channels * math.prod(strides))
        return self.factor * (total - surplus)
