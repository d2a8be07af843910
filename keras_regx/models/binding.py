"""What `"units"` and `(fan_in, units)` mean for the kernel of a given layer.

Most kernels end in their units. These do not, and get a copy of the object with
the axes of that layer, or a view of the kernel as a matrix:

| Kernel | Shape | One unit |
|---|---|---|
| transposed convolution | `(..., out, in)` | one output filter |
| depthwise convolution | `(..., in, multiplier)` | input channel and multiplier |
| attention query, key, value | `(in, heads, key)` | head and key dimension |
| embedding | `(tokens, features)` | one row |
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_regx import constraints, regularizers
from keras_regx._core import validation as check
from keras_regx._core.config import Configurable
from keras_regx._core.registry import PACKAGE
from keras_regx.models.sites import Site
from keras_regx.ops.axes import ROLES, group_rows, resolve_axis

Axes = tuple[int, ...]
_TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)


def kernel_axes(site: Site) -> tuple[Axes, Axes]:
    """Return the axes that number the units of a weight, and those of its inputs.

    Example:

    >>> import keras
    >>> from keras_regx.models import sites
    >>> from keras_regx.models.binding import kernel_axes
    >>> layer = keras.layers.Conv2DTranspose(4, 3)
    >>> layer.build((None, 8, 8, 2))
    >>> kernel_axes(sites(layer)[0])
    ((2,), (3,))
    """
    ndim = len(site.shape)
    last, before = (ndim - 1,), (ndim - 2,)
    layer = site.layer
    if isinstance(layer, _TRANSPOSED) and ndim > 2:
        return before, last
    if site.slot == "depthwise":
        return before + last, before
    if site.slot.endswith("embeddings") and not site.slot.startswith("reverse"):
        return (0,), (0,)
    if isinstance(layer, keras.layers.EinsumDense):
        if site.slot == "bias":
            return tuple(range(ndim)), ()
        return _einsum_axes(layer.equation, ndim)
    return last[:ndim], before if ndim > 1 else ()


def _einsum_axes(equation: str, ndim: int) -> tuple[Axes, Axes]:
    """Return the axes of a kernel that appear in the output, and the others."""
    operands, output = equation.replace(" ", "").split("->")
    kernel = operands.split(",")[1].replace("...", "")
    units = tuple(i for i in range(ndim) if kernel[i] in output)
    return units, tuple(i for i in range(ndim) if i not in units)


def bind(obj: Any, site: Site) -> Any:
    """Return a penalty or constraint as the layer of `site` means it.

    Args:
        obj: Penalty, constraint, function or None.
        site: The weight that it is for.

    Returns:
        `obj` itself where nothing depends on the layer; otherwise a copy with
        the layer's axes, a view of the kernel as a matrix, or, for an object with
        a reference point, the copy that `for_variable` returns.

    Raises:
        ValueError: If the object is not defined on a weight of this rank.
    """
    if not isinstance(obj, Configurable):
        return obj
    minimum = getattr(obj, "min_rank", 0)
    if len(site.shape) < minimum:
        raise ValueError(
            f"{type(obj).__name__} needs a weight of rank >= {minimum}. "
            f"Received: {site.path!r} of shape {site.shape}"
        )
    units, ndim = kernel_axes(site)[0], len(site.shape)
    # Where each entry is a unit, no tuple of axes says so: (1, units) does.
    as_row = len(units) == ndim > 1 and getattr(obj, "axis", None) in ROLES
    as_matrix = getattr(obj, "sees_matrix", False) and units != (ndim - 1,)
    if as_row or as_matrix:
        is_penalty = isinstance(obj, keras.regularizers.Regularizer)
        return (MatrixPenalty if is_penalty else MatrixConstraint)(obj, units)
    changed = {}
    arguments = obj.arguments()
    for name, value in arguments.items():
        new = _bind_argument(name, value, site, type(obj).__name__)
        if new is not value:
            changed[name] = new
    bound = type(obj)(**{**arguments, **changed}) if changed else obj
    if hasattr(bound, "for_variable"):
        bound = bound.for_variable(site.variable)
    return bound


def _bind_argument(name: str, value: Any, site: Site, owner: str) -> Any:
    """Return an argument as the layer means it: the same object if unchanged."""
    if isinstance(value, Configurable):
        return bind(value, site)
    if isinstance(value, list):
        items = [_bind_argument("", item, site, owner) for item in value]
        same = all(new is old for new, old in zip(items, value, strict=True))
        return value if same else items
    if name != "axis":
        return value
    ndim = len(site.shape)
    default = _resolve(value, ndim, owner, site)
    if not isinstance(value, str) or value not in ROLES:
        return value
    kept = kernel_axes(site)[ROLES.index(value)]
    axes = tuple(a for a in range(ndim) if a not in kept)
    return value if axes == default or not axes else axes


def _resolve(axis: Any, ndim: int, owner: str, site: Site) -> Axes:
    """Resolve an axis; say which weight it is that has no such axis."""
    try:
        return resolve_axis(axis, ndim, owner)
    except ValueError as error:
        raise ValueError(f"{error} for {site.path!r}") from None


def units_matrix(x: Any, unit_axes: Axes) -> tuple[Any, Callable[[Any], Any]]:
    """View a weight as a matrix `(fan_in, units)`; also return the way back."""
    others = tuple(a for a in range(len(x.shape)) if a not in unit_axes)
    rows, restore = group_rows(x, others)
    return ops.transpose(rows), lambda matrix: restore(ops.transpose(matrix))


@keras.saving.register_keras_serializable(package=PACKAGE)
class MatrixPenalty(regularizers.Regularizer):
    """A penalty of a kernel seen as a matrix `(fan_in, units)`.

        f(W) = g(M),  M the matrix with one column per unit

    A `Policy` makes these for matrix penalties on kernels that do not end in
    their units.

    Args:
        regularizer: The penalty `g` of a matrix.
        unit_axes: Tuple of ints: the axes of the weight that number the units.

    Call: floating tensor that has these axes -> scalar.
    Prox: that of `g`, on the matrix.
    Gradient: that of `g`.
    Raises: ValueError naming the argument and the value received.

    Example:

    >>> from keras import ops
    >>> from keras_regx.models.binding import MatrixPenalty
    >>> from keras_regx.regularizers import OrthogonalRegularizer
    >>> penalty = MatrixPenalty(OrthogonalRegularizer(1.0, mode="columns"), (0,))
    >>> float(penalty(ops.ones((2, 5)))) == float(
    ...     OrthogonalRegularizer(1.0, mode="columns")(ops.ones((5, 2))))
    True
    """

    def __init__(self, regularizer: Any, unit_axes: Axes) -> None:
        self.regularizer = regularizers.get(regularizer)
        if self.regularizer is None:
            check.fail(self, "regularizer", "a regularizer", regularizer)
        self.unit_axes = _unit_axes(self, unit_axes)

    @property
    def shown_as(self) -> Any:
        """The penalty that listings name."""
        return self.regularizer

    @property
    def convex(self) -> bool:  # type: ignore[override]
        """Whether the penalty of the matrix is convex."""
        return bool(getattr(self.regularizer, "convex", False))

    @property
    def proximable(self) -> bool:
        """Whether the penalty of the matrix has a proximal operator."""
        return bool(getattr(self.regularizer, "proximable", False))

    no_prox_reason = "the penalty of the matrix has no proximal operator"

    def _value(self, x: Any) -> Any:
        return self.regularizer(units_matrix(x, self.unit_axes)[0])

    def _prox(self, x: Any, step_size: Any) -> Any:
        matrix, restore = units_matrix(x, self.unit_axes)
        return restore(self.regularizer.prox(matrix, step_size))


@keras.saving.register_keras_serializable(package=PACKAGE)
class MatrixConstraint(constraints.Constraint):
    """A constraint on a kernel seen as a matrix `(fan_in, units)`.

    A `Policy` makes these for matrix sets on kernels that do not end in their
    units.

    Args:
        constraint: The constraint on a matrix.
        unit_axes: Tuple of ints: the axes of the weight that number the units.

    Call: floating tensor or variable that has these axes -> same shape and dtype.
    Exact: as the constraint on the matrix.
    Raises: ValueError naming the argument and the value received.

    Example:

    >>> from keras import ops
    >>> from keras_regx.constraints import NonNeg
    >>> from keras_regx.models.binding import MatrixConstraint
    >>> tuple(MatrixConstraint(NonNeg(), (1, 2))(ops.ones((4, 2, 3))).shape)
    (4, 2, 3)
    """

    def __init__(self, constraint: Any, unit_axes: Axes) -> None:
        self.constraint = constraints.get(constraint)
        if self.constraint is None:
            check.fail(self, "constraint", "a constraint", constraint)
        self.unit_axes = _unit_axes(self, unit_axes)

    @property
    def shown_as(self) -> Any:
        """The constraint that listings name."""
        return self.constraint

    @property
    def convex(self) -> bool:  # type: ignore[override]
        """Whether the set of matrices is convex."""
        return bool(getattr(self.constraint, "convex", False))

    def __call__(self, w: Any) -> Any:
        """Return the projection of the matrix, in the shape of the weight."""
        matrix, restore = units_matrix(ops.convert_to_tensor(w), self.unit_axes)
        return restore(self.constraint(matrix))

    def distance(self, w: Any) -> Any:
        """Return the Euclidean distance between the matrix and the set."""
        matrix = units_matrix(ops.convert_to_tensor(w), self.unit_axes)[0]
        return self.constraint.distance(matrix)

    def contains(self, w: Any, tol: float | None = None) -> bool:
        """Return whether the matrix is a member of the set, up to rounding."""
        matrix = units_matrix(ops.convert_to_tensor(w), self.unit_axes)[0]
        return bool(self.constraint.contains(matrix, tol))


def _unit_axes(owner: Any, value: Any) -> Axes:
    axes = check.axis(owner, value, "unit_axes")
    if not isinstance(axes, tuple) or any(a < 0 for a in axes):
        check.fail(owner, "unit_axes", "a tuple of ints >= 0", value)
    return axes
