"""What objects remember: about one variable, and for one model.

Everything that an object keeps besides its arguments is kept in one of two ways:

- `Memory`: tensors about one variable (an anchor, a Fisher information). Each
  variable has its own copy of the object, with a memory of its own.
- `Tenant`: state for one model (the strength of a schedule, the optimizer whose
  updates are counted). The variables of a model share the object; another model
  that was given the same instance gets a copy.

Whoever saves a model writes both, by the key of the weight; see `policy.carrier`.
"""

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_regx._core.dtypes import compute_dtype, dtype_of
from keras_regx._core.validation import ROLES


@dataclass(frozen=True)
class View:
    """A variable as an object sees it: as it is, as a matrix, in part.

    Attributes:
        variable: The `keras.Variable`.
        read: Returns the tensor that the object is called on.
        is_whole: Whether that is the variable itself, with its own axes.
    """

    variable: Any
    read: Callable[[], Any]
    is_whole: bool = False

    @classmethod
    def of(cls, variable: Any) -> "View":
        """Return the view of a variable as it is."""
        return cls(variable, lambda: ops.convert_to_tensor(variable), is_whole=True)

    def through(self, function: Callable[[Any], Any]) -> "View":
        """Return what `function` makes of this view."""
        return View(self.variable, lambda: function(self.read()))

    def resolved(self, axis: Any) -> tuple[int, ...] | None:
        """Return the axes of a role where the variable tells its layout, or None.

        Keras names the weights of embeddings so, and their units are the rows. The
        kernels of dense and convolutional layers end in their units, as roles assume;
        other layouts are known to a `Policy` alone.
        """
        is_role = isinstance(axis, str) and axis in ROLES
        if not (is_role and self.is_whole) or len(self.variable.shape) != 2:
            return None
        return (1,) if self.variable.name == "embeddings" else None


class Memory:
    """Tensors that one object keeps about one variable; no weights of any layer.

    Args:
        view: The variable as the object sees it.
        initial: For each name a function that returns the first value.
    """

    def __init__(self, view: View, initial: dict[str, Callable[[], Any]]) -> None:
        self._owner = weakref.ref(view.variable)
        shape = tuple(view.read().shape)
        dtype = compute_dtype(dtype_of(view.variable))
        self.tensors = {
            name: _variable(name, first, shape, dtype)
            for name, first in initial.items()
        }

    def is_of(self, variable: Any) -> bool:
        """Return whether this is about `variable`."""
        return self._owner() is variable


def _variable(
    name: str, value: Callable[[], Any], shape: tuple[int, ...], dtype: str
) -> Any:
    """Return a variable of its own, with a copy of what `value` returns."""

    def initial(shape: Any, dtype: Any = None) -> Any:
        filled = ops.broadcast_to(ops.cast(value(), dtype), shape)
        return ops.copy(ops.stop_gradient(filled))

    return keras.Variable(
        initial, shape=shape, dtype=dtype, trainable=False, autocast=False, name=name
    )


class Tenant:
    """An object whose state belongs to one model.

    It serves the holders (variables and layers) that the first model to look at it
    has it on. A model none of whose holders it serves needs a copy.
    """

    _served: dict[int, Any]

    def serve(self, holders: Iterable[Any]) -> None:
        """Serve these variables or layers from now on."""
        served = vars(self).setdefault("_served", {})
        served |= {id(holder): weakref.ref(holder) for holder in holders}

    def count(self) -> int | None:
        """Return where it stands, if it stands at a count; a model saves it."""
        return None

    def set_step(self, step: int) -> None:
        """Stand at a count."""

    def serves_another(self, known: Iterable[int]) -> bool:
        """Return whether it serves something, and nothing of a model.

        Args:
            known: `id` of the variables and layers of the model.
        """
        served = vars(self).get("_served", {})
        living = {key for key, ref in served.items() if ref() is not None}
        return bool(living) and living.isdisjoint(known)
