"""The rows of the matrix: kinds of model, objects, ways, and what happens to them.

Every pair of two values that go together is in some row; the rows are chosen greedily,
from a fixed seed. A row is trained, something happens to it, and afterwards it has to
cost, project and train as before; see test_matrix.py.
"""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np
from keras import layers

from keras_regx import (
    Policy,
    Rule,
    callbacks,
    constraints,
    optimizers,
    penalties,
    project,
    regularizers,
    violations,
)
from keras_regx._core.config import parts
from tests.data.make_models import wave

if TYPE_CHECKING:
    from collections.abc import Iterator

R, C = regularizers, constraints
RAMP = keras.optimizers.schedules.PolynomialDecay(0.1, 6, 0.7)
THIN = keras.optimizers.schedules.PolynomialDecay(1.0, 8, 0.4)


class Row(NamedTuple):
    """One row: which model, which objects, how they are put on it, what happens."""

    kind: str
    obj: str
    way: str
    event: str

    def __str__(self) -> str:
        return "-".join(self)


KINDS = ("sequential", "functional", "nested", "subclassed", "attention")
WAYS = ("argument", "policy", "proximal")
EVENTS = (
    "file",
    "fresh_process",
    "weights",
    "clone",
    "deepcopy",
    "pickle",
    "from_config",
    "resume",
    "lora",
    "quantize",
    "freeze",
    "rename",
)
# For each object a penalty, one that Proximal can use, and a constraint.
OBJECTS: dict[str, tuple[Any, Any, Any]] = {
    "plain": (
        lambda: R.L2(0.1),
        lambda: R.L1(0.05),
        lambda: C.MaxNorm(0.9, axis="units"),
    ),
    "composite": (
        lambda: 0.5 * R.L2(0.1) + R.Masked(R.L1(0.1), [[1, 0]]),
        lambda: R.L1(0.05) + 2.0 * R.L2(0.1),
        lambda: C.Box(-0.6, 0.6) & C.LInfBall(0.5),
    ),
    "anchored": (
        lambda: R.Anchor(0.3),
        lambda: R.Anchor(0.2, p=1),
        lambda: C.AnchorBall(0.2),
    ),
    "scheduled": (
        lambda: R.Scheduled(R.L2(0.2), RAMP),
        lambda: R.Scheduled(R.L1(0.1), RAMP),
        lambda: C.TopK(fraction=THIN),
    ),
    "deep": (
        lambda: (
            0.5 * R.Scheduled(R.Anchor(0.3) + R.L2(0.1), RAMP)
            + R.SetDistance(C.AnchorBall(0.1), 0.2)
        ),
        lambda: 0.5 * R.Scheduled(R.Anchor(0.3), RAMP),
        lambda: C.Chain([C.AnchorBall(0.3, norm="linf"), C.TopK(fraction=THIN)]),
    ),
    "joint": (lambda: R.GroupLasso(0.1) + R.Anchor(0.2), None, None),
}


def is_possible(row: Row) -> bool:
    """Return whether the values of a row go together."""
    if row.obj == "joint" and row.way != "policy":
        return False
    # Keras enables LoRA on no layer with a constraint as its argument, attention
    # layers have no LoRA and no quantization of their own.
    if row.event in ("lora", "quantize") and row.kind == "attention":
        return False
    # A config of someone's own class does not say what is frozen, or has LoRA.
    if row.event in ("freeze", "lora", "quantize") and row.kind == "subclassed":
        return False
    # A mask of two columns needs kernels of two units.
    return not (row.obj == "composite" and row.kind == "attention")


def possible_rows() -> list[Row]:
    """Return every row whose values go together."""
    values = (KINDS, tuple(OBJECTS), WAYS, EVENTS)
    return [
        row for row in map(Row._make, itertools.product(*values)) if is_possible(row)
    ]


