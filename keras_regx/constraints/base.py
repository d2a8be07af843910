"""The base class of all constraints and the registry that names them."""

from typing import Any, ClassVar

import keras
from keras import ops

from keras_regx._core import validation as check
from keras_regx._core.config import Configurable
from keras_regx._core.registry import Registry
from keras_regx.ops.numerics import EPSILON, dtype_of, safe_norm, upcast

registry = Registry("constraint", keras.constraints)
register = registry.register


class Constraint(Configurable, keras.constraints.Constraint):
    """Base class of constraints: the Euclidean projection onto a set of weights.

    A subclass keeps every `__init__` argument under its own name and writes its
    mathematics: `_project(w)`, which receives a floating tensor, half precision
    already cast to float32. Overriding `__call__` itself, as with Keras' base
    class, works too.

    Attributes:
        convex: Whether the set is convex.
        exact: Whether a call is the Euclidean projection onto the set.
        separable: Whether the set bounds each entry on its own.
        min_rank: Smallest rank of a tensor that the set is defined on.
        sees_matrix: Whether it sees a kernel as a matrix of shape `(fan_in, units)`,
            so that a `Policy` shows it kernels of another layout that way.

    Example:

    >>> from keras import ops
    >>> from keras_regx.constraints import Constraint
    >>> class AtMostOne(Constraint):
    ...     convex = True
    ...     def _project(self, w, dtype):
    ...         return ops.minimum(w, 1)
    >>> [float(v) for v in AtMostOne()([0.5, 3.0])]
    [0.5, 1.0]
    >>> AtMostOne().contains([0.5, 3.0])
    False
    >>> float(AtMostOne().distance([0.5, 3.0]))
    2.0
    """

    convex: bool = False
    exact: bool = True
    separable: bool = False
    min_rank: ClassVar[int] = 0
    sees_matrix: ClassVar[bool] = False

    def __call__(self, w: Any) -> Any:
        """Return the member of the set that is nearest to `w`.

        Args:
            w: Floating tensor or variable of any shape (of rank >= `min_rank`).

        Returns:
            Tensor of the same shape and dtype. A member of the set comes back
            bitwise unchanged, and so does an empty tensor. NaN stays NaN.

        Raises:
            ValueError: If `w` is not real and floating, or its rank is too low.
        """
        w = check.floating(self, w, min_rank=self.min_rank, argument="w")
        if 0 in w.shape:
            return w
        dtype = dtype_of(w)
        return ops.cast(self._project(upcast(w), dtype), dtype)

    def distance(self, w: Any) -> Any:
        """Return the Euclidean distance between `w` and the set.

        Args:
            w: Floating tensor or variable of any shape (of rank >= `min_rank`).

        Returns:
            Scalar tensor; float32 for half-precision input. 0 for an empty tensor.
        """
        w = upcast(check.floating(self, w, min_rank=self.min_rank, argument="w"))
        return ops.sum(w) if 0 in w.shape else safe_norm(self._gap(w))

    def contains(self, w: Any, tol: float | None = None) -> bool:
        """Return whether `w` is a member of the set, up to rounding.

        Args:
            w: Floating tensor or variable of any shape; its values must be known,
                so this cannot be compiled.
            tol: Number >= 0. The largest violation allowed, absolute; `None`
                means 10 units of rounding of the dtype of `w`, times the scale
                of the set.

        Returns:
            Boolean. A tensor with NaN is in no set.
        """
        w = check.floating(self, w, min_rank=self.min_rank, argument="w")
        if 0 in w.shape:
            return True
        if tol is None:
            tol = self._rounding(dtype_of(w)) * self._scale(upcast(w))
        else:
            tol = check.number(self, "tol", tol, minimum=0)
        violation = ops.max(ops.absolute(self._gap(upcast(w))))
        return bool(ops.convert_to_numpy(violation) <= tol)

    def _project(self, w: Any, dtype: str) -> Any:  # noqa: ARG002
        """Return the projection of `w`, which is to be stored as `dtype`."""
        raise TypeError(
            f"{type(self).__name__} defines no projection. Define "
            "`_project(self, w, dtype)` or `__call__(self, w)`."
        )

    def _gap(self, w: Any) -> Any:
        """Return a tensor whose Euclidean norm is the distance to the set."""
        return w - self(w)

    def _scale(self, w: Any) -> float:  # noqa: ARG002
        """Return the size of the numbers that `contains` compares."""
        return 1.0

    def _rounding(self, dtype: str) -> float:
        return 10 * EPSILON[dtype]
