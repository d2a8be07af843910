"""The battery of properties that every penalty has, as one call."""

import copy
import pickle
import sys
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_regx._core.config import Configurable
from keras_regx.regularizers import get

Shape = tuple[int, ...]
SHAPES: tuple[Shape, ...] = ((4,), (5, 4), (4, 4), (3, 3, 2, 4))
_STEPS = (0.1, 1.0, 5.0)


def check_regularizer(
    regularizer: Any, *, shapes: Sequence[Shape] = SHAPES, seed: int = 0
) -> None:
    """Check that a penalty is what a layer, an optimizer and a file can rely on.

    Its value is a finite scalar, in float32 for half precision; it trains in a
    compiled `fit` step to finite weights, from ordinary, zero, equal and
    orthonormal weights; its prox, if it has one, keeps shape and dtype and no
    other point found has a lower objective; it comes back from its config, a
    pickle, a copy and a saved model; one instance serves several layers; and it
    holds no tensors.

    Args:
        regularizer: A penalty, or a class that can be built without arguments.
        shapes: Shapes of weights to try. Those that the penalty rejects with a
            ValueError are left out; at least one must remain.
        seed: Int. Seed of the sampled weights.

    Raises:
        AssertionError: Naming the penalty, the property, and what to do.
        ValueError: For a class that needs arguments, or a constraint.

    Example:

    >>> import keras
    >>> from keras_regx.regularizers import L2
    >>> from keras_regx.testing import check_regularizer
    >>> check_regularizer(L2(0.1), shapes=[(3, 2)])
    >>> class Forgotten(keras.regularizers.Regularizer):
    ...     def call(self, x):
    ...         return x
    >>> try:
    ...     check_regularizer(Forgotten())
    ... except AssertionError as error:
    ...     print(str(error).split(".")[0])
    Forgotten: defines `call`, which Keras never uses
    """
    if not callable(regularizer):
        raise TypeError(f"Expected a penalty. Received: regularizer={regularizer!r}")
    regularizer = get(regularizer)
    name = type(regularizer).__name__
    rng = np.random.default_rng(seed)
    try:
        is_no_no_op(regularizer)
        tried = [shape for shape in shapes if _accepts(regularizer, shape, rng)]
        _require(tried, f"accepts none of the shapes {tuple(shapes)}")
        for shape in tried:
            for check in CHECKS:
                check(regularizer, shape, rng)
        _trains(regularizer, tried[-1], rng)
        for check in CHECKS_OF_OBJECTS:
            check(regularizer)
    except AssertionError as error:
        raise AssertionError(f"{name}: {error}") from None


def _sample(shape: Shape, rng: np.random.Generator) -> Any:
    return rng.uniform(0.1, 1.5, size=shape).astype("float32")


def _accepts(regularizer: Any, shape: Shape, rng: np.random.Generator) -> bool:
    try:
        regularizer(ops.convert_to_tensor(_sample(shape, rng)))
    except ValueError:
        return False
    except NotImplementedError:
        return bool(getattr(regularizer, "proximable", False))  # Prox only, as L0.
    return True


def _is_loss(regularizer: Any, x: Any) -> bool:
    try:
        regularizer(x)
    except NotImplementedError:
        return False
    return True


