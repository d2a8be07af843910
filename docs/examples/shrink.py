"""Train digits with a sparse group penalty, remove the dead units, compare.

Run `python docs/examples/shrink.py` with any Keras backend. It prints the table
in docs/training.md.
"""

import time

import keras
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from keras_regx import Rule
from keras_regx.models import prune_units
from keras_regx.optimizers import Proximal
from keras_regx.regularizers import SparseGroupLasso

EPOCHS = 40
FACTOR = 6e-3


def build() -> keras.Model:
    """Return a small convolutional network for 8 x 8 images."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(32, 3, name="conv1"),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Conv2D(64, 3, name="conv2"),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Flatten(),
            keras.layers.Dense(128, activation="relu", name="dense"),
            keras.layers.Dense(10, name="out"),
        ]
    )


def milliseconds(model: keras.Model, x: np.ndarray) -> float:
    """Return the best of several timings of predicting all of `x` in one batch."""
    model.predict(x, batch_size=len(x), verbose=0)
    times = []
    for _ in range(15):
        start = time.perf_counter()
        model.predict_on_batch(x)
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def accuracy(model: keras.Model, x: np.ndarray, y: np.ndarray) -> float:
    """Return the share of right answers, in percent."""
    return 100 * float((model.predict(x, verbose=0).argmax(1) == y).mean())


def train(x: np.ndarray, y: np.ndarray, factor: float) -> keras.Model:
    """Train from fixed weights; a factor of 0 is plain training."""
    keras.utils.set_random_seed(0)
    model = build()
    steps = EPOCHS * -(-len(x) // 64)
    rate = keras.optimizers.schedules.CosineDecay(0.05, steps)
    optimizer = keras.optimizers.SGD(rate, momentum=0.9)
    if factor:
        penalty = SparseGroupLasso(factor, l1_ratio=0.1, axis="units")
        rule = Rule("*/kernel", exclude="*out/kernel", regularizer=penalty)
        optimizer = Proximal(optimizer, [rule])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss)
    model.fit(x, y, batch_size=64, epochs=EPOCHS, verbose=0)
    return model


def main() -> None:
    """Train twice, prune, and print a Markdown table."""
    digits = load_digits()
    images = (digits.images[..., None] / 16).astype("float32")
    x, x_test, y, y_test = train_test_split(
        images, digits.target, test_size=0.3, random_state=0, stratify=digits.target
    )
    many = np.tile(x_test, (8, 1, 1, 1))
    plain = train(x, y, 0.0)
    sparse = train(x, y, FACTOR)
    small, report = prune_units(sparse, return_report=True)
    moved = np.abs(sparse.predict(x_test, verbose=0) - small.predict(x_test, verbose=0))
    print(f"Backend: {keras.backend.backend()}\n")
    print("| Model | Test accuracy | Parameters | Inference |")
    print("|---|---:|---:|---:|")
    for name, model in (("plain", plain), ("sparse", sparse), ("pruned", small)):
        print(
            f"| {name} | {accuracy(model, x_test, y_test):.1f} % "
            f"| {model.count_params():,} | {milliseconds(model, many):.1f} ms |"
        )
    print(f"\nLargest change of an output by pruning: {moved.max():.1e}\n")
    print(report)


if __name__ == "__main__":
    main()
