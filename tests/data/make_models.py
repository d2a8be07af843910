"""Writes saved models and their expected numbers, of one backend.

KERAS_BACKEND=jax python tests/data/make_models.py

The files are committed: the test of saved models reads all of them, under
whatever backend it runs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_regx import Policy, Rule, constraints, penalties, regularizers, violations

FOLDER = Path(__file__).parent


def wave(*shape: int) -> np.ndarray:
    """Return an array of the given shape, the same on every machine."""
    count = np.prod(shape, dtype=int)
    return np.sin(np.arange(1.0, count + 1)).reshape(shape).astype("float32")


def build_model() -> keras.Model:
    """Return a compiled model with every drop-in penalty and constraint."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(
                3,
                2,
                activation="tanh",
                kernel_regularizer=regularizers.OrthogonalRegularizer(0.3, "columns"),
                bias_regularizer=regularizers.L1(0.2),
                kernel_constraint=constraints.MaxNorm(1.0, axis="units"),
                bias_constraint=constraints.NonNeg(),
                name="filters",
            ),
            layers.Conv2D(
                2,
                3,
                activation="tanh",
                kernel_regularizer=regularizers.L1(0.01) + 0.5 * regularizers.L2(0.1),
                kernel_constraint=constraints.RadialConstraint(),
                name="rings",
            ),
            layers.Flatten(),
            layers.Dense(
                4,
                activation="tanh",
                kernel_regularizer=regularizers.L1L2(0.01, 0.02),
                activity_regularizer=regularizers.L2(0.1),
                kernel_constraint=constraints.UnitNorm(),
                name="hidden",
            ),
            layers.Dense(
                2,
                kernel_regularizer=regularizers.L2(0.05),
                kernel_constraint=constraints.MinMaxNorm(0.5, 1.5, rate=0.3, axis=0),
                name="head",
            ),
        ]
    )
    model.set_weights([0.3 * wave(*v.shape) for v in model.weights])
    model.compile(keras.optimizers.SGD(0.01), keras.losses.MeanSquaredError())
    return model


def data() -> tuple[np.ndarray, np.ndarray]:
    """Return inputs and targets."""
    return wave(4, 6, 6, 2), wave(4, 2)


def numbers(model: keras.Model) -> dict[str, Any]:
    """Return the loss on the data, the penalties, and the projected weights."""
    x, y = data()
    projected = [
        float(np.sum(np.abs(keras.ops.convert_to_numpy(v.constraint(v)))))
        for v in model.trainable_variables
        if v.constraint is not None
    ]
    penalties = [
        float(keras.ops.convert_to_numpy(v.regularizer(v)))
        for v in model.trainable_variables
        if v.regularizer is not None
    ]
    loss = float(model.evaluate(x, y, verbose=0))
    return {"loss": loss, "penalties": penalties, "projected": projected}


def build_policied() -> keras.Model:
    """Return a compiled model whose policy needs more than the layers' arguments."""
    layers = keras.layers
    inputs = keras.Input((3, 4))
    x = layers.MultiHeadAttention(2, 3, name="attention")(inputs, inputs)
    x = layers.RMSNormalization(name="rms")(x)
    x = layers.Flatten()(x)
    x = layers.Dense(4, activation="tanh", name="hidden")(x)
    model = keras.Model(inputs, layers.Dense(2, name="head")(x), name="policied")
    model.set_weights([0.3 * wave(*v.shape) for v in model.weights])
    policy = Policy(
        [
            Rule("*/kernel", regularizer=regularizers.L2(0.1)),
            Rule("*/query/kernel", regularizer=regularizers.GroupLasso(0.2)),
            Rule("*/value/kernel", regularizer=regularizers.SoftOrthogonality(0.3)),
            Rule("rms/scale", regularizer=regularizers.L1(0.4)),
            Rule("hidden/kernel", regularizer=2.0 * regularizers.Anchor(0.5)),
            Rule(
                "head/*",
                regularizer=regularizers.L1(0.6) + regularizers.Anchor(0.7),
                joint="layer",
            ),
            Rule("*/key/kernel", constraint=constraints.MaxNorm(0.2, axis="units")),
        ]
    )
    policy.apply(model)
    model.set_weights([0.5 * wave(*v.shape) for v in model.weights])
    model.compile(keras.optimizers.SGD(0.01), keras.losses.MeanSquaredError())
    return model


def policy_numbers(model: keras.Model) -> dict[str, Any]:
    """Return each penalty, each violation and the loss on data."""
    costs = {
        name: float(keras.ops.convert_to_numpy(value))
        for name, value in penalties(model).items()
    }
    loss = float(model.evaluate(wave(4, 3, 4), wave(4, 2), verbose=0))
    return {"loss": loss, "penalties": costs, "violations": violations(model)}


def main() -> None:
    """Write the models of this backend and their numbers.

    `<backend>.keras` and `<backend>_policy.keras` were written by version 0.1.0, as was
    `version_0_1_0_*.keras`; they stay as they are.
    """
    from tests import matrix

    backend = keras.backend.backend()
    for row in matrix.OTHER_BACKENDS:
        model = matrix.build(row)
        matrix.train(model)
        path = FOLDER / f"{backend}_{row}.keras"
        model.save(path)
        path.with_suffix(".json").write_text(json.dumps(matrix.story(model)) + "\n")


def main_of_version_0_1_0() -> None:
    """Write what version 0.1.0 wrote, under that version."""
    backend = keras.backend.backend()
    for name, model, measure in (
        (backend, build_model(), numbers),
        (f"{backend}_policy", build_policied(), policy_numbers),
    ):
        model.save(FOLDER / f"{name}.keras")
        text = json.dumps(measure(model), indent=2)
        (FOLDER / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