def _require(condition: Any, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def is_no_no_op(regularizer: Any) -> None:
    """It computes something: what a subclass defines is what Keras calls."""
    cls: Any = type(regularizer)
    base: Any = keras.regularizers.Regularizer
    is_inherited = cls.__call__ is base.__call__
    _require(
        not (hasattr(cls, "call") and is_inherited),
        "defines `call`, which Keras never uses. Define `__call__` instead",
    )


def value(regularizer: Any, shape: Shape, rng: np.random.Generator) -> None:
    """A finite scalar for every dtype, without touching what it is given."""
    array = _sample(shape, rng)
    if not _is_loss(regularizer, ops.convert_to_tensor(array)):
        return
    wide = None
    for dtype in ("float32", "float16", "bfloat16"):
        value = regularizer(ops.cast(array, dtype))
        _require(
            tuple(value.shape) == (),
            f"returns shape {tuple(value.shape)} for {shape}. Sum over all axes",
        )
        found = keras.backend.standardize_dtype(value.dtype)
        _require(
            found == "float32",
            f"returns {found} for {dtype}. Cast half precision to float32 before "
            "summing: sums of squares overflow",
        )
        number = float(ops.convert_to_numpy(value))
        _require(np.isfinite(number), f"is {number} for {dtype} weights of {shape}")
        wide = number if wide is None else wide
        _require(
            abs(number - wide) <= 0.05 * abs(wide) + 0.05,
            f"is {number} in {dtype} and {wide} in float32. Compute in float32",
        )


def prox(regularizer: Any, shape: Shape, rng: np.random.Generator) -> None:
    """Keeps shape and dtype; no point found has a lower objective."""
    if not getattr(regularizer, "proximable", False):
        return
    x = _sample(shape, rng)
    loss = getattr(regularizer, "_value", regularizer)

    def objective(y: Any, step: float) -> float:
        f = float(ops.convert_to_numpy(loss(ops.convert_to_tensor(y))))
        return f + float(((y.astype("float64") - x) ** 2).sum()) / (2 * step)

    half = regularizer.prox(ops.cast(x, "float16"), 0.1)
    kept = keras.backend.standardize_dtype(half.dtype) == "float16"
    _require(kept and tuple(half.shape) == shape, "prox changes the shape or dtype")
    for step in _STEPS:
        p = ops.convert_to_numpy(regularizer.prox(ops.convert_to_tensor(x), step))
        best = objective(p, step)
        noise = rng.normal(size=shape).astype("float32")
        for y in (x, 0.9 * p + 0.1 * x, p + 0.01 * noise, p + 0.3 * noise):
            other = objective(y.astype("float32"), step)
            _require(
                not other < best - 1e-3 * (1 + abs(best)),
                f"prox with step_size {step} has the objective {best:g}, and another "
                f"point {other:g}. It must be the argmin, the factor included",
            )


def _trains(regularizer: Any, shape: Shape, rng: np.random.Generator) -> None:
    """One compiled `fit` step to finite weights."""
    if _is_loss(regularizer, ops.convert_to_tensor(_sample(shape, rng))):
        trains([(regularizer, shape)], rng)


def trains(pairs: Sequence[tuple[Any, Shape]], rng: np.random.Generator) -> float:
    """One compiled `fit` step of all, each shared by kernels with kinks.

    Returns the loss before the step, which is not compared if it is not finite.
    """
    names = ("ordinary", "zero", "equal", "orthonormal")
    banks = [_Bank(regularizer, shape, len(names)) for regularizer, shape in pairs]
    model = keras.Sequential([keras.Input((1,)), *banks])
    for bank, (_, shape) in zip(banks, pairs, strict=True):
        rows = int(np.prod(shape[:-1], dtype=int))
        starts = (
            _sample(shape, rng),
            np.zeros(shape),
            np.full(shape, 0.5),
            np.eye(rows, shape[-1]).reshape(shape),
        )
        bank.set_weights([start.astype("float32") for start in starts])
    eager = sum(float(ops.convert_to_numpy(loss)) for loss in model.losses)
    model.compile(optimizer=keras.optimizers.SGD(1e-3), loss="mse")
    x = np.zeros((1, 1), "float32")
    compiled = float(model.fit(x, x, verbose=0).history["loss"][0])
    _require(
        not np.isfinite(compiled)
        or abs(compiled - eager) <= 1e-4 * (1 + abs(compiled)),
        f"is {eager:g} when called and {compiled:g} in a compiled step",
    )
    for bank, (regularizer, _) in zip(banks, pairs, strict=True):
        for name, kernel in zip(names, bank.kernels, strict=True):
            _require(
                np.isfinite(ops.convert_to_numpy(kernel)).all(),
                f"{type(regularizer).__name__} has a gradient that is not finite at "
                f"{name} weights. Guard square roots, norms and divisions with a "
                "`where` on both sides",
            )
    return compiled


class _Bank(keras.layers.Layer):
    """Several kernels with one instance of a penalty."""

    def __init__(self, regularizer: Any, shape: Shape, count: int) -> None:
        super().__init__()
        self.kernels = [
            self.add_weight(shape=shape, regularizer=regularizer, name=f"kernel_{i}")
            for i in range(count)
        ]

    def call(self, x: Any) -> Any:
        return x


def is_importable(cls: type) -> bool:
    """Return whether a pickle can find the class: not inside a function or a page."""
    found: Any = sys.modules.get(cls.__module__)
    for name in cls.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is cls


def restores(regularizer: Any) -> None:
    """Comes back from its config, Keras' serialization, a pickle and a copy."""
    config = regularizer.get_config()
    ways: dict[str, Callable[[], Any]] = {
        "from_config": lambda: type(regularizer).from_config(config),
        "copy.deepcopy": lambda: copy.deepcopy(regularizer),
    }
    if is_importable(type(regularizer)):
        ways["pickle"] = lambda: pickle.loads(pickle.dumps(regularizer))  # noqa: S301
    if (
        keras.saving.get_registered_name(type(regularizer))
        != type(regularizer).__name__
    ):
        ways["keras.saving"] = lambda: keras.saving.deserialize_keras_object(
            keras.saving.serialize_keras_object(regularizer)
        )
    for way, restore in ways.items():
        try:
            again = restore()
        except (TypeError, ValueError, AttributeError, pickle.PicklingError) as error:
            raise AssertionError(
                f"does not come back from {way}: {error}. Keep every `__init__` "
                "argument under its name, and return them from `get_config`"
            ) from None
        _require(
            again.get_config() == config,
            f"comes back from {way} with another config: {again.get_config()}",
        )


def holds_no_tensors(regularizer: Any) -> None:
    """A tensor in an attribute belongs to one device and one traced function."""
    values = (
        regularizer.arguments()
        if isinstance(regularizer, Configurable)
        else vars(regularizer)
    )
    for name, value in values.items():
        is_tensor = ops.is_tensor(value) and not isinstance(value, keras.Variable)
        _require(
            not is_tensor,
            f"keeps a tensor in `{name}`. Keep a Python number or list: a tensor "
            "belongs to one device and one compiled function",
        )


CHECKS: tuple[Callable[..., None], ...] = (value, prox)
CHECKS_OF_OBJECTS: tuple[Callable[..., None], ...] = (restores, holds_no_tensors)
