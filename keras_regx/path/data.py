"""The data of a regularization path: checked, split, and served in batches."""

from typing import Any

import keras
import numpy as np

from keras_regx._core import validation as check

Data = tuple[np.ndarray, np.ndarray]
OWNER = "regularization_path"


def as_arrays(data: Any, argument: str = "data") -> Data:
    """Return `(x, y)` as arrays of the same length, floating ones as float32."""
    if not isinstance(data, list | tuple) or len(data) != 2:
        check.fail(OWNER, argument, "a pair (x, y) of arrays", type(data))
    x, y = (np.asarray(part) for part in data)
    if not x.ndim or not y.ndim or len(x) != len(y) or not len(x):
        expected = "arrays of the same length, which is not 0"
        check.fail(OWNER, argument, expected, (x.shape, y.shape))
    y = y.astype("float32") if y.dtype.kind == "f" else y
    return x.astype("float32") if x.dtype.kind == "f" else x, y


def splits_of(
    data: Data, validation: Any, seed: int
) -> tuple[Data, list[tuple[Data, Data]]]:
    """Return the training data of the whole path, and the pairs to validate on."""
    x, y = data
    if validation is None:
        return data, []
    if isinstance(validation, list | tuple):
        return data, [(data, as_arrays(validation, "validation"))]
    order = np.random.default_rng(seed).permutation(len(x))
    if isinstance(validation, int) and not isinstance(validation, bool):
        check.integer(OWNER, "validation", validation, minimum=2, maximum=len(x))
        held = np.array_split(order, validation)
    else:
        check.number(OWNER, "validation", validation, above=0, below=1)
        held = [order[: min(max(1, round(validation * len(x))), len(x) - 1)]]
    pairs = []
    for rows in held:
        rest = np.setdiff1d(order, rows)
        pairs.append(((x[rest], y[rest]), (x[rows], y[rows])))
    return (pairs[0][0] if len(pairs) == 1 else data), pairs


class Batches(keras.utils.PyDataset):
    """A given number of batches, going through shuffled data again and again."""

    def __init__(self, data: Data, batch_size: int, steps: int, seed: int) -> None:
        super().__init__()
        self.data = data
        self.batch_size = min(batch_size, len(data[0]))
        self.steps = steps
        self.seed = seed

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> Data:
        x, y = self.data
        if self.batch_size == len(x):
            return x, y
        rounds, place = divmod(index, len(x) // self.batch_size)
        order = np.random.default_rng((self.seed, rounds)).permutation(len(x))
        rows = order[place * self.batch_size : (place + 1) * self.batch_size]
        return x[rows], y[rows]
