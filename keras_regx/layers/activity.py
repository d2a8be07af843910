"""A layer that penalizes what passes through it."""

from typing import Any

import keras
from keras import ops

from keras_regx import regularizers
from keras_regx._core import validation as check
from keras_regx.ops.numerics import compute_dtype

_REDUCTIONS = ("batch", "mean", "sum")


@keras.saving.register_keras_serializable(package="keras_regx")
class ActivityRegularization(keras.layers.Layer):
    """Adds a penalty on its input to the loss, and returns the input.

    Unlike `activity_regularizer=`, it divides by what it is asked to divide by, in
    every version of Keras; it leaves masked steps out; and it computes in float32
    under mixed precision.

    Args:
        regularizer: A penalty: an instance, name, config or callable.
        reduction: What the penalty is divided by. `"sum"`: nothing. `"batch"`: the
            number of samples, as `activity_regularizer=` does since Keras 3.14.
            `"mean"`: the number of entries that are not masked. `None`, the
            default, is `"sum"` for a penalty that is itself a statistic of the
            batch (`KLSparsity`, `DeCov`, ...), and `"batch"` for all others.

    Call arguments:
        inputs: Floating tensor of shape `(batch, ...)`.
        mask: Boolean tensor of the leading axes of `inputs`, or `None`. Masked
            entries count as zeros for a penalty on weights, and as absent for a
            statistic.

    Example:

    >>> import numpy as np
    >>> from keras_regx.layers import ActivityRegularization
    >>> from keras_regx.regularizers import L1
    >>> layer = ActivityRegularization(L1(1.0), reduction="batch")
    >>> _ = layer(np.array([[1.0, -2.0], [3.0, 0.0]]))
    >>> float(layer.losses[0])
    3.0
    """

    def __init__(
        self, regularizer: Any, reduction: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.regularizer = regularizers.get(regularizer)
        if self.regularizer is None:
            check.fail(self, "regularizer", "a regularizer", regularizer)
        self.reduction = check.choice(
            self, "reduction", reduction, (None, *_REDUCTIONS)
        )
        self.supports_masking = True
        self.built = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Record the penalty of `inputs` and return them."""
        self.add_loss(self._penalty(inputs, mask))
        return inputs

    def _penalty(self, inputs: Any, mask: Any) -> Any:
        is_statistic = getattr(self.regularizer, "batch_statistic", False)
        if mask is not None:
            missing = len(inputs.shape) - len(mask.shape)
            wide = ops.reshape(mask, (*ops.shape(mask), *(1,) * missing))
        if is_statistic:
            value = self.regularizer(inputs, mask=mask)
        elif mask is None:
            value = self.regularizer(inputs)
        else:
            value = self.regularizer(ops.where(wide, inputs, ops.zeros_like(inputs)))
        reduction = self.reduction or ("sum" if is_statistic else "batch")
        dtype = compute_dtype(keras.backend.standardize_dtype(inputs.dtype))
        value = ops.cast(value, dtype)
        if reduction == "sum":
            return value
        if reduction == "batch":
            count = ops.cast(ops.shape(inputs)[0], dtype)
        elif mask is None:
            count = ops.cast(ops.size(inputs), dtype)
        else:
            kept = ops.broadcast_to(ops.cast(wide, dtype), ops.shape(inputs))
            count = ops.sum(kept)
        return value / ops.maximum(count, 1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the configuration that rebuilds the layer."""
        return {
            **super().get_config(),
            "regularizer": regularizers.serialize(self.regularizer),
            "reduction": self.reduction,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Build the layer from what `get_config` returned."""
        config = dict(config)
        config["regularizer"] = regularizers.deserialize(config["regularizer"])
        return cls(**config)
