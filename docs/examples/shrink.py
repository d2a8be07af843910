"""Train digits with a sparse group penalty, remove the dead units, compare.

Run `python docs/examples/shrink.py` with any Keras backend. It prints the tables
in docs/training.md. The penalty is chosen on a fifth of the training images; the
test images have no part in it.
"""

import time
from itertools import product

import keras
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from keras_regx import Rule
from keras_regx.models import prune_units
from keras_regx.optimizers import Proximal
from keras_regx.regularizers import SparseGroupLasso

EPOCHS = 40
FACTORS = (3e-3, 6e-3, 1.2e-2)
L1_RATIOS = (0.1, 0.5)
LOSS_ALLOWED = 1.0  # Points of accuracy, when the penalty is chosen.


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


def milliseconds(models: list[keras.Model], x: np.ndarray) -> list[float]:
    """Return each model's best time for all of `x` in one batch, taken in turns."""
    times: list[list[float]] = [[] for _ in models]
    for _ in range(25):
        for model, of_model in zip(models, times, strict=True):
            start = time.perf_counter()
            model.predict_on_batch(x)
            of_model.append(time.perf_counter() - start)
    return [1000 * min(of_model) for of_model in times]


def accuracy(model: keras.Model, x: np.ndarray, y: np.ndarray) -> float:
    """Return the share of right answers, in percent."""
    return 100 * float((model.predict(x, verbose=0).argmax(1) == y).mean())


def train(
    x: np.ndarray, y: np.ndarray, penalty: SparseGroupLasso | None
) -> keras.Model:
    """Train from fixed weights, with a penalty on all kernels but the last."""
    keras.utils.set_random_seed(0)
    model = build()
    steps = EPOCHS * -(-len(x) // 64)
    rate = keras.optimizers.schedules.CosineDecay(0.05, steps)
    optimizer = keras.optimizers.SGD(rate, momentum=0.9)
    if penalty is not None:
        rule = Rule("*/kernel", exclude="*out/kernel", regularizer=penalty)
        optimizer = Proximal(optimizer, [rule])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss)
    model.fit(x, y, batch_size=64, epochs=EPOCHS, verbose=0)
    return model


def choose(x: np.ndarray, y: np.ndarray) -> SparseGroupLasso:
    """Return the penalty of the smallest network that is accurate enough."""
    x, x_held, y, y_held = train_test_split(
        x, y, test_size=0.2, random_state=0, stratify=y
    )
    plain = train(x, y, None)
    limit = accuracy(plain, x_held, y_held) - LOSS_ALLOWED
    print("| Factor | L1 ratio | Validation accuracy | Parameters |")
    print("|---:|---:|---:|---:|")
    print(f"| none | | {limit + LOSS_ALLOWED:.1f} % | {plain.count_params():,} |")
    fitting = {}
    for factor, l1_ratio in product(FACTORS, L1_RATIOS):
        penalty = SparseGroupLasso(factor, l1_ratio=l1_ratio, axis="units")
        small = prune_units(train(x, y, penalty))
        score, size = accuracy(small, x_held, y_held), small.count_params()
        print(f"| {factor:g} | {l1_ratio:g} | {score:.1f} % | {size:,} |", flush=True)
        if score >= limit:
            fitting[size] = penalty
    return fitting[min(fitting)]


def main() -> None:
    """Choose a penalty, train with and without it, prune, print Markdown tables."""
    digits = load_digits()
    images = (digits.images[..., None] / 16).astype("float32")
    x, x_test, y, y_test = train_test_split(
        images, digits.target, test_size=0.3, random_state=0, stratify=digits.target
    )
    many = np.tile(x_test, (8, 1, 1, 1))
    print(f"Backend: {keras.backend.backend()}\n")
    penalty = choose(x, y)
    print(f"\nChosen: {penalty!r}\n")
    plain, sparse = train(x, y, None), train(x, y, penalty)
    small, report = prune_units(sparse, return_report=True)
    moved = np.abs(sparse.predict(x_test, verbose=0) - small.predict(x_test, verbose=0))
    print("| Model | Test accuracy | Parameters | Inference |")
    print("|---|---:|---:|---:|")
    models = {"plain": plain, "sparse": sparse, "pruned": small}
    times = milliseconds(list(models.values()), many)
    for (name, model), taken in zip(models.items(), times, strict=True):
        print(
            f"| {name} | {accuracy(model, x_test, y_test):.1f} % "
            f"| {model.count_params():,} | {taken:.1f} ms |"
        )
    print(f"\nLargest change of an output by pruning: {moved.max():.1e}\n")
    print(report)


if __name__ == "__main__":
    main()
