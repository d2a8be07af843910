"""Fits that are kept in a folder, so that an interrupted path goes on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Fit:
    """A fit at one factor.

    Attributes:
        steps: How many steps it took.
        residual: Violation of the optimality condition, over the factor; None in
            a file that was written before residuals were kept.
        weights: All weights of the model.
    """

    steps: int
    residual: float | None
    weights: list[np.ndarray]


def save(folder: Path | None, index: int, factor: float, fit: Fit) -> None:
    """Keep a finished fit; written under another name first, so never by halves."""
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {f"w{i}": w for i, w in enumerate(fit.weights)}
    partial = folder / f"partial{index}.npz"
    numbers: dict[str, Any] = {"steps": fit.steps, "residual": fit.residual}
    np.savez(partial, factor=factor, **numbers, **arrays)
    partial.replace(folder / f"point{index}.npz")


def load(folder: Path | None, index: int, factor: float) -> Fit | None:
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
        residual = float(kept["residual"]) if "residual" in kept.files else None
        count = sum(name.startswith("w") for name in kept.files)
        weights = [kept[f"w{i}"] for i in range(count)]
        return Fit(int(kept["steps"]), residual, weights)
