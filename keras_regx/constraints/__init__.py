"""Constraints: exact projections, drop-in `kernel_constraint` arguments."""

from keras_regx.constraints.affine import Centered as Centered
from keras_regx.constraints.affine import Halfspace as Halfspace
from keras_regx.constraints.affine import Hyperplane as Hyperplane
from keras_regx.constraints.affine import Standardized as Standardized
from keras_regx.constraints.algebra import Chain as Chain
from keras_regx.constraints.algebra import Relaxed as Relaxed
from keras_regx.constraints.anchor import AnchorBall as AnchorBall
from keras_regx.constraints.balls import L1Ball as L1Ball
from keras_regx.constraints.balls import L2Ball as L2Ball
from keras_regx.constraints.balls import LInfBall as LInfBall
from keras_regx.constraints.balls import NonNegUnitNorm as NonNegUnitNorm
from keras_regx.constraints.base import Constraint as Constraint
from keras_regx.constraints.base import register as register
from keras_regx.constraints.base import registry as registry
from keras_regx.constraints.box import Box as Box
from keras_regx.constraints.box import NonPos as NonPos
from keras_regx.constraints.box import SignConstraint as SignConstraint
from keras_regx.constraints.every import Every as Every
from keras_regx.constraints.intersection import Intersection as Intersection
from keras_regx.constraints.non_neg import NonNeg as NonNeg
from keras_regx.constraints.norms import MaxNorm as MaxNorm
from keras_regx.constraints.norms import MinMaxNorm as MinMaxNorm
from keras_regx.constraints.norms import UnitNorm as UnitNorm
from keras_regx.constraints.order import Convex as Convex
from keras_regx.constraints.order import Monotonic as Monotonic
from keras_regx.constraints.orthogonal import Orthogonal as Orthogonal
from keras_regx.constraints.parts import Masked as Masked
from keras_regx.constraints.parts import PerBlock as PerBlock
from keras_regx.constraints.radial import RadialConstraint as RadialConstraint
from keras_regx.constraints.simplex import CappedSimplex as CappedSimplex
from keras_regx.constraints.simplex import Simplex as Simplex
from keras_regx.constraints.sparsity import GroupTopK as GroupTopK
from keras_regx.constraints.sparsity import NMSparsity as NMSparsity
from keras_regx.constraints.sparsity import TopK as TopK
from keras_regx.constraints.spectral import LowRank as LowRank
from keras_regx.constraints.spectral import NuclearBall as NuclearBall
from keras_regx.constraints.spectral import SingularValueBox as SingularValueBox
from keras_regx.constraints.spectral import SpectralNormBall as SpectralNormBall
from keras_regx.constraints.square import PSD as PSD
from keras_regx.constraints.square import DoublyStochastic as DoublyStochastic
from keras_regx.constraints.square import SkewSymmetric as SkewSymmetric
from keras_regx.constraints.square import Symmetric as Symmetric
from keras_regx.constraints.support import BlockDiagonal as BlockDiagonal
from keras_regx.constraints.support import Causal as Causal
from keras_regx.constraints.support import Diagonal as Diagonal
from keras_regx.constraints.support import Mask as Mask
from keras_regx.constraints.support import Triangular as Triangular
from keras_regx.constraints.tying import Circulant as Circulant
from keras_regx.constraints.tying import FlipSymmetric as FlipSymmetric
from keras_regx.constraints.tying import Radial as Radial
from keras_regx.constraints.tying import Toeplitz as Toeplitz

max_norm = MaxNorm
non_neg = NonNeg
unit_norm = UnitNorm
min_max_norm = MinMaxNorm
radial_constraint = RadialConstraint

get = registry.get
serialize = registry.serialize
deserialize = registry.deserialize