def rows(seed: int = 0) -> list[Row]:
    """Return rows that have every pair of values that occurs in a possible row."""
    possible = possible_rows()
    missing = {pair for row in possible for pair in _pairs(row)}
    random.Random(seed).shuffle(possible)  # noqa: S311  (an order, no secret)
    chosen = []
    while missing:
        best = max(possible, key=lambda row: len(missing & set(_pairs(row))))
        missing -= set(_pairs(best))
        chosen.append(best)
    return sorted(chosen)


def _pairs(row: Row) -> Iterator[tuple[int, int, str, str]]:
    for i, j in itertools.combinations(range(4), 2):
        yield i, j, row[i], row[j]


# Saved under each backend, in tests/data, and read under all.
OTHER_BACKENDS = [
    Row("sequential", "deep", "policy", "other_backend"),
    Row("functional", "joint", "policy", "other_backend"),
    Row("nested", "anchored", "proximal", "other_backend"),
    Row("subclassed", "deep", "policy", "other_backend"),
    Row("functional", "scheduled", "argument", "other_backend"),
]


# Models ---------------------------------------------------------------------------


@keras.saving.register_keras_serializable(package="matrix")
class Net(keras.Model):
    """Two dense layers in a class of someone's own; the names of layers are Keras'."""

    def __init__(self, arguments: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.arguments = arguments or {}
        self.body = layers.Dense(2, "tanh", **_revived(self.arguments))
        self.head = layers.Dense(2, **_revived(self.arguments))

    def call(self, x: Any) -> Any:
        """Return the output of the head."""
        return self.head(self.body(x))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "arguments": self.arguments}


def _revived(arguments: dict[str, Any]) -> dict[str, Any]:
    revive = keras.saving.deserialize_keras_object
    return {name: revive(value) for name, value in arguments.items()}


def make(kind: str, arguments: dict[str, Any], prefix: str = "") -> keras.Model:
    """Return a model of a kind, whose layers have these arguments."""
    first, second = f"{prefix}body", f"{prefix}head"
    if not prefix:
        keras.utils.clear_session(free_memory=False)
    if kind == "sequential":
        parts = [keras.Input((3,)), layers.Dense(2, "tanh", **arguments, name=first)]
        model = keras.Sequential([*parts, layers.Dense(2, name=second, **arguments)])
    elif kind == "functional":
        inputs = keras.Input((3,))
        x = layers.Dense(2, "tanh", name=first, **arguments)(inputs)
        model = keras.Model(inputs, layers.Dense(2, name=second, **arguments)(x))
    elif kind == "nested":
        inner_in = keras.Input((3,))
        body = layers.Dense(2, "tanh", name=first, **arguments)(inner_in)
        inner = keras.Model(inner_in, body, name=f"{prefix}inner")
        inputs = keras.Input((3,))
        head = layers.Dense(2, name=second, **arguments)
        model = keras.Model(inputs, head(inner(inputs)))
    elif kind == "subclassed":
        save = keras.saving.serialize_keras_object
        model = Net({name: save(value) for name, value in arguments.items()})
        model(wave(1, 3))
    else:
        inputs = keras.Input((4, 3))
        x = layers.MultiHeadAttention(2, 2, name=f"{prefix}attention", **arguments)(
            inputs, inputs
        )
        x = layers.Bidirectional(layers.LSTM(2, **arguments), name=f"{prefix}both")(x)
        model = keras.Model(inputs, layers.Dense(2, name=second, **arguments)(x))
    for variable in model.trainable_weights:
        variable.assign(0.4 * wave(*variable.shape))
    return model


