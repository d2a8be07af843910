"""The orthogonal polar factor, the matrix sign and Sinkhorn's scaling."""

from typing import Any

import keras
from keras import ops

from keras_regx._core import validation as check
from keras_regx.ops.matrix import map_singular_values, normalized
from keras_regx.ops.numerics import (
    dtype_of,
    feasibility_tolerance,
    smaller,
    upcast,
    with_gradient_of,
)

# The smallest singular value, relative to the bound on the largest, that the
# iteration is built for: condition number 1e4 and a bound loose by a factor 100.
SMALLEST = {"float32": 1e-6, "float64": 1e-10}


def newton_schulz_scales(smallest: float) -> list[float]:
    """Return scales a for steps `x -> a x (3 - (a x)^2) / 2` from [smallest, 1] to 1.

    Each a maximises the least value that the step can give on the interval
    that the singular values have reached. No interval is taken wider than
    [0.1, 1]: the best step for a wider one sends the largest value to nearly
    zero, and its rounding errors with it. The last steps are plain ones,
    which converge quadratically and do not amplify rounding.

    Args:
        smallest: Lower bound of the singular values, the upper one being 1.

    Returns:
        List of floats. They are constants of the method, not of the data.

    Reference:
        Chen and Chow (2014), A stable scaling of Newton-Schulz for improving
        the sign function computation of a Hermitian matrix.
    """

    def step(scale: float, value: float) -> float:
        y = scale * value
        return y * (3 - y * y) / 2

    scales = []
    while smallest < 0.9:
        low = max(smallest, 0.1)
        scale = (3 / (1 + low + low * low)) ** 0.5
        scales.append(scale)
        smallest = min(step(scale, smallest), step(scale, 1.0))
    return [*scales, 1.0, 1.0, 1.0, 1.0, 1.0]


def _newton_schulz(x: Any) -> Any:
    """Return the polar factor of tall matrices with entries in [-1, 1]."""
    gram = ops.swapaxes(x, -1, -2) @ x
    absolute = ops.absolute(ops.stop_gradient(gram))
    # Two upper bounds of the squared spectral norm, one good for few columns.
    frobenius = ops.sqrt(ops.sum(absolute * absolute, axis=(-2, -1), keepdims=True))
    row_sum = ops.max(ops.sum(absolute, -1, keepdims=True), -2, keepdims=True)
    bound = ops.sqrt(smaller(frobenius, row_sum))
    x = x / ops.where(bound > 0, bound, ops.ones_like(bound))
    for scale in newton_schulz_scales(SMALLEST[dtype_of(x)]):
        gram = ops.swapaxes(x, -1, -2) @ x
        x = (1.5 * scale) * x - (0.5 * scale**3) * (x @ gram)
    return x


def polar(x: Any, method: str = "newton_schulz") -> Any:
    """Return the nearest matrix with orthonormal columns (rows, if it is wide).

        argmin_Q ||Q - x||_F  subject to  Q^T Q = I  (Q Q^T = I if wide)
            = U V^T,  the orthogonal factor of the polar decomposition

    Args:
        x: Floating tensor of shape `(..., m, n)`.
        method: `"newton_schulz"`, a fixed number of products (21 pairs in
            float32, 32 in float64), accurate to rounding times the condition
            number and orthonormal to 1e-5 for condition numbers up to 1e4; or
            `"svd"`, orthonormal for every matrix but zero.

    Returns:
        Tensor of the shape and dtype of `x`. Matrices that are orthonormal to
        rounding come back as they are; zero stays zero; a matrix that is not
        finite becomes NaN. The factor of a rank-deficient matrix is not unique:
        by Newton-Schulz its lost directions end anywhere between 0 and 1.

    Gradient: that of the polar factor. It grows as the inverse of the smallest
        singular values; by `"svd"` lost directions and zero have gradient 0,
        by `"newton_schulz"` zero has. Through the iteration it is good to about
        1e-2 in float32, by `"svd"` to rounding.

    Raises:
        ValueError: If `x` is not floating, its rank is below 2 or `method` is
            unknown.

    Example:

    >>> from keras_regx.ops import polar
    >>> y = polar([[0.0, 2.0], [-3.0, 0.0]])
    >>> [[round(float(v), 5) + 0.0 for v in row] for row in y]
    [[0.0, 1.0], [-1.0, 0.0]]

    Reference:
        Higham (2008), Functions of Matrices, chapter 8.
    """
    x = check.floating("polar", x, min_rank=2)
    check.choice("polar", "method", method, ("newton_schulz", "svd"))
    if 0 in x.shape:
        return x
    wide = x.shape[-2] < x.shape[-1]
    y, _, finite = normalized(x)
    original = upcast(x)
    if wide:
        y, original = ops.swapaxes(y, -1, -2), ops.swapaxes(original, -1, -2)
    nonzero = ops.any(
        ops.not_equal(ops.stop_gradient(y), 0), axis=(-2, -1), keepdims=True
    )
    if method == "svd":
        factor = map_singular_values(y, ops.ones_like, ops.zeros_like)
    else:
        factor = _newton_schulz(y)
    factor = ops.where(nonzero, factor, ops.zeros_like(factor))
    # Normalised by its largest entry, the change in scale is constant: the
    # factor does not depend on it.
    fixed = ops.stop_gradient(original)
    fixed = ops.where(finite, fixed, ops.zeros_like(fixed))
    gram = ops.swapaxes(fixed, -1, -2) @ fixed
    residual = gram - ops.eye(gram.shape[-1], dtype=dtype_of(gram))
    residual = ops.max(ops.absolute(residual), axis=(-2, -1), keepdims=True)
    # A column that is too long by one part is so by two in its square.
    feasible = residual <= 2 * feasibility_tolerance(dtype_of(x))
    result = ops.where(feasible, with_gradient_of(original, factor), factor)
    result = ops.where(finite, result, ops.full_like(result, float("nan")))
    result = ops.swapaxes(result, -1, -2) if wide else result
    return ops.cast(result, dtype_of(x))


