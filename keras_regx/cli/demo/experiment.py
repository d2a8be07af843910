"""The experiment: one network, four L2 factors, and the documented numbers."""

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from keras_regx.models import penalties, total_penalty
from keras_regx.regularizers import L1, L2

FACTORS = (0.0, 1e-4, 1e-2, 1.0)
# Test accuracies on MNIST in the answer that the network comes from.
MNIST_ACCURACIES = dict(zip(FACTORS, (0.9468, 0.9476, 0.9183, 0.1135), strict=True))


@dataclass(frozen=True)
class Setup:
    """How the networks are trained on a data set."""

    learning_rate: float
    batch_size: int
    epochs: int
    quick_epochs: int


SETUPS = {
    "digits": Setup(learning_rate=3e-3, batch_size=128, epochs=15, quick_epochs=6),
    "mnist": Setup(learning_rate=1e-4, batch_size=100, epochs=6, quick_epochs=2),
}


@dataclass(frozen=True)
class Data:
    """Images in [0, 1] with their labels."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def load_data(dataset: str) -> Data:
    """Return the digits of scikit-learn (8 x 8, offline) or MNIST's (downloaded)."""
    if dataset == "mnist":
        (x_train, y_train), (x_test, y_test) = keras.datasets.mnist.load_data()
        white = 255.0
    else:
        images, labels = load_digits(return_X_y=True)
        x_train, x_test, y_train, y_test = train_test_split(
            images.reshape(-1, 8, 8), labels, random_state=0, stratify=labels
        )
        white = 16.0
    return Data(
        (x_train / white).astype("float32"),
        y_train.astype("int32"),
        (x_test / white).astype("float32"),
        y_test.astype("int32"),
    )


def easy_net(image_shape: tuple[int, ...], factor: float, seed: int = 0) -> Any:
    """Return the network, under the L2 penalty in TensorFlow 1's convention.

    Args:
        image_shape: Shape of one image.
        factor: Number >= 0. Each kernel costs this times half its sum of squares.
        seed: Integer. The initial weights do not depend on the factor.
    """
    layers: list[Any] = [keras.Input(image_shape), keras.layers.Flatten()]
    shapes = (("", 200, "tanh"), ("_1", 200, "tanh"), ("_2", 10, None))
    for index, (suffix, units, activation) in enumerate(shapes):
        layer = keras.layers.Dense(
            units,
            activation=activation,
            kernel_initializer=keras.initializers.GlorotUniform(seed + index),
            kernel_regularizer=0.5 * L2(factor),
            name=f"fully_connected{suffix}",
        )
        layers.append(layer)
    return keras.Sequential(layers, name="EasyNet")


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep PyTorch to a single thread, and give the others back afterwards.

    Its threads wait for the slowest of them at the end of every operation. The
    operations of this network take microseconds, so that on a machine with other
    work to do the waiting takes ten times as long as the computing.
    """
    if keras.config.backend() != "torch":
        yield
        return
    torch = sys.modules["torch"]  # Keras has imported it.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@one_thread()
def train(
    data: Data,
    factor: float,
    setup: Setup,
    epochs: int,
    seed: int,
    *,
    on_epoch_end: Callable[[int, dict[str, float]], None],
) -> Any:
    """Return the network trained with one factor; batches do not depend on it."""
    keras.utils.set_random_seed(seed)
    model = easy_net(data.x_train.shape[1:], factor, seed)
    model.compile(
        optimizer=keras.optimizers.Adam(setup.learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(
        data.x_train,
        data.y_train,
        batch_size=setup.batch_size,
        epochs=epochs,
        verbose=0,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=on_epoch_end)],
    )
    return model


def measure(model: Any, factor: float, data: Data) -> dict[str, float]:
    """Return one row of the table: cross-entropy, penalty and test accuracy."""
    logits = model.predict(data.x_train, batch_size=1024, verbose=0).astype("float64")
    logits -= logits.max(axis=1, keepdims=True)
    of_label = logits[np.arange(len(logits)), data.y_train]
    losses = np.log(np.exp(logits).sum(axis=1)) - of_label
    return {
        "factor": factor,
        "train_loss": float(losses.mean()),
        "penalty": number(total_penalty(model)),
        "test_accuracy": accuracy(model, data),
        "mnist_accuracy": MNIST_ACCURACIES[factor],
    }


def accuracy(model: Any, data: Data) -> float:
    """Return the share of test images that a model names correctly."""
    logits = model.predict(data.x_test, batch_size=1024, verbose=0)
    return float(np.mean(logits.argmax(axis=1) == data.y_test))


def all_kernels(model: Any) -> np.ndarray:
    """Return the weights of all kernels of a model as one vector."""
    kernels = [layer.kernel for layer in model.layers if hasattr(layer, "kernel")]
    return np.concatenate([np.ravel(ops.convert_to_numpy(k)) for k in kernels])


def listing(model: Any) -> dict[str, list[dict[str, Any]]]:
    """Return the variables and the named penalty terms of a model."""
    return {
        "variables": [
            {"name": v.path, "shape": list(v.shape), "size": math.prod(v.shape)}
            for v in model.weights
        ],
        "penalty_terms": [
            {"name": name, "shape": list(value.shape), "value": number(value)}
            for name, value in penalties(model).items()
        ],
    }


def documented_numbers() -> list[dict[str, Any]]:
    """Compute the numbers that Keras' documentation of regularizers shows."""

    def losses(x: Any, **arguments: Any) -> list[float]:
        layer = keras.layers.Dense(5, kernel_initializer="ones", **arguments)
        layer(x)
        return [number(loss) for loss in layer.losses]

    def l1_reg(weight_matrix: Any) -> Any:
        return 0.01 * ops.sum(ops.absolute(weight_matrix))

    ones = ops.ones((5, 5))
    activity, kernel = losses(  # The order of layer.losses.
        2.0 * ones, kernel_regularizer=L1(0.01), activity_regularizer=L2(0.01)
    )
    (of_class,) = losses(ones, kernel_regularizer=L2(0.5))
    (of_function,) = losses(ones, kernel_regularizer=l1_reg)
    rows = (
        ("L1(0.01) on a kernel of ones", 0.25, kernel),
        ("L2(0.01) on the activity, per sample", 5.0, activity),
        ("both, the sum of layer.losses", 5.25, kernel + activity),
        ("L2(2.0) called on a 5 x 5 tensor of ones", 50.0, number(L2(2.0)(ones))),
        ("L2(0.5) on a kernel of ones", 12.5, of_class),
        ("a plain function on a kernel of ones", 0.25, of_function),
    )
    return [
        {
            "name": name,
            "expected": expected,
            "value": value,
            "ok": math.isclose(value, expected, rel_tol=1e-5),
        }
        for name, expected, value in rows
    ]


def number(x: Any) -> float:
    """Return a scalar tensor as a Python number."""
    return float(ops.convert_to_numpy(x))