def data(model: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs and targets for a model of any kind."""
    is_sequence = any(isinstance(x, layers.Bidirectional) for x in model.layers)
    return wave(4, 4, 3) if is_sequence else wave(4, 3), wave(4, 2)


def body_of(model: keras.Model) -> keras.Layer:
    """Return the first dense layer of a model."""
    found = [x for x in model._flatten_layers() if isinstance(x, layers.Dense)]
    return found[0]


def structure(variable: Any) -> tuple[str, str]:
    """Return what a weight has, without what that remembers."""
    return repr(variable.regularizer), repr(variable.constraint)


def remembers(variable: Any) -> bool:
    """Return whether what a weight has remembers something."""
    objects = (variable.regularizer, variable.constraint)
    return any(part.has_state for obj in objects for part in parts(obj))


def build(row: Row, prefix: str = "") -> keras.Model:
    """Return the compiled model of a row, with its objects on it."""
    penalty, _, constraint = OBJECTS[row.obj]
    limit = None if row.event == "lora" or constraint is None else constraint()
    arguments = {}
    if row.way == "argument":
        arguments = {"kernel_regularizer": penalty()}
        arguments |= {} if limit is None else {"kernel_constraint": limit}
    model = make(row.kind, arguments, prefix)
    if row.way == "policy":
        joint = "layer" if row.obj == "joint" else None
        rule = Rule(
            ["*kernel", "*bias"][: 2 if joint else 1],
            regularizer=penalty(),
            joint=joint,
        )
        rules = [rule, *([] if limit is None else [Rule("*kernel", constraint=limit)])]
        Policy(rules).apply(model)
    compile_anew(model, row)
    return model


def compile_anew(model: keras.Model, row: Row) -> None:
    """Compile a model with the optimizer of its row."""
    optimizer: Any = keras.optimizers.SGD(0.05, momentum=0.5)
    if row.way == "proximal":
        rule = Rule("*kernel", regularizer=OBJECTS[row.obj][1]())
        optimizer = optimizers.Proximal(optimizer, [rule])
    model.compile(optimizer, "mse", run_eagerly=True)


def train(model: keras.Model, steps: int = 2, *others: Any) -> None:
    """Make some full-batch steps."""
    x, y = data(model)
    model.fit(
        x,
        y,
        batch_size=len(x),
        epochs=steps,
        shuffle=False,
        verbose=0,
        callbacks=[*others, callbacks.AdvanceSchedules()],
    )


# What must be the same ------------------------------------------------------------


def numbers(model: keras.Model) -> dict[str, list[float]]:
    """Return what a model costs, violates, and where it would be projected to."""
    held = [np.array(keras.ops.convert_to_numpy(w)) for w in model.weights]
    proximal = [
        float(keras.ops.convert_to_numpy(penalty(variable)))
        for optimizer in [getattr(model, "optimizer", None)]
        for variable, penalty in getattr(
            getattr(optimizer, "plan", None), "matched", ()
        )
    ]
    found = {
        "penalties": [
            float(keras.ops.convert_to_numpy(v)) for v in penalties(model).values()
        ],
        "proximal": proximal,
        "violations": list(violations(model).values()),
    }
    project(model)
    found["projected"] = [float(np.sum(np.abs(w))) for w in weights(model)]
    for variable, value in zip(model.weights, held, strict=True):
        variable.assign(value)
    return found


def weights(model: keras.Model) -> list[np.ndarray]:
    """Return the floating weights of a model."""
    return [
        np.array(keras.ops.convert_to_numpy(w))
        for w in model.weights
        if "float" in w.dtype
    ]


def move(model: keras.Model) -> None:
    """Move all floating weights, away from anchors and out of sets."""
    for variable in model.weights:
        if "float" in variable.dtype:
            change = 0.5 * wave(*variable.shape) if variable.shape else 0.0
            variable.assign(keras.ops.convert_to_numpy(variable) + change)


def story(model: keras.Model) -> list[dict[str, list[float]]]:
    """Return the numbers of a model now, at moved weights, and after two steps."""
    held = weights(model)
    told = [numbers(model)]
    move(model)
    told.append(numbers(model))
    floating = [w for w in model.weights if "float" in w.dtype]
    for variable, value in zip(floating, held, strict=True):
        variable.assign(value)
    train(model)
    told.append(numbers(model))
    told.append({f"w{i}": np.ravel(w).tolist() for i, w in enumerate(weights(model))})
    return told
