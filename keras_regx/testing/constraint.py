"""The battery of properties that every constraint has, as one call."""

import copy
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_regx.constraints import get
from keras_regx.constraints.base import adapted
from keras_regx.ops.numerics import EPSILON
from keras_regx.testing.regularizer import is_importable

Shape = tuple[int, ...]
SHAPES: tuple[Shape, ...] = ((4,), (5, 4), (4, 4), (3, 3, 2, 4))


def check_constraint(
    constraint: Any,
    *,
    shapes: Sequence[Shape] = SHAPES,
    tolerance: float | None = None,
    seed: int = 0,
) -> None:
    """Check that a constraint is what an optimizer can rely on.

    It keeps shape and dtype, is the projection onto its set (feasible,
    idempotent, also for zero and equal weights and in half precision, nearer than
    any other member found, and no expansion if the set is convex), survives zero,
    huge, tiny, half-precision, NaN and empty weights, which are in every set,
    rejects integers, gives one result for one input, works on variables without
    changing them, does the same in a compiled training step, and comes back
    from its configuration, a pickle and a copy.

    A constraint whose attribute `exact` is False is not checked for being a
    projection.

    Args:
        constraint: A constraint, or a class that can be built without arguments.
        shapes: Shapes of weights to try. Those that the constraint rejects with
            a ValueError are left out; at least one must remain.
        tolerance: Largest relative move of a second projection in float32, in
            float16 as many roundings; 0 asks for the same bits. `None` means 2
            roundings, and 1e-6 for a set with the attribute `matrix_set`.
        seed: Int. Seed of the sampled weights.

    Raises:
        AssertionError: Naming the constraint, the property and the shape.
        ValueError: For a class that needs arguments, or a penalty.

    Example:

    >>> import keras
    >>> from keras_regx.constraints import MaxNorm
    >>> from keras_regx.testing import check_constraint
    >>> check_constraint(MaxNorm(1.5), shapes=[(4,)])
    >>> try:
    ...     check_constraint(keras.constraints.MaxNorm(1.5), shapes=[(4,)])
    ... except AssertionError as error:
    ...     print(str(error).split(":")[0])
    MaxNorm, shape (4,)
    """
    if not callable(constraint):
        raise TypeError(f"Expected a constraint. Received: constraint={constraint!r}")
    constraint = get(constraint)
    rng = np.random.default_rng(seed)
    tried = [shape for shape in shapes if _accepts(constraint, shape, rng)]
    if not tried:
        raise AssertionError(f"{_name(constraint)}: accepts none of {tuple(shapes)}")
    for shape in tried:
        for check in CHECKS:
            try:
                check(constraint, shape, rng, tolerance)
            except AssertionError as error:
                property_ = check.__name__.strip("_").replace("_", " ")
                raise AssertionError(
                    f"{_name(constraint)}, shape {shape}: {property_}. {error}"
                ) from None
    for check in (rejects_integers, restores):
        check(constraint, tried[-1], rng, tolerance)
    trains(constraint, tried[-1], rng, tolerance)


def _name(constraint: Any) -> str:
    return type(constraint).__name__


def _accepts(constraint: Any, shape: Shape, rng: np.random.Generator) -> bool:
    try:
        constraint(_draw(rng, shape))
    except ValueError:
        return False
    return True


def _draw(rng: np.random.Generator, shape: Shape, dtype: str = "float32") -> Any:
    w = ops.convert_to_tensor(rng.normal(size=shape).astype("float32"))
    return w if dtype == "float32" else ops.cast(w, dtype)


