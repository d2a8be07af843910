"""AnchorBall: weights stay near where they were."""

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from keras_regx._core import masks
from keras_regx._core import validation as check
from keras_regx._core.memory import View
from keras_regx.constraints.base import Constraint, register
from keras_regx.constraints.multiplier import Multiplier, ball_multiplier
from keras_regx.ops.numerics import (
    accurate_sum,
    dtype_of,
    feasibility_tolerance,
    safe_norm,
    upcast,
)
from keras_regx.ops.simplex import project_l1_ball


@register
class AnchorBall(Constraint):
    """At most `radius` away from the weights as they were when it was attached.

        P(w) = w0 + P_ball(w - w0)

    Fine-tuning that cannot forget more than the radius allows.

    Args:
        radius: Finite float >= 0.
        norm: `"l2"`, `"l1"` or `"linf"`: how the distance is measured, over the
            whole tensor.
        anchor: Number or array for an explicit `w0`, kept in the configuration.
            By default `w0` is each variable's own value when a
            `keras_regx.Policy` attaches the constraint to it; as the argument of a
            layer, when the first Keras optimizer is built for it, or when
            `keras_regx.project`, `violations` or `report` first looks at it; or
            when `for_variable` is called. Such anchors are saved beside the
            weights, not in the configuration.

    Call: floating tensor or variable of the shape of the anchor -> same shape
        and dtype.
    Exact: yes; weights inside the ball are bitwise unchanged.
    Convex: yes.
    Raises: ValueError naming the argument and the value received, or if there
        is no anchor.
    Reference: Gouk, Hospedales and Pontil (2021), ICLR.

    Example:

    >>> import keras
    >>> from keras_regx.constraints import AnchorBall
    >>> w = keras.Variable([1.0, 1.0])
    >>> constraint = AnchorBall(2.5).for_variable(w)
    >>> [round(float(v), 6) for v in constraint([4.0, 5.0])]
    [2.5, 3.0]
    >>> [float(v) for v in AnchorBall(1.0, norm="linf", anchor=0.5)([-2.0, 1.0])]
    [-0.5, 1.0]
    """

    convex = True

    def __init__(self, radius: float, norm: str = "l2", anchor: Any = None) -> None:
        self.radius = check.number(self, "radius", radius, minimum=0)
        self.norm = check.choice(self, "norm", norm, ("l2", "l1", "linf"))
        if anchor is not None:
            anchor = masks.numbers(self, "anchor", anchor)
        self.anchor = anchor

    def remembers(self, view: View) -> dict[str, Callable[[], Any]]:
        """Keep the weights as they are, unless an anchor is given."""
        return {"anchor": view.read} if self.anchor is None else {}

    def _reference(self, w: Any) -> Any:
        """Return the anchor in the dtype of `w`."""
        if self.anchor is not None:
            array = np.asarray(self.anchor)
            if array.ndim and array.shape != tuple(w.shape):
                expected = f"a tensor of the shape {array.shape} of `anchor`"
                check.fail(self, "w", expected, tuple(w.shape))
            array = np.broadcast_to(array, tuple(w.shape))
            return ops.convert_to_tensor(array, dtype=dtype_of(w))
        if self.memory is None:
            raise ValueError(
                "AnchorBall has no anchor for this tensor. Attach it with a "
                "keras_regx.Policy; as the argument of a layer it takes one from "
                "keras_regx.project(model) or a Keras optimizer that is built for its "
                "variable. Or call `for_variable(variable)`, or give `anchor=`."
            )
        anchor = self.memory.tensors["anchor"]
        if tuple(anchor.shape) != tuple(w.shape):
            expected = f"a tensor of shape {tuple(anchor.shape)}, as its anchor"
            check.fail(self, "w", expected, tuple(w.shape))
        return ops.cast(anchor, dtype_of(w))

    def _project(self, w: Any) -> Any:
        dtype, w = dtype_of(w), upcast(w)
        anchor = self._reference(w)
        if self.norm == "linf":
            low, high = (
                ops.cast(ops.cast(anchor + side, dtype), dtype_of(w))
                for side in (-self.radius, self.radius)
            )
            return ops.where(w < low, low, ops.where(w > high, high, w))
        change = ops.reshape(w - anchor, (-1,))
        # Rounding of the sum is relative to the anchor, not to the radius.
        slack = feasibility_tolerance(dtype)
        if self.norm == "l2":
            size = safe_norm(change)
            allowed = self.radius + slack * (self.radius + safe_norm(anchor))
            is_inside = size <= allowed
            one = ops.ones_like(size)
            moved = change * (self.radius / ops.where(is_inside, one, size))
        else:
            size = accurate_sum(ops.absolute(change))[0]
            far = accurate_sum(ops.absolute(ops.reshape(anchor, (-1,))))[0]
            is_inside = size <= self.radius + slack * (self.radius + far)
            moved = project_l1_ball(change, self.radius)
        return ops.where(is_inside, w, anchor + ops.reshape(moved, w.shape))

    def _multiplier(self, w: Any) -> Multiplier | None:
        if self.norm != "l2" or self.radius == 0 or not w.shape:
            return None
        axes = tuple(range(len(w.shape)))
        return ball_multiplier(axes, self.radius, self._reference(w))

    def _scale(self, w: Any) -> float:
        anchor = ops.max(ops.absolute(self._reference(w)))
        return self.radius + float(ops.convert_to_numpy(anchor))
