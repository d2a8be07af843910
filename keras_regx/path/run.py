"""The function that fits a whole path, with folds, patience and a progress bar."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from numbers import Integral
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_regx._core import validation as check
from keras_regx.path.data import OWNER, Data, as_arrays, splits_of
from keras_regx.path.fitting import Fitter
from keras_regx.path.result import PathPoint, RegularizationPath
from keras_regx.path.session import Session
from keras_regx.path.strongest import strongest
from keras_regx.regularizers import Regularizer
from keras_regx.regularizers import get as get_regularizer


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
    tolerance: float = 1e-2,
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

    The default solver is an accelerated proximal gradient method (FISTA) on full
    batches, with restarts and a step that is read off the gradients. On a model that
    is linear in its weights, with a convex loss, it finds the solution; on others a
    stationary point. BatchNormalization and Dropout behave as in `fit`, so that
    random ones keep it from converging.

    Residual: how far a point is from optimal. The largest entry, over the
    penalized weights, of the violation of the optimality condition, divided by the
    factor (itself, where the factor is 0), on all the training data. For L1 that is
    `max(|g| - c, 0)` where `w = 0` and `|g + c sign(w)|` elsewhere, `g` the
    gradient of the loss; for other penalties with a prox
    `|w - prox_{t c f}(w - t g)| / t` with `1 / t` the largest curvature seen; else the
    gradient of loss and penalty together. `method="loss"` is measured alike: 0 has
    to be a subgradient. A fit ends once that, and the gradient over all other
    weights relative to the factor, is at most `tolerance`; a warning names the
    points that are above it at the limit of steps.

    Networks: where several weights are penalized, as kernels of layers in a row, zero
    is a saddle from which no gradient leads away. Such a path is fitted from the
    weakest factor to the strongest, beginning at the initial weights, and a
    point is at zero where the objective is smaller there than at the network
    fitted; `c_max` is just above the factor at which that begins. Points are strongest
    first all the same.

    Args:
        build: Function without arguments that returns a new built model. Its
            compile arguments are not used.
        data: `(x, y)`, arrays of the same length.
        regularizer: The penalty `f` at factor one, such as `L1(1.0)`.
        factors: How many, spaced evenly on a logarithmic scale downward from the
            smallest factor at which all penalized weights are zero (of networks
            see above); or the factors themselves.
        pattern: Which weights are penalized; see `keras_regx.Rule`.
        method: `"prox"`: exact zeros, by `keras_regx.optimizers.Proximal`; `"loss"`:
            the penalty is added to the loss.
        loss: Loss, as in `compile`.
        optimizer: Keras optimizer, copied for each model, and looked at every 25
            steps; or None for the default solver.
        steps: Int > 0. Most steps at each factor.
        batch_size: Int, for an `optimizer` only; or None for all data at once. Of the
            last, incomplete batch of each round through the data nothing is used.
        tolerance: Number >= 0. Residual at which a fit has converged. The default
            solver goes on to a ten-thousandth of it, for a while and as far as
            rounding allows. Under 0 an `optimizer` makes all steps.
        min_ratio: Number in (0, 1). Weakest factor relative to the strongest.
        validation: Share of the data (float), `(x, y)`, a number of folds (int >= 2),
            or None.
        patience: End the path when this many factors in a row, in the order in which
            they are fitted, have not improved the validation loss; None never does.
        warm_start: Boolean. False starts every fit from the initial weights.
        checkpoint: Folder in which every finished fit is kept, so that a path that
            was interrupted goes on where it stopped; or None.
        progress: Boolean. Show a progress bar (needs `rich`).
        seed: Int. Shuffles batches, validation share and folds.

    Returns:
        A `RegularizationPath`: `.factors`, `.best`, `.simplest`, `.table()`,
        `.plot(path)`, and a `PathPoint` per factor with its weights, its `residual`
        and whether it has `converged`.

    Raises:
        ValueError: Naming the argument and the value received; also where the
            strongest factor is not defined: for a penalty that never makes
            weights zero, and where no fit is better than zero weights.

    Warns:
        UserWarning: Naming the factors and residuals of the fits, those of folds
            included, that have not converged.

    Reference: Friedman, Hastie and Tibshirani (2010), J. Stat. Software 33(1); Beck
        and Teboulle (2009), SIAM J. Imaging Sci. 2(1).

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
    >>> path = regularization_path(
    ...     build, (x, y), L1(1.0), [4.0, 1.0, 0.1], progress=False)
    >>> [point.nonzero for point in path]
    [0, 2, 2]
    >>> all(point.converged for point in path)
    True
    """
    x, y = as_arrays(data)
    if not callable(build):
        check.fail(OWNER, "build", "a function that returns a built model", build)
    if patience is not None:
        check.integer(OWNER, "patience", patience, minimum=1)
    seed = check.integer(OWNER, "seed", seed, minimum=0)
    min_ratio = check.number(OWNER, "min_ratio", min_ratio, above=0, below=1)
    batch_size = _batch_size(batch_size, len(x), optimizer)
    fitter = Fitter(
        build=build,
        penalty=_penalty(regularizer, method),
        pattern=pattern,
        method=method,
        loss=keras.losses.get(loss),
        optimizer=None if optimizer is None else keras.optimizers.get(optimizer),
        steps=check.integer(OWNER, "steps", steps, minimum=1),
        batch_size=batch_size,
        tolerance=check.number(OWNER, "tolerance", tolerance, minimum=0),
        seed=seed,
        warm_start=check.boolean(OWNER, "warm_start", warm_start),
    )
    training, splits = splits_of((x, y), validation, seed)
    main = fitter.session(training)
    if isinstance(factors, Integral):
        count = check.integer(OWNER, "factors", factors, minimum=2)
        values = strongest(main) * np.geomspace(1.0, min_ratio, count)
    else:
        values = _falling(factors)
    folders = len(splits) if len(splits) != 1 else 0
    total = len(values) * (folders + 1)
    with _progress_bar(total, shown=progress) as tick:

        def run(session: Session, held_out: Data | None, name: str) -> list[PathPoint]:
            folder = None if checkpoint is None else Path(checkpoint) / name
            end_early = patience if len(splits) == 1 else None
            points = fitter.run(session, values, held_out, folder, tick)
            return list(_until(points, end_early))

        if len(splits) == 1:
            points = fitted = run(main, splits[0][1], "path")
        else:
            folds = []
            for i, (part, held_out) in enumerate(splits):
                session = fitter.session(part)
                session.may_be_saddle = main.may_be_saddle
                folds.append(run(session, held_out, f"fold{i}"))
            points = run(main, None, "path")
            fitted = [*points, *chain(*folds)]
            if folds:
                points = [
                    _scored(p, fold) for p, *fold in zip(points, *folds, strict=True)
                ]
                points = list(_until(points, patience))
    _say_what_has_not_converged(fitted, fitter.steps, fitter.tolerance)
    points = sorted(points, key=lambda point: -point.factor)
    return RegularizationPath(points, repr(regularizer))


