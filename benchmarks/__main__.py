"""Time every drop-in class beside Keras' own: `python -m benchmarks`.

The rows are those of `tests/cases.py` that name an object of Keras: a new drop-in
joins by being in the catalogue. Penalties are timed with their gradient, compiled
as in `fit`; constraints as the optimizer calls them. Both must compute the
same before they are timed.
"""

import argparse
import fnmatch
import json
import math
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from keras import ops
from rich.console import Console
from rich.table import Table

from benchmarks import runners
from benchmarks.timing import CLOCKS, compare
from tests import cases

SIZES = (10_000, 1_000_000, 10_000_000)


@dataclass(frozen=True)
class Row:
    """One class at one size.

    Attributes:
        name: The case's id.
        shape: Shape of the weights.
        ratio: Median of theirs / ours; above 1, ours is faster.
        low: Lower quartile.
        high: Upper quartile.
        ours_ms: Median milliseconds of ours.
        theirs_ms: Median milliseconds of Keras'.
        difference: Largest relative difference between the two results.
        ours_bytes: Scratch memory of ours, -1 where it is not known.
        theirs_bytes: Scratch memory of Keras', -1 where it is not known.
    """

    name: str
    shape: tuple[int, ...]
    ratio: float
    low: float
    high: float
    ours_ms: float
    theirs_ms: float
    difference: float
    ours_bytes: int
    theirs_bytes: int


def shape_of(size: int, rank: int) -> tuple[int, ...]:
    """Return a square matrix, or a kernel of 3 x 3, of about `size` weights."""
    if rank == 4:
        side = round(math.sqrt(size / 9))
        return (3, 3, side, side)
    side = round(math.sqrt(size))
    return (side, side)


def difference(ours: Any, theirs: Any) -> float:
    """Return the largest difference of two results, relative to their size."""
    worst = 0.0
    ours, theirs = (x if isinstance(x, tuple) else (x,) for x in (ours, theirs))
    for a, b in zip(ours, theirs, strict=True):
        x, y = (np.asarray(ops.convert_to_numpy(v), "float64") for v in (a, b))
        worst = max(worst, float(np.max(np.abs(x - y)) / np.max(np.abs(y))))
    return worst


def rows(sizes: list[int], only: str, repeats: int, clock: str) -> Iterator[Row]:
    """Yield the measured rows, one at a time.

    Raises:
        ArithmeticError: If the two do not compute the same.
    """
    plans: list[tuple[Any, Any, Callable[..., Any], float]] = [
        (case, case.penalty, runners.penalty_runner, 1e-6) for case in cases.PENALTIES
    ]
    plans += [
        (case, case.constraint, runners.projection_runner, 1e-5)
        for case in cases.CONSTRAINTS
    ]
    for case, mine, runner, tolerance in plans:
        if case.keras is None or not fnmatch.fnmatch(case.id.lower(), only.lower()):
            continue
        rank = 2 if any(len(shape) == 2 for shape in case.shapes) else 4
        for size in sizes:
            shape = shape_of(size, rank)
            # Norms of units near 1.5, so that the constraints have work for half.
            spread = 1.5 / math.sqrt(math.prod(shape[:-1]))
            rng = np.random.default_rng(0)
            weights = (spread * rng.normal(size=shape)).astype("float32")
            ours, theirs = runner(mine, weights), runner(case.keras, weights)
            off = difference(ours(), theirs())
            if not off <= tolerance:
                message = f"{case.id} at {shape}: results differ by {off:.1e}"
                raise ArithmeticError(message)
            result = compare(ours, theirs, repeats, clock)
            grad = runner is runners.penalty_runner
            yield Row(
                name=case.id,
                shape=shape,
                ratio=result.ratio,
                low=result.low,
                high=result.high,
                ours_ms=1e3 * result.ours,
                theirs_ms=1e3 * result.theirs,
                difference=off,
                ours_bytes=runners.temporary_bytes(mine, weights, grad=grad),
                theirs_bytes=runners.temporary_bytes(case.keras, weights, grad=grad),
            )


HEADINGS = ("class", "shape", "Keras / ours", "quartiles", "ours", "Keras")


def cells(row: Row) -> tuple[str, ...]:
    """Return a row as text."""
    return (
        row.name,
        " x ".join(map(str, row.shape)),
        f"{row.ratio:.2f}",
        f"{row.low:.2f} to {row.high:.2f}",
        f"{row.ours_ms:.3g} ms",
        f"{row.theirs_ms:.3g} ms",
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Time every drop-in class beside Keras' own, on KERAS_BACKEND.",
    )
    parser.add_argument("--sizes", type=float, nargs="+", default=SIZES, metavar="N")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="such as 'L*'")
    parser.add_argument("--repeats", type=int, default=21, metavar="N")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="JSON on stdout")
    form.add_argument("--markdown", action="store_true", help="Markdown on stdout")
    args = parser.parse_args()
    if args.repeats < 2:
        parser.error("--repeats must be at least 2")

    versions = ", ".join(f"{k} {v}" for k, v in runners.versions().items())
    title = f"{versions}, Python {platform.python_version()}, {os.cpu_count()} cores"
    if args.clock == "cpu":
        title += ", processor time"
    progress = Console(stderr=True, highlight=False)
    table = Table(*HEADINGS, title=title, box=None)
    measured = []
    sizes = [int(size) for size in args.sizes]
    for row in rows(sizes, args.only, args.repeats, args.clock):
        measured.append(row)
        table.add_row(*cells(row), style="red" if row.ratio < 0.95 else "")
        progress.print("  ".join(cells(row)), style="dim")
    if not measured:
        parser.error(f"no case matches {args.only!r}")
    if args.json:
        report = {"environment": title, "rows": [asdict(row) for row in measured]}
        json.dump(report, sys.stdout, indent=2)
        print()
    elif args.markdown:
        print(f"{title}\n")
        for line in (HEADINGS, ("---",) * len(HEADINGS), *map(cells, measured)):
            print(f"| {' | '.join(line)} |")
    else:
        Console().print(table)


main()