def _array(w: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.asarray(ops.convert_to_numpy(ops.cast(w, "float32")), dtype="float64")


def _require(condition: Any, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _is_projection(constraint: Any) -> bool:
    return adapted(constraint).exact


def _move(constraint: Any, tolerance: float | None, dtype: str = "float32") -> float:
    """Return the largest relative move that a second projection may make."""
    if tolerance is not None:
        return tolerance * EPSILON[dtype] / EPSILON["float32"]
    if getattr(constraint, "matrix_set", False):
        return max(1e-6, 4 * EPSILON[dtype])
    return 2 * EPSILON[dtype]


def keeps_shape_and_dtype(
    constraint: Any, shape: Shape, rng: np.random.Generator, _: float | None
) -> None:
    """Same shape and dtype for float32 and both half precisions, all finite."""
    for dtype in ("float32", "float16", "bfloat16"):
        w = constraint(_draw(rng, shape, dtype))
        received = keras.backend.standardize_dtype(w.dtype)
        _require(tuple(w.shape) == shape, f"Received: shape {tuple(w.shape)}")
        _require(received == dtype, f"Expected {dtype}. Received: {received}")
        _require(np.isfinite(_array(w)).all(), f"Not finite in {dtype}")


def is_idempotent(
    constraint: Any, shape: Shape, rng: np.random.Generator, tolerance: float | None
) -> None:
    """Projecting twice is projecting once, and lands in the set."""
    if not _is_projection(constraint):
        return
    starts = {f"scale {s}": s * _draw(rng, shape) for s in (0.03, 1.0, 30.0)}
    starts["negative weights"] = -ops.absolute(starts["scale 1.0"])
    for kind, w in starts.items():
        once = _twice(constraint, w, kind, tolerance)
        if hasattr(constraint, "contains"):
            _require(constraint.contains(once), "The projection is not in the set")
            _require(
                float(ops.convert_to_numpy(constraint.distance(once)))
                <= 1e-4 * max(1.0, np.abs(_array(once)).max()),
                "The distance of a projection to its set is not 0",
            )
    for value in (-1.0, 0.0, 1.0):  # The set may have no such member.
        w = ops.full(shape, value, dtype="float32")
        _twice(constraint, w, f"all {value}", tolerance)


def is_idempotent_in_half_precision(
    constraint: Any, shape: Shape, rng: np.random.Generator, tolerance: float | None
) -> None:
    """Projecting twice is projecting once in float16 too, to its own rounding."""
    if not _is_projection(constraint):
        return
    for _ in range(3):
        _twice(constraint, _draw(rng, shape, "float16"), "float16", tolerance)


def _twice(constraint: Any, w: Any, kind: str, tolerance: float | None) -> Any:
    """Project twice; return the first projection if the second moves nothing."""
    once = constraint(w)
    move = np.abs(_array(constraint(once)) - _array(once)).max()
    dtype = keras.backend.standardize_dtype(once.dtype)
    allowed = _move(constraint, tolerance, dtype) * np.abs(_array(once)).max()
    _require(
        move <= allowed, f"A second projection moves weights by {move:.2g} ({kind})"
    )
    return once


def is_nearest(
    constraint: Any, shape: Shape, rng: np.random.Generator, _: float | None
) -> None:
    """No other member of the set is nearer; a convex set does not expand."""
    if not _is_projection(constraint):
        return
    w = _draw(rng, shape)
    projected = constraint(w)
    distance = np.linalg.norm(_array(w) - _array(projected))
    slack = 1e-5 * (1 + np.linalg.norm(_array(w)))
    for scale in (0.01, 0.3, 1.0, 1.0, 5.0):
        other = w + scale * _draw(rng, shape)
        member = constraint(other)
        away = np.linalg.norm(_array(w) - _array(member))
        _require(
            distance <= away + slack,
            f"A member at distance {away:.6g} is nearer than {distance:.6g}",
        )
        if adapted(constraint).convex:
            spread = np.linalg.norm(_array(projected) - _array(member))
            before = np.linalg.norm(_array(w) - _array(other))
            _require(
                spread <= before + slack,
                f"Points {before:.6g} apart are projected {spread:.6g} apart",
            )


def survives_extremes(
    constraint: Any, shape: Shape, rng: np.random.Generator, _: float | None
) -> None:
    """Zero, huge, tiny and half-precision weights give finite weights."""
    w = _draw(rng, shape)
    weights = {
        "zero": ops.zeros(shape),
        "equal": ops.ones(shape),
        "equal and negative": -ops.ones(shape),
        "huge": w * 1e20,
        "tiny": w * 1e-25,
        "float16, large": ops.cast(ops.clip(w, -2, 2) * 3e4, "float16"),
        "float16, small": ops.cast(ops.clip(w, -2, 2) * 1e-6, "float16"),
    }
    for kind, value in weights.items():
        _require(np.isfinite(_array(constraint(value))).all(), f"Not finite for {kind}")


def shows_nan(
    constraint: Any, shape: Shape, rng: np.random.Generator, _: float | None
) -> None:
    """NaN weights are not silently replaced by numbers."""
    w = np.full(shape, np.nan, "float32")
    result = _array(constraint(ops.convert_to_tensor(w)))
    _require(np.isnan(result).any(), "NaN weights come back as numbers")
    if _is_projection(constraint) and hasattr(constraint, "contains"):
        is_member = constraint.contains(ops.convert_to_tensor(w))
        _require(not is_member, "NaN weights are in the set")
    del rng


def keeps_empty(
    constraint: Any, shape: Shape, rng: np.random.Generator, _: float | None
) -> None:
    """An empty tensor comes back as it is."""
    empty = (*shape[:-1], 0)
    w = ops.zeros(empty)
    _require(tuple(constraint(w).shape) == empty, "Empty weights change")
    if _is_projection(constraint) and hasattr(constraint, "contains"):
        distance = float(ops.convert_to_numpy(constraint.distance(w)))
        _require(constraint.contains(w), "Empty weights are not in the set")
        _require(distance == 0, f"Empty weights are at the distance {distance:.2g}")
    del rng


def is_a_function(
    constraint: Any, shape: Shape, rng: np.random.Generator, _: float | None
) -> None:
    """One result for one input; a variable is read, not changed."""
    w = _draw(rng, shape)
    variable = keras.Variable(w)
    first, second = _array(constraint(w)), _array(constraint(w))
    _require(np.array_equal(first, second), "Two calls differ")
    _require(
        np.array_equal(first, _array(constraint(variable))),
        "A variable gives another result than its value",
    )
    _require(np.array_equal(_array(variable), _array(w)), "The variable was changed")


CHECKS: tuple[Callable[..., None], ...] = (
    keeps_shape_and_dtype,
    is_idempotent,
    is_idempotent_in_half_precision,
    is_nearest,
    survives_extremes,
    shows_nan,
    keeps_empty,
    is_a_function,
)


def rejects_integers(
    constraint: Any, shape: Shape, rng: np.random.Generator, _: float | None
) -> None:
    """Integer weights are an error."""
    try:
        constraint(ops.ones(shape, dtype="int32"))
    except (TypeError, ValueError):
        return
    finally:
        del rng
    raise AssertionError(f"{_name(constraint)}, shape {shape}: accepts integers")


def restores(
    constraint: Any, shape: Shape, rng: np.random.Generator, _: float | None
) -> None:
    """The configuration, a pickle and a copy give the same constraint."""
    w = _draw(rng, shape)
    expected = _array(constraint(w))
    config = keras.saving.serialize_keras_object(constraint)
    others = {
        "configuration": keras.saving.deserialize_keras_object(config),
        "copy": copy.deepcopy(constraint),
    }
    if is_importable(type(constraint)):
        others["pickle"] = pickle.loads(pickle.dumps(constraint))  # noqa: S301
    for way, other in others.items():
        _require(
            np.array_equal(_array(other(w)), expected),
            f"{_name(constraint)}, shape {shape}: the {way} gives another result",
        )


class _Weights(keras.layers.Layer):
    """Weights of any shapes."""

    def __init__(self, values: Sequence[Any], constraints: Sequence[Any]) -> None:
        super().__init__()
        self.kernels = [
            self.add_weight(
                shape=value.shape,
                initializer="zeros",
                constraint=constraint,
                name=f"kernel_{i}",
            )
            for i, (value, constraint) in enumerate(
                zip(values, constraints, strict=True)
            )
        ]
        self.set_weights(values)

    def call(self, x: Any) -> Any:
        return x + sum(ops.sum(kernel) for kernel in self.kernels)


def trains(
    constraint: Any, shape: Shape, rng: np.random.Generator, tolerance: float | None
) -> None:
    """A compiled training step that moves nothing ends at the projection."""
    trains_together([(constraint, shape, tolerance)], rng)


def trains_together(
    rows: Sequence[tuple[Any, Shape, float | None]], rng: np.random.Generator
) -> None:
    """As `trains`, with one compiled step for all."""
    values = [_array(_draw(rng, shape)).astype("float32") for _, shape, _ in rows]
    layer = _Weights(values, [constraint for constraint, _, _ in rows])
    model = keras.Sequential([layer])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.fit(np.zeros((2, 1)), np.zeros((2, 1)), verbose=0)
    for kernel, value, row in zip(layer.kernels, values, rows, strict=True):
        constraint, shape, tolerance = row
        expected = _array(constraint(ops.convert_to_tensor(value)))
        error = np.abs(_array(kernel) - expected).max()
        allowed = max(_move(constraint, tolerance), 1e-5)
        _require(
            error <= allowed * max(1.0, np.abs(expected).max()),
            f"{_name(constraint)}, shape {shape}: a training step differs by "
            f"{error:.2g}",
        )
