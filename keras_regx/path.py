"""Regularization paths: a model at every strength of a penalty, warm-started."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_regx._core import validation as check
from keras_regx._path_result import PathPoint, RegularizationPath
from keras_regx.callbacks.advance import track
from keras_regx.models import Rule, Site
from keras_regx.optimizers import Proximal
from keras_regx.regularizers import Regularizer, Scheduled
from keras_regx.regularizers import get as get_regularizer

Data = tuple[np.ndarray, np.ndarray]
_OWNER = "regularization_path"


def regularization_path(
    build: Callable[[], Any],
    data: tuple[Any, Any],
    regularizer: Any,
    factors: int | Sequence[float] = 30,
    *,
    pattern: str = "*/kernel",
    method: str = "prox",
    loss: Any = "mse",
    optimizer: Any = None,
    steps: int = 1000,
    batch_size: int | None = None,
    tolerance: float = 1e-6,
    min_ratio: float = 1e-3,
    validation: float | tuple[Any, Any] | None = None,
    patience: int | None = None,
    warm_start: bool = True,
    checkpoint: Any = None,
    progress: bool = True,
    seed: int = 0,
) -> RegularizationPath:
    """Fit a model at every factor of a penalty, from the strongest to the weakest.

        w(c) = argmin_w loss(w) + c f(w),    c = c_max, ..., c_max min_ratio

    Every fit starts from the weights of the one before it. The step is compiled
    once for the whole path: the factor is a variable.

    Args:
        build: Function without arguments that returns a new built model. Its
            compile arguments are not used.
        data: `(x, y)`, arrays of the same length.
        regularizer: The penalty `f` at factor one, such as `L1(1.0)`.
        factors: How many, spaced evenly on a logarithmic scale downward from the
            smallest factor at which all penalized weights are zero; or the
            factors themselves.
        pattern: Which weights are penalized; see `keras_regx.Rule`.
        method: `"prox"`: exact zeros, by `keras_regx.optimizers.Proximal`; `"loss"`:
            the penalty is added to the loss.
        loss: Loss, as in `compile`.
        optimizer: Keras optimizer; copied for each model. None: Adam(0.01).
        steps: Int > 0. Most optimizer steps at each factor.
        batch_size: Int, or None for all data at once. Of the last, incomplete batch
            of each round through the data nothing is used.
        tolerance: Number >= 0. A fit ends early when 25 steps change no weight by
            more than this, relative to the largest weight; 0 never ends early.
        min_ratio: Number in (0, 1). Weakest factor relative to the strongest.
        validation: Share of the data (float), `(x, y)`, a number of folds (int >= 2),
            or None.
        patience: End the path when this many factors in a row have not improved
            the validation loss; None never does.
        warm_start: Boolean. False starts every fit from the initial weights.
        checkpoint: Folder in which every finished fit is kept, so that a path that
            was interrupted goes on where it stopped; or None.
        progress: Boolean. Show a progress bar (needs `rich`).
        seed: Int. Shuffles batches, validation share and folds.

    Returns:
        A `RegularizationPath`: `.factors`, `.best`, `.simplest`, `.table()`,
        `.plot(path)`, and a `PathPoint` per factor with its weights.

    Raises:
        ValueError: Naming the argument and the value received; also where the
            strongest factor is not defined: for a penalty that never makes
            weights zero, and for a network that is flat at zero weights.

    Reference: Friedman, Hastie and Tibshirani (2010), J. Stat. Software 33(1).

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from keras_regx import regularization_path
    >>> from keras_regx.regularizers import L1
    >>> def build():
    ...     inputs = keras.Input((3,))
    ...     return keras.Model(inputs, keras.layers.Dense(1)(inputs))
    >>> x = np.eye(3)
    >>> y = np.array([[3.0], [-2.0], [1.0]])
    >>> sgd = keras.optimizers.SGD(0.5)
    >>> path = regularization_path(
    ...     build, (x, y), L1(1.0), [4.0, 1.0, 0.1], optimizer=sgd, progress=False)
    >>> [point.nonzero for point in path]
    [0, 2, 2]
    """
    x, y = _arrays(data)
    penalty = _check(regularizer, method)
    steps = check.integer(_OWNER, "steps", steps, minimum=1)
    tolerance = check.number(_OWNER, "tolerance", tolerance, minimum=0)
    min_ratio = check.number(_OWNER, "min_ratio", min_ratio, above=0, below=1)
    fitter = _Fitter(
        build=build,
        penalty=penalty,
        pattern=pattern,
        method=method,
        loss=keras.losses.get(loss),
        optimizer=keras.optimizers.get(optimizer or keras.optimizers.Adam(0.01)),
        steps=steps,
        batch_size=batch_size or len(x),
        tolerance=tolerance,
        seed=seed,
        warm_start=warm_start,
    )
    training, splits = _splits((x, y), validation, seed)
    if isinstance(factors, int):
        count = check.integer(_OWNER, "factors", factors, minimum=2)
        values = fitter.strongest(training) * np.geomspace(1.0, min_ratio, count)
    else:
        values = np.sort(
            [check.number(_OWNER, "factors", f, minimum=0) for f in factors]
        )
        values = values[::-1]
    folders = len(splits) if len(splits) != 1 else 0
    total = len(values) * (folders + 1)
    with _progress_bar(total, shown=progress) as tick:

        def run(part: Data, held_out: Data | None, name: str) -> list[PathPoint]:
            folder = None if checkpoint is None else Path(checkpoint) / name
            end_early = patience if len(splits) == 1 else None
            points = fitter.run(values, part, held_out, folder, tick)
            return list(_until(points, end_early))

        if len(splits) == 1:
            points = run(*splits[0], "path")
        else:
            folds = [run(*split, f"fold{i}") for i, split in enumerate(splits)]
            points = run(training, None, "path")
            if folds:
                points = [
                    _scored(p, fold) for p, *fold in zip(points, *folds, strict=True)
                ]
                points = list(_until(points, patience))
    return RegularizationPath(points, repr(regularizer))


class _Dial(Scheduled):
    """A penalty times a number that is set by hand between fits."""

    def __init__(self, regularizer: Any) -> None:
        constant = keras.optimizers.schedules.ExponentialDecay(1.0, 1, 1.0)
        super().__init__(regularizer, constant)
        self._is_advanced = True

    def arguments(self) -> dict[str, Any]:
        """Return the one argument."""
        return {"regularizer": self.regularizer}

    def advance_traced(self, step: Any) -> None:
        """Stay where the dial was set."""


@dataclass(frozen=True)
class _Fitter:
    """Everything that the fits of one path have in common."""

    build: Callable[[], Any]
    penalty: Regularizer
    pattern: str
    method: str
    loss: Any
    optimizer: Any
    steps: int
    batch_size: int
    tolerance: float
    seed: int
    warm_start: bool

    def penalized(self, model: Any) -> list[Any]:
        """Return the trainable variables of a model that the pattern names."""
        rule = Rule(self.pattern, regularizer=self.penalty)
        variables = model.trainable_variables
        found = [v for v in variables if rule.matches(Site.of_variable(v))]
        if not found:
            paths = ", ".join(v.path for v in variables)
            check.fail(
                _OWNER, "pattern", f"one that matches some of: {paths}", self.pattern
            )
        return found

    def strongest(self, data: Data) -> float:
        """Return the smallest factor at which zero penalized weights are optimal.

        The other weights are fitted with the penalized ones held at zero. Then
        zero is optimal from the smallest `c` with `prox_{c f}(-gradient) = 0` on.
        """
        if not self.penalty.proximable:
            expected = (
                f"numbers: {type(self.penalty).__name__} has no proximal operator"
            )
            check.fail(_OWNER, "factors", expected, "a count")
        model = self.build()
        penalized = self.penalized(model)
        for variable in penalized:
            variable.assign(ops.zeros(variable.shape, variable.dtype))
            variable.constraint = None
            variable.trainable = False
        if model.trainable_variables:
            self._compile(model, _copy(self.optimizer))
            self.fit(model, data)
        for variable in model.trainable_variables:
            variable.trainable = False
        for variable in penalized:
            variable.trainable = True
        self._compile(model, keras.optimizers.SGD(1.0))
        model.train_on_batch(*data)  # One step of size one: w becomes -gradient.
        steps = [ops.convert_to_tensor(variable) for variable in penalized]
        return max(self._vanishing(step) for step in steps)

    def _vanishing(self, step: Any) -> float:
        """Return the smallest factor whose prox takes a tensor to zero."""

        def is_zero(factor: float) -> bool:
            moved = self.penalty.prox(step, factor)
            return not np.any(ops.convert_to_numpy(moved))

        if is_zero(0.0):
            return 0.0
        high = 1.0
        while not is_zero(high):
            high *= 2
            if high > 2.0**60:
                expected = "numbers: this penalty never makes all weights zero"
                check.fail(_OWNER, "factors", expected, "a count")
        low = 0.0
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (low, middle) if is_zero(middle) else (middle, high)
        return high

    def _compile(self, model: Any, optimizer: Any) -> None:
        model.compile(optimizer, self.loss)

    def run(
        self,
        factors: np.ndarray,
        data: Data,
        held_out: Data | None,
        folder: Path | None,
        tick: Callable[[], None],
    ) -> Iterator[PathPoint]:
        """Yield a point per factor; from the folder where it has been fitted before."""
        model = self.build()
        penalized = self.penalized(model)
        dials = self._attach(model, penalized)
        initial = model.get_weights()
        for index, factor in enumerate(map(float, factors)):
            saved = _load(folder, index, factor)
            if saved is None:
                if not self.warm_start:
                    model.set_weights(initial)
                for dial in dials:
                    dial.state.assign(factor)
                taken = self.fit(model, data)
                _save(folder, index, factor, taken, model.get_weights())
            else:
                taken, weights = saved
                model.set_weights(weights)
            score, error = (
                (None, None) if held_out is None else self._loss(model, held_out)
            )
            yield PathPoint(
                factor=factor,
                weights=model.get_weights(),
                coefficients={
                    v.path: ops.convert_to_numpy(v).copy() for v in penalized
                },
                loss=self._loss(model, data)[0],
                score=score,
                error=error,
                steps=taken,
            )
            tick()

    def _attach(self, model: Any, penalized: list[Any]) -> list[_Dial]:
        """Put the penalty on the model and return the dials that set its factor."""
        optimizer = _copy(self.optimizer)
        dial = _Dial(self.penalty)
        if self.method == "prox":
            rules = [Rule(self.pattern, regularizer=dial)]
            optimizer = Proximal(optimizer, rules, allow_double=True)
            optimizer.build(model.trainable_variables)
            self._compile(model, optimizer)
            found = {id(r): r for r in optimizer.penalties.values()}
            return list(found.values())
        for variable in penalized:
            variable.regularizer = dial
        track(model, [dial])
        self._compile(model, optimizer)
        return [dial]

    def fit(self, model: Any, data: Data) -> int:
        """Train until the weights settle; return the number of steps."""
        batches = _Batches(data, self.batch_size, self.steps, self.seed)
        settle = _Settle(self.tolerance)
        # One long epoch: beginning one costs far more than a step does.
        model.fit(batches, epochs=1, shuffle=False, verbose=0, callbacks=[settle])
        return settle.taken

    def _loss(self, model: Any, data: Data) -> tuple[float, float]:
        """Return the loss without the penalty, and its standard error."""
        x, y = data
        predicted = ops.convert_to_tensor(model.predict(x, verbose=0))
        if (*y.shape, 1) == tuple(predicted.shape):
            y = y[:, None]
        target = ops.convert_to_tensor(y)
        if isinstance(self.loss, keras.losses.Loss):
            values = self.loss.call(target, predicted)
        else:
            values = self.loss(target, predicted)
        losses = np.asarray(ops.convert_to_numpy(values), "float64").reshape(len(x), -1)
        losses = losses.mean(1)
        error = losses.std(ddof=1) / np.sqrt(len(losses)) if len(losses) > 1 else 0.0
        return float(losses.mean()), float(error)


class _Batches(keras.utils.PyDataset):
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


class _Settle(keras.callbacks.Callback):
    """Ends a fit when 25 steps have changed no weight by more than the tolerance."""

    def __init__(self, tolerance: float) -> None:
        super().__init__()
        self.tolerance = tolerance
        self.taken = 0
        self._before: list[np.ndarray] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Count the step, and compare the weights every 25 steps."""
        self.taken += 1
        if self.tolerance == 0 or self.taken % 25:
            return
        before, self._before = self._before, self.model.get_weights()
        pairs = zip(self._before, before, strict=False)
        moved = [float(np.abs(a - b).max(initial=0.0)) for a, b in pairs]
        largest = max(float(np.abs(w).max(initial=0.0)) for w in self._before)
        if moved and max(moved) <= self.tolerance * max(largest, 1e-12):
            self.model.stop_training = True


