"""Hyperspherical energy: spreads the directions of the units over the sphere."""

from typing import Any

from keras import ops

from keras_regx._core import validation as check
from keras_regx.ops.axes import as_matrix
from keras_regx.ops.numerics import dtype_of
from keras_regx.regularizers.base import Regularizer, register
from keras_regx.regularizers.orthogonal import unit_vectors

_CLOSEST = 1e-6  # Squared distance from which the energy of a pair stays the same.


@register
class HypersphericalEnergy(Regularizer):
    """Mean repulsion energy between the directions of the units.

        f(W) = factor mean_{i < j} d_ij^(-power),    -log d_ij for power 0,
        d_ij = || w_i / ||w_i|| - w_j / ||w_j|| ||

    A kernel of rank > 2 is seen as a matrix of shape `(fan_in, units)`.

    Args:
        factor: Finite float >= 0. Regularization factor.
        power: Finite float >= 0. Larger concentrates on the nearest units.
        half: Boolean. Count each unit and its negative, so that units avoid each
            other's opposites too: lines instead of directions.

    Call: floating tensor of rank >= 2 -> scalar, float32 for half-precision input.
        A single unit has energy 0. Pairs nearer than 0.001 count as 0.001.
    Prox: none in closed form.
    Gradient at 0: 0 for a zero unit, and for a pair of equal units.
    Raises: ValueError naming the argument and the value received.
    Reference: Liu et al. (2018), arXiv:1805.09298.

    Example:

    >>> from keras_regx.regularizers import HypersphericalEnergy
    >>> energy = HypersphericalEnergy(1.0, power=2.0)
    >>> round(float(energy([[1.0, 0.0], [0.0, 5.0]])), 6)
    0.5
    >>> round(float(energy([[1.0, -3.0], [0.0, 0.0]])), 6)
    0.25
    """

    min_rank = 2
    sees_matrix = True

    def __init__(self, factor: float, power: float = 1.0, half: bool = False) -> None:
        self.factor = check.number(self, "factor", factor, minimum=0)
        self.power = check.number(self, "power", power, minimum=0)
        self.half = check.boolean(self, "half", half)

    def _value(self, x: Any) -> Any:
        units = unit_vectors(ops.transpose(as_matrix(x)), axis=1)
        if self.half:
            units = ops.concatenate([units, -units])
        count = units.shape[0]
        cosines = units @ ops.transpose(units)
        squares = 2 - 2 * cosines
        squares = ops.where(
            squares < _CLOSEST, ops.full_like(squares, _CLOSEST), squares
        )
        if self.power == 0:
            energies = -ops.log(squares) / 2
        else:
            energies = ops.power(squares, -self.power / 2)
        others = 1 - ops.eye(count, dtype=dtype_of(x))
        pairs = max(count * (count - 1), 1)
        return self.factor / pairs * ops.sum(energies * others)
