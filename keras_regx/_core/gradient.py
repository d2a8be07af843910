"""Noticing that a gradient is taken, in whatever loop."""

from collections.abc import Callable
from typing import Any

from keras import ops


def on_gradient(value: Any, notice: Callable[[], None]) -> Any:
    """Return `value`; call `notice` when a gradient is first taken through it.

    Where a compiled function is differentiated, that is when it is traced. Plain
    evaluation, compiled or not, is never noticed.

    Args:
        value: Floating tensor.
        notice: Function without arguments.
    """
    if hasattr(value, "register_hook"):  # PyTorch: when the backward pass arrives.
        if value.requires_grad:
            value.register_hook(lambda gradient: notice())  # noqa: ARG005
        return value
    if hasattr(value, "primal"):  # JAX: it is being differentiated already.
        notice()
        return value

    @ops.custom_gradient
    def noticed(x: Any) -> tuple[Any, Callable[..., Any]]:
        def gradient(upstream: Any) -> Any:
            notice()
            return upstream

        return x, gradient

    return noticed(value)
