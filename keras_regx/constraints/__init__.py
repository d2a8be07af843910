"""Constraints: exact projections, drop-in `kernel_constraint` arguments."""

from keras_regx.constraints.affine import Centered, Halfspace, Hyperplane, Standardized
from keras_regx.constraints.algebra import Chain, Relaxed
from keras_regx.constraints.anchor import AnchorBall
from keras_regx.constraints.balls import L1Ball, L2Ball, LInfBall, NonNegUnitNorm
from keras_regx.constraints.base import Constraint, register, registry
from keras_regx.constraints.box import Box, NonPos, SignConstraint
from keras_regx.constraints.every import Every
from keras_regx.constraints.intersection import Intersection
from keras_regx.constraints.non_neg import NonNeg
from keras_regx.constraints.norms import MaxNorm, MinMaxNorm, UnitNorm
from keras_regx.constraints.order import Convex, Monotonic
from keras_regx.constraints.orthogonal import Orthogonal
from keras_regx.constraints.parts import Masked, PerBlock
from keras_regx.constraints.radial import RadialConstraint
from keras_regx.constraints.simplex import CappedSimplex, Simplex
from keras_regx.constraints.sparsity import GroupTopK, NMSparsity, TopK
from keras_regx.constraints.spectral import (
    LowRank,
    NuclearBall,
    SingularValueBox,
    SpectralNormBall,
)
from keras_regx.constraints.square import (
    PSD,
    DoublyStochastic,
    SkewSymmetric,
    Symmetric,
)
from keras_regx.constraints.support import (
    BlockDiagonal,
    Causal,
    Diagonal,
    Mask,
    Triangular,
)
from keras_regx.constraints.tying import Circulant, FlipSymmetric, Radial, Toeplitz

__all__ = [
    "PSD",
    "AnchorBall",
    "BlockDiagonal",
    "Box",
    "CappedSimplex",
    "Causal",
    "Centered",
    "Chain",
    "Circulant",
    "Constraint",
    "Convex",
    "Diagonal",
    "DoublyStochastic",
    "Every",
    "FlipSymmetric",
    "GroupTopK",
    "Halfspace",
    "Hyperplane",
    "Intersection",
    "L1Ball",
    "L2Ball",
    "LInfBall",
    "LowRank",
    "Mask",
    "Masked",
    "MaxNorm",
    "MinMaxNorm",
    "Monotonic",
    "NMSparsity",
    "NonNeg",
    "NonNegUnitNorm",
    "NonPos",
    "NuclearBall",
    "Orthogonal",
    "PerBlock",
    "Radial",
    "RadialConstraint",
    "Relaxed",
    "SignConstraint",
    "Simplex",
    "SingularValueBox",
    "SkewSymmetric",
    "SpectralNormBall",
    "Standardized",
    "Symmetric",
    "Toeplitz",
    "TopK",
    "Triangular",
    "UnitNorm",
    "deserialize",
    "get",
    "max_norm",
    "min_max_norm",
    "non_neg",
    "radial_constraint",
    "register",
    "registry",
    "serialize",
    "unit_norm",
]

max_norm = MaxNorm
non_neg = NonNeg
unit_norm = UnitNorm
min_max_norm = MinMaxNorm
radial_constraint = RadialConstraint

get = registry.get
serialize = registry.serialize
deserialize = registry.deserialize
