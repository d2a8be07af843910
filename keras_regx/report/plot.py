"""The picture of a report: shares, sparsity by layer, norms of the units."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, PercentFormatter

_INK, _SOFT, _GRID = "#22303c", "#8a97a3", "#e4e8ec"
_PENALTY, _SPARSE, _UNITS, _BEFORE = "#c2417c", "#0f8b8d", "#e9a23b", "#b8c2cc"
_LONGEST = 14  # Bars in the panel of shares.
_STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _SOFT,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "xtick.color": _SOFT,
    "ytick.color": _SOFT,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "legend.frameon": False,
    "figure.facecolor": "white",
}


def draw(report: Any, path: Any, before: Any = None) -> None:
    """Save the picture of a report; `before` is shown behind it in grey."""
    with mpl.rc_context(_STYLE):
        spaces = ConstrainedLayoutEngine(
            w_pad=0.12, h_pad=0.1, hspace=0.06, wspace=0.04
        )
        figure = Figure(figsize=(13, 7.6), dpi=150, layout=spaces)
        grid = figure.add_gridspec(2, 2, width_ratios=(1, 1.75))
        figure.suptitle(
            report.title, x=0.012, ha="left", fontsize=14, fontweight="bold"
        )
        _shares(figure.add_subplot(grid[:, 0]), report)
        sparsity = figure.add_subplot(grid[0, 1])
        _sparsity(sparsity, report, before)
        _norms(figure.add_subplot(grid[1, 1]), report, before)
        figure.savefig(path)


def _shares(axes: Any, report: Any) -> None:
    rows = sorted(
        (row for row in report.rows if row["share"]), key=lambda r: -r["share"]
    )
    shown, rest = rows[:_LONGEST], rows[_LONGEST:]
    names = [_short(row["path"]) for row in shown]
    shares = [row["share"] for row in shown]
    axes.set_title("Share of the penalty")
    if not shown:
        _say(axes, "no penalties")
        return
    places = np.arange(len(names))
    axes.barh(places, shares, color=_PENALTY, height=0.68)
    for place, share in zip(places, shares, strict=True):
        text = f" {100 * share:.1f}%"
        axes.text(share, place, text, va="center", fontsize=8.5, color=_INK)
    axes.set_yticks(places, names, fontsize=8.5)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_xticks([])
    axes.set_xlim(0, 1.18 * max(shares))
    if rest:
        others = sum(row["share"] for row in rest)
        text = f"and {len(rest)} others: {100 * others:.1f}%"
        axes.text(0, len(names) - 0.1, text, fontsize=8.5, color=_SOFT, va="center")
        axes.set_ylim(len(names) + 0.2, -0.6)


def _kernels(report: Any) -> list[dict[str, Any]]:
    """Return the rows of rank >= 2; all rows where there are none."""
    kernels = [row for row in report.rows if row["groups"] is not None]
    return kernels or list(report.rows)


def _sparsity(axes: Any, report: Any, before: Any) -> None:
    rows = _kernels(report)
    places = np.arange(len(rows))
    zeros = np.array([row["zeros"] / max(row["size"], 1) for row in rows])
    units = np.array([(row["zero_groups"] or 0) / (row["groups"] or 1) for row in rows])
    axes.set_title("Sparsity of each layer")
    axes.grid(axis="y")
    axes.bar(places, zeros, width=0.82, color=_SPARSE, label="weights that are zero")
    if units.any():
        label = "units that are zero"
        axes.bar(places, units, width=0.36, color=_UNITS, label=label)
    if before is not None:
        old = {row["path"]: row["zeros"] / max(row["size"], 1) for row in before.rows}
        levels = [old.get(row["path"], np.nan) for row in rows]
        if np.nansum(levels):
            label = "zero weights before"
            axes.scatter(
                places, levels, s=26, marker="_", color=_SOFT, zorder=3, label=label
            )
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    top = max(zeros.max(initial=0), units.max(initial=0))
    axes.set_ylim(0, min(1.0, 1.25 * top) if top else 1)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    _depth(axes, rows)
    if top:
        _legend(axes)
    else:
        _say(axes, "no zeros")


def _norms(axes: Any, report: Any, before: Any) -> None:
    rows = _kernels(report)
    axes.set_title("Norm of each layer's units")
    axes.grid(axis="y")
    if before is not None:
        _ranges(axes, rows, before, color=_BEFORE, label="before", shift=-0.22)
    label = "median, quartiles and range" if before is None else "after"
    shift = 0.0 if before is None else 0.22
    _ranges(axes, rows, report, color=_PENALTY, label=label, shift=shift)
    shown = [report.unit_norms[row["path"]] for row in rows]
    finite = np.concatenate(
        [n[np.isfinite(n) & (n > 0)] for n in shown] or [np.ones(1)]
    )
    if finite.size and finite.max() > 30 * finite.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        low = max(finite.min(), 1e-4 * finite.max())
        axes.set_ylim(low / 1.5, finite.max() * 1.5)
    else:
        axes.set_ylim(bottom=0)
    axes.tick_params(axis="y", which="both", length=0)
    axes.spines["left"].set_visible(False)
    if axes.collections:
        _legend(axes)
    else:
        _say(axes, "no finite norms above zero")
    _depth(axes, rows)
    axes.set_xlabel("layer, from input to output")


def _ranges(
    axes: Any, rows: Any, report: Any, *, color: str, label: str, shift: float
) -> None:
    """Draw the quartiles and the range of the unit norms of each layer."""
    places, levels = [], []
    for place, row in enumerate(rows):
        norms = report.unit_norms.get(row["path"])
        if norms is None:
            continue
        norms = norms[np.isfinite(norms) & (norms > 0)]  # The others: see above.
        if norms.size:
            places.append(place + shift)
            levels.append(np.quantile(norms, (0, 0.25, 0.5, 0.75, 1)))
    if not places:
        return
    low, first, median, third, high = np.transpose(levels)
    thick = float(np.clip(260 / len(rows), 0.8, 6))
    axes.vlines(places, low, high, color=color, linewidth=thick / 4, alpha=0.75)
    axes.vlines(places, first, third, color=color, linewidth=thick, label=label)
    axes.scatter(
        places, median, s=thick**2 / 2.5, color="white", edgecolor=color, zorder=3,
        linewidth=0.6,
    )  # fmt: skip


def _legend(axes: Any) -> None:
    """Place the legend beside the title, above the data."""
    place: Any = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0}
    axes.legend(ncols=3, fontsize=8.5, **place)


def _depth(axes: Any, rows: Any) -> None:
    """Label some layers along the axis of depth."""
    count = len(rows)
    step = max(1, -(-count // 12))
    places = range(0, count, step)
    names = [_short(rows[place]["path"].rsplit("/", 1)[0], 18) for place in places]
    axes.set_xticks(list(places), names, rotation=28, ha="right", fontsize=8)
    axes.tick_params(axis="x", length=2)
    axes.set_xlim(-0.8, count - 0.2)


def _short(path: str, longest: int = 30) -> str:
    """Return a path that fits: its end says most."""
    return path if len(path) <= longest else "…" + path[1 - longest :]


def _say(axes: Any, text: str) -> None:
    axes.text(
        0.5, 0.5, text, ha="center", va="center", color=_SOFT, transform=axes.transAxes
    )
