"""Fits that are kept in a folder, so that an interrupted path goes on."""

from pathlib import Path
from typing import Any

import numpy as np


def save(
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


def load(
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