def matrix_sign(x: Any) -> Any:
    """Return the sign function of square matrices.

    With `x = Z diag(lambda) Z^-1` it is `Z diag(sign(Re lambda)) Z^-1`; for a
    symmetric matrix it is the orthogonal polar factor. Computed by Newton's
    iteration `x -> (x + x^-1) / 2` with scaling, a fixed number of times.

    Args:
        x: Floating tensor of shape `(..., n, n)` without eigenvalues on the
            imaginary axis, where the sign is not defined.

    Returns:
        Tensor of the shape and dtype of `x`. Zero stays zero, a matrix that is
        not finite becomes NaN; for another singular matrix the backend's
        inverse raises or gives values that are not finite.

    Gradient: through the iteration; 0 at zero.

    Raises:
        ValueError: If `x` is not floating or not square.

    Example:

    >>> from keras_regx.ops import matrix_sign
    >>> y = matrix_sign([[2.0, 1.0], [0.0, -3.0]])
    >>> [[round(float(v), 4) + 0.0 for v in row] for row in y]
    [[1.0, 0.4], [0.0, -1.0]]

    Reference:
        Higham (2008), Functions of Matrices, chapter 5.
    """
    x = check.floating("matrix_sign", x, min_rank=2)
    if x.shape[-1] != x.shape[-2]:
        given = check.describe(x, dtype_of(x))
        check.fail("matrix_sign", "x", "square matrices", given)
    if 0 in x.shape or _has_no_values(x):
        return x
    y, _, finite = normalized(x)
    nonzero = ops.any(
        ops.not_equal(ops.stop_gradient(y), 0), axis=(-2, -1), keepdims=True
    )
    y = ops.where(nonzero, y, ops.eye(y.shape[-1], dtype=dtype_of(y)))
    scaled_steps, plain_steps = 8, 6
    for trip in range(scaled_steps + plain_steps):
        inverse = ops.inv(y)
        if trip < scaled_steps:
            norms = [
                ops.sum(ops.square(ops.stop_gradient(m)), (-2, -1), keepdims=True)
                for m in (inverse, y)
            ]
            scale = (norms[0] / norms[1]) ** 0.25
            y = (scale * y + inverse / scale) / 2
        else:
            y = (y + inverse) / 2
    y = ops.where(nonzero, y, ops.zeros_like(y))
    y = ops.where(finite, y, ops.full_like(y, float("nan")))
    return ops.cast(y, dtype_of(x))


def _has_no_values(x: Any) -> bool:
    """Return whether only the shape is asked for, on PyTorch's meta device.

    There is no inverse there; Keras would go on with a matrix of ones, which is
    singular.
    """
    is_torch = keras.config.backend() == "torch"
    return is_torch and str(getattr(x, "device", "")) == "meta"


def sinkhorn(x: Any, iterations: int = 20) -> Any:
    """Scale rows and columns of `exp(x)` until both have equal sums.

    Rows then sum to 1 and columns to `m / n`: for square matrices the result
    is doubly stochastic. It minimises the relative entropy to `exp(x)` over
    that set; it is not the Euclidean projection. Computed on logarithms, so
    entries of any size are allowed; -infinity marks an entry that stays 0.

    Args:
        x: Floating tensor of shape `(..., m, n)`: logarithms of weights.
        iterations: Int >= 1. The columns are exact to rounding after each, the
            rows in the limit.

    Returns:
        Tensor of the shape and dtype of `x`, non-negative.

    Gradient: through the iterations.

    Raises:
        ValueError: If `x` is not floating, its rank is below 2 or `iterations`
            is not a positive int.

    Example:

    >>> from keras_regx.ops import sinkhorn
    >>> [[float(v) for v in row] for row in sinkhorn([[0.0, 0.0], [0.0, 0.0]])]
    [[0.5, 0.5], [0.5, 0.5]]

    Reference:
        Sinkhorn and Knopp (1967), Pacific Journal of Mathematics 21(2);
        Cuturi (2013), NeurIPS.
    """
    x = check.floating("sinkhorn", x, min_rank=2)
    check.integer("sinkhorn", "iterations", iterations, minimum=1)
    if 0 in x.shape:
        return x
    y = upcast(x)
    ratio = x.shape[-2] / x.shape[-1]
    weights = ops.exp(y - _log_sum(y, -1))
    for _ in range(iterations):
        y = y - _log_sum(y, -1)
        y = y - _log_sum(y, -2)
        weights = ops.exp(y) * ratio
    return ops.cast(weights, dtype_of(x))


def _log_sum(x: Any, axis: int) -> Any:
    """Return `log sum exp x`; 0 where all entries are -infinity."""
    top = ops.stop_gradient(ops.max(x, axis=axis, keepdims=True))
    top = ops.where(ops.equal(top, -float("inf")), ops.zeros_like(top), top)
    total = ops.sum(ops.exp(x - top), axis=axis, keepdims=True)
    empty = ops.equal(total, 0)
    return ops.where(
        empty, ops.zeros_like(total), top + ops.log(ops.where(empty, 1.0, total))
    )
