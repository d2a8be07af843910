"""Thresholding functions: the proximal operators of separable penalties."""

from typing import Any

from keras import ops


def soft_threshold(x: Any, threshold: Any) -> Any:
    """Return `sign(x) max(|x| - threshold, 0)`."""
    x = ops.convert_to_tensor(x)
    return ops.sign(x) * ops.maximum(ops.absolute(x) - threshold, 0)
