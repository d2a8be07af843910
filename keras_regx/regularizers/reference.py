"""Penalties on the distance from where the weights were: fine-tuning, new tasks.

The reference belongs to a variable, not to the penalty: one instance may serve
the four kernels of `MultiHeadAttention`. `for_variable(variable)` returns a copy
that remembers the reference of one variable, taken from it at that moment.

- A `Policy` calls it when it attaches the penalty.
- As a layer's `*_regularizer=` argument it is called at the first look: when the
  penalty is evaluated on its variable, when `fit` starts, or when an optimizer is
  built, before the first update. Pretrained weights may be loaded before that.

The references are saved with the model, and are neither in its config nor among
its weights.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from keras_regx._core import validation as check
from keras_regx._core.memory import View
from keras_regx.ops.numerics import absolute, dtype_of
from keras_regx.ops.thresholds import soft_threshold
from keras_regx.regularizers.base import Regularizer, register


class Referenced(Regularizer):
    """Base class of penalties that keep tensors for each variable.

    A subclass names them in `kept`; the first is the variable's own value at the
    moment, the others start at one. `self._kept(name, x)` is the tensor.
    """

    convex = True
    separable = True
    kept: tuple[str, ...] = ("anchor",)

    def remembers(self, view: View) -> dict[str, Callable[[], Any]]:
        """Keep what is not given explicitly."""
        first: dict[str, Callable[[], Any]] = {self.kept[0]: view.read}
        initial = {name: first.get(name, lambda: 1.0) for name in self.kept}
        return {
            name: value
            for name, value in initial.items()
            if getattr(self, name, None) is None
        }

    def reference(self, name: str = "anchor") -> Any:
        """Return the variable that holds a reference, or None if unbound."""
        return None if self.memory is None else self.memory.tensors.get(name)

    def _kept(self, name: str, x: Any) -> Any:
        given = getattr(self, name, None)
        if given is not None:
            array = np.asarray(given)
            try:
                array = np.broadcast_to(array, tuple(x.shape))
            except ValueError:
                expected = f"values that broadcast against shape {tuple(x.shape)}"
                check.fail(self, name, expected, f"shape {array.shape}")
            return ops.convert_to_tensor(array.astype("float64"), dtype_of(x))
        tensor = self.reference(name)
        if tensor is None:
            raise ValueError(
                f"{type(self).__name__} has no reference for this tensor. Attach it "
                "with a Policy, pass it to a layer and evaluate `model.losses` before "
                "compiling a step of your own, call `for_variable(variable)`, or give "
                f"`{name}=`."
            )
        if tuple(tensor.shape) != tuple(x.shape):
            expected = f"a tensor of shape {tuple(tensor.shape)}, as the {name}"
            check.fail(self, "x", expected, check.describe(x, dtype_of(x)))
        return ops.cast(tensor, dtype_of(x))


def _array(owner: Any, name: str, value: Any, minimum: float | None = None) -> Any:
    """Return an explicit reference as nested lists of floats, or None."""
    if value is None:
        return None
    expected = "None or an array of finite numbers"
    expected += "" if minimum is None else f" >= {minimum:g}"
    try:
        array = np.asarray(ops.convert_to_numpy(value), "float64")
    except (TypeError, ValueError):
        check.fail(owner, name, expected, value)
    is_small = minimum is not None and (array < minimum).any()
    if not np.isfinite(array).all() or is_small:
        check.fail(owner, name, expected, value)
    return array.tolist()


@register
class Anchor(Referenced):
    """Distance from the weights as they were when it was attached.

        f(x) = factor sum_i |x_i - x0_i|^p,    p = 1 or 2

    L2-SP and L1-SP in fine-tuning; towards the initial weights, regenerative
    regularization. Leave a new head out of it.

    Args:
        factor: Finite float >= 0. Regularization factor.
        p: 1 or 2.
        anchor: Number or array, for an explicit `x0` that broadcasts against the
            weights. By default `x0` is the variable's own value when the penalty
            is attached to it; see the module's notes and `for_variable`.

    Call: floating tensor of the shape of the anchor -> scalar, float32 for
        half-precision input.
    Prox: for `p` = 2 `(x + 2 t x0) / (1 + 2 t)`, for `p` = 1
        `x0 + soft_threshold(x - x0, t)`, with `t = factor step_size`.
    Gradient at 0: that of the distance; 0 at the anchor, on every backend.
    Raises: ValueError naming the argument and the value received, or if nothing
        is known about the tensor's variable.
    Reference: Li, Grandvalet and Davoine (2018), arXiv:1802.01483; Kumar, Marklund
        and Van Roy (2023), arXiv:2308.11958.

    Example:

    >>> import keras
    >>> from keras_regx.regularizers import Anchor
    >>> layer = keras.layers.Dense(2, kernel_regularizer=Anchor(0.5))
    >>> layer.build((None, 3))
    >>> float(sum(layer.losses))
    0.0
    >>> _ = layer.kernel.assign(layer.kernel + 1.0)
    >>> round(float(sum(layer.losses)), 5)
    3.0
    """

    def __init__(self, factor: float, p: int = 2, anchor: Any = None) -> None:
        self.factor = check.number(self, "factor", factor, minimum=0)
        self.p = check.integer(self, "p", p, minimum=1, maximum=2)
        self.anchor = _array(self, "anchor", anchor)

    def _entries(self, x: Any) -> Any:
        gap = x - self._kept("anchor", x)
        return self.factor * (absolute(gap) if self.p == 1 else ops.square(gap))

    def _prox(self, x: Any, step_size: Any) -> Any:
        t = step_size * self.factor
        anchor = self._kept("anchor", x)
        if self.p == 1:
            return anchor + soft_threshold(x - anchor, t)
        return anchor + (x - anchor) / (1 + 2 * t)


@register
class ElasticWeightConsolidation(Referenced):
    """Distance from earlier weights, weight by weight as the earlier task needs it.

        f(x) = factor / 2 sum_i F_i (x_i - x0_i)^2

    `F` is the diagonal of the Fisher information of the earlier task:
    `diagonal_fisher(model, x)` computes it, `consolidate(model, fisher)` hands it
    over. Until then every weight counts alike, with `F = 1`.

    Args:
        factor: Finite float >= 0. Regularization factor.
        anchor: Number or array, for an explicit `x0`; see `Anchor`.
        fisher: Number or array of numbers >= 0, for an explicit `F`.

    Call: floating tensor of the shape of the anchor -> scalar, float32 for
        half-precision input.
    Prox: `(x + t F x0) / (1 + t F)` with `t = factor step_size`.
    Gradient at 0: that of the distance; 0 at the anchor.
    Raises: ValueError naming the argument and the value received, or if nothing
        is known about the tensor's variable.
    Reference: Kirkpatrick et al. (2017), arXiv:1612.00796.

    Example:

    >>> from keras_regx.regularizers import ElasticWeightConsolidation
    >>> penalty = ElasticWeightConsolidation(1.0, anchor=[1.0, 0.0], fisher=[2.0, 0.0])
    >>> float(penalty([3.0, 100.0]))
    4.0
    """

    kept = ("anchor", "fisher")

    def __init__(self, factor: float, anchor: Any = None, fisher: Any = None) -> None:
        self.factor = check.number(self, "factor", factor, minimum=0)
        self.anchor = _array(self, "anchor", anchor)
        self.fisher = _array(self, "fisher", fisher, minimum=0)

    def _entries(self, x: Any) -> Any:
        gap = x - self._kept("anchor", x)
        return self.factor / 2 * self._kept("fisher", x) * ops.square(gap)

    def _prox(self, x: Any, step_size: Any) -> Any:
        t = step_size * self.factor * self._kept("fisher", x)
        anchor = self._kept("anchor", x)
        return anchor + (x - anchor) / (1 + t)
