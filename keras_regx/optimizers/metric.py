"""The step that an optimizer takes along a constant gradient, per weight.

Along a constant gradient `g` every optimizer here settles into the update
`w <- w - P g`. A proximal step of size `P` then has the fixed point
`g + df(w) = 0`, the minimum of the loss plus the penalty; any other size solves
for another weight of the penalty.
"""

from collections.abc import Callable
from typing import Any

from keras import ops, optimizers

from keras_regx import keras_internals as internals
from keras_regx._core import validation as check
from keras_regx.ops.numerics import compute_dtype, dtype_of


def scalar_step(inner: Any, learning_rate: Any) -> Any:
    """Return the step of plain and heavy-ball updates: `lr / (1 - momentum)`.

    Keras' momentum (Nesterov or not) adds up to `1 / (1 - momentum)` gradients;
    Adam's averages, which add up to one, need no correction.
    """
    momentum = 0.0
    if isinstance(inner, optimizers.SGD | optimizers.RMSprop):
        momentum = float(inner.momentum)
    return learning_rate / (1 - momentum)


def adaptive_step(inner: Any, variable: Any, learning_rate: Any, count: Any) -> Any:
    """Return the step of each entry of a variable under an adaptive optimizer.

    It is computed in the dtype that the penalty's prox computes in.

    Args:
        inner: Optimizer of one of the `ADAPTIVE` classes, after its update.
        variable: The variable it has updated.
        learning_rate: Scalar tensor, the rate of that update.
        count: Scalar tensor, the number of updates including that one.
    """
    dtype = compute_dtype(dtype_of(variable))

    def slot(name: str) -> Any:
        return ops.cast(internals.slot_of(inner, name, variable), dtype)

    for cls, scale in _SCALES.items():
        if isinstance(inner, cls):
            factor = scale(inner, slot, ops.cast(count, dtype))
            return ops.cast(scalar_step(inner, learning_rate), dtype) * factor
    raise TypeError(f"No metric is known for {type(inner).__name__}.")


Slot = Callable[[str], Any]  # What an optimizer keeps about this variable, by name.


def _adam(inner: Any, slot: Slot, count: Any) -> Any:
    v = slot("velocity_hat" if inner.amsgrad else "velocity")
    beta = ops.convert_to_tensor(inner.beta_2, dtype=dtype_of(v))
    correction = ops.sqrt(1 - ops.power(beta, count))
    return correction / (ops.sqrt(v) + inner.epsilon)


def _rmsprop(inner: Any, slot: Slot, count: Any) -> Any:  # noqa: ARG001
    v = slot("velocity")
    if inner.centered:
        v = v - ops.square(slot("average_gradient"))
    return 1 / ops.sqrt(v + inner.epsilon)


def _adagrad(inner: Any, slot: Slot, count: Any) -> Any:  # noqa: ARG001
    return 1 / ops.sqrt(slot("accumulator") + inner.epsilon)


_SCALES: dict[type, Callable[[Any, Slot, Any], Any]] = {
    optimizers.Adam: _adam,  # And AdamW.
    optimizers.RMSprop: _rmsprop,
    optimizers.Adagrad: _adagrad,
}
ADAPTIVE = tuple(_SCALES)
METRICS = ("auto", "euclidean", "adaptive")


def check_adaptive(inner: Any, rules: list[Any]) -> None:
    """Raise unless this optimizer has a metric, and these penalties a prox in it."""
    if not isinstance(inner, ADAPTIVE):
        names = ", ".join(cls.__name__ for cls in ADAPTIVE)
        check.fail(
            "Proximal",
            "metric",
            f"'auto' or 'euclidean' unless inner is {names}",
            inner,
        )
    for rule in rules:
        if rule.regularizer is not None and not rule.regularizer.separable:
            expected = "separable penalties under metric='adaptive'"
            check.fail("Proximal", "rules", expected, rule)
