"""Penalties on activations: statistics of a batch of outputs, shape (batch, ..., n).

They are means over the batch, or functions of such means. As a layer's
`activity_regularizer=` they are divided by the batch size once more, since Keras
divides whatever it gets there; `keras_regx.layers.ActivityRegularization` adds them
as they are, and leaves masked steps out.
"""

from typing import Any

from keras import ops

from keras_regx._core import validation as check
from keras_regx.ops.numerics import dtype_of, upcast
from keras_regx.regularizers.base import Regularizer, register


class ActivityRegularizer(Regularizer):
    """Base class of penalties on a batch of activations.

    A subclass defines `_statistic(x, weights)` of activations `(samples, n)` and
    their weights `(samples, 1)`: ones, and zeros for what a mask leaves out.
    """

    min_rank = 2
    batch_statistic = True
    no_prox_reason = "activations are not updated by a proximal step"

    def __call__(self, x: Any, mask: Any = None) -> Any:
        """Return the penalty of a batch of activations.

        Args:
            x: Floating tensor of shape `(batch, ..., n)`.
            mask: Boolean tensor of the leading axes of `x`, or `None`: which
                samples and steps count.

        Returns:
            Scalar tensor; float32 for half-precision input.
        """
        x = upcast(check.floating(self, x, min_rank=self.min_rank))
        if 0 in x.shape:
            return ops.sum(x)
        return self._value(x) if mask is None else self._masked(x, mask)

    def _value(self, x: Any) -> Any:
        rows = ops.reshape(x, (-1, x.shape[-1]))
        return self._statistic(rows, ops.ones_like(rows[:, :1]))

    def _masked(self, x: Any, mask: Any) -> Any:
        rows = ops.reshape(x, (-1, x.shape[-1]))
        missing = len(x.shape) - 1 - len(mask.shape)
        mask = ops.reshape(mask, (*ops.shape(mask), *(1,) * missing))
        mask = ops.broadcast_to(mask, ops.shape(x)[:-1])
        mask = ops.reshape(ops.cast(mask, "bool"), (-1, 1))
        rows = ops.where(mask, rows, ops.zeros_like(rows))
        return self._statistic(rows, ops.cast(mask, dtype_of(x)))

    def _statistic(self, x: Any, weights: Any) -> Any:
        raise NotImplementedError


def _count(weights: Any) -> Any:
    """Return the number of samples, at least one."""
    return ops.maximum(ops.sum(weights), 1.0)


def _covariance(x: Any, weights: Any, correction: int) -> Any:
    """Return the covariance of the columns, divided by `n - correction`."""
    count = _count(weights)
    centred = (x - ops.sum(x * weights, axis=0, keepdims=True) / count) * weights
    product = ops.transpose(centred) @ centred
    return product / ops.maximum(count - correction, 1.0)


@register
class KLSparsity(ActivityRegularizer):
    """Divergence of each unit's mean activation from a small target.

        f(a) = factor sum_j KL(target || m_j),    m_j = mean_i a_ij,
        KL(r || m) = r log(r / m) + (1 - r) log((1 - r) / (1 - m))

    For activations in (0, 1), such as those of a sigmoid; means are clipped to
    `[1e-6, 1 - 1e-6]`.

    Args:
        factor: Finite float >= 0. Regularization factor.
        target: Float in (0, 1). The mean activation wanted.

    Call: floating tensor `(batch, ..., units)` -> scalar, float32 for half-precision
        input.
    Prox: none, it is a penalty on activations.
    Gradient at 0: 0, where the clipped mean does not move.
    Raises: ValueError naming the argument and the value received.
    Reference: Ng (2011), Sparse Autoencoder, CS294A lecture notes.

    Example:

    >>> from keras_regx.regularizers import KLSparsity
    >>> round(float(KLSparsity(1.0, target=0.5)([[0.25], [0.75]])), 6) + 0.0
    0.0
    >>> round(float(KLSparsity(1.0, target=0.5)([[0.1], [0.3]])), 6)
    0.223144
    """

    def __init__(self, factor: float, target: float = 0.05) -> None:
        self.factor = check.number(self, "factor", factor, minimum=0)
        self.target = check.number(self, "target", target, above=0, below=1)

    def _statistic(self, x: Any, weights: Any) -> Any:
        mean = ops.sum(x * weights, axis=0) / _count(weights)
        mean = ops.where(ops.isnan(mean), mean, ops.clip(mean, 1e-6, 1 - 1e-6))
        r = self.target
        divergence = r * ops.log(r / mean) + (1 - r) * ops.log((1 - r) / (1 - mean))
        return self.factor * ops.sum(divergence)