def _copy(optimizer: Any) -> Any:
    return type(optimizer).from_config(optimizer.get_config())


def _check(regularizer: Any, method: str) -> Regularizer:
    penalty = get_regularizer(regularizer)
    if not isinstance(penalty, Regularizer):
        check.fail(_OWNER, "regularizer", "a keras_regx regularizer", regularizer)
    check.choice(_OWNER, "method", method, ("prox", "loss"))
    if method == "prox" and not penalty.proximable:
        expected = f"'loss' for {type(penalty).__name__}, which has no prox"
        check.fail(_OWNER, "method", expected, method)
    return penalty


def _arrays(data: Any) -> Data:
    if not isinstance(data, list | tuple) or len(data) != 2:
        check.fail(_OWNER, "data", "a pair (x, y) of arrays", type(data))
    x, y = (np.asarray(part) for part in data)
    if len(x) != len(y):
        expected = "arrays of the same length"
        check.fail(_OWNER, "data", expected, (x.shape, y.shape))
    y = y.astype("float32") if y.dtype.kind == "f" else y
    return x.astype("float32") if x.dtype.kind == "f" else x, y


def _splits(
    data: Data, validation: Any, seed: int
) -> tuple[Data, list[tuple[Data, Data]]]:
    """Return the training data of the whole path, and the pairs to validate on."""
    x, y = data
    if validation is None:
        return data, []
    if isinstance(validation, list | tuple):
        return data, [(data, _arrays(validation))]
    order = np.random.default_rng(seed).permutation(len(x))
    if isinstance(validation, int) and not isinstance(validation, bool):
        check.integer(_OWNER, "validation", validation, minimum=2, maximum=len(x))
        held = np.array_split(order, validation)
    else:
        check.number(_OWNER, "validation", validation, above=0, below=1)
        held = [order[: max(1, round(validation * len(x)))]]
    pairs = []
    for rows in held:
        rest = np.setdiff1d(order, rows)
        pairs.append(((x[rest], y[rest]), (x[rows], y[rows])))
    return (pairs[0][0] if len(pairs) == 1 else data), pairs


