"""The result of `regularization_path`: points, the best of them, table and plot."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from keras_regx._core.table import Column, Table


@dataclass(frozen=True)
class PathPoint:
    """The model fitted at one factor.

    Attributes:
        factor: What multiplies the penalty.
        weights: All weights of the model, as `model.set_weights` takes them.
        coefficients: The penalized weights by path.
        loss: Loss on the training data, without the penalty.
        score: Mean validation loss, without the penalty; None without validation.
        error: Its standard error over the folds, or over the validation samples.
        steps: How many optimizer steps the fit took.
        residual: Largest violation of the optimality condition over the penalized
            weights, divided by the factor; see `regularization_path`.
        converged: Whether that is at most the tolerance.
    """

    factor: float
    weights: list[np.ndarray] = field(repr=False)
    coefficients: dict[str, np.ndarray] = field(repr=False)
    loss: float
    score: float | None
    error: float | None
    steps: int
    residual: float = float("nan")
    converged: bool = False

    @property
    def nonzero(self) -> int:
        """How many penalized weights are not exactly zero."""
        return sum(int(np.count_nonzero(w)) for w in self.coefficients.values())


@dataclass(frozen=True, repr=False)
class RegularizationPath:
    """Models from the strongest factor to the weakest.

    Attributes:
        points: One `PathPoint` per factor, strongest first.
        penalty: The penalty at factor one, as text.
    """

    points: Sequence[PathPoint]
    penalty: str = ""

    def __len__(self) -> int:
        return len(self.points)

    def __iter__(self) -> Iterator[PathPoint]:
        return iter(self.points)

    def __getitem__(self, index: Any) -> Any:
        return self.points[index]

    @property
    def factors(self) -> np.ndarray:
        """The factors, strongest first."""
        return np.array([point.factor for point in self.points])

    @property
    def best(self) -> PathPoint:
        """The point with the smallest validation loss.

        Raises:
            ValueError: If the path was computed without validation data.
        """
        scored = [point for point in self.points if point.score is not None]
        if not scored:
            raise ValueError(
                "This path has no validation loss to choose by: pass `validation=` to "
                "regularization_path."
            )
        return min(scored, key=lambda point: point.score or 0.0)

    @property
    def simplest(self) -> PathPoint:
        """The strongest factor within one standard error of the best."""
        best = self.best
        limit = (best.score or 0.0) + (best.error or 0.0)
        return next(p for p in self.points if p.score is not None and p.score <= limit)

    def table(self) -> Table:
        """Return the path as a table: text, Markdown, JSON."""
        rows = [
            {
                "factor": point.factor,
                "nonzero": point.nonzero,
                "loss": point.loss,
                "score": point.score,
                "error": point.error,
                "steps": point.steps,
                "residual": point.residual,
                "converged": point.converged,
            }
            for point in self.points
        ]
        titles = {
            "factor": "Factor",
            "nonzero": "Nonzero",
            "loss": "Loss",
            "score": "Validation",
            "error": "Error",
            "steps": "Steps",
            "residual": "Residual",
            "converged": "Converged",
        }
        columns = [
            Column(key, title, _text, right=True) for key, title in titles.items()
        ]
        return Table(f"Regularization path of {self.penalty}", columns, rows)

    def __str__(self) -> str:
        return str(self.table())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the table as a notebook shows it."""
        return self.table()._repr_html_()

    def norms(self, axis: int | None = None) -> np.ndarray:
        """Return what the plot shows: one row per point, one column per curve.

        Args:
            axis: None for every coefficient itself; an int for the Euclidean norms
                over that axis, such as 0 for the units of a dense kernel.
        """
        rows = []
        for point in self.points:
            ws = point.coefficients.values()
            curves = [w if axis is None else np.linalg.norm(w, axis=axis) for w in ws]
            rows.append(np.concatenate([np.ravel(curve) for curve in curves]))
        return np.stack(rows)

    def plot(self, path: Any = None, axis: int | None = None) -> Any:
        """Draw coefficients, validation loss and sparsity against the factor.

        Args:
            path: Where to save the figure; None to save nothing.
            axis: See `norms`.

        Returns:
            The matplotlib figure.
        """
        from matplotlib.figure import Figure  # noqa: PLC0415  (an optional extra)

        has_score = any(point.score is not None for point in self.points)
        figure = Figure(figsize=(9.6 if has_score else 6.4, 4.0), layout="constrained")
        panels = figure.subplots(1, 2 if has_score else 1, squeeze=False)[0]
        factors = self.factors
        left = panels[0]
        left.plot(factors, self.norms(axis), linewidth=1.1)
        left.axhline(0, color="0.6", linewidth=0.6)
        left.set_ylabel("coefficient" if axis is None else "group norm")
        if has_score:
            _plot_scores(panels[1], self)
        for panel in panels:
            panel.set_xscale("log")
            panel.invert_xaxis()
            panel.set_xlabel("factor (strong to weak)")
            panel.spines[["top", "right"]].set_visible(False)
        if path is not None:
            figure.savefig(Path(path), dpi=150)
        return figure


def _plot_scores(panel: Any, result: RegularizationPath) -> None:
    """Draw validation loss with its error, training loss, and the number nonzero."""
    points = [point for point in result.points if point.score is not None]
    factors = [point.factor for point in points]
    scores = [point.score for point in points]
    errors = [point.error or 0.0 for point in points]
    panel.errorbar(factors, scores, errors, color="C0", capsize=2, label="validation")
    losses = [point.loss for point in result.points]
    panel.plot(result.factors, losses, color="C1", label="training")
    for point, style, label in (
        (result.best, "--", "best"),
        (result.simplest, ":", "simplest"),
    ):
        panel.axvline(
            point.factor, color="0.3", linestyle=style, linewidth=1, label=label
        )
    panel.set_ylabel("loss")
    counts = panel.twinx()
    nonzero = [point.nonzero for point in result.points]
    counts.step(result.factors, nonzero, where="mid", color="0.7", linewidth=1)
    counts.set_ylabel("nonzero weights", color="0.5")
    counts.set_ylim(bottom=0)
    counts.spines[["top"]].set_visible(False)
    panel.set_zorder(counts.get_zorder() + 1)
    panel.patch.set_visible(False)
    # Above the axes, where no curve can run through it.
    panel.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