@register
class VarianceCovariance(ActivityRegularizer):
    """Each feature varies over the batch, and no two of them together (VICReg).

        f(z) = variance mean_j max(0, gamma - sqrt(var_j + 1e-4))
             + covariance / d sum_{j != k} C_jk^2,    with divisor n - 1

    Args:
        variance: Finite float >= 0. Factor of the variance term.
        covariance: Finite float >= 0. Factor of the covariance term.
        gamma: Finite float >= 0. The standard deviation wanted.

    Call: floating tensor `(batch, ..., features)` -> scalar, float32 for
        half-precision input.
    Prox: none, it is a penalty on activations.
    Gradient at 0: 0, as for any batch of equal samples.
    Raises: ValueError naming the argument and the value received.
    Reference: Bardes, Ponce and LeCun (2022), arXiv:2105.04906.

    Example:

    >>> from keras_regx.regularizers import VarianceCovariance
    >>> penalty = VarianceCovariance(variance=0.0)
    >>> float(penalty([[1.0, 1.0], [-1.0, -1.0]]))
    4.0
    """

    def __init__(
        self, variance: float = 1.0, covariance: float = 1.0, gamma: float = 1.0
    ) -> None:
        self.variance = check.number(self, "variance", variance, minimum=0)
        self.covariance = check.number(self, "covariance", covariance, minimum=0)
        self.gamma = check.number(self, "gamma", gamma, minimum=0)

    def _statistic(self, x: Any, weights: Any) -> Any:
        c = _covariance(x, weights, correction=1)
        on_diagonal = ops.eye(x.shape[-1], dtype=dtype_of(x))
        spread = ops.sqrt(ops.sum(c * on_diagonal, axis=0) + 1e-4)
        hinge = ops.mean(ops.maximum(self.gamma - spread, 0))
        together = ops.sum(ops.square(c * (1 - on_diagonal))) / x.shape[-1]
        return self.variance * hinge + self.covariance * together


@register
class DeCov(ActivityRegularizer):
    """Squared covariances between features: decorrelated activations.

        f(h) = factor / 2 (||C||_F^2 - ||diag C||_2^2),    with divisor n

    Args:
        factor: Finite float >= 0. Regularization factor.

    Call: floating tensor `(batch, ..., features)` -> scalar, float32 for
        half-precision input.
    Prox: none, it is a penalty on activations.
    Gradient at 0: 0, as for any batch of equal samples.
    Raises: ValueError naming the argument and the value received.
    Reference: Cogswell et al. (2016), arXiv:1511.06068.

    Example:

    >>> from keras_regx.regularizers import DeCov
    >>> float(DeCov(1.0)([[1.0, 1.0], [-1.0, -1.0]]))
    1.0
    """

    def __init__(self, factor: float) -> None:
        self.factor = check.number(self, "factor", factor, minimum=0)

    def _statistic(self, x: Any, weights: Any) -> Any:
        c = _covariance(x, weights, correction=0)
        others = 1 - ops.eye(x.shape[-1], dtype=dtype_of(x))
        return self.factor / 2 * ops.sum(ops.square(c * others))


@register
class ZLoss(ActivityRegularizer):
    """Squared log of the softmax normaliser: keeps logits from drifting.

        f(z) = factor mean_i (log sum_j exp z_ij)^2

    Args:
        factor: Finite float >= 0. Regularization factor; 1e-4 is usual.

    Call: floating tensor of logits `(batch, ..., classes)` -> scalar, float32 for
        half-precision input.
    Prox: none, it is a penalty on activations.
    Gradient at 0: `2 factor log(n) / (n samples)` for `n` classes.
    Raises: ValueError naming the argument and the value received.
    Reference: Chowdhery et al. (2022), PaLM, arXiv:2204.02311, section 5.

    Example:

    >>> from keras_regx.regularizers import ZLoss
    >>> round(float(ZLoss(1.0)([[0.0, 0.0]])), 6)
    0.480453
    """

    def __init__(self, factor: float) -> None:
        self.factor = check.number(self, "factor", factor, minimum=0)

    def _statistic(self, x: Any, weights: Any) -> Any:
        log_z = ops.logsumexp(x, axis=-1, keepdims=True)
        total = ops.sum(ops.square(log_z) * weights)
        return self.factor * total / _count(weights)


