"""`tf.contrib.layers` of TensorFlow 1 and its checks, for Keras 3 models.

Kept as they were: `l2_regularizer` is half the sum of squares, an integer scale
is an error, a scale of zero has no term, an empty list of weights stands for all
weights. Keras has no global collection of losses, so the functions that read or
wrote it take the model. `scope=` and `name=` only named graph operations in the
regularizers; there they are accepted and ignored.
"""

import re
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import keras
from keras import ops

from keras_regx._core.registry import PACKAGE
from keras_regx.models.penalties import penalties
from keras_regx.models.sites import sites
from keras_regx.ops.numerics import upcast
from keras_regx.policy.policy import Policy
from keras_regx.policy.rule import Rule
from keras_regx.regularizers import L1, L2, Regularizer, Sum

__all__ = [
    "NoTerm",
    "apply_regularization",
    "get_regularization_loss",
    "get_regularization_losses",
    "l1_l2_regularizer",
    "l1_regularizer",
    "l2_loss",
    "l2_regularizer",
    "sum_regularizer",
]


class _CallIsNone(type):
    """Metaclass: calling the class on weights gives None, as in TensorFlow 1."""

    def __call__(cls, *args: Any) -> Any:
        return None if args else super().__call__()


@keras.saving.register_keras_serializable(package=PACKAGE)
class NoTerm(Regularizer, metaclass=_CallIsNone):
    """What a scale of zero gives: a regularizer without a term.

        NoTerm(w) is None

    Keras builds an instance of a class that it is given as an argument of a
    layer. The instance is worth 0, so that the layer trains; `penalties` and
    `get_regularization_losses` leave it out.

    Call: anything -> None for the class, scalar 0 for the instance.
    Prox: the identity.
    Gradient: 0.

    Example:

    >>> from keras_regx.compat.tf_contrib import l2_regularizer
    >>> l2_regularizer(0.0)([1.0, 2.0]) is None
    True
    >>> float(l2_regularizer(0.0)()([1.0, 2.0]))
    0.0
    """

    convex = True
    separable = True
    has_term = False

    def _value(self, x: Any) -> Any:
        return ops.zeros((), x.dtype)

    def _prox(self, x: Any, step_size: Any) -> Any:  # noqa: ARG002
        return x


def l2_loss(t: Any, name: str | None = None) -> Any:  # noqa: ARG001
    """Return half the sum of squares, as `tf.nn.l2_loss`.

    Example:

    >>> from keras_regx.compat.tf_contrib import l2_loss
    >>> float(l2_loss([3.0, 4.0]))
    12.5
    """
    return ops.sum(ops.square(upcast(t))) / 2


def l1_regularizer(scale: float, scope: str | None = None) -> Any:  # noqa: ARG001
    """Return `scale * sum |w|`.

    Args:
        scale: Float >= 0; an integer is an error. 0.0 has no term.
        scope: Ignored.

    Raises:
        ValueError: If `scale` is an integer or negative.

    Example:

    >>> from keras_regx.compat.tf_contrib import l1_regularizer
    >>> float(l1_regularizer(0.5)([3.0, -4.0]))
    3.5
    """
    return L1(_checked(scale, "scale")) if _checked(scale, "scale") else NoTerm


def l2_regularizer(scale: float, scope: str | None = None) -> Any:  # noqa: ARG001
    """Return `scale * sum w^2 / 2`: half of Keras' `L2`.

    Args:
        scale: Float >= 0; an integer is an error. 0.0 has no term.
        scope: Ignored.

    Raises:
        ValueError: If `scale` is an integer or negative.

    Example:

    >>> from keras_regx.compat.tf_contrib import l2_regularizer
    >>> float(l2_regularizer(0.5)([3.0, 4.0]))
    6.25
    """
    return 0.5 * L2(_checked(scale, "scale")) if _checked(scale, "scale") else NoTerm


def l1_l2_regularizer(
    scale_l1: float = 1.0,
    scale_l2: float = 1.0,
    scope: str | None = None,
) -> Any:
    """Return `scale_l1 * sum |w| + scale_l2 * sum w^2 / 2`.

    Args:
        scale_l1: Float >= 0; an integer is an error. 0.0 leaves the other alone.
        scale_l2: Float >= 0; likewise.
        scope: Ignored.

    Raises:
        ValueError: If a scale is an integer or negative.

    Example:

    >>> from keras_regx.compat.tf_contrib import l1_l2_regularizer
    >>> float(l1_l2_regularizer()([3.0, -4.0]))
    19.5
    """
    _reject_integer(scale_l1, "scale_l1")
    _reject_integer(scale_l2, "scale_l2")
    if scale_l1 == 0.0:
        return l2_regularizer(scale_l2, scope)
    if scale_l2 == 0.0:
        return l1_regularizer(scale_l1, scope)
    return l1_regularizer(scale_l1) + l2_regularizer(scale_l2)