def _until(points: Iterable[PathPoint], patience: int | None) -> Iterator[PathPoint]:
    """Yield points until `patience` of them in a row have not improved the score."""
    best, waited = float("inf"), 0
    for point in points:
        yield point
        if patience is None or point.score is None:
            continue
        waited = 0 if point.score < best else waited + 1
        best = min(best, point.score)
        if waited >= patience:
            return


def _scored(point: PathPoint, folds: Sequence[PathPoint]) -> PathPoint:
    """Return the point of all data with the mean score of the folds and its error."""
    scores = np.array([fold.score for fold in folds], "float64")
    error = scores.std(ddof=1) / np.sqrt(len(scores))
    return replace(point, score=float(scores.mean()), error=float(error))


def _save(
    folder: Path | None,
    index: int,
    factor: float,
    steps: int,
    weights: list[np.ndarray],
) -> None:
    """Keep a finished fit; written under another name first, so never by halves."""
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {f"w{i}": w for i, w in enumerate(weights)}
    partial = folder / f"partial{index}.npz"
    np.savez(partial, factor=factor, steps=steps, **arrays)
    partial.replace(folder / f"point{index}.npz")


def _load(
    folder: Path | None, index: int, factor: float
) -> tuple[int, list[np.ndarray]] | None:
    """Return a fit kept earlier, if it was made at this factor."""
    path = None if folder is None else folder / f"point{index}.npz"
    if path is None or not path.exists():
        return None
    with np.load(path) as kept:
        if not np.isclose(float(kept["factor"]), factor, rtol=1e-4):
            raise ValueError(
                f"{path} was fitted at factor {float(kept['factor']):g}, not "
                f"{factor:g}: use another `checkpoint` folder for another path."
            )
        count = len(kept.files) - 2
        return int(kept["steps"]), [kept[f"w{i}"] for i in range(count)]


@contextmanager
def _progress_bar(total: int, *, shown: bool) -> Iterator[Callable[[], None]]:
    """Yield a function that moves the bar by one fit."""
    if not shown:
        yield lambda: None
        return
    from rich.progress import Progress  # noqa: PLC0415  (Keras brings rich along)

    with Progress() as bar:
        task = bar.add_task("Regularization path", total=total)
        yield lambda: bar.advance(task)
