"""Checks of arguments, with one message shape for all of them.

`Invalid value for argument `gamma` of MCP. Expected a number > 1. Received: gamma=0.5`

Values are checked at construction, static rank and dtype at call, tensor
values never.
"""

import math
import re
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, NoReturn

from keras import ops

from keras_regx._core.dtypes import EPSILON, as_tensor, dtype_of, upcast

Axis = int | tuple[int, ...] | str | None
ROLES = ("units", "inputs")


def name_of(owner: Any) -> str:
    """Return the name that an error message gives to `owner`."""
    if isinstance(owner, str):
        return owner
    return owner.__name__ if isinstance(owner, type) else type(owner).__name__


def fail(owner: Any, argument: str, expected: str, value: Any) -> NoReturn:
    """Raise the ValueError that every rejected argument gets."""
    raise ValueError(
        f"Invalid value for argument `{argument}` of {name_of(owner)}. "
        f"Expected {expected}. Received: {argument}={value!r}"
    )


def number(
    owner: Any,
    argument: str,
    value: Any,
    *,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
    finite: bool = True,
) -> float:
    """Return `value` as a Python float within the bounds.

    Python and NumPy real numbers are accepted; booleans, strings, tensors and
    NaN are not, and infinities only where `finite` is False.
    """
    bounds = {">=": minimum, ">": above, "<=": maximum, "<": below}
    wanted = [
        f"{sign} {bound:g}" for sign, bound in bounds.items() if bound is not None
    ]
    kind = "a finite number" if finite else "a number"
    expected = " ".join([kind, " and ".join(wanted)]).strip()
    if isinstance(value, bool) or not isinstance(value, Real):
        fail(owner, argument, expected, value)
    result = float(value)
    if (
        math.isnan(result)
        or (finite and math.isinf(result))
        or (minimum is not None and result < minimum)
        or (above is not None and result <= above)
        or (maximum is not None and result > maximum)
        or (below is not None and result >= below)
    ):
        fail(owner, argument, expected, value)
    return result


def integer(
    owner: Any,
    argument: str,
    value: Any,
    *,
    minimum: int | None = None,
    maximum: int | None = None,
) -> int:
    """Return `value` as a Python int within the bounds; booleans are rejected."""
    bounds = {">=": minimum, "<=": maximum}
    wanted = [f"{sign} {bound}" for sign, bound in bounds.items() if bound is not None]
    expected = " ".join(["an integer", " and ".join(wanted)]).strip()
    if isinstance(value, bool) or not isinstance(value, Integral):
        fail(owner, argument, expected, value)
    result = int(value)
    if (minimum is not None and result < minimum) or (
        maximum is not None and result > maximum
    ):
        fail(owner, argument, expected, value)
    return result


def boolean(owner: Any, argument: str, value: Any) -> bool:
    """Return `value` if it is a Python bool."""
    if not isinstance(value, bool):
        fail(owner, argument, "True or False", value)
    return value


def choice(owner: Any, argument: str, value: Any, options: Sequence[Any]) -> Any:
    """Return `value` if it is one of `options`."""
    if not any(type(value) is type(option) and value == option for option in options):
        fail(owner, argument, f"one of {tuple(options)}", value)
    return value


def regular_expression(
    owner: Any, argument: str, pattern: Any, received: Any
) -> re.Pattern[str]:
    """Return `pattern` compiled; `received` is what the argument was given as."""
    try:
        return re.compile(pattern)
    except (re.error, TypeError) as error:
        fail(owner, argument, f"a valid regular expression ({error})", received)


def axis(owner: Any, value: Any, argument: str = "axis") -> Axis:
    """Return an axis argument in its canonical form: int, tuple, role or None."""
    expected = f"an int, a tuple of distinct ints, None or one of {ROLES}"
    if value is None or (isinstance(value, str) and value in ROLES):
        return value
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, tuple | list):
        is_int = [isinstance(a, Integral) and not isinstance(a, bool) for a in value]
        if value and all(is_int) and len(set(value)) == len(value):
            return tuple(int(a) for a in value)
    fail(owner, argument, expected, value)


def labels(owner: Any, value: Any, axis: Axis) -> list[int] | None:
    """Return the argument `groups` as a list of ints, or None; `axis` is checked too.

    Labels number what a role stands for, or the indices of the axes that a tuple
    leaves.
    """
    if value is None:
        return None
    expected = "None or a non-empty list of integers, one label each"
    value = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(value, list | tuple) or not value:
        fail(owner, "groups", expected, value)
    if not all(isinstance(g, Integral) and not isinstance(g, bool) for g in value):
        fail(owner, "groups", expected, value)
    if axis is None or isinstance(axis, int):
        fail(owner, "axis", f"one of {ROLES} where `groups` are given", axis)
    return [int(g) for g in value]


def label_count(owner: Any, groups: list[int], expected: int, shape: Any) -> None:
    """Raise unless there are as many labels as a tensor of this shape needs."""
    if len(groups) != expected:
        wanted = f"{expected} labels for a tensor of shape {tuple(shape)}"
        fail(owner, "groups", wanted, f"{len(groups)} labels")


def floating(owner: Any, x: Any, *, min_rank: int = 0, argument: str = "x") -> Any:
    """Return `x` as a real floating-point tensor of at least `min_rank`."""
    x = as_tensor(x)
    dtype = dtype_of(x)
    if dtype not in EPSILON:
        fail(owner, argument, "a real floating-point tensor", describe(x, dtype))
    if len(x.shape) < min_rank:
        expected = f"a tensor of rank >= {min_rank}"
        fail(owner, argument, expected, describe(x, dtype))
    return x


class describe:  # noqa: N801  (reads as a function in an error message)
    """A tensor in an error message: its shape and dtype, never its values."""

    def __init__(self, x: Any, dtype: str) -> None:
        self.text = f"tensor of shape {tuple(x.shape)} and dtype {dtype}"

    def __repr__(self) -> str:
        return self.text


def step_size(owner: Any, value: Any, dtype: str, shape: tuple[int, ...] = ()) -> Any:
    """Return the step size of a prox: a non-negative number or a scalar tensor.

    A tensor of `shape`, one step size per entry, is accepted too.
    """
    if value is None or isinstance(value, Real | bool | str):
        return number(owner, "step_size", value, minimum=0)
    value = upcast(value)
    if tuple(value.shape) not in ((), shape):
        expected = f"a scalar or a tensor of shape {shape}" if shape else "a scalar"
        fail(owner, "step_size", expected, describe(value, dtype_of(value)))
    return ops.cast(value, dtype)