def sum_regularizer(
    regularizer_list: Sequence[Any],
    scope: str | None = None,  # noqa: ARG001
) -> Any:
    """Return the sum of regularizers; None where all of them are None.

    Args:
        regularizer_list: Regularizers or None. Those without a term are dropped.
        scope: Ignored.

    Example:

    >>> from keras_regx.compat.tf_contrib import l1_regularizer, sum_regularizer
    >>> float(sum_regularizer([l1_regularizer(0.5), None])([2.0]))
    1.0
    >>> sum_regularizer([None, None]) is None
    True
    """
    given = [r for r in regularizer_list if r is not None]
    if not given:
        return None
    with_term = [r for r in given if getattr(r, "has_term", True)]
    return Sum(with_term) if with_term else NoTerm


def apply_regularization(
    regularizer: Any,
    weights_list: Sequence[Any] | None = None,
    model: Any = None,
) -> Any:
    """Return the sum of `regularizer(w)` over weights, and put it on the model.

    Args:
        regularizer: Regularizer or function `w -> scalar or None`.
        weights_list: Variables or tensors. None or an empty list stands for all
            trainable weights of the model.
        model: Model that the penalties are added to, where the weights are its
            own: from now on they are in its loss and in the getters below.

    Returns:
        Scalar tensor.

    Raises:
        ValueError: If there are no weights, or a penalty is not a scalar. The
            model is unchanged then.

    Example:

    >>> import keras
    >>> from keras_regx.compat import tf_contrib
    >>> inputs = keras.Input((4,))
    >>> layer = keras.layers.Dense(1, kernel_initializer="ones", name="d")
    >>> model = keras.Model(inputs, layer(inputs))
    >>> l2 = tf_contrib.l2_regularizer(0.5)
    >>> float(tf_contrib.apply_regularization(l2, [layer.kernel], model=model))
    1.0
    >>> float(tf_contrib.get_regularization_loss(model=model))
    1.0
    """
    weights = list(
        weights_list or (model.trainable_weights if model is not None else ())
    )
    if not weights:
        raise ValueError("No weights to regularize.")
    values = [regularizer(w) for w in weights]
    for value in values:
        rank = 0 if value is None else len(ops.shape(value))
        if rank:
            raise ValueError(
                "regularizer must return a scalar Tensor instead of a Tensor with "
                f"rank {rank}."
            )
    if model is not None and getattr(regularizer, "has_term", True):
        _add(regularizer, weights, model)
    terms = [ops.convert_to_tensor(v) for v in values if v is not None]
    return sum(terms[1:], start=terms[0]) if terms else _zero()


def get_regularization_losses(scope: str | None = None, *, model: Any) -> list[Any]:
    """Return the penalties of the model's weights.

    Args:
        scope: Regular expression that the name of a penalty must begin with
            (`re.match`), or None; names as in `keras_regx.penalties`.
        model: The model.
    """
    return list(penalties(model, scope).values())


def get_regularization_loss(
    scope: str | None = None,
    name: str = "total_regularization_loss",  # noqa: ARG001
    *,
    model: Any,
) -> Any:
    """Return the sum of the penalties of the model's weights: 0.0 without any.

    Args:
        scope: As for `get_regularization_losses`.
        name: Ignored.
        model: The model.
    """
    losses = get_regularization_losses(scope, model=model)
    return sum(losses[1:], start=losses[0]) if losses else _zero()


def _add(regularizer: Any, weights: Sequence[Any], model: Any) -> None:
    """Add a penalty to weights of a model; others in the list are not its own."""
    wanted = {id(w) for w in weights}
    rules = []
    for site in sites(model):
        if id(site.variable) in wanted:
            now = site.variable.regularizer
            both = regularizer if now is None else Sum([now, regularizer])
            rules.append(Rule(f"re:^{re.escape(site.path)}$", regularizer=both))
    if rules:
        Policy(rules).apply(model)


def _zero() -> Any:
    return ops.zeros((), keras.config.floatx())


def _reject_integer(scale: Any, name: str) -> None:
    if isinstance(scale, Integral):
        message = f"{name} cannot be an integer: {scale}"
        raise ValueError(message)  # noqa: TRY004  (as TensorFlow 1)


def _checked(scale: Any, name: str) -> float:
    """Return a scale that TensorFlow 1 would accept."""
    _reject_integer(scale, name)
    value = float(scale) if isinstance(scale, Real) else float("nan")
    if not value >= 0.0:
        raise ValueError(f"Setting a scale less than 0 on a regularizer: {scale}.")
    return value
