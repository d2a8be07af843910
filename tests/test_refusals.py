"""What no primitive, penalty or constraint takes is refused, and named: one table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from keras import ops

from keras_regx import constraints as c
from keras_regx import ops as k
from keras_regx import regularizers as r

if TYPE_CHECKING:
    from collections.abc import Callable


def ones(*shape: int) -> Any:
    """Return a tensor of ones."""
    return ops.ones(shape)


# What is called, and what the message has to say, received value included.
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    # Primitives.
    "threshold": (
        lambda: k.soft_threshold(ones(3), -1.0),
        "`threshold` of soft_threshold.*-1.0",
    ),
    "threshold-nan": (
        lambda: k.hard_threshold(ones(3), float("nan")),
        "`threshold` of hard_threshold.*nan",
    ),
    "gamma": (
        lambda: k.firm_threshold(ones(3), 1.0, gamma=1.0),
        "`gamma` of firm_threshold.*1.0",
    ),
    "role": (lambda: k.safe_norm(ones(3), axis="rows"), "`axis` of safe_norm.*'rows'"),
    "inputs": (
        lambda: k.safe_norm(ones(3), axis="inputs"),
        "`axis` of safe_norm.*rank >= 2.*'inputs'",
    ),
    "two-axes": (
        lambda: k.project_monotonic(ones(3, 3), axis=(0, 1)),
        r"`axis` of project_monotonic.*single axis.*\(0, 1\)",
    ),
    "k": (lambda: k.top_k_mask(ones(3), 4), "`k` of top_k_mask.*group size 3.*k=4"),
    "k-bool": (lambda: k.top_k_mask(ones(3), True), "`k` of top_k_mask.*True"),
    "box": (
        lambda: k.project_box(ones(3), 2.0, 1.0),
        "`min_value` of project_box.*2.0.*1.0",
    ),
    "capped": (
        lambda: k.project_capped_simplex(ones(3), total=4.0, cap=1.0),
        "`total` of project_capped_simplex.*group size 3.*4.0",
    ),
    "radius": (lambda: k.project_l2_ball(ones(3), -2.0), "`radius` of .*-2.0"),
    "order": (lambda: k.difference(ones(3), order=-1), "`order` of difference.*-1"),
    "method": (lambda: k.polar(ones(2, 2), method="qr"), "`method` of polar.*'qr'"),
    "matrix": (lambda: k.polar(ones(3)), r"`x` of polar.*rank >= 2.*\(3,\)"),
    "square": (
        lambda: k.matrix_sign(ones(2, 3)),
        r"`x` of matrix_sign.*square.*\(2, 3\)",
    ),
    "iterations": (
        lambda: k.sinkhorn(ones(2, 2), iterations=0),
        "`iterations` of sinkhorn.*0",
    ),
    "rounds": (
        lambda: k.spectral_norm(ones(2, 2), iterations=0),
        "`iterations` of spectral_norm.*0",
    ),
    # Constraints.
    "anchor": (
        lambda: c.AnchorBall(1.0, anchor=np.zeros(3))(ones(4)),
        r"`w` of AnchorBall.*\(3,\).*\(4,\)",
    ),
    "normal": (
        lambda: c.Hyperplane(np.ones(3), 1.0)(ones(4)),
        r"`w` of Hyperplane.*\(3,\).*\(4,\)",
    ),
    "signs": (
        lambda: c.SignConstraint([1, -1])(ones(3, 2)),
        r"`w` of SignConstraint.*\(2,\).*\(3, 2\)",
    ),
    "mask": (
        lambda: c.Mask(np.ones((3, 2)))(ones(4, 2)),
        r"`w` of Mask.*\(3, 2\).*\(4, 2\)",
    ),
    "blocks": (
        lambda: c.BlockDiagonal(2)(ones(3, 4)),
        r"`w` of BlockDiagonal.*multiples of 2.*\(3, 4\)",
    ),
    "circulant": (lambda: c.Circulant()(ones(3, 4)), r"`w` of Circulant.*square"),
    "radial": (
        lambda: c.RadialConstraint()(ones(3, 2, 1, 1)),
        r"`w` of RadialConstraint.*\(3, 2, 1, 1\)",
    ),
    "infeasible": (
        lambda: c.CappedSimplex(4.0, 1.0, axis=None)(ones(3)),
        "`total` of CappedSimplex.*group size 3.*4.0",
    ),
    # Penalties.
    "weights": (
        lambda: r.OrderedWeightedL1([2.0, 1.0])(ones(3)),
        "`x` of OrderedWeightedL1.*2 entries.*3 entries",
    ),
    "increasing": (
        lambda: r.OrderedWeightedL1(np.array([1.0, 2.0])),
        "`weights` of OrderedWeightedL1.*non-increasing",
    ),
    "strides": (
        lambda: r.ConvOrthogonality(1.0, strides=[1, 2])(ones(3, 2, 2)),
        r"`strides` of ConvOrthogonality.*\(3, 2, 2\).*\[1, 2\]",
    ),
    "step-size": (
        lambda: r.L1(1.0).prox(ones(3), ones(2)),
        r"`step_size` of L1.*\(3,\).*\(2,\)",
    ),
    "step-sizes": (
        lambda: r.GroupLasso(1.0).prox(ones(3, 2), ones(3, 2)),
        r"`step_size` of GroupLasso.*a scalar.*\(3, 2\)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    """The message names the function or class, the argument and what was received."""
    call, message = REFUSED[name]
    with pytest.raises(ValueError, match=rf"(?s)argument {message}"):
        call()


@pytest.mark.parametrize(
    "constraint",
    [c.RadialConstraint(), c.Chain(["non_neg", c.Centered(1.0)])],
    ids=lambda constraint: type(constraint).__name__,
)
def test_no_projection_no_distance(constraint: c.Constraint) -> None:
    """Where the nearest point is not known, no distance is made up."""
    with pytest.raises(NotImplementedError, match="is no projection"):
        constraint.distance(ones(3, 3, 1, 1))