@register
class EntropyPenalty(ActivityRegularizer):
    """Mean entropy of the predicted distributions.

        f(p) = -factor mean_i sum_j p_ij log p_ij

    A positive factor asks for decided predictions, or for attention to few
    places; a negative one is the confidence penalty, which asks for doubt.

    Args:
        factor: Finite float. Regularization factor, of either sign.
        from_logits: Boolean. Whether the activations are logits or probabilities.

    Call: floating tensor `(batch, ..., classes)` -> scalar, float32 for
        half-precision input. A probability of 0 contributes 0.
    Prox: none, it is a penalty on activations.
    Gradient at 0: 0.
    Raises: ValueError naming the argument and the value received.
    Reference: Grandvalet and Bengio (2004), NeurIPS 17; Pereyra et al. (2017),
        arXiv:1701.06548.

    Example:

    >>> from keras_regx.regularizers import EntropyPenalty
    >>> round(float(EntropyPenalty(1.0)([[0.0, 0.0]])), 6)
    0.693147
    >>> round(float(EntropyPenalty(1.0, from_logits=False)([[1.0, 0.0]])), 6) + 0.0
    0.0
    """

    def __init__(self, factor: float, from_logits: bool = True) -> None:
        self.factor = check.number(self, "factor", factor)
        self.from_logits = check.boolean(self, "from_logits", from_logits)

    def _statistic(self, x: Any, weights: Any) -> Any:
        if self.from_logits:
            log_p = ops.log_softmax(x, axis=-1)
            terms = ops.exp(log_p) * log_p
        else:
            p = ops.maximum(x, 0)
            terms = p * ops.log(ops.where(p == 0, ops.ones_like(p), p))
        return -self.factor * ops.sum(terms * weights) / _count(weights)


@register
class BatchedOrthogonality(ActivityRegularizer):
    """Squared distance of each sample's matrix from an orthogonal one.

        f(A) = factor mean_b ||A_b A_b^T - I||_F^2

    For layers that predict a transformation for each sample. Samples are never
    mixed.

    Args:
        factor: Finite float >= 0. Regularization factor.

    Call: floating tensor `(batch, ..., rows, columns)` -> scalar, float32 for
        half-precision input.
    Prox: none, it is a penalty on activations.
    Gradient at 0: 0.
    Raises: ValueError naming the argument and the value received.
    Reference: Qi et al. (2017), PointNet, arXiv:1612.00593.

    Example:

    >>> from keras import ops
    >>> from keras_regx.regularizers import BatchedOrthogonality
    >>> float(BatchedOrthogonality(1.0)(ops.stack([ops.eye(2), 2 * ops.eye(2)])))
    9.0
    """

    min_rank = 3

    def __init__(self, factor: float) -> None:
        self.factor = check.number(self, "factor", factor, minimum=0)

    def _value(self, x: Any) -> Any:
        return self.factor * ops.mean(self._distances(x))

    def _masked(self, x: Any, mask: Any) -> Any:
        distances = self._distances(x)
        missing = len(distances.shape) - len(mask.shape)
        if missing < 0:
            expected = "a mask of the axes before the matrices"
            check.fail(self, "mask", expected, check.describe(mask, dtype_of(mask)))
        mask = ops.reshape(mask, (*ops.shape(mask), *(1,) * missing))
        mask = ops.cast(ops.broadcast_to(mask, ops.shape(distances)), "bool")
        kept = ops.where(mask, distances, ops.zeros_like(distances))
        return self.factor * ops.sum(kept) / _count(ops.cast(mask, dtype_of(x)))

    def _distances(self, x: Any) -> Any:
        gram = x @ ops.swapaxes(x, -1, -2)
        gap = gram - ops.eye(x.shape[-2], dtype=dtype_of(x))
        return ops.sum(ops.square(gap), axis=(-2, -1))
