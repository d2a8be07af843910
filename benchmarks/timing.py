"""Interleaved timing of two functions that compute the same."""

import time
from dataclasses import dataclass
from statistics import median, quantiles

from benchmarks.runners import Run


@dataclass(frozen=True)
class Comparison:
    """Times of one call, and the ratio theirs / ours.

    Attributes:
        ours: Median seconds of a call of ours.
        theirs: Median seconds of a call of theirs.
        ratio: Median over pairs of theirs / ours; above 1, ours is faster.
        low: Lower quartile of that ratio.
        high: Upper quartile of that ratio.
    """

    ours: float
    theirs: float
    ratio: float
    low: float
    high: float


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def compare(ours: Run, theirs: Run, repeats: int, clock: str = "wall") -> Comparison:
    """Time both in pairs, A B B A, so that a busy moment touches both alike.

    Args:
        ours: Our function, without arguments.
        theirs: Keras' function.
        repeats: Number of pairs, at least 2.
        clock: `"wall"`, or `"cpu"`: the processor time of all threads, which other
            programs on the machine disturb less.
    """

    def seconds(run: Run, calls: int) -> float:
        start = now()
        for _ in range(calls):
            run()
        return (now() - start) / calls

    now = CLOCKS[clock]
    for run in (ours, theirs):  # Compile, and fill the caches.
        run()
        run()
    calls = max(1, round(5e-3 / max(seconds(ours, 3), 1e-6)))
    pairs = []
    for index in range(repeats):
        if index % 2:
            b, a = seconds(theirs, calls), seconds(ours, calls)
        else:
            a, b = seconds(ours, calls), seconds(theirs, calls)
        pairs.append((a, b))
    ratios = [b / a for a, b in pairs]
    low, _, high = quantiles(ratios, n=4)
    return Comparison(
        median(a for a, _ in pairs),
        median(b for _, b in pairs),
        median(ratios),
        low,
        high,
    )