def _batch_size(value: int | None, samples: int, optimizer: Any) -> int:
    """Return how many samples a step sees."""
    if value is None:
        return samples
    size = check.integer(OWNER, "batch_size", value, minimum=1)
    if optimizer is None and size < samples:
        expected = "None with the default solver, which takes all data at once, or an"
        check.fail(OWNER, "batch_size", f"{expected} `optimizer`", value)
    return size


def _say_what_has_not_converged(
    points: Iterable[PathPoint], steps: int, tolerance: float
) -> None:
    """Warn of fits that are no solutions, by factor and residual; of folds too."""
    points = list(points)
    failed = [point for point in points if not point.converged]
    if not failed:
        return
    listed = ", ".join(f"{p.factor:.4g} (residual {p.residual:.2g})" for p in failed)
    warnings.warn(
        f"{len(failed)} of {len(points)} fits of regularization_path ended at the "
        f"limit of {steps} steps with a residual above the tolerance, {tolerance:g}. "
        f"They are no solutions: raise `steps`, or choose another optimizer. "
        f"Factors: {listed}.",
        stacklevel=3,
    )


def _falling(factors: Any) -> np.ndarray:
    """Return the factors that were given, strongest first."""
    listed = [*factors] if isinstance(factors, Iterable) else []
    if not listed:
        check.fail(OWNER, "factors", "how many, or a list of numbers", factors)
    numbers = [check.number(OWNER, "factors", f, minimum=0) for f in listed]
    return np.sort(numbers)[::-1]


def _penalty(regularizer: Any, method: str) -> Regularizer:
    """Return the penalty, once it is known that the method can use it."""
    penalty = get_regularizer(regularizer)
    if not isinstance(penalty, Regularizer):
        check.fail(OWNER, "regularizer", "a keras_regx regularizer", regularizer)
    check.choice(OWNER, "method", method, ("prox", "loss"))
    if method == "prox" and not penalty.proximable:
        expected = f"'loss' for {type(penalty).__name__}, which has no prox"
        check.fail(OWNER, "method", expected, method)
    return penalty


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
