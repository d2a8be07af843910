"""The demo's picture: accuracy and penalty against the factor, and the weights."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import ticker
from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by colour-blind readers and in print.
COLOURS = ("#0072B2", "#009E73", "#E69F00", "#D55E00")
INK, PALE = "#222222", "#9a9a9a"
_TITLES = {"digits": "scikit-learn's digits", "mnist": "MNIST"}


def draw(
    path: Path,
    runs: list[dict[str, float]],
    kernels: dict[float, np.ndarray],
    dataset: str,
) -> None:
    """Draw accuracy, penalty and the distribution of weights against the factor.

    Args:
        path: Where to save the picture.
        runs: One row per factor, as `experiment.measure` returns.
        kernels: The trained weights of each factor, as one vector.
        dataset: Name of the data set, for the title.
    """
    figure = Figure(figsize=(12, 6.75), dpi=150, facecolor="white")
    grid = figure.add_gridspec(
        2, 2, left=0.08, right=0.97, top=0.80, bottom=0.11, wspace=0.26, hspace=0.38
    )
    best = max(runs, key=lambda row: (row["test_accuracy"], row["factor"]))
    figure.text(0.08, 0.935, _headline(runs, best), size=19, weight="bold", color=INK)
    figure.text(
        0.08,
        0.885,
        "A 200-200-10 tanh network on "
        f"{_TITLES.get(dataset, dataset)}, trained with four L2 factors",
        size=13,
        color=INK,
    )
    _accuracy(figure.add_subplot(grid[0, 0]), runs, dataset)
    _penalty(figure.add_subplot(grid[1, 0]), runs)
    _weights(figure.add_subplot(grid[:, 1]), kernels)
    figure.savefig(path)


def _headline(runs: list[dict[str, float]], best: dict[str, float]) -> str:
    """Return what the numbers say, whichever they are."""
    strongest = max(runs, key=lambda row: row["factor"])
    return (
        f"L2 factor {best['factor']:g} reaches {best['test_accuracy']:.1%}; "
        f"factor {strongest['factor']:g} leaves {strongest['test_accuracy']:.1%}"
    )


def _accuracy(axes: Any, runs: list[dict[str, float]], dataset: str) -> None:
    positions = range(len(runs))
    values = [row["test_accuracy"] for row in runs]
    if dataset != "mnist":
        published = [row["mnist_accuracy"] for row in runs]
        beside = [position + 0.22 for position in positions]
        style = {"ls": "", "marker": "D", "ms": 6, "mfc": "white", "mec": INK}
        axes.plot(beside, published, **style, label="published for MNIST")
        axes.legend(loc="lower left", frameon=False, fontsize=11, labelcolor=INK)
    axes.plot(positions, values, color=PALE, lw=1.5, zorder=1)
    axes.scatter(positions, values, s=90, c=COLOURS[: len(runs)], zorder=3)
    _label(axes, positions, values, "{:.1%}")
    axes.set_ylim(0, 1.22)
    axes.yaxis.set_major_locator(ticker.FixedLocator([0, 0.5, 1]))
    axes.yaxis.set_major_formatter(ticker.PercentFormatter(1.0, decimals=0))
    _style(axes, runs, "Test accuracy")


def _penalty(axes: Any, runs: list[dict[str, float]]) -> None:
    positions = range(len(runs))
    values = [row["penalty"] for row in runs]
    axes.bar(positions, values, width=0.5, color=COLOURS[: len(runs)], zorder=2)
    _label(axes, positions, values, "{:.2g}")
    axes.set_ylim(0, 1.25 * max(*values, 1e-12))
    axes.yaxis.set_major_locator(ticker.MaxNLocator(3))
    _style(axes, runs, "Penalty after training (factor/2 · sum of squares)")
    axes.set_xlabel("L2 factor", size=12, color=INK)


def _weights(axes: Any, kernels: dict[float, np.ndarray]) -> None:
    """Draw one histogram per factor above the other, on one scale of weights."""
    limit = max(np.quantile(np.abs(w), 0.998) for w in kernels.values())
    edges = np.linspace(-limit, limit, 122)
    centres = (edges[:-1] + edges[1:]) / 2
    rows = list(enumerate(kernels.items()))
    for position, (_, weights) in rows:
        base = len(rows) - 1 - position
        counts, _ = np.histogram(weights, edges)
        height = 0.82 * counts / counts.max()
        colour = COLOURS[position % len(COLOURS)]
        axes.fill_between(
            centres, base, base + height, color=colour, alpha=0.85, lw=0, step="mid"
        )
        axes.plot((-limit, limit), (base, base), color=PALE, lw=0.8, zorder=0)
        small = np.mean(np.abs(weights) < 1e-3)
        note = f"{small:.0%} of weights\nwithin ±0.001"
        axes.text(1.06 * limit, base + 0.16, note, size=11, color=INK)
    axes.set_yticks(
        [len(rows) - 1 - position + 0.25 for position, _ in rows],
        [f"factor\n{factor:g}" for _, (factor, _) in rows],
    )
    axes.set_ylim(-0.06, len(rows) - 0.02)
    axes.set_xlim(-limit, 1.65 * limit)
    axes.xaxis.set_major_locator(ticker.FixedLocator(_ticks(limit)))
    axes.set_xlabel("Weight", size=12, color=INK, x=1 / 2.65)
    axes.set_title("All kernel weights after training", loc="left", size=12, color=INK)
    _plain(axes)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)


def _ticks(limit: float) -> list[float]:
    """Return round numbers between minus and plus the limit."""
    inside = ticker.MaxNLocator(6).tick_values(-limit, limit)
    return [float(tick) for tick in inside if abs(tick) <= limit]


def _label(axes: Any, positions: Any, values: list[float], pattern: str) -> None:
    for position, value in zip(positions, values, strict=True):
        axes.annotate(
            pattern.format(value),
            (position, value),
            (0, 10),
            textcoords="offset points",
            ha="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
            size=12,
            weight="bold",
            color=INK,
        )


def _style(axes: Any, runs: list[dict[str, float]], title: str) -> None:
    axes.set_xticks(range(len(runs)), [f"{row['factor']:g}" for row in runs])
    axes.set_xlim(-0.5, len(runs) - 0.5)
    axes.set_title(title, loc="left", size=12, color=INK)
    axes.grid(axis="y", color="#e3e3e3", lw=0.8, zorder=0)
    _plain(axes)


def _plain(axes: Any) -> None:
    axes.tick_params(length=0, labelsize=11, labelcolor=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(PALE)
