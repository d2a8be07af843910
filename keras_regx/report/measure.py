"""The numbers of a report: one row per weight, measured in NumPy."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from keras import ops

from keras_regx._core.table import Column, Table, shape_text
from keras_regx.models.feasibility import violation
from keras_regx.models.penalties import (
    activity_penalties,
    proximal_penalties,
    shown,
)
from keras_regx.models.sites import Site, sites
from keras_regx.models.tracking import adopt
from keras_regx.ops.numerics import upcast
from keras_regx.policy.layout import kernel_axes

_EXACT = 64  # Smaller sides up to this have their singular values computed.
_ROUNDS = 12  # Rounds of subspace iteration for larger ones: 3 digits and more.


@dataclass(frozen=True, repr=False)
class Report(Table):
    """What each penalty of a model costs, and what its weights look like.

    It prints as text and, with rich, as a coloured table; `to_markdown()`,
    `to_json()` and `plot(path)` show it in other ways.

    Attributes:
        rows: One dictionary per weight, in the order of the model: `path`, `shape`,
            `size`, `regularizer`, `value`, `share` (of the sum of all penalties),
            None for a penalty that the optimizer applies by its prox, "by prox", which
            is no part of the loss),
            `zeros`, `zero_groups` (units that are zero, None for vectors), `groups`,
            `norm`, `sigma_max` (of the matrix of shape `(fan_in, units)`),
            `constraint`, `violation` (distance to the constraint's set), `active`
            (False for a frozen weight, whose penalty does not count). With inputs, one
            more for each penalty on activations.
        total: The sum of all penalties.
        unit_norms: The Euclidean norm of each unit, ascending, by path.
    """

    total: float = 0.0
    unit_norms: dict[str, Any] = field(default_factory=dict, repr=False)

    def shown(self) -> Sequence[dict[str, Any]]:
        """Return the rows to show: those with a penalty or constraint, if any."""
        chosen = [r for r in self.rows if _has_something(r)]
        return chosen or self.rows

    def to_dict(self) -> dict[str, Any]:
        """Return what `to_json` writes, as plain Python values."""
        return {**super().to_dict(), "total": self.total}

    def plot(self, path: Any, before: "Report | None" = None) -> None:
        """Save a picture: shares, sparsity by layer, norms of the units.

        Args:
            path: Path of the picture; its ending is the format, such as `.png`.
            before: An earlier report of the same model, to compare with.

        Raises:
            ImportError: If matplotlib is not installed.
        """
        from keras_regx.report.plot import draw  # noqa: PLC0415  (an extra)

        draw(self, path, before)


def report(model: Any, x: Any = None) -> Report:
    """Measure the penalties, constraints and weights of a model.

    Args:
        model: Built model or layer.
        x: Inputs of the model, to measure penalties on activations too; or `None`.

    Returns:
        `Report`: prints as a table.

    Example:

    >>> import keras
    >>> import keras_regx
    >>> layer = keras.layers.Dense(2, kernel_initializer="ones", name="head",
    ...     kernel_regularizer=keras_regx.regularizers.L2(0.25))
    >>> inputs = keras.Input((4,))
    >>> result = keras_regx.report(keras.Model(inputs, layer(inputs), name="net"))
    >>> result.total
    2.0
    >>> row = result[0]
    >>> row["path"], row["value"], row["share"], row["zeros"], row["norm"]
    ('head/kernel', 2.0, 1.0, 0, 2.8284...)
    >>> print(result)
    net: 10 weights, 1 penalty, total 2
    ...
    """
    found = [site for site in sites(model) if not site.state]
    unit_norms: dict[str, Any] = {}
    adopt(model)
    proximal = proximal_penalties(model)
    rows = [_measure(site, unit_norms, proximal) for site in found]
    if x is not None:
        rows += [_activity(*found) for found in activity_penalties(model, x)]
    counted = [row for row in rows if row["share"] is not None]
    total = sum(row["value"] for row in counted)
    for row in counted:
        row["share"] = row["value"] / total if total else 0.0
    size = sum(row["size"] or 0 for row in rows)
    zeros = sum(row["zeros"] or 0 for row in rows)
    count = len(counted)
    plural = "penalty" if count == 1 else "penalties"
    title = f"{model.name}: {size:,} weights, {count} {plural}, total {total:.4g}"
    footer = {"path": "total", "size": f"{size:,}", "value": f"{total:.4g}"}
    footer["zeros"] = _percent(zeros / size if size else 0.0)
    return Report(
        title,
        _shown_columns(rows),
        rows,
        footer,
        _notes(rows),
        total=float(total),
        unit_norms=unit_norms,
    )


def _activity(path: str, regularizer: Any, value: Any) -> dict[str, Any]:
    """Return the row of a penalty on activations, which has no weights."""
    return {
        **dict.fromkeys(_KEYS),
        "path": path,
        "regularizer": shown(regularizer),
        "value": float(ops.convert_to_numpy(value)),
        "share": 0.0,  # Of what is not known yet.
        "active": True,
    }


def _measure(
    site: Site, unit_norms: dict[str, Any], proximal: dict[int, Any]
) -> dict[str, Any]:
    variable = site.variable
    by_prox = proximal.get(id(variable))
    row: dict[str, Any] = {
        "path": site.path,
        "shape": site.shape,
        "size": int(np.prod(site.shape, dtype=int)),
        "regularizer": shown(variable.regularizer),
        "value": None,
        "share": None,
        "constraint": shown(variable.constraint),
        "violation": None,
        "active": site.active,
    }
    if variable.regularizer is not None and site.active:
        value = variable.regularizer(variable)
        if value is not None:
            row |= {"value": float(ops.convert_to_numpy(value)), "share": 0.0}
    if by_prox is not None:
        name = f"{shown(by_prox)} by prox"
        row["regularizer"] = " + ".join(filter(None, (row["regularizer"], name)))
        if row["value"] is None:
            row["value"] = float(ops.convert_to_numpy(by_prox(variable)))
    if variable.constraint is not None:
        row["violation"] = violation(variable)
    weights = ops.convert_to_numpy(
        upcast(variable) if "float" in variable.dtype else variable
    )
    matrix = _matrix(weights, site)
    scale = float(np.max(np.abs(matrix), initial=0.0)) or 1.0
    scaled = matrix / scale if np.isfinite(scale) else matrix
    norms = np.sort(scale * np.sqrt(np.einsum("ij,ij->j", scaled, scaled)))
    unit_norms[site.path] = norms
    is_vector = len(site.shape) < 2
    row |= {
        "zeros": int(weights.size - np.count_nonzero(weights)),
        "groups": None if is_vector else int(norms.size),
        "zero_groups": None
        if is_vector
        else int(norms.size - np.count_nonzero(np.any(matrix, axis=0))),
        "norm": scale * float(np.linalg.norm(scaled)),
        "sigma_max": None if is_vector else scale * sigma_max(scaled),
    }
    return row


def _matrix(weights: Any, site: Site) -> Any:
    """Return the weights as a matrix of shape `(fan_in, units)`."""
    units = kernel_axes(site)[0]
    others = tuple(a for a in range(weights.ndim) if a not in units)
    count = int(np.prod([site.shape[a] for a in units], dtype=int))
    moved = np.transpose(weights, others + units).astype(
        np.promote_types(weights.dtype, "float32"), copy=False
    )
    fan_in = int(np.prod([site.shape[a] for a in others], dtype=int))
    return moved.reshape(fan_in, count)


def sigma_max(matrix: Any) -> float:
    """Return the largest singular value of a matrix.

    Exact for small ones; by subspace iteration with 8 vectors for larger ones,
    where a full decomposition of every weight of a large model takes minutes.
    """
    if 0 in matrix.shape:
        return 0.0
    if not np.all(np.isfinite(matrix)):
        return float("nan")
    if matrix.shape[0] < matrix.shape[1]:
        matrix = matrix.T
    if matrix.shape[1] > _EXACT:
        start = np.random.default_rng(0).normal(size=(matrix.shape[1], 8))
        basis = np.linalg.qr(start.astype(matrix.dtype))[0]
        for _ in range(_ROUNDS):
            basis = np.linalg.qr(matrix.T @ (matrix @ basis))[0]
        matrix = matrix @ basis
    return float(np.linalg.svd(matrix, compute_uv=False)[0])


def _has_something(row: dict[str, Any]) -> bool:
    return bool(row["regularizer"] or row["constraint"])


def _notes(rows: list[dict[str, Any]]) -> list[str]:
    notes = []
    bare = [r for r in rows if not _has_something(r)]
    if bare and len(bare) < len(rows):
        entries = sum(r["size"] for r in bare)
        text = f"{len(bare)} more without penalty or constraint: {entries:,} weights."
        notes.append(text)
    frozen = sum(not r["active"] and bool(r["regularizer"]) for r in rows)
    if frozen:
        notes.append(
            f"{frozen} frozen: the penalty does not count until it is trained."
        )
    broken = sum(bool(r["violation"] and r["violation"] > 1e-4) for r in rows)
    if broken:
        notes.append(f"{broken} outside of the constraint: see keras_regx.project.")
    bad = sum(r["norm"] is not None and not np.isfinite(r["norm"]) for r in rows)
    if bad:
        notes.append(f"{bad} with NaN or infinite entries.")
    return notes


def _shown_columns(rows: list[dict[str, Any]]) -> list[Column]:
    """Leave out the columns that say nothing about this model."""
    empty = {key for key in _OPTIONAL if all(row[key] is None for row in rows)}
    if not any(row["zero_groups"] for row in rows):
        empty.add("zero_groups")
    top = max((row["share"] or 0.0 for row in rows), default=0.0) or 1.0
    columns = [column for column in _COLUMNS if column.key not in empty]
    return [
        replace(c, text=partial(_bar, top=top)) if c.key == "share" else c
        for c in columns
    ]


def _percent(value: float | None) -> str:
    if value is None:
        return ""
    return "0" if value == 0 else f"{100 * value:.1f}%" if value >= 5e-4 else "<0.1%"


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _shape(value: Any) -> str:
    return "" if value is None else shape_text(value)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _bar(value: float | None, top: float) -> str:
    """Return a share as a bar of eighths, full for the largest, and a percentage."""
    if value is None:
        return ""
    eighths = round(8 * 6 * value / top)
    blocks = "█" * (eighths // 8) + ("", *"▏▎▍▌▋▊▉")[eighths % 8]
    return f"{blocks:<6} {_percent(value):>6}"


_COLUMNS = (
    Column("path", "weight", style="cyan"),
    Column("shape", "shape", _shape, right=True, style="dim"),
    Column("size", "size", _count, right=True),
    Column("regularizer", "penalty", style="magenta"),
    Column("value", "value", _number, right=True, style="bold"),
    Column("share", "share", style="magenta"),
    Column("zeros", "zeros", _count, right=True),
    Column("zero_groups", "zero units", _number, right=True),
    Column("norm", "norm", _number, right=True),
    Column("sigma_max", "σ max", _number, right=True),  # noqa: RUF001  (the sign)
    Column("constraint", "constraint", style="green"),
    Column("violation", "violation", _number, right=True, style="red"),
)
_KEYS = (*(column.key for column in _COLUMNS), "groups")
_OPTIONAL = (
    "regularizer",
    "value",
    "share",
    "constraint",
    "violation",
)
